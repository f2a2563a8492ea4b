//! What is to be found in a certificate: for DANE its public key and who signed it, and when it is good.

const SEQUENCE: u8 = 0x30;
/// The version, which is there from version 2 on (RFC 5280 section 4.1).
const VERSION: u8 = 0xa0;
/// Serial number and signature algorithm stand before the issuer.
const FIELDS_BEFORE_ISSUER: usize = 2;
/// After the issuer comes when it is good.
const FIELDS_BEFORE_VALIDITY: usize = 3;
/// Issuer, validity and subject follow them, then the key.
const FIELDS_BEFORE_KEY: usize = 5;

/// The SubjectPublicKeyInfo of a certificate in DER, tag and length included (RFC 5280 section 4.1).
/// `None` when it is no certificate.
#[must_use]
pub fn subject_public_key_info(certificate: &[u8]) -> Option<&[u8]> {
    let (key, _) = element(fields_after(certificate, FIELDS_BEFORE_KEY)?)?;
    (key.first() == Some(&SEQUENCE)).then_some(key)
}

/// The name of who signed a certificate: its issuer in DER, without tag and length (RFC 5280 section 4.1.2.4). `None`
/// when it is no certificate.
#[must_use]
pub fn issuer(certificate: &[u8]) -> Option<&[u8]> {
    content(fields_after(certificate, FIELDS_BEFORE_ISSUER)?, SEQUENCE).map(|(name, _)| name)
}

const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// From when and until when a certificate is good, in seconds since 1970 (RFC 5280 section 4.1.2.5). `None` when it is no
/// certificate, or its times are before 1970.
#[must_use]
pub fn validity(certificate: &[u8]) -> Option<(u64, u64)> {
    let (times, _) = content(fields_after(certificate, FIELDS_BEFORE_VALIDITY)?, SEQUENCE)?;
    let (_, rest) = element(times)?;
    Some((time(times)?, time(rest)?))
}

/// `YYMMDDHHMMSSZ` up to 2049, `YYYYMMDDHHMMSSZ` from then on.
fn time(octets: &[u8]) -> Option<u64> {
    let (digits, digits_of_year) = match *octets.first()? {
        UTC_TIME => (content(octets, UTC_TIME)?.0, 2),
        GENERALIZED_TIME => (content(octets, GENERALIZED_TIME)?.0, 4),
        _ => return None,
    };
    let text = std::str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    let (year, rest) = text.split_at_checked(digits_of_year)?;
    if rest.len() != 10 || !text.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let year: u64 = year.parse().ok()?;
    let year = match (digits_of_year, year) {
        (2, 50..) => 1900 + year,
        (2, _) => 2000 + year,
        _ => year,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let days = days_since_1970(year, part(0)?, part(2)?)?;
    Some(days * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?)
}

/// Days from 1970-01-01 in the Gregorian calendar.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that a leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let since_0000 = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    since_0000.checked_sub(719_469)
}

/// A SubjectPublicKeyInfo in DER, without tag and length. `None` when it is none, or something follows it.
#[must_use]
pub fn key_content(subject_public_key_info: &[u8]) -> Option<&[u8]> {
    content(subject_public_key_info, SEQUENCE).filter(|(_, rest)| rest.is_empty()).map(|(key, _)| key)
}

/// What follows so many fields of what is signed in a certificate, beside its version.
fn fields_after(certificate: &[u8], count: usize) -> Option<&[u8]> {
    let (signed, _) = content(certificate, SEQUENCE)?;
    let (mut fields, _) = content(signed, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.1;
    }
    for _ in 0..count {
        fields = element(fields)?.1;
    }
    Some(fields)
}

/// The content of the first element, which has to have this tag, and what follows it.
fn content(octets: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, length) = head(octets)?;
    if octets.first() != Some(&tag) {
        return None;
    }
    Some((octets.get(head..head.checked_add(length)?)?, octets.get(head.checked_add(length)?..)?))
}

/// The first element with its tag and length, and what follows it.
fn element(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, length) = head(octets)?;
    octets.split_at_checked(head.checked_add(length)?)
}

