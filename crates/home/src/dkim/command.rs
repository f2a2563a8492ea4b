//! `dkim status` and `dkim rotate`, in the running daemon or without one.

use daemon::clock::{Clock as _, SystemClock};
use daemon::control::{self, Refusal};
use daemon::data_dir;
use daemon::problem::Problem;
use daemon::request::{DkimRequest, Request};
use mail::UnixTime;
use serde_json::{Value, json};

use super::{DomainKeys, DomainRecords, keep_secs};
use crate::config::HomeConfig;

/// Carries out a command of `postern dkim`. Making keys takes a fraction of a second.
///
/// # Errors
/// What is wrong with the command, and what to do.
pub fn carry_out(
    keys: &DomainKeys,
    config: &HomeConfig,
    request: &DkimRequest,
    now: UnixTime,
) -> Result<Value, Refusal> {
    match request {
        DkimRequest::Status => Ok(json!(keys.records(now))),
        DkimRequest::Rotate { domain } => {
            let step =
                keys.rotate(domain, now, keep_secs(config.queue.expire.0)).map_err(Problem::into_parts)?;
            let records = keys.records(now).into_iter().find(|of| of.domain.eq_ignore_ascii_case(domain));
            Ok(json!({ "step": step, "keys": records.map(|of| of.keys) }))
        }
    }
}

/// Asks the running daemon, or does it here when none runs.
///
/// # Errors
/// As [`carry_out`], and when neither the daemon nor the keys can be had.
pub async fn command(config: &HomeConfig, request: DkimRequest) -> Result<Value, Problem> {
    let asked = Request::Dkim(request.clone());
    let _lock = match control::ask_or_lock(&config.data, &asked).await? {
        Ok(value) => return Ok(value),
        Err(lock) => lock,
    };
    data_dir::check(&config.data)?;
    let now = SystemClock.now();
    let keys = DomainKeys::open(&config.data, &config.domains, now)?;
    carry_out(&keys, config, &request, now).map_err(|(what, advice)| Problem::setup(what, advice))
}

/// `dkim status`, as a value.
///
/// # Errors
/// As [`command`], and when a daemon of another version answers in other words.
pub async fn status(config: &HomeConfig) -> Result<Vec<DomainRecords>, Problem> {
    let status = command(config, DkimRequest::Status).await?;
    serde_json::from_value(status).map_err(|error| {
        let advice = "program and daemon differ: restart the daemon";
        Problem::failed(format!("the daemon's answer can't be read: {error}"), advice)
    })
}
