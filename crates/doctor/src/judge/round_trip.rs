//! A message that came back: whether it came, whether it was believed, and whether anything in it names the house.

use std::net::IpAddr;

use mail::header::{body_offset, fields};

use super::words::ago;
use crate::check::Check;
use crate::facts::{HomeFacts, House, RoundTrip};
use crate::finding::{Sheet, Verdict};

/// An older message proves nothing of today.
const GOOD_FOR_SECS: u64 = 7 * 86_400;
/// Host names that are words of every message.
const COMMON_NAMES: [&str; 4] = ["localhost", "mail", "home", "server"];
const CHECKS: [Check; 4] =
    [Check::RoundTripDelivered, Check::RoundTripDkim, Check::RoundTripDmarc, Check::Leak];

pub(super) fn judge(sheet: &mut Sheet, facts: &HomeFacts) {
    let Some(trip) = &facts.round_trip else {
        return none(sheet, facts, "no message was sent round yet");
    };
    let age = facts.host.clock.now.secs_since(trip.sent_at);
    if age > GOOD_FOR_SECS {
        return none(sheet, facts, &format!("the last message was sent round {} ago", ago(age)));
    }
    let Some(returned) = &trip.returned else {
        sheet.add(Check::RoundTripDelivered, Verdict::Fault, "a message was sent and did not come back");
        for check in [Check::RoundTripDkim, Check::RoundTripDmarc, Check::Leak] {
            sheet.add(check, Verdict::Unknown, "could not be told: the message did not come back");
        }
        return;
    };
    sheet.fine(Check::RoundTripDelivered, format!("a message came back, {} ago", ago(age)));
    authenticated(sheet, trip);
    let header = returned.get(..body_offset(returned)).unwrap_or_default();
    match leak(header, &trip.house) {
        Some((field, what)) => {
            sheet.add(
                Check::Leak,
                Verdict::Fault,
                format!("the field {field} of what came back names {what}"),
            );
        }
        None => sheet.fine(Check::Leak, "nothing in the header that came back names the house"),
    }
}

/// Whether mail comes and goes other checks say as well, what leaves the house none but this; while users may not send, nothing
/// leaves it.
fn none(sheet: &mut Sheet, facts: &HomeFacts, why: &str) {
    for check in CHECKS {
        let verdict = if check == Check::Leak && facts.outbound { Verdict::Unknown } else { Verdict::Notice };
        sheet.advise(
            check,
            (verdict, format!("could not be told: {why}")),
            "send one: postern check round-trip",
        );
    }
}

fn authenticated(sheet: &mut Sheet, trip: &RoundTrip) {
    let checks = [(Check::RoundTripDkim, "dkim"), (Check::RoundTripDmarc, "dmarc")];
    let Some(results) = &trip.authentication_results else {
        for (check, _) in checks {
            sheet.add(check, Verdict::Unknown, "could not be told: the edge wrote no Authentication-Results");
        }
        return;
    };
    for (check, method) in checks {
        let found = results_of(results, method);
        let bad = (
            Verdict::Fault,
            format!("{method}: {}", if found.is_empty() { "none".to_owned() } else { found.join(", ") }),
        );
        sheet.judge(check, found.iter().any(|result| result == "pass"), format!("{method}: pass"), bad);
    }
}

/// The results of a method (RFC 8601 section 2.2).
fn results_of(results: &str, method: &str) -> Vec<String> {
    let parts = results.split(';').filter_map(|part| part.trim_start().split_once('='));
    let of_method = parts.filter(|(name, _)| name.trim().eq_ignore_ascii_case(method));
    let word = |value: &str| {
        value.chars().take_while(|c| c.is_ascii_alphabetic()).collect::<String>().to_ascii_lowercase()
    };
    of_method.map(|(_, value)| word(value.trim_start())).collect()
}

