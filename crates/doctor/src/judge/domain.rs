//! A domain: its records, its keys, and who is reached there.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail::UnixTime;
use mailauth::spf::SpfResult;
use net::dns::Validation;
use tlspolicy::mta_sts::{Mode, Policy};

use crate::check::Check;
use crate::facts::{DkimKey, DomainFacts, DomainPolicyFacts, Fact, HomeFacts, Served};
use crate::finding::{Sheet, Verdict};

/// RSA keys below are refused (RFC 8301 section 3.2).
const RSA_BITS_MIN: usize = 1024;
/// RSA keys below are weak today.
const RSA_BITS_WANTED: usize = 2048;
const KEY_AGE_WARNING_SECS: u64 = 2 * 365 * 86_400;

pub(super) fn judge(sheet: &mut Sheet, domain: &DomainFacts, facts: &HomeFacts) {
    mx(sheet, domain, facts);
    spf(sheet, domain, facts);
    domain.dkim.iter().for_each(|key| dkim(sheet, domain, key, facts));
    alignment(sheet, domain, facts);
    dmarc(sheet, domain, facts);
    mta_sts(sheet, domain, facts);
    tls_rpt(sheet, domain);
    signed(sheet, domain, facts);
    reached(sheet, Check::Postmaster, (domain, "postmaster"), (&domain.postmaster, Verdict::Fault));
    reached(sheet, Check::Abuse, (domain, "abuse"), (&domain.abuse, Verdict::Notice));
    served(sheet, domain, facts);
}

fn signed(sheet: &mut Sheet, domain: &DomainFacts, facts: &HomeFacts) {
    let name = &domain.name;
    let stripped = matches!(facts.host.resolver.validation, Ok(Validation::Stripped));
    match &domain.signed {
        Ok(true) => sheet.fine(Check::Dnssec, format!("{name} is signed")),
        Ok(false) => sheet.add(Check::Dnssec, Verdict::Notice, format!("{name} is not signed")),
        Err(why) if !stripped => {
            sheet.add(Check::Dnssec, Verdict::Unknown, format!("could not be told: {why}"))
        }
        Err(_) => {
            let what = format!(
                "whether {name} is signed is not seen by these name servers, which pass no signatures on"
            );
            sheet.advise(Check::Dnssec, (Verdict::Notice, what), "a local unbound on this host sees it");
        }
    }
}

/// What only sending needs is no fault while users may not send, or where somebody else sends.
const fn if_it_sends(facts: &HomeFacts) -> Verdict {
    if facts.outbound && !facts.smarthost { Verdict::Fault } else { Verdict::Warning }
}

fn mx(sheet: &mut Sheet, domain: &DomainFacts, facts: &HomeFacts) {
    let name = &domain.name;
    let Some(records) = sheet.known(Check::Mx, &domain.mx) else { return };
    let hosts = || records.iter().map(|(_, host)| host.as_str()).collect::<Vec<_>>().join(", ");
    let publish =
        facts.edges.first().map_or_else(String::new, |edge| format!("publish: {name}. MX 10 {}.", edge.name));
    let is_edge = |host: &str| facts.edges.iter().any(|edge| edge.name.eq_ignore_ascii_case(host));
    // Mail from an MTA of another kind comes by its own name, which is not known here.
    if facts.edges.is_empty() {
        let verdict = if records.is_empty() { Verdict::Fault } else { Verdict::Notice };
        return sheet.add(Check::Mx, verdict, format!("{name}: MX {}; no edge of ours is paired", hosts()));
    }
    let other = records.iter().find(|(_, host)| !is_edge(host));
    match (records.iter().any(|(_, host)| is_edge(host)), other) {
        (true, None) => sheet.fine(Check::Mx, format!("{name}: {}", hosts())),
        (true, Some((preference, other))) => {
            let what =
                format!("{name} names {other} besides the edge: mail that goes there does not come here");
            let best = records.iter().filter(|(_, host)| is_edge(host)).map(|(best, _)| *best).min();
            // Senders try the smallest number first (RFC 5321 section 5.1).
            let verdict =
                if best.is_some_and(|best| *preference > best) { Verdict::Warning } else { Verdict::Fault };
            sheet.advise(Check::Mx, (verdict, what), format!("take the MX record for {other} out"));
        }
        (false, None) => {
            sheet.advise(Check::Mx, (Verdict::Fault, format!("{name} has no MX record")), publish)
        }
        (false, Some(_)) => {
            sheet.advise(
                Check::Mx,
                (Verdict::Fault, format!("{name} names {}, which is no edge of this home", hosts())),
                publish,
            );
        }
    }
}

