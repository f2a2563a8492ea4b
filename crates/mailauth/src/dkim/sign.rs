//! Signing (RFC 6376 section 5): a finished header section and the hash of its body in, signature fields out.
//!
//! What is signed is fixed: `relaxed/relaxed`, the whole body (never `l=`), and the fields below. A key is read
//! once and used many times. Nothing is sent or kept here; whoever calls knows which key is a domain's.

use aws_lc_rs::digest::Digest;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail::UnixTime;
use mail::header;

use super::body::{BodyHashes, FinishedHashes};
use super::canonical::{self, Canonicalization, Hasher};
use super::fields::HeaderFields;
use super::key::KeyRecord;
use super::signature::{Algorithm, base64, domain as valid_domain, selector as valid_selector};
use super::tag_list::TagList;

/// Fields that are signed once more than they are there, so that nobody can add one (RFC 6376 section 8.15).
/// They are what people see and what a reply goes to.
const OVERSIGNED: [&str; 6] = ["From", "Subject", "Date", "To", "Cc", "Reply-To"];
/// Fields that are signed as often as they are there.
const SIGNED: [&str; 6] =
    ["Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding", "In-Reply-To", "References"];

/// Most fields of one name that are signed. RFC 5322 section 3.6 allows one; more than this is no mail.
pub const FIELDS_OF_A_NAME_MAX: usize = 16;

/// Characters of a line of the signature field, at most: RFC 5322 section 2.1.1 asks for 78.
const LINE_CHARS: usize = 72;

/// The reasons why nothing was signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The message's fault: it has more fields of this name than [`FIELDS_OF_A_NAME_MAX`].
    #[error("the message has more than {FIELDS_OF_A_NAME_MAX} {0} fields")]
    TooManyFields(&'static str),
    /// The caller's: no name that can be written as `d=` or `s=`.
    #[error("{0} is no name for a signature")]
    Name(String),
    /// The caller's: the body was not hashed with what [`body_hashes`] made.
    #[error("the body was not hashed for a signature")]
    NoBodyHash,
    /// The operator's: what is kept as a key is none of this kind, or of another size.
    #[error("the private key can't be used: it is no {0} key in PKCS #8 form")]
    BadKey(&'static str),
    /// Our fault, or the machine's: the cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

impl From<aws_lc_rs::error::Unspecified> for SignError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Library
    }
}

/// The kinds of keys that sign here, each with its own selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// RSA of 2048 bits, which every receiver knows (RFC 8301 section 3.2).
    Rsa,
    /// Ed25519 (RFC 8463).
    Ed25519,
}

impl KeyKind {
    const fn algorithm(self) -> Algorithm {
        match self {
            Self::Rsa => Algorithm::RsaSha256,
            Self::Ed25519 => Algorithm::Ed25519Sha256,
        }
    }

    /// A new private key, as PKCS #8. An RSA key takes some hundred milliseconds.
    ///
    /// # Errors
    /// [`SignError::Library`].
    pub fn generate(self) -> Result<Vec<u8>, SignError> {
        let der: Pkcs8V1Der<'_> = match self {
            Self::Rsa => RsaKeyPair::generate(KeySize::Rsa2048)?.as_der()?,
            Self::Ed25519 => Ed25519KeyPair::generate()?.as_der()?,
        };
        Ok(der.as_ref().to_vec())
    }
}

#[derive(Debug)]
enum KeyPair {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Ed25519KeyPair),
}

/// A private key, ready to sign for one domain. Its `Debug` form shows no secret.
#[derive(Debug)]
pub struct SigningKey {
    domain: String,
    selector: String,
    pair: KeyPair,
}

impl SigningKey {
    /// Reads a private key (PKCS #8). `domain` and `selector` are in A-labels.
    ///
    /// # Errors
    /// [`SignError::Name`], [`SignError::BadKey`].
    pub fn new(domain: &str, selector: &str, kind: KeyKind, pkcs8: &[u8]) -> Result<Self, SignError> {
        let pair = match kind {
            KeyKind::Rsa => RsaKeyPair::from_pkcs8(pkcs8).ok().map(|pair| KeyPair::Rsa(Box::new(pair))),
            KeyKind::Ed25519 => Ed25519KeyPair::from_pkcs8(pkcs8).ok().map(KeyPair::Ed25519),
        };
        let pair = pair.ok_or(SignError::BadKey(kind.algorithm().as_str()))?;
        let domain = valid_domain(domain).ok_or_else(|| SignError::Name(domain.to_owned()))?;
        let selector = valid_selector(selector).ok_or_else(|| SignError::Name(selector.to_owned()))?;
        Ok(Self { domain, selector, pair })
    }

