//! A message judged as a receiver does it, from its octets and its envelope to the findings: SPF, the header section read,
//! keys and policies asked for, the body hashed in reads of 64 KiB, DKIM, DMARC and ARC. The answers of DNS come from
//! memory. Unit: messages a second. The four messages are 4 KiB, as most mail is.
//!
//! How much of it is arithmetic that nobody can save shows `dkim`'s `verify_rsa_2048`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a message that fails is not what is measured")]

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mail::UnixTime;
use mailauth::arc::{self, ArcResult};
use mailauth::dkim::BodyHashes;
use mailauth::dkim::sign::{KeyKind, SigningKey, body_hashes, sign};
use mailauth::dmarc::DmarcResult;
use mailauth::dns::{Answer, LookupError, Record, RecordType, Resolver};
use mailauth::message::{Authentication, Header};
use mailauth::spf::{self, Query};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);
const OCTETS: usize = 4096;
/// Octets of one read, as the driver of a session reads a body.
const READ_OCTETS: usize = 64 * 1024;

fn main() {
    divan::main();
}

/// A person's mail from a large provider: one RSA-2048 signature, SPF through includes, `p=reject`.
#[divan::bench]
fn signed(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let message = world.signed(&[&world.rsa]);
    judge(bencher, &world, &message, DmarcResult::Pass);
}

/// The same with an Ed25519 signature beside it.
#[divan::bench]
fn signed_twice(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let message = world.signed(&[&world.ed25519, &world.rsa]);
    judge(bencher, &world, &message, DmarcResult::Pass);
}

/// What a list made of it: its signature is broken, the list has sealed what it found.
#[divan::bench]
fn sealed(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let message = world.sealed();
    judge(bencher, &world, &message, DmarcResult::Fail);
}

/// Without any signature.
#[divan::bench]
fn unsigned(bencher: Bencher<'_, '_>) {
    let world = World::new();
    let message = world.signed(&[]);
    judge(bencher, &world, &message, DmarcResult::Pass);
}

fn judge(bencher: Bencher<'_, '_>, world: &World, message: &Message, expected: DmarcResult) {
    let found = now(found(world, message));
    assert_eq!(found.dmarc.result, expected, "{found:?}");
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
        let found = now(self::found(world, black_box(message)));
        found.findings()
    });
}

/// What Edge does for each message, in its order.
async fn found(world: &World, message: &Message) -> Authentication {
    let query = Query {
        ip: [192, 0, 2, 77].into(),
        helo: "mail-77.provider.example",
        mail_from: message.from,
        receiver: "mx.home.example",
        now: NOW.as_secs(),
    };
    let spf = spf::check(world, &query).await;
    let header = Header::parse(message.header.clone());
    let mut hashes = header.body_hashes();
    let known = header.ask(world).await;
    for piece in message.body.chunks(READ_OCTETS) {
        hashes.update(piece);
    }
    header.authenticate(world, &hashes.finish(), &known, spf, NOW, &[]).await
}

/// Nothing here waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// A message as it comes in.
struct Message {
    from: &'static str,
    header: Vec<u8>,
    body: Vec<u8>,
}

/// Keys, and names as they are on the internet.
struct World {
    names: HashMap<(String, RecordType), Answer>,
    rsa: SigningKey,
    ed25519: SigningKey,
    list: SigningKey,
}

impl World {
    fn new() -> Self {
        let key = |domain: &str, selector: &str, kind: KeyKind| {
            SigningKey::new(domain, selector, kind, &kind.generate().unwrap()).unwrap()
        };
        let mut world = Self {
            names: HashMap::new(),
            rsa: key("author.example", "rsa", KeyKind::Rsa),
            ed25519: key("author.example", "ed", KeyKind::Ed25519),
            list: key("list.example", "seal", KeyKind::Rsa),
        };
        let record = |key: &SigningKey| {
            (format!("{}._domainkey.{}", key.selector(), key.domain()), key.record().unwrap())
        };
        for (name, text) in [record(&world.rsa), record(&world.ed25519), record(&world.list)] {
            world.txt(&name, &text);
        }
        world.txt(
            "_dmarc.author.example",
            "v=DMARC1; p=reject; sp=reject; rua=mailto:dmarc@author.example; pct=100",
        );
        world.txt("author.example", "google-site-verification=0123456789abcdefghijklmnopqrstuvwxyz");
        world.txt("author.example", "v=spf1 mx a:www.author.example include:_spf.provider.example ~all");
        world.txt(
            "_spf.provider.example",
            "v=spf1 include:_netblocks.provider.example include:_netblocks2.provider.example ~all",
        );
        let networks =
            |from: u8| (from..from + 12).map(|net| format!("ip4:10.{net}.0.0/16 ")).collect::<String>();
        world.txt("_netblocks.provider.example", &format!("v=spf1 {}~all", networks(10)));
        world.txt("_netblocks2.provider.example", &format!("v=spf1 {}ip4:192.0.2.0/24 ~all", networks(50)));
        world.txt("list.example", "v=spf1 a:mx.list.example ip4:192.0.2.0/24 -all");
        world.add("mx.list.example", RecordType::A, Record::A([203, 0, 113, 9].into()));
        world.add("author.example", RecordType::Mx, Record::Mx(10, "mx.author.example".to_owned()));
        for name in ["mx.author.example", "www.author.example"] {
            world.add(name, RecordType::A, Record::A([198, 51, 100, 5].into()));
        }
        world
    }

