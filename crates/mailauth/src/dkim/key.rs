//! Public keys as they are published (RFC 6376 section 3.6, RFC 8463 section 4), and the questions for them.

use std::collections::BTreeMap;

use aws_lc_rs::digest::Digest;
use aws_lc_rs::signature::{ED25519, ParsedPublicKey, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY};

use super::DkimResult;
use super::signature::{Algorithm, Mark, Problem, base64};
use super::tag_list::{TagList, by_colon};
use crate::dns::{Answer, Answers, LookupError, Record, Resolver};

/// Octets of a key record that is read: an RSA key of 8192 bits takes under 1500.
const RECORD_OCTETS_MAX: usize = 8 * 1024;
/// Records at one name that are looked at.
const RECORDS_MAX: usize = 8;

const RSA_BITS_MIN: u32 = 1024;
const RSA_BITS_MAX: u32 = 8192;

/// A key, ready for use.
#[derive(Debug)]
enum PublicKey {
    Rsa(ParsedPublicKey),
    Ed25519(ParsedPublicKey),
}

/// A key record.
#[derive(Debug)]
pub(crate) struct KeyRecord {
    key: PublicKey,
    pub(crate) bits: u32,
    /// `t=y`: the domain tries DKIM out (RFC 6376 section 3.6.1).
    pub(crate) testing: bool,
    /// `t=s`: the agent's domain is the signer's and none below it.
    pub(crate) strict: bool,
}

impl KeyRecord {
    /// Reads a record for a signature with `algorithm`.
    pub(crate) fn parse(text: &[u8], algorithm: Algorithm) -> Result<Self, &'static str> {
        if text.len() > RECORD_OCTETS_MAX {
            return Err("key record is too long");
        }
        let tags = TagList::parse(text).map_err(|_| "key record has a syntax error")?;
        if tags.value("v").is_some_and(|version| version != "DKIM1" || !tags.starts_with("v")) {
            return Err("key record has another version");
        }
        let octets = tags.value("p").ok_or("key record has no key")?;
        if octets.is_empty() {
            return Err("key is revoked");
        }
        let lists = |name, wanted: [&str; 2]| {
            tags.value(name).is_none_or(|list| by_colon(list).any(|word| wanted.contains(&word)))
        };
        if !lists("h", ["sha256", "sha256"]) {
            return Err("key is not for SHA-256");
        }
        if !lists("s", ["*", "email"]) {
            return Err("key is not for mail");
        }
        let octets = base64(octets).ok_or("key is not base64")?;
        let (key, bits) = match (tags.value("k").unwrap_or("rsa"), algorithm) {
            ("rsa", Algorithm::RsaSha256 | Algorithm::RsaSha1) => rsa(&octets)?,
            ("ed25519", Algorithm::Ed25519Sha256) => ed25519(&octets)?,
            _ => return Err("key is of another type"),
        };
        let flag = |flag| tags.value("t").is_some_and(|flags| by_colon(flags).any(|word| word == flag));
        Ok(Self { key, bits, testing: flag("y"), strict: flag("s") })
    }

    /// Whether `signature` is this key's over what has `digest`.
    pub(crate) fn verifies(&self, digest: &Digest, signature: &[u8]) -> bool {
        match &self.key {
            PublicKey::Rsa(key) => key.verify_digest_sig(digest, signature),
            // The hash is the message that is signed (RFC 8463 section 3).
            PublicKey::Ed25519(key) => key.verify_sig(digest.as_ref(), signature),
        }
        .is_ok()
    }
}

/// A SubjectPublicKeyInfo, or the RSAPublicKey in it alone: RFC 6376 section 3.6.1 says the latter, its example
/// and nearly all keys are the former.
fn rsa(der: &[u8]) -> Result<(PublicKey, u32), &'static str> {
    const NOT_RSA: &str = "key is not an RSA key";
    let bits = modulus_bits(der).ok_or(NOT_RSA)?;
    if bits < RSA_BITS_MIN {
        // RFC 8301 section 3.2
        return Err("key is too short");
    }
    if bits > RSA_BITS_MAX {
        return Err("key is too long");
    }
    let key =
        ParsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, der).map_err(|_| NOT_RSA)?;
    Ok((PublicKey::Rsa(key), bits))
}