/// Octets of an element's tag and length, and of its content.
fn head(octets: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*octets.get(1)?);
    if first < 0x80 {
        return Some((2, first));
    }
    // Certificates are DER: a definite length, and none needs more than four octets.
    let octets_of_length = first & 0x7f;
    if !(1..=4).contains(&octets_of_length) {
        return None;
    }
    let digits = octets.get(2..2 + octets_of_length)?;
    let length = digits.iter().fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
    Some((2 + octets_of_length, length))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn element_of(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap();
        let mut out = vec![tag];
        match u8::try_from(length) {
            Ok(short @ 0..0x80) => out.push(short),
            _ => out.extend([&[0x82][..], &length.to_be_bytes()].concat()),
        }
        out.extend_from_slice(content);
        out
    }

    /// What stands in for a certificate that is good from one time to another.
    fn timed(from: (u8, &str), until: (u8, &str)) -> Vec<u8> {
        let times = [element_of(from.0, from.1.as_bytes()), element_of(until.0, until.1.as_bytes())].concat();
        let fields =
            [&[2, 1, 7][..], &[SEQUENCE, 0], &[SEQUENCE, 0], &element_of(SEQUENCE, &times), &[SEQUENCE, 0]]
                .concat();
        element_of(SEQUENCE, &element_of(SEQUENCE, &fields))
    }

    #[test]
    fn the_times_of_a_certificate_are_read_in_both_forms_and_nonsense_is_none() {
        let read = |from, until| validity(&timed(from, until));
        let (utc, general) = (UTC_TIME, GENERALIZED_TIME);
        assert_eq!(read((utc, "700101000000Z"), (utc, "000229123456Z")), Some((0, 951_827_696)));
        assert_eq!(
            read((utc, "261130154341Z"), (general, "20500301000000Z")),
            Some((1_796_053_421, 2_529_705_600))
        );
        assert_eq!(
            read((utc, "491231235959Z"), (general, "99991231235959Z")),
            Some((2_524_607_999, 253_402_300_799))
        );
        for bad in [
            "500101000000Z",
            "2611301543Z",
            "261130154341",
            "261330154341Z",
            "26113015434xZ",
            "+61130154341Z",
            "",
        ] {
            assert_eq!(read((utc, bad), (utc, "261130154341Z")), None, "{bad}");
        }
        assert_eq!(validity(b"nothing"), None);
    }

    /// What stands in for a certificate: its shape, with this key.
    pub(crate) fn shaped(key: &[u8], versioned: bool) -> Vec<u8> {
        let version = if versioned { element_of(VERSION, &[2, 1, 2]) } else { Vec::new() };
        let before = [
            &[2, 1, 7][..],
            &[SEQUENCE, 0],
            &element_of(SEQUENCE, &[9; 300]),
            &[SEQUENCE, 0],
            &[SEQUENCE, 0],
        ];
        let signed = [version, before.concat(), element_of(SEQUENCE, key), vec![0xa3, 0]].concat();
        element_of(SEQUENCE, &[element_of(SEQUENCE, &signed), vec![SEQUENCE, 0, 3, 1, 0]].concat())
    }

    #[test]
    fn the_key_is_found_with_and_without_a_version() {
        for versioned in [true, false] {
            let certificate = shaped(b"the key", versioned);
            assert_eq!(subject_public_key_info(&certificate), Some(&element_of(SEQUENCE, b"the key")[..]));
            assert_eq!(issuer(&certificate), Some(&[9; 300][..]));
        }
        let key = element_of(SEQUENCE, b"the key");
        assert_eq!(key_content(&key), Some(&b"the key"[..]));
        assert_eq!((key_content(&[&key[..], b"x"].concat()), key_content(b"rubbish")), (None, None));
    }

    #[test]
    fn what_is_cut_short_anywhere_before_the_end_of_the_key_has_none() {
        let certificate = shaped(b"the key", true);
        for octets in 0..certificate.len() {
            assert_eq!(subject_public_key_info(&certificate[..octets]), None, "{octets} octets");
            assert_eq!(issuer(&certificate[..octets]), None, "{octets} octets");
        }
        assert_eq!(subject_public_key_info(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(subject_public_key_info(&[0x30, 0x80, 0, 0]), None, "no indefinite length");
    }
}
