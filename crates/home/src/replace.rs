//! `postern edge replace` and `postern edge remove`, typed at Home: another host takes an edge's place. Both take mail while
//! the world's name servers still know the old one, so nothing is lost on the way.

use std::path::{Path, PathBuf};

use daemon::config;
use daemon::control;
use daemon::edited::Edited;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::{QueueRequest, Request};
use serde_json::Value;

use super::setup;
use crate::config::HomeConfig;

/// Arguments of `postern edge replace`.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplaceArguments {
    /// The edge that is to go, as 'postern status' names it
    pub old: String,
    /// The pairing code that the new one printed
    pub code: String,
    /// The old one is gone for good: what it had sealed is lost with its disk
    #[arg(long)]
    pub lost: bool,
    /// The configuration file of Home
    #[arg(long, default_value = "/etc/postern/home.toml")]
    pub config: PathBuf,
}

/// Arguments of `postern edge remove`.
#[derive(Debug, Clone, clap::Args)]
pub struct RemoveArguments {
    /// The edge that is to go, as 'postern status' names it
    pub old: String,
    /// It is gone for good: what it had sealed is lost with its disk
    #[arg(long)]
    pub lost: bool,
    /// The configuration file of Home
    #[arg(long, default_value = "/etc/postern/home.toml")]
    pub config: PathBuf,
}

/// Pairs with the new edge. The old one stays until it is removed, or goes at once when it is lost.
///
/// # Errors
/// When there is no such edge, it is away and not said to be lost, or the new one can't be paired with: nothing has
/// changed then.
pub fn replace(arguments: &ReplaceArguments) -> Result<(), Problem> {
    let config = known(&arguments.config, &arguments.old)?;
    if !arguments.lost {
        see_that_it_is_here(&config, &arguments.old)?;
    }
    let paired = setup::pair_once_more(&arguments.config, &config, (&arguments.code, None), |new| {
        if new == arguments.old && !arguments.lost {
            return Err(Problem::setup(
                format!("the new edge is called {new}, as the old one"),
                "set it up with a name of its own, so that both can take mail until all the world knows the new one; \
                 or, when the old one is switched off for good, say --lost with a new code",
            ));
        }
        Ok(arguments.lost.then(|| arguments.old.clone()))
    })?;
    tell_home(&config)?;
    let (old, new) = (&arguments.old, &paired.hostname);
    println!("Paired with the edge {new}.");
    println!("1. Publish its records: postern dns --check says what is to be changed from {old} to {new}.");
    if arguments.lost {
        println!("2. {old} is forgotten. Messages that it may have delivered wait: postern queue list");
    } else {
        println!(
            "2. {old} takes mail as before. When nothing has come through it for a day (postern trace {old}):"
        );
        println!("     postern edge remove {old}");
    }
    Ok(())
}

/// Forgets an edge.
///
/// # Errors
/// When there is no such edge, it is away and not said to be lost, it still has something of this home, or the configuration
/// can't be written.
pub fn remove(arguments: &RemoveArguments) -> Result<(), Problem> {
    let config = known(&arguments.config, &arguments.old)?;
    if config.edges.len() == 1 && config.foreign_edge.is_none() {
        return Err(Problem::setup(
            format!("{} is the only edge: no mail would come any more", arguments.old),
            "pair with another one first: postern edge replace",
        ));
    }
    if !arguments.lost {
        see_that_it_is_here(&config, &arguments.old)?;
        see_that_it_has_nothing(&config, &arguments.old)?;
    }
    let mut file = Edited::open::<HomeConfig>(&arguments.config)?;
    file.remove_tables("edge", "name", &arguments.old);
    file.write::<HomeConfig>()?;
    tell_home(&config)?;
    println!("{} is forgotten. On that host nothing of yours can be read; switch it off.", arguments.old);
    Ok(())
}

