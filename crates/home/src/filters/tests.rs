//! Filters played by scripted peers: each verdict, and each way to give none.

use std::sync::Mutex;

use mail::{Address, BodyType, Client, Recipient, ReversePath};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What a peer was sent, one entry for each connection.
pub(crate) type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

/// A listener whose connections are served one after another.
async fn peer<F, S>(serve: S) -> String
where
    F: Future<Output = Option<()>> + Send + 'static,
    S: Fn(TcpStream) -> F + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream).await;
        }
    });
    address
}

/// The head and body of a request.
async fn request(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    loop {
        if let Some(end) = octets.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&octets[..end]).to_lowercase();
            let length =
                head.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
            if octets.len() >= end + 4 + length {
                return Some(octets);
            }
        }
        (stream.read_buf(&mut octets).await.ok()? > 0).then_some(())?;
    }
}

/// Something that speaks HTTP and answers each request with this.
pub(crate) async fn http(status: u16, answer: &str) -> (String, Seen) {
    let seen = Seen::default();
    let answer =
        format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()).into_bytes();
    let requests = Arc::clone(&seen);
    let address = peer(move |mut stream| {
        let (answer, requests) = (answer.clone(), Arc::clone(&requests));
        async move {
            let request = request(&mut stream).await?;
            requests.lock().unwrap().push(request);
            stream.write_all(&answer).await.ok()
        }
    })
    .await;
    (address, seen)
}

/// A peer that says this at once and then listens.
async fn says(octets: &'static [u8]) -> String {
    peer(move |mut stream| async move {
        stream.write_all(octets).await.ok()?;
        let mut read = [0; 4096];
        while stream.read(&mut read).await.ok()? > 0 {}
        Some(())
    })
    .await
}

/// A milter that answers a packet of the kind with these packets, and all else with "continue". An empty packet
/// stands for 0.7 s of silence.
pub(crate) async fn milter(at: u8, answers: &[&[u8]]) -> (String, Seen) {
    let seen = Seen::default();
    let packets = Arc::clone(&seen);
    let answers: Vec<Vec<u8>> = answers.iter().map(|answer| answer.to_vec()).collect();
    let address = peer(move |mut stream| {
        let (answers, packets) = (answers.clone(), Arc::clone(&packets));
        async move {
            let mut all = Vec::new();
            while let Ok(length) = stream.read_u32().await {
                let mut packet = vec![0; length as usize];
                stream.read_exact(&mut packet).await.ok()?;
                all.extend_from_slice(&packet);
                let kind = packet[0];
                let reply: Vec<Vec<u8>> = match kind {
                    b'D' | b'A' => continue,
                    b'Q' => break,
                    b'O' => vec![b"O\0\0\0\x06\0\0\0\x31\0\0\0\0".to_vec()],
                    kind if kind == at => answers.clone(),
                    _ => vec![b"c".to_vec()],
                };
                for reply in reply {
                    if reply.is_empty() {
                        tokio::time::sleep(Duration::from_millis(700)).await;
                        continue;
                    }
                    stream.write_u32(u32::try_from(reply.len()).unwrap()).await.ok()?;
                    stream.write_all(&reply).await.ok()?;
                }
            }
            packets.lock().unwrap().push(all);
            Some(())
        }
    })
    .await;
    (address, seen)
}

/// A filter as `home.toml` has it.
pub(crate) fn config(kind: &str, address: &str, more: &str) -> FilterConfig {
    toml::from_str(&format!("kind = {kind:?}\naddress = {address:?}\ntimeout = 1\n{more}")).unwrap()
}

pub(crate) fn filters(configs: &[FilterConfig]) -> Arc<Filters> {
    let dir = tempfile::tempdir().unwrap();
    let trace = Trace::open(dir.path(), link::Role::Home).unwrap();
    Filters::new(configs, &trace).unwrap()
}

fn subject(message: &[u8]) -> Subject {
    let at = |text: &str| Address::parse(text).unwrap();
    let client = Client {
        ip: "192.0.2.7".parse().unwrap(),
        helo: "sender.test".to_owned(),
        esmtp: true,
        tls: None,
        login: None,
    };
    let envelope = Envelope {
        reverse_path: ReversePath::Address(at("a@sender.test")),
        recipients: vec![Recipient::from(at("bob@example.org")), Recipient::from(at("eve@example.org"))],
        body: BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        client: Some(client),
    };
    let content = Content::from(message.to_vec());
    Subject { item: ItemId::from_bytes([1; 16]), envelope, edge: "mx.example.org".to_owned(), content }
}

const MESSAGE: &[u8] = b"Subject: x\r\nX-Old: 1\r\n\r\nbody\r\n";

async fn judged(configs: &[FilterConfig]) -> Judgement {
    filters(configs).judge(&subject(MESSAGE)).await
}

#[tokio::test]
async fn rspamd_gets_the_message_and_its_envelope_and_its_verdict_counts() {
    let answer = r#"{"action":"add header","score":7.0,"required_score":15.0,"symbols":{"S":{"score":7.0}},
        "milter":{"add_headers":{"X-Spam":{"value":"Yes","order":0}},"remove_headers":{"X-Old":0}}}"#;
    let (address, seen) = http(200, answer).await;
    let judgement = judged(&[config("rspamd", &address, "")]).await;
    assert_eq!(judgement.action, Action::Junk);
    assert_eq!(judgement.score, Some(7.0));
    assert_eq!(judgement.fields[0].octets(), b"X-Spam: Yes\r\n");
    assert_eq!(rewrite(b"Subject: x\r\nX-Old: 1\r\n\r\n", &judgement.rewrites), b"Subject: x\r\n\r\n");
    let request = String::from_utf8(seen.lock().unwrap().remove(0)).unwrap();
    for line in [
        "POST /checkv2 HTTP/1.1",
        "From: a@sender.test",
        "IP: 192.0.2.7",
        "Helo: sender.test",
        "Rcpt: bob@example.org",
        "Rcpt: eve@example.org",
        &format!("Queue-Id: {}", ItemId::from_bytes([1; 16])),
    ] {
        assert!(request.lines().any(|there| there == line), "{line} in {request}");
    }
    assert!(request.as_bytes().ends_with(MESSAGE));
}

