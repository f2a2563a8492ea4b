//! `postern check send`: a message to an address elsewhere, its way as it goes, and what became of it.

use std::path::Path;
use std::time::Duration;

use daemon::config;
use daemon::control;
use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::Request;
use daemon::trace::Follow;
use home::config::HomeConfig;
use link::{Event, Role, TraceStep};
use mail::{Address, ItemId};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How often the trace is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long an answer of the host elsewhere is waited for: many take half a minute for a client that they do not know.
const PATIENCE: Duration = Duration::from_secs(120);

/// Has Home send a message to `to`, as of its first user, and waits until its host has answered.
pub(super) fn run(config_path: &Path, to: &str, json: bool) -> Result<(), Problem> {
    let config: HomeConfig = config::load(config_path)?;
    Address::parse(to)
        .map_err(|error| Problem::setup(format!("{to}: {error}"), "write a whole address, name@domain"))?;
    let journal = config.data.join("trace");
    let mut follow = Follow::new(&journal, None, []);
    let told: Value = process::block_on(control::demand(&config.data, &Request::TestMail(to.to_owned())))??;
    let item = told["item"].as_str().unwrap_or_default().to_owned();
    if !json {
        let from = told["from"].as_str().unwrap_or_default();
        print::text(&format!("A message of {from} goes to {to} as {item}."));
    }
    let end = match item.parse() {
        Ok(item) => process::block_on(wait(&mut follow, item, json))?,
        Err(_) => None,
    };
    if json {
        let outcome = end.as_ref().map(|end| end.step.clone());
        let detail = end.as_ref().map(|end| end.detail.clone());
        let all =
            json!({ "item": item, "from": told["from"], "to": to, "outcome": outcome, "detail": detail });
        print::value(&all, true);
    }
    match judged(end.as_ref(), &item) {
        Ok(said) if json => drop(said),
        Ok(said) => print::text(&said),
        Err(_) if json => return Err(Problem::told()),
        Err(problem) => return Err(problem),
    }
    Ok(())
}

/// Until an attempt has ended.
async fn wait(follow: &mut Follow, item: ItemId, json: bool) -> Option<Event> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        for event in follow.news().into_iter().filter(|event| event.item == Some(item)) {
            if !json {
                print::event(&event, false);
            }
            if ends(&event) {
                return Some(event);
            }
        }
        sleep(LOOK_EVERY).await;
    }
    None
}

/// Whether Home knows by it what became of an attempt.
fn ends(event: &Event) -> bool {
    const ENDS: [TraceStep; 6] = [
        TraceStep::Delivered,
        TraceStep::Deferred,
        TraceStep::Failed,
        TraceStep::Held,
        TraceStep::HeldBack,
        TraceStep::GivenUp,
    ];
    event.role == Role::Home && ENDS.iter().any(|step| step.word() == event.step)
}

fn judged(end: Option<&Event>, item: &str) -> Result<String, Problem> {
    let follow =
        format!("it is tried again by itself; see what becomes of it: postern trace {item} --follow");
    let Some(end) = end else {
        return Err(Problem::failed("the host elsewhere has not answered yet", follow));
    };
    if end.step == TraceStep::Delivered.word() {
        return Ok("Its host took it. Look there where it lies: among the mail, or among what is suspected."
            .to_owned());
    }
    if end.step == TraceStep::Deferred.word() {
        return Err(Problem::failed(format!("it was put off: {}", end.detail), follow));
    }
    let advice = "who says so, and why, stands above; 'postern doctor' says whether something here speaks against sending";
    Err(Problem::failed(format!("it was not taken: {}", end.detail), advice))
}

#[cfg(test)]
mod tests {
    use mail::UnixTime;

    use super::*;

    fn event(role: Role, step: TraceStep) -> Event {
        Event {
            at: UnixTime::from_secs(0),
            role,
            item: None,
            edge: None,
            step: step.word().to_owned(),
            detail: "554 no".to_owned(),
        }
    }

    #[test]
    fn only_what_home_knows_ends_it_and_each_end_says_what_to_do() {
        assert!(
            !ends(&event(Role::Edge, TraceStep::Delivered)) && !ends(&event(Role::Home, TraceStep::Queued))
        );
        let said = |step| {
            let end = event(Role::Home, step);
            assert!(ends(&end));
            judged(Some(&end), "abc").unwrap_or_else(|problem| problem.to_string())
        };
        assert!(said(TraceStep::Delivered).starts_with("Its host took it."));
        assert!(said(TraceStep::Deferred).contains("postern trace abc --follow"));
        assert!(said(TraceStep::Failed).contains("not taken: 554 no"));
        let waits = judged(None, "abc").map_err(|problem| problem.to_string()).unwrap_err();
        assert!(waits.contains("has not answered yet"), "{waits}");
    }
}