/// The size of an RSA key, from its first octets: to have the library parse it twice takes as long as the half of a
/// verification. What is malformed elsewhere is for the library to find, which also holds the limits when it verifies.
fn modulus_bits(der: &[u8]) -> Option<u32> {
    const SEQUENCE: u8 = 0x30;
    const INTEGER: u8 = 0x02;
    const BIT_STRING: u8 = 0x03;
    let (mut fields, _) = element(der, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, SEQUENCE) {
        // The first was the algorithm; the key itself is in the octets of a bit string.
        let (bits, _) = element(rest, BIT_STRING)?;
        (fields, _) = element(bits.strip_prefix(&[0])?, SEQUENCE)?;
    }
    let (modulus, _) = element(fields, INTEGER)?;
    let from = modulus.iter().position(|octet| *octet != 0)?;
    let modulus = modulus.get(from..)?;
    let unused = modulus.first()?.leading_zeros();
    u32::try_from(modulus.len()).ok()?.checked_mul(8)?.checked_sub(unused)
}

/// The content of the element that `der` starts with, if it has this tag, and what follows it (X.690 section 8.1).
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        // A length of more octets than two is longer than any record.
        0x81 | 0x82 => {
            let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (length.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length).filter(|_| *first == tag)
}

/// 32 octets, in no structure (RFC 8463 section 4.2).
fn ed25519(octets: &[u8]) -> Result<(PublicKey, u32), &'static str> {
    const NOT_ED25519: &str = "key is not an Ed25519 key";
    if octets.len() != 32 {
        return Err(NOT_ED25519);
    }
    let key = ParsedPublicKey::new(&ED25519, octets).map_err(|_| NOT_ED25519)?;
    Ok((PublicKey::Ed25519(key), 256))
}

/// Names with the algorithm whose key is wanted.
type Question = (String, Algorithm);

fn question(mark: &Mark) -> Question {
    (mark.key_name(), mark.algorithm)
}

/// The keys that were found, or why there are none, for all signatures that asked.
#[derive(Debug, Default)]
pub struct Keys(BTreeMap<(String, &'static str), Result<KeyRecord, Problem>>);

impl Keys {
    /// Asks for the keys of all `marks`, side by side, each name once.
    pub(crate) async fn ask<'a>(marks: impl Iterator<Item = &'a Mark>, resolver: &impl Resolver) -> Self {
        let marks: Vec<&Mark> = marks.collect();
        let names = marks.iter().map(|mark| mark.key_name()).collect();
        let answers = Answers::ask(names, resolver).await;
        Self::among(marks.into_iter(), &answers)
    }

    /// The keys of all `marks`, from answers to the questions for their names.
    pub(crate) fn among<'a>(marks: impl Iterator<Item = &'a Mark>, answers: &Answers) -> Self {
        let mut keys = BTreeMap::new();
        for (name, algorithm) in marks.map(question) {
            let Some(answer) = answers.of(&name) else { continue };
            keys.entry((name, algorithm.as_str())).or_insert_with(|| choose(answer, algorithm));
        }
        Self(keys)
    }

    /// The key of a signature.
    pub(crate) fn of(&self, mark: &Mark) -> Result<&KeyRecord, Problem> {
        match self.0.get(&(mark.key_name(), mark.algorithm.as_str())) {
            Some(Ok(record)) => Ok(record),
            Some(Err(problem)) => Err(problem.clone()),
            None => Err(Problem::new(DkimResult::TempError, "the key was not asked for")),
        }
    }
}