    /// The signing domain: `d=`, in lower case.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The text to publish at `SELECTOR._domainkey.DOMAIN` (RFC 6376 section 3.6.1, RFC 8463 section 4).
    ///
    /// # Errors
    /// [`SignError::Library`].
    pub fn record(&self) -> Result<String, SignError> {
        Ok(match &self.pair {
            KeyPair::Rsa(pair) => {
                format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(pair.public_key().as_der()?.as_ref()))
            }
            KeyPair::Ed25519(pair) => {
                format!("v=DKIM1; k=ed25519; p={}", STANDARD.encode(pair.public_key().as_ref()))
            }
        })
    }

    /// The selector: `s=`.
    #[must_use]
    pub fn selector(&self) -> &str {
        &self.selector
    }

    /// Whether it is an RSA key, which every receiver can check.
    #[must_use]
    pub const fn is_rsa(&self) -> bool {
        matches!(self.pair, KeyPair::Rsa(_))
    }

    pub(crate) const fn algorithm(&self) -> Algorithm {
        match self.pair {
            KeyPair::Rsa(_) => Algorithm::RsaSha256,
            KeyPair::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    pub(crate) fn sign(&self, digest: &Digest) -> Result<Vec<u8>, SignError> {
        match &self.pair {
            KeyPair::Rsa(pair) => {
                let mut octets = vec![0; pair.public_modulus_len()];
                pair.sign_digest(&RSA_PKCS1_SHA256, digest, &mut octets)?;
                Ok(octets)
            }
            KeyPair::Ed25519(pair) => Ok(pair.sign(digest.as_ref()).as_ref().to_vec()),
        }
    }
}

/// Octets of a domain that signs, at most: its keys' names have to fit into 253 (RFC 1035 section 2.3.4).
const DOMAIN_OCTETS_MAX: usize = 220;

/// Whether a domain can have keys: it has two labels or more and room for a selector in front.
#[must_use]
pub fn can_sign_for(domain: &str) -> bool {
    domain.len() <= DOMAIN_OCTETS_MAX && valid_domain(domain).is_some()
}

/// Whether a TXT record gives receivers the key of `record`, which [`SigningKey::record`] made. It may be written
/// otherwise: in another order, with spaces, without the tags that have a default.
#[must_use]
pub fn publishes(text: &[u8], record: &str) -> bool {
    let key = |text: &[u8]| {
        let tags = TagList::parse(text).ok()?;
        let kind = tags.value("k").unwrap_or("rsa").to_owned();
        let usable = match kind.as_str() {
            "ed25519" => KeyRecord::parse(text, Algorithm::Ed25519Sha256).is_ok(),
            _ => KeyRecord::parse(text, Algorithm::RsaSha256).is_ok(),
        };
        tags.value("p").and_then(base64).filter(|_| usable).map(|octets| (kind, octets))
    };
    let wanted = key(record.as_bytes());
    wanted.is_some() && key(text) == wanted
}

/// What is to be fed with the body of a message that will be signed.
#[must_use]
pub fn body_hashes() -> BodyHashes {
    BodyHashes::for_forms(std::iter::once(Canonicalization::Relaxed))
}

/// One DKIM-Signature field for each key, to be put above the header section, which must not change any more in
/// the fields that are signed. `header` is with or without its empty line; a name in it may come
/// [`FIELDS_OF_A_NAME_MAX`] times. `body` comes from [`body_hashes`]. RSA takes about a millisecond.
///
/// # Errors
/// [`SignError`]; then nothing is signed.
pub fn sign<'a>(
    header: &[u8],
    body: &FinishedHashes,
    keys: impl IntoIterator<Item = &'a SigningKey>,
    now: UnixTime,
) -> Result<Vec<u8>, SignError> {
    let signed = Signed {
        names: names(header)?,
        fields: HeaderFields::new(header),
        body_hash: body.relaxed().ok_or(SignError::NoBodyHash)?,
        now,
    };
    let mut out = Vec::new();
    for key in keys {
        out.extend_from_slice(&signed.field(key)?);
    }
    Ok(out)
}

