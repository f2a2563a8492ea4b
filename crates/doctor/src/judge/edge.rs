//! Edge: its name and addresses, lists, ports, and the homes that it serves.

use std::net::{IpAddr, Ipv4Addr};

use mailauth::spf::SpfResult;

use super::port;
use super::words::{ago, octets, per_cent};
use crate::check::Check;
use crate::facts::{EdgeFacts, HomeSeen, ListSeen, NamesOf, PortOutward};
use crate::finding::{Finding, Half, Sheet, Verdict};

/// Answers of a list that say that it does not answer this resolver (Spamhaus: 127.255.255.252 to .255).
const REFUSALS: [u8; 3] = [127, 255, 255];
/// Sealed mail that is older is told.
const SPOOL_WARNING_SECS: u64 = 6 * 3600;
const SPOOL_FAULT_SECS: u64 = 3 * 86_400;
/// So much of the room for sealed mail is told.
const SPOOL_WARNING_PER_CENT: u64 = 80;
/// Then the room is gone in all but name.
const SPOOL_FAULT_PER_CENT: u64 = 98;
/// How long mail that was delivered proves that port 25 is open outward.
const PROVEN_SECS: u64 = 7 * 86_400;

/// What only the daemon knows.
const OF_HOMES: [Check; 5] =
    [Check::LinkUp, Check::RecipientsKnown, Check::SpoolAge, Check::SpoolRoom, Check::OtherHalf];

pub(super) fn judge(sheet: &mut Sheet, facts: &EdgeFacts) {
    address(sheet, facts);
    for names in &facts.names {
        reverse(sheet, facts, names);
    }
    ehlo_spf(sheet, facts);
    facts.lists.iter().for_each(|list| on_list(sheet, facts, list));
    port_outward(sheet, facts);
    strangers(sheet, facts);
    for (port, answers) in &facts.ports {
        match answers {
            Ok(()) => sheet.fine(Check::PortsListen, format!("{port} answers")),
            Err(why) => {
                sheet.add(Check::PortsListen, Verdict::Fault, format!("{port} does not answer here: {why}"))
            }
        }
    }
    match &facts.own_port {
        Some(Ok(port)) if port.greeting.code == 220 => {
            let everybody = facts.homes.iter().flatten().any(|home| home.takes_everybody);
            port::behind(sheet, &facts.hostname, port, (facts.host.clock.now, &Ok(everybody)));
        }
        Some(_) => port::not_reached(sheet, "Edge's own port"),
        None => {}
    }
    homes(sheet, facts);
}

/// What only sending needs is no fault while nobody sends.
const fn if_it_sends(facts: &EdgeFacts) -> Verdict {
    if facts.sends { Verdict::Fault } else { Verdict::Warning }
}

/// An address that nobody outside can connect to: of a house, of a provider's inner network, of this machine.
#[must_use]
pub fn is_inner(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_unspecified()
                || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
    }
}