fn spf(sheet: &mut Sheet, domain: &DomainFacts, facts: &HomeFacts) {
    let name = &domain.name;
    let Some(records) = sheet.known(Check::Spf, &domain.spf) else { return };
    let mechanisms: String = facts.edges.iter().map(|edge| format!(" a:{}", edge.name)).collect();
    let publish = format!("publish: {name}. TXT \"v=spf1{mechanisms} -all\"");
    match records.len() {
        0 => {
            return sheet.advise(
                Check::Spf,
                (if_it_sends(facts), format!("{name} has no SPF record")),
                publish,
            );
        }
        1 => {}
        many => {
            let what =
                format!("{name} has {many} SPF records, which count as an error (RFC 7208 section 4.5)");
            return sheet.advise(Check::Spf, (if_it_sends(facts), what), format!("leave one; {publish}"));
        }
    }
    if domain.spf_of.is_empty() {
        return sheet.add(
            Check::Spf,
            Verdict::Notice,
            format!("{name} has a record; which addresses send is not known here"),
        );
    }
    for (ip, result) in &domain.spf_of {
        let what = format!("{name} for {ip}: {result}");
        match result {
            SpfResult::Pass => sheet.fine(Check::Spf, what),
            SpfResult::TempError => {
                sheet.add(Check::Spf, Verdict::Unknown, format!("could not be told: {what}"))
            }
            _ => sheet.advise(Check::Spf, (if_it_sends(facts), what), &publish),
        }
    }
}

fn dkim(sheet: &mut Sheet, domain: &DomainFacts, key: &DkimKey, facts: &HomeFacts) {
    let name = format!("{}._domainkey.{}", key.selector, domain.name);
    if let Some(published) = sheet.known(Check::DkimPublished, &key.published) {
        let verdict = if key.signs { if_it_sends(facts) } else { Verdict::Notice };
        if *published {
            sheet.fine(Check::DkimPublished, name);
        } else {
            let what = format!("{name} is not there, or is another key");
            sheet.advise(
                Check::DkimPublished,
                (verdict, what),
                format!("publish: {name}. TXT \"{}\"", key.record),
            );
        }
    }
    match key_bits(&key.record) {
        _ if is_ed25519(&key.record) => sheet.fine(Check::DkimStrength, format!("{}: Ed25519", key.selector)),
        Some(bits) if bits < RSA_BITS_MIN => {
            sheet.add(Check::DkimStrength, Verdict::Fault, format!("{}: RSA of {bits} bits", key.selector))
        }
        Some(bits) if bits < RSA_BITS_WANTED => {
            sheet.add(Check::DkimStrength, Verdict::Warning, format!("{}: RSA of {bits} bits", key.selector))
        }
        Some(bits) => sheet.fine(Check::DkimStrength, format!("{}: RSA of {bits} bits", key.selector)),
        None => sheet.add(
            Check::DkimStrength,
            Verdict::Unknown,
            format!("could not be told: the record of {} can't be read", key.selector),
        ),
    }
    age(sheet, key, facts.host.clock.now);
}

