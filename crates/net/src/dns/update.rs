//! Changes of a zone, asked of its primary server: DNS UPDATE (RFC 2136) signed with a shared key (TSIG, RFC 8945).
//!
//! What was seen before is named as a prerequisite, so that nothing is changed that somebody else changed meanwhile. An
//! answer counts as done only with the server's own signature.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::tsig::{TsigAlgorithm, TsigError};
use hickory_resolver::proto::rr::{DNSClass, Name, Record, RecordType, TSigVerifier, TSigner};
use tokio::time::timeout;

use super::data::{Data, DataKind};
use super::name;
use super::server::by_stream;

/// Octets of a key file that are read.
pub const KEY_FILE_OCTETS_MAX: u64 = 16 * 1024;
/// How far the clocks of both sides may be apart, in seconds (RFC 8945 section 10).
const FUDGE_SECS: u16 = 300;
/// Octets of a secret: more than a block of SHA-512 says nothing more, and less than a hash of SHA-1 can be guessed.
const SECRET_OCTETS: std::ops::RangeInclusive<usize> = 16..=1024;
/// How long a server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A shared key. Its secret is never shown.
#[derive(Clone)]
pub struct UpdateKey(TSigner);

impl fmt::Debug for UpdateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UpdateKey({})", self.name())
    }
}

impl UpdateKey {
    /// Reads a key in the form of BIND's configuration, as `tsig-keygen` writes it:
    /// `key "name" { algorithm hmac-sha256; secret "base64"; };`; or in that of Knot's, as `keymgr -t` does: `key:`, then
    /// `- id: name`, `algorithm: hmac-sha256`, `secret: base64`. Comments and empty lines are passed over.
    ///
    /// # Errors
    /// What is wrong with it, in words; the secret is in none of them.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let words = words_of(text);
        let mut words = words.iter().map(String::as_str);
        let named = match words.next() {
            Some("key") => words.next(),
            Some("key:") if words.next() == Some("-") && words.next() == Some("id:") => words.next(),
            _ => return Err("it does not begin with: key \"NAME\" {"),
        };
        let key_name = named.and_then(name::to_wire).ok_or("the key has no name")?;
        let (mut algorithm, mut secret) = (None, None);
        while let Some(word) = words.next() {
            match word {
                "algorithm" | "algorithm:" => {
                    algorithm = Some(algorithm_of(words.next().unwrap_or_default())?)
                }
                "secret" | "secret:" => secret = Some(secret_of(words.next().unwrap_or_default())?),
                "key" | "id:" => return Err("it holds more than one key"),
                _ => {}
            }
        }
        let algorithm = algorithm.ok_or("it names no algorithm")?;
        let secret = secret.ok_or("it holds no secret")?;
        let signer = TSigner::new(secret, algorithm, key_name, FUDGE_SECS);
        signer.map(Self).map_err(|_| "its algorithm is not supported")
    }

    /// Its name, which the server knows it by.
    #[must_use]
    pub fn name(&self) -> String {
        name::to_text(self.0.signer_name())
    }
}

/// The words of a file of BIND's form: quotes are taken off, comments left out, signs of punctuation no words.
fn words_of(text: &str) -> Vec<String> {
    let without_comments = text.lines().map(|line| {
        let end = ["#", "//"].iter().filter_map(|mark| line.find(mark)).filter(|at| {
            // A secret in base64 may have slashes within its quotes.
            line.get(..*at).is_some_and(|before| before.matches('"').count() % 2 == 0)
        });
        line.get(..end.min().unwrap_or(line.len())).unwrap_or_default()
    });
    let text = without_comments.collect::<Vec<_>>().join("\n");
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | ';' | '"'));
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn algorithm_of(word: &str) -> Result<TsigAlgorithm, &'static str> {
    match word.trim_end_matches('.').to_ascii_lowercase().as_str() {
        "hmac-sha256" => Ok(TsigAlgorithm::HmacSha256),
        "hmac-sha384" => Ok(TsigAlgorithm::HmacSha384),
        "hmac-sha512" => Ok(TsigAlgorithm::HmacSha512),
        _ => Err("its algorithm is not hmac-sha256, hmac-sha384 or hmac-sha512"),
    }
}