/// The configuration, if it has this edge.
fn known(path: &Path, edge: &str) -> Result<HomeConfig, Problem> {
    let config: HomeConfig = config::load(path)?;
    if config.edges.iter().any(|pin| pin.name == edge) {
        return Ok(config);
    }
    let names: Vec<&str> = config.edges.iter().map(|pin| pin.name.as_str()).collect();
    let known = if names.is_empty() { "it has none".to_owned() } else { names.join(", ") };
    Err(Problem::setup(format!("this home has no edge {edge}"), format!("its edges: {known}")))
}

/// While the link is up, what the edge had sealed comes, and outcomes that it had not told are told.
fn see_that_it_is_here(config: &HomeConfig, edge: &str) -> Result<(), Problem> {
    let Some(status) = process::block_on(control::ask(&config.data, &Request::Status))?? else {
        return Err(Problem::failed(
            "Home does not run, so nobody fetches what the old edge still has",
            "start Home and try again; or, when that host is gone for good, say --lost",
        ));
    };
    let up = |status: &Value| {
        let edges = status["edges"].as_array()?;
        let found = edges.iter().find(|one| one["name"] == edge)?;
        (found["link"] == "up").then_some(())
    };
    up(&status).ok_or_else(|| {
        Problem::failed(
            format!("{edge} is away: mail that it sealed, and what became of messages that it sent, is on its disk"),
            "start it, and try again when 'postern status' shows its link up; or, when it is gone for good, say --lost",
        )
    })
}

/// Of what an edge has nothing is left behind: neither what it sealed nor what becomes of a message that it sends just now.
fn see_that_it_has_nothing(config: &HomeConfig, edge: &str) -> Result<(), Problem> {
    let ask = |request| process::block_on(control::demand(&config.data, &request))?;
    let (status, queue) = (ask(Request::Status)?, ask(Request::Queue(QueueRequest::List))?);
    match left_at(&status, &queue, edge) {
        None => Ok(()),
        Some(what) => Err(Problem::failed(
            what,
            "try again in a minute; 'postern status' and 'postern queue list' show how far it is",
        )),
    }
}

/// What is still on its way there, in words.
fn left_at(status: &Value, queue: &Value, edge: &str) -> Option<String> {
    let edges = status["edges"].as_array().into_iter().flatten();
    let sealed = edges.filter(|one| one["name"] == edge).find_map(|one| one["edge"]["sealed"].as_u64());
    if let Some(sealed @ 1..) = sealed {
        return Some(format!("{edge} has messages that it sealed and that are on their way: {sealed}"));
    }
    let by_it = |one: &&Value| one["by"].as_array().is_some_and(|by| by.iter().any(|by| *by == edge));
    match queue.as_array().into_iter().flatten().filter(by_it).count() {
        0 => None,
        sends => Some(format!("{edge} is sending messages just now: {sends}")),
    }
}

/// A Home that does not run reads it when it starts.
fn tell_home(config: &HomeConfig) -> Result<(), Problem> {
    process::block_on(control::ask(&config.data, &Request::Reload))?.map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_edge_is_forgotten_when_nothing_is_left_there() {
        let status = |sealed: u64| {
            json!({ "edges": [
                { "name": "other", "edge": { "sealed": 7 } },
                { "name": "mx", "edge": { "sealed": sealed } },
                { "name": "silent" },
            ]})
        };
        let queue = json!([{ "by": ["other"] }, { "by": [] }]);
        assert_eq!(left_at(&status(0), &queue, "mx"), None);
        assert_eq!(left_at(&status(0), &queue, "silent"), None);
        assert!(left_at(&status(3), &queue, "mx").unwrap().ends_with("on their way: 3"));
        assert!(left_at(&status(0), &queue, "other").unwrap().contains("sealed"));
        let sends = json!([{ "by": ["other", "mx"] }, { "by": ["mx"] }]);
        assert!(left_at(&status(0), &sends, "mx").unwrap().ends_with("just now: 2"));
    }
}
