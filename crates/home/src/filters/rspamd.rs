//! rspamd over HTTP: `/checkv2` for a verdict, `/learnspam` and `/learnham` for what users teach it.

use std::path::PathBuf;

use daemon::files;
use daemon::problem::Problem;
use net::contents::Source;
use net::endpoint::Endpoint;
use net::http_client::{self, HttpError, Post};
use net::smtp_client::BodySource;
use serde_json::Value;

use super::edit::Which;
use super::verdict::{Action, Finding};
use super::{Failure, Subject};
use crate::config::FilterConfig;

/// Most octets of an answer.
const ANSWER_OCTETS_MAX: usize = 1024 * 1024;
/// Symbols that the trace names, those with the highest scores.
const SYMBOLS_MAX: usize = 12;
/// What it answers when it has learned the message before; older versions say it in words only.
const LEARNED_BEFORE: u16 = 208;
const LEARNED_BEFORE_WORDS: &str = "already learned";

/// Shows the message to rspamd.
pub(super) async fn check(endpoint: &Endpoint, subject: &Subject) -> Result<Finding, Failure> {
    let request = Post {
        path: "/checkv2".to_owned(),
        fields: fields(subject),
        octets: subject.content.octets(),
        answer_octets_max: ANSWER_OCTETS_MAX,
    };
    let answer = http_client::post(endpoint, &request, &mut Source::new(subject.content.clone(), 0)).await?;
    if answer.status != 200 {
        return Err(Failure::Answer(format!("status {}", answer.status)));
    }
    let answer: Value =
        serde_json::from_slice(&answer.body).map_err(|error| Failure::Answer(error.to_string()))?;
    finding(&answer)
}

/// What rspamd is told of the envelope.
fn fields(subject: &Subject) -> Vec<(&'static str, String)> {
    let envelope = &subject.envelope;
    let from = envelope.reverse_path.address().map_or_else(|| "<>".to_owned(), ToString::to_string);
    let mut fields = vec![("Queue-Id", subject.item.to_string()), ("From", from)];
    if let Some(client) = &envelope.client {
        fields.push(("IP", client.ip.to_string()));
        fields.push(("Helo", client.helo.clone()));
        if let Some(login) = &client.login {
            fields.push(("User", login.clone()));
        }
    }
    fields.extend(envelope.recipients.iter().map(|recipient| ("Rcpt", recipient.address.to_string())));
    fields
}

fn finding(answer: &Value) -> Result<Finding, Failure> {
    let name = answer["action"].as_str().unwrap_or_default();
    let text = answer["messages"]["smtp_message"].as_str();
    let action = match name {
        // "greylist" is a threshold, which its greylist module makes a "soft reject" of for as long as a sender has to
        // wait. Without Redis that module is off, and the action stays what it is for ever.
        "no action" | "accept" | "greylist" => Action::Accept,
        "add header" | "rewrite subject" => Action::Junk,
        // Nothing that was taken is thrown away unseen.
        "quarantine" | "discard" => Action::Quarantine,
        "soft reject" => Action::defer(text),
        "reject" => Action::reject(text),
        _ => {
            let known: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            return Err(Failure::Answer(format!("with the unknown action '{known}'")));
        }
    };
    let score = answer["score"].as_f64().zip(answer["required_score"].as_f64());
    // Its own word, where Postern's says less.
    let is_said = matches!(name, "no action" | "accept") || name == action.to_string();
    let word = Some(name.to_owned()).filter(|_| !is_said);
    let told =
        [word, Some(symbols(&answer["symbols"]))].into_iter().flatten().filter(|part| !part.is_empty());
    let detail = told.collect::<Vec<_>>().join(", ");
    let mut finding = Finding { action, score, detail, edits: Vec::new() };
    removals(&answer["milter"]["remove_headers"], &mut finding);
    additions(&answer["milter"]["add_headers"], &mut finding);
    Ok(finding)
}

/// `GTUBE(15.0), R_SPF_FAIL(1.0)`: the weightiest first.
fn symbols(symbols: &Value) -> String {
    let Some(symbols) = symbols.as_object() else { return String::new() };
    let score = |symbol: &Value| symbol["score"].as_f64().unwrap_or_default();
    let mut all: Vec<(&String, f64)> = symbols.iter().map(|(name, symbol)| (name, score(symbol))).collect();
    all.sort_by(|one, other| other.1.abs().total_cmp(&one.1.abs()));
    let word = |name: &str| name.chars().filter(|c| c.is_ascii_graphic()).take(48).collect::<String>();
    let words = all.iter().take(SYMBOLS_MAX).map(|(name, score)| format!("{}({score:.1})", word(name)));
    words.collect::<Vec<_>>().join(" ")
}