fn secret_of(word: &str) -> Result<Vec<u8>, &'static str> {
    let secret = STANDARD.decode(word).map_err(|_| "its secret is not base64")?;
    if SECRET_OCTETS.contains(&secret.len()) {
        Ok(secret)
    } else {
        Err("its secret has not 16 to 1024 octets")
    }
}

/// A record that comes or goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Adds a record, which others may keep for so many seconds.
    Add(u32, Data),
    /// Removes a record, exactly as it was seen.
    Remove(Data),
}

/// What is to become of the records of one kind at one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordSet {
    /// The name, absolute, with or without its last dot.
    pub name: String,
    /// Their kind.
    pub kind: DataKind,
    /// All that were there when the change was made up. Where there are others now, nothing is changed.
    pub seen: Vec<Data>,
    /// What is to be done.
    pub edits: Vec<Edit>,
}

/// Why a zone was not changed. It is as it was, but for [`UpdateError::Silent`] and [`UpdateError::Unsigned`]: there it is
/// not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// A name can't be written.
    #[error("'{0}' is no name")]
    NoName(String),
    /// The change is larger than a message.
    #[error("the change is too large for one message")]
    TooLarge,
    /// The server can't be connected to.
    #[error("{0} can't be reached on TCP: {1}")]
    Unreachable(SocketAddr, io::ErrorKind),
    /// Nothing was heard in time.
    #[error("{0} does not answer")]
    Silent(SocketAddr),
    /// What it sent is no answer to this.
    #[error("what {0} answers can't be read")]
    Unreadable(SocketAddr),
    /// It says that it was done, and the signature is not that of the key.
    #[error("the answer of {0} is not signed with the key")]
    Unsigned(SocketAddr),
    /// The server does not know the key; Knot 3.2 says the same of one that it knows and that may not do this.
    #[error("the server does not know the key, or does not let it change this zone")]
    BadKey,
    /// The server's secret is another.
    #[error("the server has another secret for the key")]
    BadSignature,
    /// The clocks are too far apart.
    #[error("the server's clock and this one are more than five minutes apart")]
    BadTime,
    /// The server is not to be asked for this, or not with this key.
    #[error("the server refuses the change")]
    Refused,
    /// The server is not one of the zone's.
    #[error("the server does not have this zone")]
    NotZone,
    /// Records were there, or were not, other than seen.
    #[error("the zone was changed by somebody else meanwhile")]
    Changed,
    /// Something else.
    #[error("the server answers {0}")]
    Other(String),
}

/// Changes a zone; all of it, or nothing. `now` is the time in seconds since 1970, which is signed.
///
/// # Errors
/// [`UpdateError`].
pub async fn send(
    server: SocketAddr,
    zone: &str,
    sets: &[RecordSet],
    key: &UpdateKey,
    now: u64,
) -> Result<(), UpdateError> {
    let mut message = message(zone, sets)?;
    let verifier = message.finalize(&key.0, now).map_err(|_| UpdateError::TooLarge)?;
    let octets = message.to_vec().map_err(|_| UpdateError::TooLarge)?;
    let answer = match timeout(PATIENCE, by_stream(server, &octets)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidInput => return Err(UpdateError::TooLarge),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(UpdateError::Silent(server));
        }
        Ok(Err(error)) => return Err(UpdateError::Unreachable(server, error.kind())),
        Err(_) => return Err(UpdateError::Silent(server)),
    };
    judge(server, message.id, &answer, verifier)
}

fn message(zone: &str, sets: &[RecordSet]) -> Result<Message, UpdateError> {
    let to_wire = |text: &str| name::to_wire(text).ok_or_else(|| UpdateError::NoName(text.to_owned()));
    let mut message = Message::new(rand_id(), MessageType::Query, OpCode::Update);
    message.add_query(Query::query(to_wire(zone)?, RecordType::SOA));
    for set in sets {
        let name = to_wire(&set.name)?;
        message.add_answers(seen(&name, set));
        message.add_authorities(set.edits.iter().map(|edit| edit_record(&name, edit)));
    }
    Ok(message)
}

/// A number that tells an answer from another; over TCP nobody else can give one.
fn rand_id() -> u16 {
    Message::query().id
}

