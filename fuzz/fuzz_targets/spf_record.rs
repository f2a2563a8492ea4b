//! Whatever the SPF records of a domain and of those that it names say: a check ends within the limits on
//! questions, in a result that says why, and an explanation stays one line of plain text.
//!
//! Each line of the input is a name in DNS and what it has; a name that is not there does not exist. The first
//! line is the client's name and the reverse-path.
#![no_main]

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use mailauth::dns::{Answer, LookupError, Record, RecordType, Resolver};
use mailauth::spf::{LOOKUPS_MAX, NAMES_MAX, Query, Spf, SpfResult, check_helo, check_with_path};

/// Octets of an explanation that reach a reply.
const EXPLANATION_OCTETS: usize = 1024;
/// Lines of the path that a verdict keeps.
const PATH_LINES: usize = 100;

/// Questions of one check at most: a record and its explanation each, the terms that ask, and for every name
/// that a `ptr`, an `mx` or a macro finds one more. The macro may ask for names of the address in each term.
const QUESTIONS_MAX: usize = 4 * (LOOKUPS_MAX as usize + 1) * (NAMES_MAX + 2);

/// A DNS that is the input: `name TYPE value`.
struct Zone {
    records: HashMap<(String, RecordType), Vec<Record>>,
    questions: Mutex<usize>,
}

impl Zone {
    fn read(lines: &[&[u8]]) -> Self {
        let mut records: HashMap<_, Vec<Record>> = HashMap::new();
        for line in lines {
            let mut words = line.splitn(3, |octet| *octet == b' ');
            let (Some(name), Some(kind), Some(value)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            let Ok(name) = str::from_utf8(name) else { continue };
            let text = String::from_utf8_lossy(value).into_owned();
            let record = match kind {
                b"T" => Some((RecordType::Txt, Record::Txt(value.to_vec()))),
                b"M" => Some((RecordType::Mx, Record::Mx(10, text))),
                b"P" => Some((RecordType::Ptr, Record::Ptr(text))),
                b"A" => text.parse().ok().map(|ip: Ipv4Addr| (RecordType::A, Record::A(ip))),
                b"6" => text.parse().ok().map(|ip: Ipv6Addr| (RecordType::Aaaa, Record::Aaaa(ip))),
                _ => None,
            };
            if let Some((kind, record)) = record {
                records.entry((name.to_ascii_lowercase(), kind)).or_default().push(record);
            }
        }
        Self { records, questions: Mutex::new(0) }
    }
}

impl Resolver for Zone {
    async fn lookup(&self, name: &str, kind: RecordType) -> Answer {
        *self.questions.lock().unwrap() += 1;
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        assert!(name.len() <= 253, "a name that DNS can't have is asked for");
        if name.starts_with("silent.") {
            return Err(LookupError::Temporary("timed out".to_owned()));
        }
        let found = self.records.get(&(name, kind)).map(|records| records.as_slice().into());
        found.ok_or(LookupError::NoSuchName)
    }
}

fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("waits for a resolver that does not"),
    }
}

fuzz_target!(|data: &[u8]| {
    let lines: Vec<&[u8]> = data.split(|octet| *octet == b'\n').collect();
    let Some((first, lines)) = lines.split_first() else { return };
    let first = String::from_utf8_lossy(first);
    let (helo, mail_from) = first.split_once(' ').unwrap_or(("c.example", &first));
    let zone = Zone::read(lines);
    for ip in ["192.0.2.1", "2001:db8::1"] {
        let ip: IpAddr = ip.parse().unwrap();
        let query = Query { ip, helo, mail_from, receiver: "mx.example.org", now: 1_795_500_000 };
        examine(&zone, now(check_with_path(&zone, &query)));
        examine(&zone, now(check_helo(&zone, &query)));
    }
});

/// What a check asked and what it says.
fn examine(zone: &Zone, spf: Spf) {
    let asked = std::mem::take(&mut *zone.questions.lock().unwrap());
    assert!(asked <= QUESTIONS_MAX, "{asked} questions");
    assert!(!spf.reason.is_empty());
    assert!(spf.path.len() <= PATH_LINES);
    if let Some(explanation) = spf.explanation {
        assert_eq!(spf.result, SpfResult::Fail);
        assert!(explanation.len() <= EXPLANATION_OCTETS);
        assert!(explanation.bytes().all(|octet| (b' '..=b'~').contains(&octet)));
    }
}
