//! The edge's port 25 as Home, a stranger to it there, sees it.

use mail::UnixTime;
use net::dns::Validation;
use net::probe::Reply;

use super::words::{ago, per_cent};
use crate::check::Check;
use crate::facts::{Certificate, EdgeSeen, Fact, HomeFacts, MailPort, Resolver};
use crate::finding::{Sheet, Verdict};

/// Less of its life, in per cent, and nobody has renewed a certificate: three quarters of the way are where renewing begins.
const LIFE_WARNING_PER_CENT: u64 = 15;
/// However long the life, less than this is soon.
const LIFE_WARNING_SECS: u64 = 3 * 86_400;

/// All that can only be seen there, if it is seen.
pub(crate) const BEHIND_THE_PORT: [Check; 8] = [
    Check::StartTls,
    Check::EdgeCertificateName,
    Check::EdgeCertificateChain,
    Check::EdgeCertificateLife,
    Check::TlsVersions,
    Check::TlsCiphers,
    Check::OpenRelay,
    Check::Backscatter,
];

pub(super) fn judge(sheet: &mut Sheet, edge: &EdgeSeen, facts: &HomeFacts) {
    let host = &facts.host;
    address(sheet, edge);
    match &edge.port_25 {
        Ok(port) if port.greeting.code == 220 => {
            sheet.fine(Check::PortIn, format!("{} answers", edge.name));
            behind(sheet, &edge.name, port, (host.clock.now, &facts.takes_everybody));
        }
        Ok(port) => {
            let what = format!("{} answers on port 25, and lets nobody in: {}", edge.name, port.greeting);
            sheet.add(Check::PortIn, Verdict::Fault, what);
        }
        Err(why) => {
            let what = format!("port 25 of {} does not answer: {why}", edge.name);
            // Many houses have port 25 closed outward: silence from there proves nothing, and a refusal does.
            let verdict = if why.contains("refused") { Verdict::Fault } else { Verdict::Unknown };
            let advice = "from a host elsewhere try 'postern check edge EDGE'. If it answers there, it is this house's provider that closes port \
                          25 outward, which harms nothing; else open it: the firewall of the edge's host, and of its provider";
            sheet.advise(Check::PortIn, (verdict, what), advice);
            not_reached(sheet, &format!("port 25 of {}", edge.name));
        }
    }
    dane(sheet, edge, &host.resolver);
}

/// Nothing behind the port is known.
pub(super) fn not_reached(sheet: &mut Sheet, port: &str) {
    for check in BEHIND_THE_PORT {
        sheet.add(check, Verdict::Unknown, format!("could not be told: {port} was not reached"));
    }
}

fn address(sheet: &mut Sheet, edge: &EdgeSeen) {
    if let Some(addresses) = sheet.known(Check::MxAddress, &edge.addresses) {
        let bad = (Verdict::Fault, format!("{} has no address", edge.name));
        let shown: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        sheet.judge(
            Check::MxAddress,
            !addresses.is_empty(),
            format!("{}: {}", edge.name, shown.join(", ")),
            bad,
        );
    }
}

/// What can only be seen at the port of the host of this name.
pub(super) fn behind(
    sheet: &mut Sheet,
    name: &str,
    port: &MailPort,
    (now, takes_everybody): (UnixTime, &Fact<bool>),
) {
    match &port.certificate {
        _ if !port.offers_starttls => {
            sheet.add(Check::StartTls, Verdict::Fault, format!("{name} offers no STARTTLS"))
        }
        Ok(_) => sheet.fine(Check::StartTls, format!("{name} speaks TLS")),
        Err(why) => sheet.add(Check::StartTls, Verdict::Fault, format!("TLS with {name} fails: {why}")),
    }
    certificate(sheet, name, &port.certificate, now);
    for (check, taken, what) in [
        (Check::TlsVersions, &port.old_versions, "a version below TLS 1.2"),
        (Check::TlsCiphers, &port.weak_ciphers, "a cipher that can be broken"),
    ] {
        if let Some(taken) = sheet.known(check, taken) {
            sheet.judge(
                check,
                !taken,
                format!("{name} takes none"),
                (Verdict::Warning, format!("{name} takes {what}")),
            );
        }
    }
    refused(sheet, Check::OpenRelay, &port.relay, "mail from a stranger to a stranger");
    if matches!(takes_everybody, Ok(true)) {
        // Whatever the name, somebody gets it: nothing is bounced.
        sheet.fine(Check::Backscatter, "an alias takes mail for everybody, so that nothing is bounced");
    } else {
        refused(sheet, Check::Backscatter, &port.nobody, "mail for somebody who does not exist");
    }
}