#[tokio::test]
async fn a_milters_verdicts_have_their_meaning() {
    let cases: [(u8, &[&[u8]], Action); 8] = [
        (b'E', &[b"c"], Action::Accept),
        (b'M', &[b"a"], Action::Accept),
        (b'L', &[b"r"], Action::reject(None)),
        (b'E', &[b"t"], Action::defer(None)),
        (b'E', &[b"d"], Action::Quarantine),
        (b'E', &[b"qvirus\0", b"c"], Action::Quarantine),
        (b'E', &[b"y550 5.7.1 no\0"], Action::reject(Some("no"))),
        (b'R', &[b"y451 4.7.1 later\0"], Action::defer(Some("later"))),
    ];
    for (at, answers, action) in cases {
        let (address, _) = milter(at, answers).await;
        assert_eq!(judged(&[config("milter", &address, "")]).await.action, action);
    }
}

#[tokio::test]
async fn a_milter_sees_header_and_body_and_changes_the_header() {
    let answers: [&[u8]; 5] =
        [b"p", b"hX-A\0v\0", b"i\0\0\0\0X-B\0w\r\nEvil: 1\0", b"m\0\0\0\x01X-Old\0\0", b"c"];
    let (address, seen) = milter(b'E', &answers).await;
    let judgement = judged(&[config("milter", &address, "")]).await;
    let fields: Vec<u8> = judgement.fields.iter().flat_map(|field| field.octets().to_vec()).collect();
    assert_eq!(String::from_utf8_lossy(&fields), "X-B: w\r\n\tEvil: 1\r\nX-A: v\r\n");
    assert_eq!(judgement.rewrites.len(), 1);
    tokio::time::timeout(Duration::from_secs(5), async {
        while seen.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    let packets = String::from_utf8_lossy(&seen.lock().unwrap()[0]).into_owned();
    for part in ["Hsender.test\0", "M<a@sender.test>\0", "R<eve@example.org>\0", "LX-Old\x001\0", "Bbody\r\n"]
    {
        assert!(packets.contains(part), "{part:?} in {packets:?}");
    }
}

#[tokio::test]
async fn a_filter_that_gives_no_verdict_lets_the_message_pass_or_defers_it_as_configured() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let long: &'static [u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n{";
    let cases = [
        ("rspamd", closed.clone()),
        ("milter", closed),
        ("rspamd", says(b"").await),
        ("milter", says(b"").await),
        ("rspamd", says(b"garbage\r\n\r\n").await),
        ("milter", says(b"\0\0\0\x07garbage").await),
        ("rspamd", says(long).await),
        ("milter", says(b"\x7f\xff\xff\xffc").await),
        ("rspamd", http(200, "{").await.0),
        ("rspamd", http(200, r#"{"action":"party"}"#).await.0),
        ("rspamd", http(503, r#"{"action":"reject"}"#).await.0),
        ("milter", milter(b'E', &[b"s"]).await.0),
    ];
    for (kind, address) in cases {
        let accepts = judged(&[config(kind, &address, "")]).await;
        assert_eq!(accepts, Judgement::default(), "{kind}");
        let defers = judged(&[config(kind, &address, "on_failure = \"defer\"")]).await;
        let Action::Defer(reply) = defers.action else { panic!("{kind}: {:?}", defers.action) };
        assert_eq!(reply.code, 451);
    }
}

#[tokio::test]
async fn a_milter_that_says_it_is_at_work_is_waited_for_and_a_silent_one_is_not() {
    let (busy, _) = milter(b'E', &[b"", b"p", b"", b"p", b"", b"r"]).await;
    assert_eq!(judged(&[config("milter", &busy, "")]).await.action, Action::reject(None));
    let (silent, _) = milter(b'E', &[b"", b"", b"", b"r"]).await;
    assert_eq!(judged(&[config("milter", &silent, "")]).await.action, Action::Accept);
}

#[tokio::test]
async fn the_strictest_filter_wins_and_nobody_is_asked_after_a_refusal() {
    let (junk, _) = http(200, r#"{"action":"add header"}"#).await;
    let (refuse, _) = http(200, r#"{"action":"reject"}"#).await;
    let (never, seen) = http(200, r#"{"action":"no action"}"#).await;
    let rspamd = |address: &str| config("rspamd", address, "");
    assert_eq!(judged(&[rspamd(&junk), rspamd(&never)]).await.action, Action::Junk);
    assert_eq!(seen.lock().unwrap().len(), 1);
    let judgement = judged(&[rspamd(&junk), rspamd(&refuse), rspamd(&never)]).await;
    assert_eq!(judgement.action, Action::reject(None));
    assert_eq!(seen.lock().unwrap().len(), 1, "it was not asked again");
}

#[tokio::test]
async fn a_message_is_shown_up_to_max_octets_and_not_one_past_it() {
    let (address, seen) = http(200, r#"{"action":"reject"}"#).await;
    let with = |most: usize| config("rspamd", &address, &format!("max_octets = {most}"));
    assert_eq!(judged(&[with(MESSAGE.len())]).await.action, Action::reject(None));
    assert_eq!(judged(&[with(MESSAGE.len() - 1)]).await.action, Action::Accept);
    assert_eq!(seen.lock().unwrap().len(), 1);
}