fn age(sheet: &mut Sheet, key: &DkimKey, now: UnixTime) {
    let Some(made) = key.made else {
        return sheet.add(
            Check::DkimAge,
            Verdict::Notice,
            format!("when {} was made is not known", key.selector),
        );
    };
    let days = now.secs_since(made) / 86_400;
    let young = now.secs_since(made) <= KEY_AGE_WARNING_SECS;
    let bad = (Verdict::Warning, format!("{} is {days} days old", key.selector));
    sheet.judge(Check::DkimAge, young, format!("{} is {days} days old", key.selector), bad);
}

/// The value of a tag of a key record (RFC 6376 section 3.6.1).
fn tag<'r>(record: &'r str, name: &str) -> Option<&'r str> {
    let tags = record.split(';').filter_map(|tag| tag.split_once('='));
    tags.into_iter().find(|(tag, _)| tag.trim() == name).map(|(_, value)| value.trim())
}

fn is_ed25519(record: &str) -> bool {
    tag(record, "k") == Some("ed25519")
}

/// The bits of an RSA key, by the length of its SubjectPublicKeyInfo: 38 octets of frame around the modulus.
fn key_bits(record: &str) -> Option<usize> {
    let key = STANDARD.decode(tag(record, "p")?).ok()?;
    let octets = key.len().checked_sub(30)?;
    Some(octets / 64 * 64 * 8).filter(|bits| *bits > 0)
}

/// Our signatures say `d=` the author's domain, which aligns also where the policy is strict.
fn alignment(sheet: &mut Sheet, domain: &DomainFacts, facts: &HomeFacts) {
    let signs = domain.dkim.iter().any(|key| key.signs);
    let bad = (if_it_sends(facts), format!("nothing signs what {} sends", domain.name));
    sheet.judge(Check::DmarcAlignment, signs, format!("{} signs as itself", domain.name), bad);
}

fn dmarc(sheet: &mut Sheet, domain: &DomainFacts, facts: &HomeFacts) {
    let name = &domain.name;
    let Some(records) = sheet.known(Check::Dmarc, &domain.dmarc) else { return };
    let advice = format!("publish: _dmarc.{name}. TXT \"v=DMARC1; p=quarantine\"");
    match records.as_slice() {
        [] => sheet.advise(Check::Dmarc, (if_it_sends(facts), format!("{name} has no DMARC record")), advice),
        [record] if tag(record, "p").is_none_or(|policy| policy.eq_ignore_ascii_case("none")) => {
            sheet.advise(
                Check::Dmarc,
                (Verdict::Notice, format!("{name} asks receivers for nothing (p=none)")),
                advice,
            );
        }
        [record] => sheet.fine(Check::Dmarc, format!("{name}: {record}")),
        many => {
            let what =
                format!("{name} has {} DMARC records, so none counts (RFC 9989 section 4.10)", many.len());
            sheet.advise(Check::Dmarc, (if_it_sends(facts), what), "leave one");
        }
    }
}

fn mta_sts(sheet: &mut Sheet, domain: &DomainFacts, facts: &HomeFacts) {
    let name = &domain.name;
    let Some(record) = sheet.known(Check::MtaSts, &domain.mta_sts) else { return };
    let Some(DomainPolicyFacts { file }) = record else {
        return sheet.fine(Check::MtaSts, format!("{name} has none, which is no fault"));
    };
    let policy = match file.as_ref().map(|file| Policy::parse(file)) {
        Ok(Ok(policy)) => policy,
        Ok(Err(malformed)) => {
            return sheet.add(
                Check::MtaSts,
                Verdict::Warning,
                format!("the policy of {name} can't be read: {malformed}"),
            );
        }
        Err(why) => {
            let what = format!("{name} has a record, and its policy can't be fetched: {why}");
            return sheet.add(Check::MtaSts, Verdict::Warning, what);
        }
    };
    let missing = facts.edges.iter().find(|edge| !policy.allows(&edge.name));
    let verdict = if policy.mode == Mode::Enforce { Verdict::Fault } else { Verdict::Warning };
    match missing {
        Some(edge) if policy.mode != Mode::None => {
            let what = (verdict, format!("the policy of {name} does not name {}", edge.name));
            sheet.advise(
                Check::MtaSts,
                what,
                format!("add the line 'mx: {}' to the policy, and a new id to the record", edge.name),
            );
        }
        _ => untrusted(sheet, domain, &policy, facts),
    }
}