fn address(sheet: &mut Sheet, facts: &EdgeFacts) {
    let name = &facts.hostname;
    let Some(in_dns) = sheet.known(Check::EdgeAddress, &facts.in_dns) else { return };
    let list = |all: &[IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let advice = |ip: &IpAddr| format!("publish: {name}. {} {ip}", if ip.is_ipv4() { "A" } else { "AAAA" });
    let outside: Vec<IpAddr> = facts.routes.iter().copied().filter(|ip| !is_inner(*ip)).collect();
    if in_dns.is_empty() {
        let needed = outside.first().map_or_else(|| Check::EdgeAddress.advice().to_owned(), advice);
        return sheet.advise(
            Check::EdgeAddress,
            (Verdict::Fault, format!("{name} has no address in DNS")),
            needed,
        );
    }
    // Behind a provider's one-to-one NAT the host does not know its own address: DNS is all there is to go by.
    if outside.is_empty() {
        let what = format!(
            "{name} leads to {}; this host has inner addresses only, so the provider has to pass that on",
            list(in_dns)
        );
        return sheet.add(Check::EdgeAddress, Verdict::Notice, what);
    }
    match in_dns.iter().find(|ip| !facts.routes.contains(ip)) {
        None => sheet.fine(Check::EdgeAddress, format!("{name} leads to {}", list(in_dns))),
        Some(other) if in_dns.iter().any(|ip| outside.contains(ip)) => {
            let what = format!(
                "{name} leads to {other} too, from which this host does not connect (it does from {})",
                list(&outside)
            );
            sheet.add(Check::EdgeAddress, Verdict::Warning, what);
        }
        Some(other) => {
            let what = format!("{name} leads to {other}, and this host is {}", list(&outside));
            let needed = outside.first().map_or_else(String::new, advice);
            sheet.advise(Check::EdgeAddress, (Verdict::Fault, what), needed);
        }
    }
}

fn reverse(sheet: &mut Sheet, facts: &EdgeFacts, of: &NamesOf) {
    let ip = of.address;
    let check = if ip.is_ipv4() { Check::Ptr } else { Check::PtrIpv6 };
    // Over IPv6 nothing is sent unless the operator says so.
    let verdict = if ip.is_ipv6() && !facts.sends_ipv6 { Verdict::Notice } else { if_it_sends(facts) };
    let Some(names) = sheet.known(check, &of.names) else { return };
    let advice =
        format!("ask the provider of this host to set the reverse name (PTR) of {ip} to {}", facts.hostname);
    let leads_back = |(_, addresses): &&(String, Result<Vec<IpAddr>, String>)| {
        addresses.as_ref().is_ok_and(|all| all.contains(&ip))
    };
    let Some(first) = names.first() else {
        return sheet.advise(check, (verdict, format!("{ip} has no name (PTR)")), advice);
    };
    let Some((name, _)) = names.iter().find(leads_back) else {
        let what = format!("{ip} is called {}, and that name does not lead back to it", first.0);
        let ours =
            names.iter().any(|(name, _)| name.trim_end_matches('.').eq_ignore_ascii_case(&facts.hostname));
        let forward = format!("give {} an A record (AAAA) with {ip}: see edge-address", facts.hostname);
        return sheet.advise(check, (verdict, what), if ours { forward } else { advice });
    };
    sheet.fine(check, format!("{ip} is {name}"));
    if is_generic(name, ip) && !name.eq_ignore_ascii_case(&facts.hostname) {
        let what = format!("{name} looks like a name that the provider gave to everybody");
        sheet.advise(Check::GenericName, (Verdict::Warning, what), advice);
    } else {
        sheet.fine(Check::GenericName, name.clone());
    }
}

/// A name with the address in it, or with a word for customers' lines.
fn is_generic(name: &str, ip: IpAddr) -> bool {
    let name = name.to_ascii_lowercase();
    let numbers: Vec<String> = match ip {
        IpAddr::V4(ip) => ip.octets().iter().map(ToString::to_string).collect(),
        IpAddr::V6(ip) => {
            ip.segments().iter().filter(|part| **part > 0xff).map(|part| format!("{part:x}")).collect()
        }
    };
    let words: Vec<&str> = name.split(['.', '-', '_']).collect();
    let host = name.split('.').next().unwrap_or_default();
    let said = numbers.iter().filter(|number| words.contains(&number.as_str())).count();
    let customers =
        ["dynamic", "dyn", "dhcp", "pool", "dialup", "dsl", "ppp", "static", "clients", "customer", "cust"];
    let whole: String = numbers.concat();
    said >= 3 || host.contains(&whole) && whole.len() > 6 || customers.iter().any(|word| words.contains(word))
}

fn ehlo_spf(sheet: &mut Sheet, facts: &EdgeFacts) {
    for (ip, result) in &facts.ehlo_spf {
        let name = &facts.hostname;
        let what = format!("SPF of {name} for {ip}: {result}");
        match result {
            SpfResult::Pass => sheet.fine(Check::EhloSpf, what),
            SpfResult::TempError => {
                sheet.add(Check::EhloSpf, Verdict::Unknown, format!("could not be told: {what}"))
            }
            SpfResult::None | SpfResult::Neutral => {
                sheet.advise(
                    Check::EhloSpf,
                    (Verdict::Warning, what),
                    format!("publish: {name}. TXT \"v=spf1 a -all\""),
                );
            }
            _ => sheet.advise(
                Check::EhloSpf,
                (if_it_sends(facts), what),
                format!("publish: {name}. TXT \"v=spf1 a -all\""),
            ),
        }
    }
}

/// A list counts only if its own test entries say that it works.
fn on_list(sheet: &mut Sheet, facts: &EdgeFacts, seen: &ListSeen) {
    let (zone, ip) = (&seen.zone, seen.address);
    let check = if ip.is_ipv4() { Check::BlocklistIpv4 } else { Check::BlocklistIpv6 };
    let refuses = |codes: &[Ipv4Addr]| codes.iter().any(|code| code.octets().starts_with(&REFUSALS));
    let odd = |codes: &[Ipv4Addr]| codes.iter().any(|code| code.octets()[0] != 127);
    let (Ok(test), Ok(never), Ok(codes)) = (&seen.test_entry, &seen.never_entry, &seen.codes) else {
        let why = [&seen.test_entry, &seen.never_entry, &seen.codes]
            .into_iter()
            .find_map(|known| known.as_ref().err());
        let what =
            format!("{zone} could not be asked and does not count: {}", why.map_or("", String::as_str));
        return sheet.add(Check::BlocklistAnswers, Verdict::Unknown, what);
    };
    let useless = if refuses(test) || refuses(never) || refuses(codes) {
        Some(format!("{zone} does not answer this resolver (127.255.255.x) and does not count"))
    } else if odd(test) || odd(never) || odd(codes) {
        Some(format!(
            "{zone} answers with addresses that no list gives and does not count: the zone was sold, or the resolver lies"
        ))
    } else if !never.is_empty() {
        Some(format!("{zone} lists what no list has, so it lists everything and does not count"))
    } else if test.is_empty() && ip.is_ipv6() {
        return sheet.fine(Check::BlocklistAnswers, format!("{zone} has no IPv6 addresses"));
    } else if test.is_empty() {
        Some(format!("{zone} does not list its own test entry, so it is dead and does not count"))
    } else {
        None
    };
    if let Some(what) = useless {
        return sheet.add(Check::BlocklistAnswers, Verdict::Warning, what);
    }
    sheet.fine(Check::BlocklistAnswers, format!("{zone} works"));
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    let sends = ip.is_ipv4() || facts.sends_ipv6;
    let verdict = if sends { if_it_sends(facts) } else { Verdict::Notice };
    let bad = format!("{ip} is on {zone} ({})", codes.join(", "));
    sheet.judge(check, codes.is_empty(), format!("{ip} is not on {zone}"), (verdict, bad));
}

fn port_outward(sheet: &mut Sheet, facts: &EdgeFacts) {
    let now = facts.host.clock.now;
    match &facts.port_outward {
        PortOutward::Tried(host, Ok(())) => sheet.fine(Check::PortOut, format!("port 25 of {host} answers")),
        PortOutward::Tried(host, Err(why)) => {
            let what = (if_it_sends(facts), format!("port 25 of {host} does not answer: {why}"));
            // A provider is silent about what it does not let through; a host says so itself.
            if ["refused", "unreachable", "no route"].iter().any(|word| why.contains(word)) {
                let advice = "most likely this host's own firewall forbids it: where the rules of 'postern firewall edge' are loaded, load \
                              them again with --apply, since they let mail out only when a home sends; else see what that host says to others";
                sheet.advise(Check::PortOut, what, advice);
            } else {
                sheet.add(Check::PortOut, what.0, what.1);
            }
        }
        PortOutward::NoSuchHost(host, why) => sheet.advise(
            Check::PortOut,
            (Verdict::Unknown, format!("could not be tried: {why}")),
            format!("name a host that takes mail in place of {host}: postern doctor --probe HOST"),
        ),
        PortOutward::Proven(at) if now.secs_since(*at) <= PROVEN_SECS => {
            sheet.fine(Check::PortOut, format!("mail was delivered {} ago", ago(now.secs_since(*at))));
        }
        PortOutward::Proven(_) | PortOutward::Untried => sheet.advise(
            Check::PortOut,
            (
                Verdict::Unknown,
                "could not be tried: no host was named, and nothing was delivered lately".to_owned(),
            ),
            "name a host that takes mail: postern doctor --probe HOST, or [doctor] probe in edge.toml",
        ),
    }
}

/// Port 25 is tried by somebody within minutes wherever it is open: that nobody came says as much as that somebody did.
fn strangers(sheet: &mut Sheet, facts: &EdgeFacts) {
    let now = facts.host.clock.now;
    match facts.strangers.map(|at| now.secs_since(at)) {
        Some(secs) if secs <= PROVEN_SECS => {
            sheet.fine(Check::PortIn, format!("somebody from outside connected {} ago", ago(secs)));
        }
        _ => sheet.advise(
            Check::PortIn,
            (Verdict::Unknown, "could not be told: nobody from outside has connected lately".to_owned()),
            "Home tries it; or from a host elsewhere: postern check edge EDGE",
        ),
    }
}

fn homes(sheet: &mut Sheet, facts: &EdgeFacts) {
    let now = facts.host.clock.now;
    let homes = match &facts.homes {
        Ok(homes) => homes,
        Err(why) => {
            for check in OF_HOMES {
                sheet.add(check, Verdict::Unknown, format!("could not be told: {why}"));
            }
            return;
        }
    };
    if homes.is_empty() {
        let what = (Verdict::Fault, "no home is paired".to_owned());
        sheet.advise(Check::LinkUp, what, "postern edge pair, then at home: postern home setup CODE");
    }
    for home in homes {
        let name = &home.name;
        let last = home
            .last_here
            .map_or_else(|| "never".to_owned(), |at| format!("{} ago", ago(now.secs_since(at))));
        let bad = format!("home {name} is not linked (last here: {last})");
        sheet.judge(Check::LinkUp, home.linked, format!("home {name} is linked"), (Verdict::Fault, bad));
        match home.recipients {
            Some(0) => {
                let what = (Verdict::Fault, format!("home {name} has no recipients"));
                sheet.advise(Check::RecipientsKnown, what, "at home: postern user add you@DOMAIN")
            }
            Some(number) => sheet.fine(Check::RecipientsKnown, format!("{number} of home {name}")),
            None => sheet.add(
                Check::RecipientsKnown,
                Verdict::Fault,
                format!("home {name} has never sent its list"),
            ),
        }
        sealed(sheet, facts, home);
        told(sheet, home);
    }
}

fn sealed(sheet: &mut Sheet, facts: &EdgeFacts, home: &HomeSeen) {
    let (name, now) = (&home.name, facts.host.clock.now);
    let age = home.oldest.map_or(0, |at| now.secs_since(at));
    let verdict = match age {
        0..SPOOL_WARNING_SECS => Verdict::Fine,
        SPOOL_WARNING_SECS..SPOOL_FAULT_SECS => Verdict::Warning,
        _ => Verdict::Fault,
    };
    let what = match home.sealed {
        0 => format!("nothing waits for home {name}"),
        many => format!("{many} messages wait for home {name}, the oldest for {}", ago(age)),
    };
    sheet.add(Check::SpoolAge, verdict, what);
    let used = per_cent(home.sealed_octets, facts.spool_octets_max);
    let verdict = match used {
        0..SPOOL_WARNING_PER_CENT => Verdict::Fine,
        SPOOL_WARNING_PER_CENT..SPOOL_FAULT_PER_CENT => Verdict::Warning,
        _ => Verdict::Fault,
    };
    let what =
        format!("{} of {} are used ({used} %)", octets(home.sealed_octets), octets(facts.spool_octets_max));
    sheet.add(Check::SpoolRoom, verdict, what);
}

/// Whether the home said what it found.
fn told(sheet: &mut Sheet, home: &HomeSeen) {
    let name = &home.name;
    match &home.told {
        Some((at, _)) => {
            sheet.fine(Check::OtherHalf, format!("home {name} told what it found at {}", at.rfc3339()))
        }
        None => {
            let what = format!(
                "home {name} has not told what it found: it does so daily, and some minutes after its start"
            );
            sheet.advise(
                Check::OtherHalf,
                (Verdict::Unknown, what),
                "wait, or type 'postern doctor' at home",
            );
        }
    }
}

/// What the homes found of themselves: names of checks and verdicts, which is all that Edge knows.
pub(super) fn told_by_homes(facts: &EdgeFacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for home in facts.homes.iter().flatten() {
        let Some((at, told)) = &home.told else { continue };
        let what = format!("home {} says so ({})", home.name, at.rfc3339());
        let of = |(check, verdict): &(Check, Verdict)| {
            let found = Finding::new(Half::Home, *check, *verdict, what.clone());
            if *verdict == Verdict::Fine {
                found
            } else {
                found.advising("type 'postern doctor' at home, which says what it is")
            }
        };
        findings.extend(told.iter().map(of));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_providers_give_to_everybody_are_told_from_names_of_ones_own() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for name in [
            "static.9.113.0.203.clients.provider.example",
            "203-0-113-9.provider.example",
            "ip-203-0-113-9.example",
            "host203-0-113-9.pool.example",
            "vps2030113.example.dyn.example",
        ] {
            assert!(is_generic(name, ip("203.0.113.9")), "{name}");
        }
        for name in ["mx.example.org", "mail-9.example.org", "dynamo.example.org", "mx203.example.org"] {
            assert!(!is_generic(name, ip("203.0.113.9")), "{name}");
        }
        assert!(is_generic("2001-db8-1234-5678.v6.example", ip("2001:db8:1234:5678::1")));
        assert!(!is_generic("mx.example.org", ip("2001:db8:1234:5678::1")));
    }

    #[test]
    fn inner_addresses_are_those_that_nobody_outside_can_reach() {
        let inner = |text: &str| is_inner(text.parse().unwrap());
        for ip in [
            "10.1.2.3",
            "192.168.1.1",
            "172.31.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "fd00::1",
            "fe80::1",
            "::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(inner(ip), "{ip}");
        }
        for ip in ["100.128.0.1", "203.0.113.9", "2001:db8::1", "172.32.0.1"] {
            assert!(!inner(ip), "{ip}");
        }
    }
}
