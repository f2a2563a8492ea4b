//! Answers in pieces, at their limits and past them; and a server that answers early.

use bytes::Bytes;
use tokio::net::TcpListener;

use super::*;

/// The answer to octets that come one by one, then the end.
fn read(octets: &[u8], body_octets_max: usize) -> Result<Option<Answer>, HttpError> {
    let mut reading = Reading::new(body_octets_max);
    let mut input = BytesMut::new();
    for octet in octets {
        input.extend_from_slice(&[*octet]);
        if let Some(answer) = reading.advance(&mut input, false)? {
            return Ok(Some(answer));
        }
    }
    reading.advance(&mut input, true)
}

fn body(octets: &str) -> Option<String> {
    let answer = read(octets.as_bytes(), 100).ok()??;
    assert_eq!(answer.status, 200);
    Some(String::from_utf8(answer.body).unwrap())
}

#[test]
fn a_body_ends_by_its_length_by_its_last_chunk_or_with_the_connection() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(body(&format!("{ok}content-length: 2\r\n\r\nabX")), some("ab"));
    let chunks = "3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n";
    assert_eq!(body(&format!("{ok}Transfer-Encoding: chunked\r\n\r\n{chunks}")), some("abc0123456789"));
    assert_eq!(body(&format!("{ok}\r\nall there is")), some("all there is"));
    assert_eq!(body(&format!("HTTP/1.1 100 Continue\r\n\r\n{ok}Content-Length: 1\r\n\r\na")), some("a"));
    assert_eq!(body(&format!("{ok}Content-Length: 3\r\n\r\nab")), None, "it is cut short");
}

#[test]
fn what_is_no_http_is_no_answer() {
    for bad in [
        "SSH-2.0-x\r\n",
        "HTTP/2 200\r\n",
        "HTTP/1.1 999 x\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
    ] {
        assert!(matches!(read(bad.as_bytes(), 100), Err(HttpError::Malformed(_))), "{bad}");
    }
}

#[test]
fn an_answer_is_taken_at_its_limits_and_refused_past_them() {
    let counted =
        |octets: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {octets}\r\n\r\n{}", "x".repeat(octets));
    let open = |octets: usize| format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(octets));
    for text in [counted(100), open(100)] {
        assert_eq!(body(&text), Some("x".repeat(100)));
    }
    for text in [counted(101), open(101)] {
        assert!(matches!(read(text.as_bytes(), 100), Err(HttpError::TooLong(100))));
    }
    let line = |octets: usize| format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(octets));
    let room = HEAD_OCTETS_MAX - "HTTP/1.1 200 OK\r\nA: \r\n\r\n".len();
    assert!(read(line(room).as_bytes(), 1).is_ok());
    assert!(matches!(read(line(room + 1).as_bytes(), 1), Err(HttpError::TooLong(_))));
}

struct Pieces(Vec<Bytes>);

impl BodySource for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, BodyLost> {
        Ok((!self.0.is_empty()).then(|| self.0.remove(0)))
    }
}

#[tokio::test]
async fn the_request_is_written_and_an_early_answer_is_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint: Endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"abc") {
            stream.read_buf(&mut request).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        // The connection stays open: closing it with octets unread would take the answer back.
        (String::from_utf8(request).unwrap(), stream)
    });
    let mut post_to = Post {
        path: "/x".to_owned(),
        fields: vec![("From", "a\r\nEvil: b".to_owned())],
        octets: 3,
        answer_octets_max: 10,
    };
    let mut pieces = Pieces(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")]);
    let answer = post(&endpoint, &post_to, &mut pieces).await.unwrap();
    assert_eq!(answer, Answer { status: 200, content_type: None, body: b"ok".to_vec() });
    post_to.octets = 64 << 20;
    let mut endless = Pieces(vec![Bytes::from(vec![0; 1 << 20]); 64]);
    assert_eq!(post(&endpoint, &post_to, &mut endless).await.unwrap().status, 403);
    let (request, _stream) = server.await.unwrap();
    assert!(request.starts_with("POST /x HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
    assert!(request.contains("\r\nContent-Length: 3\r\nFrom: a??Evil: b\r\n\r\nabc"), "{request}");
}

/// Symptom: a domain's policy was never fetched through networks that lose long handshakes.
#[tokio::test]
async fn a_handshake_that_nobody_answers_is_tried_once_more_with_a_short_first_message() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let files = crate::tls::CertificateFiles { certificate: path("certificate.pem"), key: path("key.pem") };
    crate::tls::ensure_self_signed(&files, "a.test").unwrap();
    let acceptor = crate::tls::ServerIdentity::load(&files).unwrap().acceptor().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut first = [0; 4096];
        let (mut lost, _) = listener.accept().await.unwrap();
        let long = lost.read(&mut first).await.unwrap();
        drop(lost);
        let (stream, _) = listener.accept().await.unwrap();
        let short = stream.peek(&mut first).await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let _ = stream.read(&mut first).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        stream.shutdown().await.unwrap();
        (long, short)
    });
    let connector = crate::tls::opportunistic_connector().unwrap();
    let request = Get { host: "a.test", addresses: &[address], path: "/", answer_octets_max: 10 };
    let answer = get(&connector, &request).await.unwrap();
    assert_eq!((answer.status, answer.body), (200, b"ok".to_vec()));
    let (long, short) = server.await.unwrap();
    assert!(long > 1400 && short < 600, "{long} and {short}");
}