fn certificate(sheet: &mut Sheet, name: &str, shown: &Fact<Certificate>, now: UnixTime) {
    let Some(certificate) = sheet.known(Check::EdgeCertificateName, shown) else {
        sheet.known(Check::EdgeCertificateChain, shown);
        sheet.known(Check::EdgeCertificateLife, shown);
        return;
    };
    let bad = (Verdict::Warning, format!("the certificate of {name} is for another name"));
    sheet.judge(Check::EdgeCertificateName, certificate.names_host, format!("it is for {name}"), bad);
    match &certificate.trusted {
        Ok(()) => sheet.fine(Check::EdgeCertificateChain, "a public authority vouches for it"),
        Err(why) => sheet.add(
            Check::EdgeCertificateChain,
            Verdict::Notice,
            format!("no public authority vouches for it ({why})"),
        ),
    }
    life(sheet, Check::EdgeCertificateLife, certificate, now);
}

/// What is left of a certificate's life, as part of the whole: they live for a week or for ten years.
pub(super) fn life(sheet: &mut Sheet, check: Check, certificate: &Certificate, now: UnixTime) {
    let Some((from, until)) = certificate.validity else {
        return sheet.add(check, Verdict::Unknown, "could not be told: its dates can't be read");
    };
    let now = now.as_secs();
    if now < from {
        return sheet.add(check, Verdict::Fault, format!("it is good only in {}", ago(from - now)));
    }
    let Some(left) = until.checked_sub(now) else {
        return sheet.add(check, Verdict::Fault, format!("it expired {} ago", ago(now - until)));
    };
    let of_life = per_cent(left, until - from);
    let soon = of_life < LIFE_WARNING_PER_CENT || left < LIFE_WARNING_SECS.min((until - from) / 4);
    let what = format!("{} are left of it ({of_life} % of its life)", ago(left));
    sheet.judge(check, !soon, what.clone(), (Verdict::Warning, what));
}

/// Refused for good: a 4xx would have it come again.
fn refused(sheet: &mut Sheet, check: Check, reply: &Fact<Reply>, what: &str) {
    if let Some(reply) = sheet.known(check, reply) {
        match reply.code {
            500..=599 => sheet.fine(check, format!("refused: {reply}")),
            400..=499 => {
                sheet.add(check, Verdict::Unknown, format!("could not be told: it was put off: {reply}"))
            }
            _ => sheet.add(check, Verdict::Fault, format!("{what} is taken: {reply}")),
        }
    }
}

fn dane(sheet: &mut Sheet, edge: &EdgeSeen, resolver: &Resolver) {
    let name = &edge.name;
    let (records, secure) = match &edge.tlsa {
        Ok((records, secure)) => (records, *secure),
        Err(why) if !matches!(resolver.validation, Ok(Validation::Stripped)) => {
            return sheet.add(Check::Dane, Verdict::Unknown, format!("could not be told: {why}"));
        }
        // That there are no records takes a signature to be sure of.
        Err(_) => {
            let what = (
                Verdict::Notice,
                format!(
                    "no TLSA records of {name} are seen by these name servers, which pass no signatures on"
                ),
            );
            return sheet.advise(Check::Dane, what, "a local unbound on this host sees more");
        }
    };
    if records.is_empty() {
        return sheet.fine(Check::Dane, format!("{name} has no TLSA records, which is no fault"));
    }
    let shown = edge.port_25.as_ref().map_err(Clone::clone).and_then(|port| port.certificate.clone());
    let matches = match shown {
        Ok(shown) => records.iter().any(|record| shown.chain.iter().any(|one| record.matches(one))),
        Err(why) => {
            let what = format!("could not be told: the certificate of {name} was not seen: {why}");
            return sheet.add(Check::Dane, Verdict::Unknown, what);
        }
    };
    match (matches, secure) {
        (true, true) => sheet.fine(Check::Dane, format!("a TLSA record of {name} matches")),
        (true, false) => {
            let what = (
                Verdict::Notice,
                format!(
                    "a TLSA record of {name} matches, and no signature was seen: without one nobody heeds it"
                ),
            );
            sheet.advise(
                Check::Dane,
                what,
                "turn DNSSEC on for the zone of the edge's name, or remove the record",
            );
        }
        (false, true) => sheet.add(
            Check::Dane,
            Verdict::Fault,
            format!("no TLSA record of {name} matches its certificate"),
        ),
        (false, false) => {
            let what = format!(
                "no TLSA record of {name} matches its certificate; whether they are signed, and so heeded, was not seen"
            );
            sheet.add(Check::Dane, Verdict::Warning, what);
        }
    }
}