/// What all signatures of a message have in common.
struct Signed<'a> {
    /// The names of `h=`.
    names: Vec<&'static str>,
    fields: HeaderFields<'a>,
    body_hash: &'a Digest,
    now: UnixTime,
}

impl Signed<'_> {
    /// The whole field with its line end.
    fn field(&self, key: &SigningKey) -> Result<Vec<u8>, SignError> {
        let mut field = format!(
            "DKIM-Signature: v=1; a={}; c=relaxed/relaxed;\r\n\td={};\r\n\ts={}; t={};\r\n\t",
            key.algorithm().as_str(),
            key.domain,
            key.selector,
            self.now.as_secs(),
        );
        put_names(&self.names, &mut field);
        field.push_str(";\r\n\tbh=");
        field.push_str(&STANDARD.encode(self.body_hash.as_ref()));
        field.push_str(";\r\n\tb=");
        let digest = header_hash(&self.fields, &self.names, &field);
        put_signature(&key.sign(&digest)?, &mut field);
        Ok(field.into_bytes())
    }
}

/// RFC 6376 section 3.7: the signed fields, then the signature's own, `own`, which ends with an empty `b=`.
pub(crate) fn header_hash(fields: &HeaderFields<'_>, names: &[&str], own: &str) -> Digest {
    let mut hasher = Hasher::new();
    let names: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
    // Its own field is not in the header yet: no offset is that of it.
    for field in fields.select(&names, usize::MAX) {
        canonical::field(Canonicalization::Relaxed, field, &mut hasher);
    }
    if let Some(own) = header::fields(own.as_bytes()).next() {
        canonical::signature_field(Canonicalization::Relaxed, &own, &(0..0), &mut hasher);
    }
    hasher.finish()
}

/// Puts the value of `b=`, folded, and the line end behind a signature field.
pub(crate) fn put_signature(signature: &[u8], field: &mut String) {
    let signature = STANDARD.encode(signature);
    let mut rest = signature.as_str();
    while let Some((line, more)) = rest.split_at_checked(LINE_CHARS) {
        field.push_str(line);
        field.push_str("\r\n\t ");
        rest = more;
    }
    field.push_str(rest);
    field.push_str("\r\n");
}

/// The names of `h=`, one for each field that is signed.
pub(crate) fn names(header: &[u8]) -> Result<Vec<&'static str>, SignError> {
    let mut names = Vec::new();
    for (name, more) in OVERSIGNED.map(|name| (name, 1)).into_iter().chain(SIGNED.map(|name| (name, 0))) {
        let count = header::count(header, name);
        if count > FIELDS_OF_A_NAME_MAX {
            return Err(SignError::TooManyFields(name));
        }
        names.extend(std::iter::repeat_n(name, count + more));
    }
    Ok(names)
}

