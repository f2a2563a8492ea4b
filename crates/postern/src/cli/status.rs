//! `postern status`: both halves at one look.

use std::path::PathBuf;

use daemon::clock::{Clock as _, SystemClock};
use daemon::control;
use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::Request;
use mail::UnixTime;
use serde_json::Value;

use super::roles::data_of;

/// Width of the words on the left.
const LEFT: usize = 11;

/// Carries out `postern status`.
pub(super) fn run(config: Option<PathBuf>, json: bool) -> Result<(), Problem> {
    let data = data_of(config)?;
    let status: Value = process::block_on(control::demand(&data, &Request::Status))??;
    if json {
        print::value(&status, true);
    } else {
        lines(&status, SystemClock.now()).iter().for_each(|line| print::text(line));
    }
    Ok(())
}

/// What a person reads.
fn lines(status: &Value, now: UnixTime) -> Vec<String> {
    let mut lines = vec![row(
        text(&status["role"]),
        &[text(&status["software"]).to_owned(), since(&status["begun"], now)],
    )];
    lines.push(row("mail", &mail(&status["mail"], now)));
    if status["role"] == "home" {
        of_home(status, now, &mut lines);
    } else {
        of_edge(status, now, &mut lines);
    }
    let told: Vec<&str> =
        ["problems", "warnings"].iter().flat_map(|name| list(&status[*name])).map(text).collect();
    match &told[..] {
        [] => lines.push(row("problems", &["none".to_owned()])),
        told => lines.extend(told.iter().map(|problem| row("problem", &[(*problem).to_owned()]))),
    }
    lines
}

fn of_home(status: &Value, now: UnixTime, lines: &mut Vec<String>) {
    let sending = if status["outbound"] == true { "on" } else { "off: postern sends nothing to the world" };
    lines.push(row("domains", &[list(&status["domains"]).map(text).collect::<Vec<_>>().join(", ")]));
    lines.push(row(
        "here",
        &[
            format!("{} accounts", number(&status["accounts"])),
            format!("{} in the queue", number(&status["queue"])),
            format!("{} in quarantine", number(&status["quarantine"])),
            format!("{} sessions", number(&status["sessions"])),
        ],
    ));
    lines.push(row("sending", &[sending.to_owned()]));
    for (what, name) in [("filters", "filters"), ("delivers to", "deliver"), ("smarthost", "smarthost")] {
        let told: Vec<&str> = list(&status[name]).map(text).filter(|text| !text.is_empty()).collect();
        if !told.is_empty() {
            lines.push(row(what, &[told.join(", ")]));
        }
    }
    for edge in list(&status["edges"]) {
        edge_of_home(edge, now, lines);
    }
}

/// An edge: its link, and what it says of itself.
fn edge_of_home(edge: &Value, now: UnixTime, lines: &mut Vec<String>) {
    let name = text(&edge["name"]).to_owned();
    if edge["link"] != "up" {
        lines.push(row("edge", &[name, "link down".to_owned(), text(&edge["address"]).to_owned()]));
        return;
    }
    let link = format!("link up ({})", text(&edge["transport"]));
    lines.push(row("edge", &[name, link, since(&edge["since"], now), text(&edge["software"]).to_owned()]));
    let numbers = &edge["edge"];
    if numbers.is_null() {
        lines.push(row("", &["it tells no numbers: it is older than this home".to_owned()]));
        return;
    }
    lines.push(row("", &mail(&numbers["mail"], now)));
    lines.push(row(
        "",
        &[
            format!("{} of {} sessions", number(&numbers["sessions"]), number(&numbers["sessions_max"])),
            format!("{} sealed for this home", number(&numbers["sealed"])),
            since(&numbers["begun"], now),
        ],
    ));
}

fn of_edge(status: &Value, now: UnixTime, lines: &mut Vec<String>) {
    lines.push(row(
        "here",
        &[
            text(&status["hostname"]).to_owned(),
            format!("{} of {} sessions", number(&status["sessions"]), number(&status["sessions_max"])),
        ],
    ));
    for home in list(&status["homes"]) {
        let link = match (text(&home["link"]), &home["last_here"]) {
            ("up", _) => "link up".to_owned(),
            (_, last) => format!("link down, last here {}", ago(last, now)),
        };
        let sealed = format!("{} sealed", number(&home["sealed"]));
        let domains = list(&home["domains"]).map(text).collect::<Vec<_>>().join(", ");
        lines.push(row("home", &[text(&home["name"]).chars().take(16).collect(), link, sealed, domains]));
        lines.extend(list(&home["withheld"]).map(|domain| row("", &[format!("withheld: {}", text(domain))])));
    }
    for home in list(&status["foreign_homes"]) {
        lines.push(row("home", &[home.to_string()]));
    }
}