/// A policy that is enforced needs a certificate that public roots vouch for.
fn untrusted(sheet: &mut Sheet, domain: &DomainFacts, policy: &Policy, facts: &HomeFacts) {
    let certificates = facts
        .edges
        .iter()
        .filter_map(|edge| Some((edge, edge.port_25.as_ref().ok()?.certificate.as_ref().ok()?)));
    let bad = certificates.into_iter().find(|(_, shown)| !shown.names_host || shown.trusted.is_err());
    match bad {
        Some((edge, _)) if policy.mode == Mode::Enforce => {
            let what = format!(
                "the policy of {} is enforced, and the certificate of {} is not one that others trust",
                domain.name, edge.name
            );
            sheet.advise(
                Check::MtaSts,
                (Verdict::Fault, what),
                "give the edge a certificate from a public authority, or set mode: testing",
            );
        }
        _ => sheet.fine(Check::MtaSts, format!("the policy of {} names the edges", domain.name)),
    }
}

fn tls_rpt(sheet: &mut Sheet, domain: &DomainFacts) {
    let name = &domain.name;
    let Some(records) = sheet.known(Check::TlsRpt, &domain.tls_rpt) else { return };
    let advice = format!("publish: _smtp._tls.{name}. TXT \"v=TLSRPTv1; rua=mailto:postmaster@{name}\"");
    match records.len() {
        0 => {
            sheet.advise(Check::TlsRpt, (Verdict::Notice, format!("{name} wants no reports on TLS")), advice)
        }
        1 => sheet.fine(Check::TlsRpt, format!("{name} wants reports")),
        many => {
            let what = format!("{name} has {many} TLSRPT records, so none counts (RFC 8460 section 3)");
            sheet.advise(Check::TlsRpt, (Verdict::Warning, what), "leave one");
        }
    }
}

fn reached(
    sheet: &mut Sheet,
    check: Check,
    (domain, local): (&DomainFacts, &str),
    (known, verdict): (&Fact<bool>, Verdict),
) {
    if let Some(reached) = sheet.known(check, known) {
        let address = format!("{local}@{}", domain.name);
        sheet.judge(
            check,
            *reached,
            format!("{address} reaches somebody"),
            (verdict, format!("{address} reaches nobody")),
        );
    }
}

fn served(sheet: &mut Sheet, domain: &DomainFacts, facts: &HomeFacts) {
    for edge in &facts.edges {
        let of_domain = |(name, _): &&(String, Served)| name.eq_ignore_ascii_case(&domain.name);
        let what = format!("{} at {}", domain.name, edge.name);
        match edge.served.as_ref().map(|served| served.iter().find(of_domain)) {
            Some(Some((_, Served::Here))) => sheet.fine(Check::DomainServed, what),
            Some(Some((_, Served::No(why)))) => sheet.add(Check::DomainServed, Verdict::Fault, why.clone()),
            Some(None) => sheet.add(
                Check::DomainServed,
                Verdict::Fault,
                format!("{what}: the edge does not know the domain yet"),
            ),
            None => sheet.add(
                Check::DomainServed,
                Verdict::Unknown,
                format!("{what}: could not be told: the edge has not said it"),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strength_of_a_key_is_read_from_its_record() {
        // Octets of a SubjectPublicKeyInfo of each size.
        for (octets, bits) in [(94, 512), (162, 1024), (226, 1536), (294, 2048), (550, 4096)] {
            let record = format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(vec![7; octets]));
            assert_eq!(key_bits(&record), Some(bits), "{octets}");
        }
        assert!(is_ed25519("v=DKIM1; k=ed25519; p=AAAA"));
        assert_eq!(key_bits("v=DKIM1; p="), None);
        assert_eq!(key_bits("nothing"), None);
    }
}
