//! `postern check round-trip`: a message goes out through an edge and comes back, and its way is shown.

use std::path::Path;

use daemon::config;
use daemon::control;
use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::Request;
use daemon::trace::{self, Question};
use home::config::HomeConfig;
use serde_json::Value;

/// Has Home send a message round.
pub(super) fn run(config_path: &Path, json: bool) -> Result<(), Problem> {
    let config: HomeConfig = config::load(config_path)?;
    let told: Value = process::block_on(control::demand(&config.data, &Request::RoundTrip))??;
    let came_back = told["came_back"] == true;
    if json {
        print::value(&told, true);
    } else {
        show(&told, &config.data.join("trace"))?;
    }
    if came_back {
        return Ok(());
    }
    if json {
        return Err(Problem::told());
    }
    let advice = "its way so far is above; 'postern doctor' says what is missing";
    Err(Problem::failed("the message did not come back", advice))
}

fn show(told: &Value, journal: &Path) -> Result<(), Problem> {
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    print::text(&format!("A message went to {} as {}.", text("to"), text("item")));
    let story = trace::find(journal, &Question::about(&text("item")))?;
    story.events.iter().for_each(|event| print::event(event, false));
    if told["came_back"] == true {
        print::text(&format!(
            "It came back after {} ms, by DNS, port 25 and the link.",
            told["milliseconds"]
        ));
        print::text(&format!(
            "A receiver would have found: {}",
            text("results").split_whitespace().collect::<Vec<_>>().join(" ")
        ));
    }
    Ok(())
}