/// A name and the place of the field to remove: 0 for all of them, below 0 from the end.
fn removals(headers: &Value, finding: &mut Finding) {
    for (name, places) in headers.as_object().into_iter().flatten() {
        let one = std::slice::from_ref(places);
        for place in places.as_array().map_or(one, Vec::as_slice) {
            let Some(place) = place.as_i64() else { continue };
            let distance = usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX);
            let which = match place {
                0 => Which::All,
                1.. => Which::Nth(distance),
                _ => Which::FromEnd(distance),
            };
            finding.rewrite(name, which, None);
        }
    }
}

/// A name and a value, or an object with value and place, or a list of either.
fn additions(headers: &Value, finding: &mut Finding) {
    for (name, values) in headers.as_object().into_iter().flatten() {
        let one = std::slice::from_ref(values);
        for value in values.as_array().map_or(one, Vec::as_slice) {
            let text = value.as_str().or_else(|| value["value"].as_str());
            let place = value["order"].as_u64().and_then(|place| usize::try_from(place).ok());
            if let Some(text) = text {
                finding.add(place, name, text.as_bytes());
            }
        }
    }
}

/// An rspamd that can be taught.
pub(crate) struct Rspamd {
    name: String,
    endpoint: Endpoint,
    password: Option<String>,
}

impl Rspamd {
    /// With the password of the configuration, or of the file that it names.
    ///
    /// # Errors
    /// When the file can't be read.
    pub(super) fn new(config: &FilterConfig) -> Result<Self, Problem> {
        let advice = "give the password of rspamd's controller, or remove password_file";
        let read = |path: &PathBuf| files::read_text(path, advice).map(|text: String| text.trim().to_owned());
        let password = match (&config.password, &config.password_file) {
            (Some(password), _) => Some(password.clone()),
            (None, Some(path)) => Some(read(path)?),
            (None, None) => None,
        };
        let endpoint = config.learn_address.as_ref().unwrap_or(&config.address).clone();
        Ok(Self { name: config.name(), endpoint, password })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Has it learn a message; `path` says as what.
    ///
    /// # Errors
    /// The error of the connection, or rspamd's answer, in words.
    pub(super) async fn learn(
        &self,
        path: &str,
        octets: u64,
        message: &mut impl BodySource,
    ) -> Result<(), String> {
        let password = self.password.iter().map(|password| ("Password", password.clone()));
        let request = Post {
            path: path.to_owned(),
            fields: password.collect(),
            octets,
            answer_octets_max: ANSWER_OCTETS_MAX,
        };
        let answer = http_client::post(&self.endpoint, &request, message).await;
        match answer.map_err(|error: HttpError| error.to_string())? {
            answer if answer.status == 200 || answer.status == LEARNED_BEFORE => Ok(()),
            answer => {
                let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
                let said = said["error"].as_str().unwrap_or_default();
                if said.contains(LEARNED_BEFORE_WORDS) {
                    return Ok(());
                }
                let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
                Err(format!("status {} {said}", answer.status))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_action_has_its_meaning() {
        let action = |name: &str| finding(&json!({ "action": name })).map(|finding| finding.action).ok();
        assert_eq!(action("no action"), Some(Action::Accept));
        assert_eq!(action("add header"), Some(Action::Junk));
        assert_eq!(action("rewrite subject"), Some(Action::Junk));
        assert_eq!(action("quarantine"), Some(Action::Quarantine));
        assert_eq!(action("discard"), Some(Action::Quarantine));
        assert_eq!(action("greylist"), Some(Action::Accept));
        assert_eq!(action("soft reject"), Some(Action::defer(None)));
        assert_eq!(action("reject"), Some(Action::reject(None)));
        assert_eq!(action("party"), None);
        assert!(finding(&json!([1])).is_err() && finding(&json!({})).is_err());
        let said = json!({ "action": "reject", "messages": { "smtp_message": "Gtube\r\npattern" } });
        assert_eq!(finding(&said).unwrap().action, Action::reject(Some("Gtube pattern")));
    }

    #[test]
    fn symbols_and_score_are_told_in_short() {
        let answer = json!({
            "action": "add header", "score": 7.25, "required_score": 15.0,
            "symbols": { "A": { "score": 0.5 }, "B\n": { "score": -7.0 }, "C": {} },
        });
        let told = finding(&answer).unwrap().to_string();
        assert_eq!(told, "junk, score 7.25 of 15.00, add header, B(-7.0) A(0.5) C(0.0)");
        let greylist = json!({ "action": "greylist", "score": 4.5, "required_score": 15.0 });
        assert_eq!(finding(&greylist).unwrap().to_string(), "accept, score 4.50 of 15.00, greylist");
    }

    #[test]
    fn headers_to_add_and_remove_come_in_all_their_forms() {
        let answer = json!({ "action": "no action", "milter": {
            "remove_headers": { "X-Old": 0, "X-One": 1, "X-Last": -1, "X-Odd": "x" },
            "add_headers": {
                "A": "1", "B": { "value": "2", "order": 0 }, "C": [{ "value": "3" }, "4"], "D": 5, "E F": "6",
            },
        }});
        assert_eq!(finding(&answer).unwrap().edits.len(), 3 + 4);
    }
}
