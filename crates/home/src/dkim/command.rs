//! `dkim status` and `dkim rotate`, in the running daemon or without one.

use daemon::control::{self, Refusal, Request};
use daemon::data_dir;
use daemon::problem::Problem;
use daemon::system;
use serde_json::{Value, json};

use super::{DomainKeys, DomainRecords, keep_secs};
use crate::config::HomeConfig;

/// Carries out a command of `postern dkim`. Making keys takes a fraction of a second.
///
/// # Errors
/// What is wrong with the command, and what to do.
pub fn answer(
    keys: &DomainKeys,
    config: &HomeConfig,
    command: &str,
    arguments: &[&str],
) -> Result<Value, Refusal> {
    let now = system::now();
    match (command, arguments) {
        ("dkim status", []) => Ok(json!(keys.records(now))),
        ("dkim rotate", [domain]) => {
            let step =
                keys.rotate(domain, now, keep_secs(config.queue.expire.0)).map_err(Problem::into_parts)?;
            let records = keys.records(now).into_iter().find(|of| of.domain.eq_ignore_ascii_case(domain));
            Ok(json!({ "step": step, "keys": records.map(|of| of.keys) }))
        }
        _ => Err((format!("'{command}' can't be done with these arguments"), "see --help".to_owned())),
    }
}

/// Asks the running daemon, or does it here when none runs.
///
/// # Errors
/// As [`answer`], and when neither the daemon nor the keys can be had.
pub async fn command(config: &HomeConfig, request: &Request) -> Result<Value, Problem> {
    let _lock = match control::ask_or_lock(&config.data, request).await? {
        Ok(value) => return Ok(value),
        Err(lock) => lock,
    };
    data_dir::check(&config.data)?;
    let keys = DomainKeys::open(&config.data, &config.domains, system::now())?;
    let arguments: Vec<&str> = request.arguments.iter().map(String::as_str).collect();
    answer(&keys, config, &request.command, &arguments).map_err(|(what, advice)| Problem::setup(what, advice))
}

/// `dkim status`, as a value.
///
/// # Errors
/// As [`command`], and when a daemon of another version answers in other words.
pub async fn status(config: &HomeConfig) -> Result<Vec<DomainRecords>, Problem> {
    let status = command(config, &Request::new("dkim status", [])).await?;
    serde_json::from_value(status).map_err(|error| {
        let advice = "program and daemon differ: restart the daemon";
        Problem::failed(format!("the daemon's answer can't be read: {error}"), advice)
    })
}