/// Both ways.
fn mail(mail: &Value, now: UnixTime) -> Vec<String> {
    let way = |name: &str, done: &str| {
        let way = &mail[name];
        let last = if way["last"].is_null() {
            "none yet".to_owned()
        } else {
            format!("last {}", ago(&way["last"], now))
        };
        format!("{name}: {} {done}, {} not, {last}", number(&way["taken"]), number(&way["not_taken"]))
    };
    vec![way("in", "taken"), way("out", "sent")]
}

fn row(left: &str, parts: &[String]) -> String {
    let parts: Vec<&str> = parts.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    format!("{left:<LEFT$}{}", parts.join("; "))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}

/// The elements of a list; a lone text is a list of one.
fn list(value: &Value) -> impl Iterator<Item = &Value> {
    let lone = value.is_string().then_some(value);
    value.as_array().into_iter().flatten().chain(lone)
}

fn since(begun: &Value, now: UnixTime) -> String {
    seconds(begun, now).map_or_else(String::new, |seconds| format!("for {}", span(seconds)))
}

fn ago(at: &Value, now: UnixTime) -> String {
    seconds(at, now).map_or_else(|| "never".to_owned(), |seconds| format!("{} ago", span(seconds)))
}

fn seconds(at: &Value, now: UnixTime) -> Option<u64> {
    Some(now.as_secs().saturating_sub(UnixTime::parse_rfc3339(at.as_str()?)?.as_secs()))
}

/// A length of time, in one unit.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn at(seconds_ago: u64) -> String {
        UnixTime::from_secs(NOW.as_secs() - seconds_ago).rfc3339()
    }

    fn passed(taken: u64, last: Option<u64>) -> Value {
        json!({ "taken": taken, "not_taken": 1, "last": last.map(at) })
    }

    #[test]
    fn a_home_is_shown_with_its_edges_numbers() {
        let status = json!({
            "role": "home", "software": "postern 1", "begun": at(7200), "domains": ["a.test"],
            "mail": { "in": passed(3, Some(60)), "out": passed(0, None) }, "outbound": false,
            "accounts": 2, "queue": 1, "quarantine": 0, "sessions": 4, "filters": ["spam"], "problems": [],
            "edges": [
                { "name": "mx.test", "link": "up", "transport": "quic", "since": at(100), "software": "postern 1",
                  "edge": { "begun": at(200_000), "sessions": 3, "sessions_max": 2000, "sealed": 0,
                            "mail": { "in": passed(9, Some(1)), "out": passed(8, Some(130)) } } },
                { "name": "mx2.test", "link": "down", "address": "mx2.test:443" },
                { "name": "mx3.test", "link": "up", "transport": "tcp", "software": "postern 0" },
            ],
        });
        assert_eq!(
            lines(&status, NOW),
            [
                "home       postern 1; for 2 h",
                "mail       in: 3 taken, 1 not, last 60 s ago; out: 0 sent, 1 not, none yet",
                "domains    a.test",
                "here       2 accounts; 1 in the queue; 0 in quarantine; 4 sessions",
                "sending    off: postern sends nothing to the world",
                "filters    spam",
                "edge       mx.test; link up (quic); for 100 s; postern 1",
                "           in: 9 taken, 1 not, last 1 s ago; out: 8 sent, 1 not, last 2 min ago",
                "           3 of 2000 sessions; 0 sealed for this home; for 2 d",
                "edge       mx2.test; link down; mx2.test:443",
                "edge       mx3.test; link up (tcp); postern 0",
                "           it tells no numbers: it is older than this home",
                "problems   none",
            ]
        );
    }

    #[test]
    fn an_edge_is_shown_with_its_homes_and_what_is_amiss() {
        let status = json!({
            "role": "edge", "software": "postern 1", "begun": at(3), "hostname": "mx.test",
            "sessions": 0, "sessions_max": 10, "mail": {},
            "homes": [{ "name": "0123456789abcdef0123", "link": "down", "last_here": at(600), "sealed": 5,
                        "domains": ["a.test", "b.test"], "withheld": ["c.test (of x)"] }],
            "warnings": ["it is away"],
        });
        assert_eq!(
            lines(&status, NOW)[2..],
            [
                "here       mx.test; 0 of 10 sessions",
                "home       0123456789abcdef; link down, last here 10 min ago; 5 sealed; a.test, b.test",
                "           withheld: c.test (of x)",
                "problem    it is away",
            ]
        );
    }

    #[test]
    fn a_length_of_time_has_one_unit() {
        let spans = [0, 119, 120, 7199, 7200, 172_799, 172_800].map(span);
        assert_eq!(spans, ["0 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
    }
}
