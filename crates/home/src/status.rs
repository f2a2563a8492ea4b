//! What `status` makes of what Home and its edges say of themselves.

use std::collections::BTreeMap;

use daemon::mail_line;
use link::EdgeStatus;

use serde_json::{Value, json};

/// Octets of a TLSA record as an edge tells it.
const TLSA_OCTETS_MAX: usize = 160;

/// The edges, each with its own numbers where it tells them.
pub(crate) fn with_numbers(mut edges: Value, told: &BTreeMap<String, EdgeStatus>) -> Value {
    for edge in edges.as_array_mut().into_iter().flatten() {
        let name = edge["name"].as_str().unwrap_or_default();
        if let Some(status) = told.get(name) {
            edge["edge"] = shown(status);
        }
    }
    edges
}

fn shown(status: &EdgeStatus) -> Value {
    json!({
        "begun": status.begun.rfc3339(),
        "sessions": status.sessions,
        "sessions_max": status.sessions_max,
        "mail": { "in": mail_line::shown(&status.incoming), "out": mail_line::shown(&status.outgoing) },
        "sealed": status.sealed,
        "sealed_octets": status.sealed_octets,
        "tlsa": status.tlsa.as_ref().filter(|text| text.len() <= TLSA_OCTETS_MAX),
    })
}

/// The whole, with what the operator has to look at.
pub(crate) fn with_problems(mut status: Value) -> Value {
    status["problems"] = problems(&status).into();
    status
}

/// What the operator has to look at, each in a sentence with what to type.
fn problems(status: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    if status["accounts"] == 0 {
        problems.push("nobody has an account: postern user add ADDRESS".to_owned());
    }
    for edge in status["edges"].as_array().into_iter().flatten() {
        problems.extend(of_edge(edge, &status["software"]));
    }
    if let Some(kept @ 1..) = status["quarantine"].as_u64() {
        problems.push(format!("messages in quarantine: {kept}; postern quarantine list"));
    }
    problems
}

fn of_edge(edge: &Value, ours: &Value) -> Vec<String> {
    let name = edge["name"].as_str().unwrap_or_default();
    if edge["link"] != "up" {
        let address = edge["address"].as_str().unwrap_or_default();
        return vec![format!(
            "no link to {name} ({address}): what comes in waits there; see the log, 'journalctl -u postern-home'"
        )];
    }
    let mut problems: Vec<String> = edge["withheld"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|words| words.as_str().map(str::to_owned))
        .collect();
    if edge["software"] != *ours {
        let theirs = edge["software"].as_str().unwrap_or_default();
        let ours = ours.as_str().unwrap_or_default();
        problems.push(format!("{name} is {theirs} and this is {ours}: update the older one"));
    }
    let full = edge["edge"]["sessions"].as_u64().zip(edge["edge"]["sessions_max"].as_u64());
    if full.is_some_and(|(now, most)| most > 0 && now >= most) {
        problems.push(format!("{name} has no place for more clients: [limits] sessions in its edge.toml"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(edge: &Value) -> Value {
        json!({ "accounts": 1, "software": "postern 1", "quarantine": 0, "edges": [edge] })
    }

    fn up() -> Value {
        json!({ "name": "mx.test", "address": "mx.test:443", "link": "up", "software": "postern 1" })
    }

    #[test]
    fn where_all_is_well_there_is_no_problem() {
        assert_eq!(problems(&status(&up())), [""; 0]);
    }

    #[test]
    fn each_problem_is_a_sentence_with_its_name() {
        let mut down = up();
        down["link"] = "down".into();
        let mut older = up();
        older["software"] = "postern 0".into();
        let mut full = up();
        full["edge"] = json!({ "sessions": 10, "sessions_max": 10 });
        let mut withheld = up();
        withheld["withheld"] = json!(["a.test is another's"]);
        for (edge, words) in [
            (down, "no link to mx.test"),
            (older, "mx.test is postern 0 and this is postern 1"),
            (full, "no place for more clients"),
            (withheld, "a.test is another's"),
        ] {
            let problems = problems(&status(&edge));
            assert!(problems.len() == 1 && problems[0].contains(words), "{problems:?}");
        }
        let nobody = json!({ "accounts": 0, "quarantine": 3, "edges": [] });
        assert_eq!(problems(&nobody).len(), 2);
    }

    #[test]
    fn an_edges_numbers_are_shown_beside_its_link() {
        let told = EdgeStatus { sealed: 3, sessions: 1, ..EdgeStatus::default() };
        let told = BTreeMap::from([("mx.test".to_owned(), told)]);
        let edges = with_numbers(json!([up(), { "name": "mx2.test" }]), &told);
        assert_eq!((&edges[0]["edge"]["sealed"], &edges[1]["edge"]), (&3.into(), &Value::Null));
    }
}