/// All that was seen is there still, and nothing else (RFC 2136 sections 2.4.2 and 2.4.3).
fn seen(name: &Name, set: &RecordSet) -> Vec<Record> {
    if set.seen.is_empty() {
        let mut none = Record::update0(name.clone(), 0, set.kind.wire());
        none.dns_class = DNSClass::NONE;
        return vec![none];
    }
    set.seen.iter().map(|data| Record::from_rdata(name.clone(), 0, data.0.clone())).collect()
}

/// RFC 2136 sections 2.5.1 and 2.5.4.
fn edit_record(name: &Name, edit: &Edit) -> Record {
    match edit {
        Edit::Add(ttl, data) => Record::from_rdata(name.clone(), *ttl, data.0.clone()),
        Edit::Remove(data) => {
            let mut record = Record::from_rdata(name.clone(), 0, data.0.clone());
            record.dns_class = DNSClass::NONE;
            record
        }
    }
}

/// What an answer says. That it was done is believed of the key's owner alone; a refusal is believed of anybody.
fn judge(
    server: SocketAddr,
    id: u16,
    octets: &[u8],
    verifier: Option<TSigVerifier>,
) -> Result<(), UpdateError> {
    let answer = Message::from_vec(octets).map_err(|_| UpdateError::Unreadable(server))?;
    if answer.id != id || answer.message_type != MessageType::Response {
        return Err(UpdateError::Unreadable(server));
    }
    let of_key = answer.signature().and_then(|signature| signature.data.error);
    let signed_at = answer.signature().map_or(0, |signature| signature.data.time);
    match (answer.response_code, of_key) {
        (ResponseCode::NoError, _) => match verifier {
            // Times before the first five minutes of 1970 are beyond the library's arithmetic.
            Some(mut verifier) if signed_at >= u64::from(u16::MAX) => {
                verifier.verify(octets).map(drop).map_err(|_| UpdateError::Unsigned(server))
            }
            _ => Err(UpdateError::Unsigned(server)),
        },
        (_, Some(TsigError::BadKey)) => Err(UpdateError::BadKey),
        (_, Some(TsigError::BadSig)) => Err(UpdateError::BadSignature),
        (_, Some(TsigError::BadTime)) => Err(UpdateError::BadTime),
        (ResponseCode::Refused, _) => Err(UpdateError::Refused),
        (ResponseCode::NotZone | ResponseCode::NotAuth, _) => Err(UpdateError::NotZone),
        (
            ResponseCode::YXDomain | ResponseCode::YXRRSet | ResponseCode::NXRRSet | ResponseCode::NXDomain,
            _,
        ) => Err(UpdateError::Changed),
        (other, _) => Err(UpdateError::Other(other.to_str().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "key \"postern.example.\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0IG9mIDE2IG9jdGV0cyBvciBtb3JlIS8vLys=\"; // not #2\n};\n";

    #[test]
    fn a_key_file_is_read_in_the_form_that_bind_and_knot_write() {
        let key = UpdateKey::parse(KEY).unwrap();
        assert_eq!(key.name(), "postern.example");
        assert_eq!(key.0.key(), b"secret of 16 octets or more!///+");
        assert_eq!(key.0.algorithm(), &TsigAlgorithm::HmacSha256);
        let other = KEY.replace("sha256", "SHA512").replace('"', "");
        assert_eq!(UpdateKey::parse(&other).map(|key| key.name()), Ok("postern.example".to_owned()));
        let knots = "# hmac-sha256:k:x=\nkey:\n  - id: postern.example\n    algorithm: hmac-sha256\n    secret: c2VjcmV0IG9mIDE2IG9jdGV0cyBvciBtb3JlIS8vLys=\n";
        let knots = UpdateKey::parse(knots).unwrap();
        assert_eq!((knots.name(), knots.0.key()), (key.name(), key.0.key()));
        assert_eq!(format!("{key:?}"), "UpdateKey(postern.example)");
    }

    #[test]
    fn what_is_no_key_is_told_without_its_secret() {
        let short = |length: usize| {
            let secret = "YWFh".repeat(length / 3);
            UpdateKey::parse(&format!("key k {{ algorithm hmac-sha256; secret \"{secret}\"; }};"))
        };
        assert!(short(15).is_err() && short(18).is_ok() && short(1023).is_ok() && short(1026).is_err());
        for (from, to) in [
            ("key", "kee"),
            ("hmac-sha256", "hmac-md5"),
            ("algorithm", "#"),
            ("secret", "#"),
            ("c2V", "c2"),
            ("c2V", "c*V"),
            ("};", "}; key other {};"),
        ] {
            let said = UpdateKey::parse(&KEY.replacen(from, to, 1)).unwrap_err();
            assert!(!said.contains("c2"), "{said}");
        }
        assert!(UpdateKey::parse("").is_err());
    }

    const NOW: u64 = 1_800_000_000;

    fn set() -> RecordSet {
        let data = |text| Data::parse(DataKind::Txt, text).unwrap();
        RecordSet {
            name: "example.org".to_owned(),
            kind: DataKind::Txt,
            seen: vec![data("old")],
            edits: vec![Edit::Remove(data("old")), Edit::Add(60, data("new"))],
        }
    }

    /// What a server answers to `asked`, signed with `key` if there is one.
    fn answer(asked: &Message, key: Option<&UpdateKey>, code: ResponseCode) -> Vec<u8> {
        let mut answer = Message::response(asked.id, OpCode::Update);
        answer.metadata.response_code = code;
        if let Some(UpdateKey(signer)) = key {
            let mac = asked.signature().map(|signed| signed.data.mac.clone()).unwrap_or_default();
            let context = hickory_resolver::proto::rr::TSigResponseContext::new(
                asked.id,
                NOW,
                signer.clone(),
                mac,
                None,
            );
            let signature = context.sign(&answer.to_vec().unwrap()).unwrap();
            answer.set_signature(signature);
        }
        answer.to_vec().unwrap()
    }

    #[test]
    fn only_the_keys_own_signature_makes_a_change_done() {
        let server: SocketAddr = "192.0.2.1:53".parse().unwrap();
        let key = UpdateKey::parse(KEY).unwrap();
        let other = UpdateKey::parse(&KEY.replace("c2V", "d2V")).unwrap();
        let judged = |with: Option<&UpdateKey>, code| {
            let mut asked = message("example.org", &[set()]).unwrap();
            let verifier = asked.finalize(&key.0, NOW).unwrap();
            judge(server, asked.id, &answer(&asked, with, code), verifier)
        };
        assert_eq!(judged(Some(&key), ResponseCode::NoError), Ok(()));
        assert_eq!(judged(Some(&other), ResponseCode::NoError), Err(UpdateError::Unsigned(server)));
        assert_eq!(judged(None, ResponseCode::NoError), Err(UpdateError::Unsigned(server)));
        for (code, error) in [
            (ResponseCode::Refused, UpdateError::Refused),
            (ResponseCode::NotAuth, UpdateError::NotZone),
            (ResponseCode::NotZone, UpdateError::NotZone),
            (ResponseCode::NXRRSet, UpdateError::Changed),
            (ResponseCode::YXRRSet, UpdateError::Changed),
            (ResponseCode::ServFail, UpdateError::Other("Server Failure".to_owned())),
        ] {
            assert_eq!(judged(None, code), Err(error));
        }
        assert_eq!(judge(server, 1, b"no message", None), Err(UpdateError::Unreadable(server)));
    }

    #[test]
    fn what_was_seen_is_a_prerequisite_and_what_was_not_is_one_too() {
        let asked = message("example.org", &[set(), RecordSet { seen: Vec::new(), ..set() }]).unwrap();
        let read = Message::from_vec(&asked.to_vec().unwrap()).unwrap();
        let classes: Vec<_> = read.answers.iter().map(|record| (record.dns_class, record.ttl)).collect();
        assert_eq!(classes, [(DNSClass::IN, 0), (DNSClass::NONE, 0)]);
        let steps: Vec<_> = read.authorities.iter().map(|record| (record.dns_class, record.ttl)).collect();
        assert_eq!(steps[..2], [(DNSClass::NONE, 0), (DNSClass::IN, 60)]);
        assert!(message("a..b", &[]).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_the_connection_and_is_silent_is_not_waited_for_for_ever() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (server, key) = (silent.local_addr().unwrap(), UpdateKey::parse(KEY).unwrap());
        let said = send(server, "example.org", &[set()], &key, NOW).await;
        assert_eq!(said, Err(UpdateError::Silent(server)));
        drop(silent);
        let said = send(server, "example.org", &[set()], &key, NOW).await;
        assert_eq!(said, Err(UpdateError::Unreachable(server, io::ErrorKind::ConnectionRefused)));
    }
}