    fn txt(&mut self, name: &str, text: &str) {
        self.add(name, RecordType::Txt, Record::Txt(text.as_bytes().to_vec()));
    }

    fn add(&mut self, name: &str, kind: RecordType, record: Record) {
        let answer = self.names.entry((name.to_owned(), kind)).or_insert_with(|| Ok(Arc::from([])));
        let mut records = answer.clone().unwrap().to_vec();
        records.push(record);
        *answer = Ok(records.into());
    }

    /// A message of the author's with these signatures.
    fn signed(&self, keys: &[&SigningKey]) -> Message {
        let fields = own_fields();
        let body = body(OCTETS - traces().len() - fields.len() - 650 * keys.len());
        let mut hashes: BodyHashes = body_hashes();
        hashes.update(&body);
        let hashes = hashes.finish();
        let mut header = traces();
        for key in keys {
            let signed = sign(fields.as_bytes(), &hashes, [*key], NOW).unwrap();
            header.push_str(&String::from_utf8(signed).unwrap());
        }
        header.push_str(&fields);
        Message { from: "ann.smith@author.example", header: header.into_bytes(), body }
    }

    /// The same with a footer, and the seal of a list above it.
    fn sealed(&self) -> Message {
        let mut message = self.signed(&[&self.rsa]);
        message.body.extend_from_slice(b"-- \r\nto leave, write to list-leave@list.example\r\n");
        let mut hashes = body_hashes();
        hashes.update(&message.body);
        let results = "mx.list.example; spf=pass smtp.mailfrom=author.example; dkim=pass header.d=author.example; \
            dmarc=pass header.from=author.example";
        let set = arc::seal(&message.header, &hashes.finish(), &self.list, results, ArcResult::None, NOW);
        let header = [set.unwrap().unwrap(), message.header].concat();
        Message { from: "list-bounces@list.example", header, ..message }
    }
}

impl Resolver for World {
    async fn lookup(&self, name: &str, kind: RecordType) -> Answer {
        let answer = self.names.get(&(name.to_owned(), kind)).cloned();
        answer.unwrap_or(Err(LookupError::NoSuchName))
    }
}

fn traces() -> String {
    let hop = |number: u32| {
        format!(
            "Received: from host{number}.provider.example (host{number}.provider.example. [10.1.2.{number}])\r\n        \
             by host{}.provider.example with ESMTPS id a1b2c3d4e5f6-{number}\r\n        \
             for <bob@home.example>\r\n        (version=TLS1_3 cipher=TLS_AES_128_GCM_SHA256 bits=128/128);\r\n        \
             Tue, 24 Nov 2026 05:59:0{number} -0800 (PST)\r\n",
            number + 1
        )
    };
    (1..4).map(hop).collect()
}

fn own_fields() -> String {
    "MIME-Version: 1.0\r\nReferences: <CAF+one@mail.provider.example>\r\n <CAF+two@mail.provider.example>\r\n\
     In-Reply-To: <CAF+two@mail.provider.example>\r\nFrom: Ann Smith <ann.smith@author.example>\r\n\
     Date: Tue, 24 Nov 2026 05:59:00 -0800\r\nX-Gm-Features: AS18NWAbcdefghijklmnopqrstuvwxyz0123456789\r\n\
     Message-ID: <CAF+three@mail.provider.example>\r\nSubject: Re: what we talked about\r\n\
     To: Bob <bob@home.example>\r\nCc: Carol <carol@other.example>\r\n\
     Content-Type: multipart/alternative; boundary=\"0000000000001\"\r\n\r\n"
        .to_owned()
}

/// Lines as programs wrap them, with spaces at their ends.
fn body(octets: usize) -> Vec<u8> {
    let line = b"The quick brown fox jumps over the lazy dog, and then once more over it \r\n";
    let mut body = line.repeat(octets / line.len());
    body.extend_from_slice(b"\r\n");
    body
}