/// The first field that names the house, and what it names.
fn leak(header: &[u8], house: &House) -> Option<(String, String)> {
    let telling =
        |name: &&String| name.len() > 2 && !COMMON_NAMES.contains(&name.to_ascii_lowercase().as_str());
    let names: Vec<&String> = house.host_names.iter().filter(telling).collect();
    fields(header).find_map(|field| {
        let text = field.unfolded().to_ascii_lowercase();
        let host = names
            .iter()
            .find(|name| has_word(&text, &name.to_ascii_lowercase()))
            .map(|name| format!("the host {name}"));
        let address = || {
            house.addresses.iter().find(|ip| has_address(&text, **ip)).map(|ip| format!("the address {ip}"))
        };
        let login = || {
            house
                .logins
                .iter()
                .find(|login| has_word(&text, &login.to_ascii_lowercase()))
                .map(|login| format!("the login {login}"))
        };
        let what = host.or_else(address).or_else(login)?;
        Some((String::from_utf8_lossy(field.name).into_owned(), what))
    })
}

/// Whether the text has the word, with nothing beside it that would make it another one.
fn has_word(text: &str, word: &str) -> bool {
    let joins = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(joins) && !after.is_some_and(joins)
    })
}

/// Whether an address stands in the text, however it is written.
fn has_address(text: &str, ip: IpAddr) -> bool {
    let of_address = |c: char| c.is_ascii_hexdigit() || c == '.' || c == ':';
    text.split(|c: char| !of_address(c)).filter(|word| word.len() > 2).any(|word| {
        let word = word.trim_matches('.');
        // `ipv6:` of an address literal leaves its colon.
        let bare = word.strip_prefix("6:").unwrap_or(word);
        let ends = [word, bare, bare.trim_end_matches(':'), bare.trim_start_matches(':')];
        ends.iter()
            .any(|text| text.parse::<IpAddr>().is_ok_and(|found| found.to_canonical() == ip.to_canonical()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_the_house_is_found_wherever_it_stands_and_nothing_else_is() {
        let house = House {
            host_names: vec!["nas".to_owned(), "Attic-PC".to_owned(), "mail".to_owned()],
            addresses: ["192.168.7.9", "2001:db8:7::9", "203.0.113.77"]
                .iter()
                .map(|ip| ip.parse().unwrap())
                .collect(),
            logins: vec!["alice.secret@example.org".to_owned()],
        };
        let find = |header: &str| leak(header.as_bytes(), &house).map(|(field, _)| field);
        for (header, field) in [
            ("Received: from nas.lan\r\n\tby mx.example.org\r\n\r\n", "Received"),
            ("From: a\r\nX-Mailer: x on attic-pc\r\n\r\n", "X-Mailer"),
            ("Received: from [192.168.7.9]\r\n\r\n", "Received"),
            ("Received: from [IPv6:2001:db8:7:0::9]\r\n\r\n", "Received"),
            ("X-Originating-IP: 203.0.113.77\r\n\r\n", "X-Originating-IP"),
            ("X-Sender: <alice.secret@example.org>\r\n\r\n", "X-Sender"),
        ] {
            assert_eq!(find(header).as_deref(), Some(field), "{header}");
        }
        for header in [
            "Subject: nasty\r\nFrom: alice@example.org\r\n\r\n",
            "Received: from mail.example.org (192.168.7.99)\r\n\r\n",
            "Received: from [203.0.113.7]\r\nMessage-ID: <1192.168.7.9@x>\r\n\r\n",
            "From: a\r\n\r\nnas 192.168.7.9 in the body is the user's own\r\n",
        ] {
            let offset = body_offset(header.as_bytes());
            assert_eq!(leak(&header.as_bytes()[..offset], &house), None, "{header}");
        }
    }

    #[test]
    fn results_are_read_method_by_method() {
        let results = "mx.example.org; spf=pass smtp.mailfrom=a@b; dkim=fail (bad) header.d=b; dkim=pass header.d=b;\r\n dmarc=PASS header.from=b";
        assert_eq!(results_of(results, "dkim"), ["fail", "pass"]);
        assert_eq!(results_of(results, "dmarc"), ["pass"]);
        assert!(results_of(results, "arc").is_empty());
    }
}