/// `h=` with its names, folded.
pub(crate) fn put_names(names: &[&str], field: &mut String) {
    field.push_str("h=");
    let mut column = "h=".len();
    for (place, name) in names.iter().enumerate() {
        if place > 0 {
            field.push(':');
            column += 1;
            if column + name.len() > LINE_CHARS {
                field.push_str("\r\n\t ");
                column = 0;
            }
        }
        field.push_str(name);
        column += name.len();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::dkim::tests::{RFC8463_MESSAGE, crlf, wait};
    use crate::dkim::{DkimResult, DkimVerdict, Signature, Signatures};
    use crate::dns::zone::Zone;

    const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);

    fn keys() -> &'static [SigningKey; 2] {
        static KEYS: OnceLock<[SigningKey; 2]> = OnceLock::new();
        KEYS.get_or_init(|| {
            [("20261124r", KeyKind::Rsa), ("20261124e", KeyKind::Ed25519)].map(|(selector, kind)| {
                SigningKey::new("Example.org", selector, kind, &kind.generate().unwrap()).unwrap()
            })
        })
    }

    fn hashed(body: &[u8]) -> FinishedHashes {
        let mut hashes = body_hashes();
        body.chunks(5).for_each(|piece| hashes.update(piece));
        hashes.finish()
    }

    fn signed(message: &[u8]) -> Vec<u8> {
        let (head, body) = message.split_at(header::body_offset(message));
        [&sign(head, &hashed(body), keys(), NOW).unwrap(), message].concat()
    }

    fn verified(message: &[u8]) -> Vec<DkimVerdict> {
        let mut zone = Zone::default();
        for key in keys() {
            zone = zone.txt(&format!("{}._domainkey.example.org", key.selector), &key.record().unwrap());
        }
        let (head, body) = message.split_at(header::body_offset(message));
        let signatures = Signatures::parse(head);
        let mut hashes = signatures.body_hashes();
        hashes.update(body);
        let keys = wait(signatures.keys(&zone));
        signatures.verify(head, &hashes.finish(), &keys, NOW)
    }

    fn results(message: &[u8]) -> [DkimResult; 2] {
        let verdicts = verified(message);
        [verdicts[0].result, verdicts[1].result]
    }

    const PASS: [DkimResult; 2] = [DkimResult::Pass; 2];
    const FAIL: [DkimResult; 2] = [DkimResult::Fail; 2];
    const HEADER: &str = "Received: from a by b\r\nFrom: A <a@example.org>\r\nTo: b@example.net\r\nSubject: x\r\n\
        Date: d\r\nMessage-ID: <1@example.org>\r\n";

    #[test]
    fn what_is_signed_passes_with_both_keys() {
        let long = format!("Subject: {}\r\n  {}\r\n", "w ".repeat(400), "x".repeat(900));
        for (header, body) in [
            (HEADER.to_owned(), "Hello.\r\n".to_owned()),
            (HEADER.to_owned(), String::new()),
            (HEADER.to_owned(), "no line end".to_owned()),
            (HEADER.to_owned(), " \t\r\nx  y\t \r\n\r\n \r\n\r\n".to_owned()),
            (HEADER.replace("Subject: x", "Subject:"), "\r\n\r\n".to_owned()),
            (HEADER.replace("Subject: x", "Subject: Grüße \u{1f600}"), "ä\r\n".to_owned()),
            (HEADER.replace("Subject: x\r\n", &long), "z".repeat(100_000)),
            ("from:a@example.org\r\nReferences: <1@a>\r\n\t<2@a>\r\n".to_owned(), "x\r\n".to_owned()),
        ] {
            let verdicts = verified(&signed(format!("{header}\r\n{body}").as_bytes()));
            assert_eq!(verdicts.len(), 2);
            for verdict in verdicts {
                assert_eq!(verdict.result, DkimResult::Pass, "{header}: {}", verdict.reason);
                assert_eq!(verdict.domain, "example.org");
            }
        }
    }

    #[test]
    fn fields_that_people_see_can_be_neither_changed_nor_added() {
        let message = signed(format!("{HEADER}\r\nHello.\r\n").as_bytes());
        let text = String::from_utf8(message.clone()).unwrap();
        assert_eq!(results(text.replace("Received: from a", "Received: from c").as_bytes()), PASS);
        assert_eq!(results(&[b"X-List: y\r\n", &message[..]].concat()), PASS);
        for name in OVERSIGNED {
            let added = format!("{name}: eve@example.net\r\n");
            assert_eq!(results(&[added.as_bytes(), &message[..]].concat()), FAIL, "{name} above");
            let below = text.replacen("\r\n\r\n", &format!("\r\n{added}\r\n"), 1);
            assert_eq!(results(below.as_bytes()), FAIL, "{name} below");
        }
        for (from, to) in
            [("To: b@", "To: c@"), ("<1@", "<2@"), ("Hello", "Hallo"), ("Hello.\r\n", "Hello.\r\nx")]
        {
            assert_eq!(results(text.replace(from, to).as_bytes()), FAIL, "{from}");
        }
    }

    #[test]
    fn the_fields_say_what_was_signed_and_how() {
        let message = String::from_utf8(signed(format!("{HEADER}\r\n").as_bytes())).unwrap();
        let value = header::find(message.as_bytes(), "DKIM-Signature").unwrap().unfolded();
        let without_folds: String = value.chars().filter(|c| !c.is_whitespace()).collect();
        let start = "v=1;a=rsa-sha256;c=relaxed/relaxed;d=example.org;s=20261124r;t=1795500000;\
            h=From:From:Subject:Subject:Date:Date:To:To:Cc:Reply-To:Message-ID;\
            bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;b=";
        assert!(without_folds.starts_with(start), "{without_folds}");
        assert!(!value.contains("l=") && !value.contains("x="), "{value}");
        assert!(message.lines().all(|line| line.len() <= 78), "{message}");
    }

    #[test]
    fn as_many_fields_of_a_name_as_the_limit_are_signed_and_one_more_refused() {
        let many = |count: usize| format!("{}{HEADER}\r\n", "Cc: x@example.net\r\n".repeat(count));
        assert_eq!(results(&signed(many(FIELDS_OF_A_NAME_MAX).as_bytes())), PASS);
        let refused = sign(many(FIELDS_OF_A_NAME_MAX + 1).as_bytes(), &hashed(b""), keys(), NOW);
        assert_eq!(refused, Err(SignError::TooManyFields("Cc")));
    }

    /// RFC 8463 appendix A: its private key makes the record and the signature that are printed there.
    #[test]
    fn the_key_of_rfc_8463_makes_the_signature_of_rfc_8463() {
        let seed = STANDARD.decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").unwrap();
        let head = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        let pkcs8 = [&head[..], &seed].concat();
        let key = SigningKey::new("football.example.com", "brisbane", KeyKind::Ed25519, &pkcs8).unwrap();
        let record = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
        assert_eq!(key.record().unwrap(), record);
        let message = crlf(RFC8463_MESSAGE);
        let own = header::find(&message, "DKIM-Signature").unwrap();
        let printed = Signature::parse(own.value).unwrap();
        let hash = printed.scope.header_hash(&HeaderFields::new(&message), &own, &printed.mark);
        assert_eq!(key.sign(&hash).unwrap(), printed.mark.octets);
        let body = &message[header::body_offset(&message)..];
        assert_eq!(hashed(body).relaxed().unwrap().as_ref(), printed.scope.body_hash);
    }

    #[test]
    fn a_record_is_known_however_it_is_written_and_no_other_is() {
        for key in keys() {
            let record = key.record().unwrap();
            let (start, octets) = record.split_at(record.find("p=").unwrap() + 2);
            let kind = if start.contains("ed25519") { "k=ed25519; " } else { "" };
            let (one, two) = octets.split_at(20);
            for other in [
                record.clone(),
                format!("{kind}p={octets}"),
                format!("v=DKIM1;{kind} s=email; p={one} {two} ;"),
            ] {
                assert!(publishes(other.as_bytes(), &record), "{other}");
            }
            for other in [
                "",
                "v=spf1 -all",
                "v=DKIM1; p=",
                &format!("{kind}s=tls; p={octets}"),
                &format!("k=x; p={octets}"),
            ] {
                assert!(!publishes(other.as_bytes(), &record), "{other}");
            }
        }
        let [rsa, ed25519] = keys();
        assert!(!publishes(rsa.record().unwrap().as_bytes(), &ed25519.record().unwrap()));
    }

    #[test]
    fn a_domain_signs_up_to_the_longest_and_not_without_a_dot() {
        let long = |octets: usize| format!("{}{}.org", "abc.".repeat(53), "x".repeat(octets - 216));
        assert!(can_sign_for("example.org") && can_sign_for(&long(DOMAIN_OCTETS_MAX)));
        assert!(!can_sign_for("localhost") && !can_sign_for(&long(DOMAIN_OCTETS_MAX + 1)));
    }

    #[test]
    fn a_key_that_is_none_and_a_body_that_was_not_hashed_are_refused() {
        let rsa = KeyKind::Rsa;
        let ed25519 = KeyKind::Ed25519.generate().unwrap();
        for octets in [&b""[..], b"x", &ed25519] {
            let refused = SigningKey::new("example.org", "s", rsa, octets).unwrap_err();
            assert_eq!(refused, SignError::BadKey("rsa-sha256"));
        }
        for (domain, selector) in
            [("localhost", "s"), ("a..b", "s"), ("example.org", "a b"), ("example.org", "")]
        {
            let refused = SigningKey::new(domain, selector, KeyKind::Ed25519, &ed25519);
            assert!(matches!(refused, Err(SignError::Name(_))), "{domain} {selector}");
        }
        let unfed = BodyHashes::default().finish();
        assert_eq!(sign(HEADER.as_bytes(), &unfed, keys(), NOW), Err(SignError::NoBodyHash));
    }
}