/// RFC 6376 section 3.6.2.2 leaves open what several records at one name mean. The first that can be used is
/// taken, so that a stray text does no harm; when none can, the first says why.
fn choose(answer: &Answer, algorithm: Algorithm) -> Result<KeyRecord, Problem> {
    let records = match answer {
        Ok(records) => records,
        Err(LookupError::Temporary(_)) => {
            return Err(Problem::new(DkimResult::TempError, "DNS gives no answer for the key"));
        }
        Err(LookupError::NoSuchName | LookupError::NoRecords) => {
            return Err(Problem::new(DkimResult::PermError, "no key is published"));
        }
    };
    let mut why = None;
    let texts = records.iter().filter_map(|record| match record {
        Record::Txt(text) => Some(text),
        _ => None,
    });
    for text in texts.take(RECORDS_MAX) {
        match KeyRecord::parse(text, algorithm) {
            Ok(record) => return Ok(record),
            Err(reason) => why = why.or(Some(reason)),
        }
    }
    Err(Problem::new(DkimResult::PermError, why.unwrap_or("no key is published")))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;
    use crate::dkim::signature::BASE64;

    /// RFC 8463 appendix A.2.
    const ED25519_KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    const RSA_KEY: &str = crate::dkim::tests::RFC8463_RSA_KEY;

    fn rsa_key(record: &str) -> Result<KeyRecord, &'static str> {
        KeyRecord::parse(record.replace("KEY", RSA_KEY).as_bytes(), Algorithm::RsaSha256)
    }

    #[test]
    fn records_say_what_the_key_is_for() {
        let record =
            rsa_key(" v = DKIM1 ; k=rsa; h = sha1 : sha256; s=tls:email; t=y : s; n=note; p = KEY ;")
                .unwrap();
        assert_eq!((record.bits, record.testing, record.strict), (1024, true, true));
        let record = rsa_key("p=KEY").unwrap();
        assert_eq!((record.bits, record.testing, record.strict), (1024, false, false));
        assert!(rsa_key("v=DKIM1; s=*; p=KEY; unknown=1").is_ok());
        let split = format!("p={} {}", &RSA_KEY[..40], &RSA_KEY[40..]);
        assert!(rsa_key(&split).is_ok());
    }

    #[test]
    fn records_that_are_of_no_use_say_why() {
        for (record, reason) in [
            ("v=DKIM2; p=KEY", "key record has another version"),
            ("p=KEY; v=DKIM1", "key record has another version"),
            ("v=dkim1; p=KEY", "key record has another version"),
            ("v=spf1 -all", "key record has another version"),
            ("v=DKIM1; k=rsa", "key record has no key"),
            ("v=DKIM1; p=", "key is revoked"),
            ("v=DKIM1; p=;", "key is revoked"),
            ("h=sha1; p=KEY", "key is not for SHA-256"),
            ("h=; p=KEY", "key is not for SHA-256"),
            ("s=tls; p=KEY", "key is not for mail"),
            ("k=ed25519; p=KEY", "key is of another type"),
            ("k=RSA; p=KEY", "key is of another type"),
            ("p=!!", "key is not base64"),
            ("p=AAAA", "key is not an RSA key"),
            ("p=KEY; p=KEY", "key record has a syntax error"),
            ("", "key record has a syntax error"),
        ] {
            assert_eq!(rsa_key(record).err(), Some(reason), "{record}");
        }
        let padded = |octets: usize| {
            let head = format!("p={RSA_KEY}; n=");
            format!("{head}{}", "x".repeat(octets - head.len()))
        };
        assert!(rsa_key(&padded(RECORD_OCTETS_MAX)).is_ok());
        assert_eq!(rsa_key(&padded(RECORD_OCTETS_MAX + 1)).err(), Some("key record is too long"));
    }

    #[test]
    fn an_rsa_key_may_stand_without_its_wrapping() {
        let spki = BASE64.decode(RSA_KEY).unwrap();
        let bare = aws_lc_rs::signature::RsaSubjectPublicKey::from_der(&spki).unwrap();
        let record = format!("p={}", BASE64.encode(bare.as_ref()));
        assert_eq!(rsa_key(&record).unwrap().bits, 1024);
    }

    /// The RSAPublicKey of a modulus of so many octets whose highest bit is set.
    fn rsa_der(octets: u8) -> String {
        let modulus = vec![0xff; usize::from(octets)];
        let body = [&[2, 0x81, octets + 1, 0], modulus.as_slice(), &[2, 3, 1, 0, 1]].concat();
        let der = [&[0x30, 0x81, u8::try_from(body.len()).unwrap()], body.as_slice()].concat();
        BASE64.encode(der)
    }

    #[test]
    fn a_key_below_1024_bits_is_too_short() {
        assert_eq!(rsa_key(&format!("p={}", rsa_der(127))).err(), Some("key is too short"));
        assert_eq!(rsa_key(&format!("p={}", rsa_der(128))).unwrap().bits, 1024);
    }

    #[test]
    fn the_size_that_is_read_is_the_one_that_the_library_finds() {
        use aws_lc_rs::encoding::AsDer as _;
        use aws_lc_rs::rsa::KeySize;
        use aws_lc_rs::signature::{KeyPair as _, RsaKeyPair, RsaParameters};
        for size in [KeySize::Rsa2048, KeySize::Rsa3072] {
            let key = RsaKeyPair::generate(size).unwrap();
            let bare = key.public_key().as_ref();
            let wrapped = key.public_key().as_der().unwrap();
            let bits = RsaParameters::public_modulus_len(bare).unwrap();
            assert_eq!((modulus_bits(bare), modulus_bits(wrapped.as_ref())), (Some(bits), Some(bits)));
            for end in 0..wrapped.as_ref().len() {
                assert_eq!(modulus_bits(&wrapped.as_ref()[..end]), None, "cut at {end}");
            }
        }
        let mut short = BASE64.decode(rsa_der(128)).unwrap();
        assert_eq!(modulus_bits(&short), Some(1024));
        *short.iter_mut().find(|octet| **octet == 0xff).unwrap() = 0x7f;
        assert_eq!(modulus_bits(&short), Some(1023));
        for odd in [
            &[][..],
            &[0x30],
            &[0x30, 0x80],
            &[0x30, 0x84, 0, 0, 0, 0],
            &[0x30, 2, 2, 0],
            &[0x30, 3, 2, 1, 0],
        ] {
            assert_eq!(modulus_bits(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn an_ed25519_key_has_32_octets() {
        let parse = |record: &str| KeyRecord::parse(record.as_bytes(), Algorithm::Ed25519Sha256);
        assert_eq!(parse(&format!("k=ed25519; p={ED25519_KEY}")).unwrap().bits, 256);
        assert_eq!(parse("k=ed25519; p=AAAA").err(), Some("key is not an Ed25519 key"));
        assert_eq!(parse(&format!("p={ED25519_KEY}")).err(), Some("key is of another type"));
    }

    #[test]
    fn of_several_records_the_first_that_can_be_used_counts() {
        let record = |text: &&str| Record::Txt(text.replace("KEY", RSA_KEY).into_bytes());
        let records = |texts: &[&str]| Ok(texts.iter().map(record).collect());
        assert!(choose(&records(&["v=spf1 -all", "p=KEY"]), Algorithm::RsaSha256).is_ok());
        let problem = choose(&records(&["p=", "k=x; p=KEY"]), Algorithm::RsaSha256).unwrap_err();
        assert_eq!(problem, Problem::new(DkimResult::PermError, "key is revoked"));
        let mut many = vec!["p="; RECORDS_MAX - 1];
        many.push("p=KEY");
        assert!(choose(&records(&many), Algorithm::RsaSha256).is_ok());
        many.insert(0, "p=");
        assert!(choose(&records(&many), Algorithm::RsaSha256).is_err());
    }
}
