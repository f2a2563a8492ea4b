//! Users and aliases as the operator changes them: directory and mailbox together, running or not.
//!
//! The mailbox of an account that is removed is set aside, and nobody has it until the operator says so. A name is
//! never in the directory while another's mailbox lies under it: the mailbox is made or brought back first.

use std::sync::Arc;

use daemon::clock::{Clock as _, SystemClock};
use daemon::control::{self, Refusal};
use daemon::data_dir;
use daemon::problem::Problem;
use daemon::request::{PeopleRequest, Request};
use directory::{AccountId, Directory, Past};
use mail::{Address, UnixTime};
use serde_json::{Value, json};
use store::{Mailboxes, SetAside, StoreError};

use super::databases;
use crate::config::HomeConfig;

/// Opens the mailboxes; an account that the directory has and the store has not gets its mailbox.
///
/// # Errors
/// When the mailboxes can't be opened, or one can't be made.
pub fn open_store(
    config: &HomeConfig,
    directory: &Directory,
    now: UnixTime,
) -> Result<Arc<dyn Mailboxes>, Problem> {
    let dir = config.data.join("mailboxes");
    daemon::files::make_private_dir(&dir)?;
    let store = databases::open_mailboxes(&dir).map_err(|error| store_problem(&error))?;
    for (account, _) in directory.accounts() {
        if !store.has_account(account.as_str()) {
            store.create_account(account.as_str(), now).map_err(|error| store_problem(&error))?;
        }
    }
    Ok(store)
}

fn store_problem(error: &StoreError) -> Problem {
    Problem::failed(
        format!("the mailboxes: {error}"),
        "see the line above; restore from a backup if a file is damaged",
    )
}

/// What `--restore` says when no date is given.
pub const NEWEST: &str = "newest";

/// Carries out a command of `postern user` or `postern alias`.
///
/// # Errors
/// What is wrong with the command, and what to do; nothing has changed then.
pub fn carry_out(
    directory: &Directory,
    store: &dyn Mailboxes,
    request: &PeopleRequest,
    now: UnixTime,
) -> Result<Value, Refusal> {
    let _alone = directory.one_at_a_time();
    let done = match request {
        PeopleRequest::ListUsers => Ok(list_users(directory)),
        PeopleRequest::ListRemoved => list_removed(store),
        PeopleRequest::AddUser { address, password, restore } => {
            add_user(directory, store, (address, password), restore.as_deref(), now)
        }
        PeopleRequest::SetPassword { address, password } => {
            parse(address).and_then(|address| directory.set_password(&address, password)).map(|()| json!({}))
        }
        PeopleRequest::RemoveUser { address } => remove_user(directory, store, address, now),
        PeopleRequest::ListAliases => Ok(list_aliases(directory)),
        PeopleRequest::AddAlias { alias, targets } => {
            let targets: Result<Vec<Address>, Problem> = targets.iter().map(|target| parse(target)).collect();
            targets.and_then(|targets| add_alias(directory, alias, &targets))
        }
        PeopleRequest::RemoveAlias { alias } => directory.remove_alias(alias).map(|()| json!({})),
    };
    done.map_err(Problem::into_parts)
}

fn parse(address: &str) -> Result<Address, Problem> {
    Address::parse(address)
        .map_err(|error| Problem::setup(format!("{address}: {error}"), "write name@domain"))
}

fn add_user(
    directory: &Directory,
    store: &dyn Mailboxes,
    (address, password): (&str, &str),
    restored: Option<&str>,
    now: UnixTime,
) -> Result<Value, Problem> {
    let address = parse(address)?;
    let new = directory.prepare_account(&address, password)?;
    let account = new.account().clone();
    let left = set_left_aside(store, &account, now)?;
    let brought = restored.map(|date| find_removed(store, &account, date)).transpose()?;
    match &brought {
        Some((aside, _)) => store.bring_back(aside),
        None => store.create_account(account.as_str(), now),
    }
    .map_err(|error| store_problem(&error))?;
    let past = match &brought {
        // What was taken since an older one was set aside may be somebody else's.
        Some((_, Age::Newest)) => Past::Own,
        _ => Past::Anothers(left.as_ref().map(|_| now)),
    };
    let brought = brought.map(|(aside, _)| aside);
    let (account, aliases) = directory.admit(new, past)?;
    let mut done = json!({ "account": account.as_str(), "address": address.to_string() });
    if let Some(aside) = &brought {
        done["mailbox_restored"] = json!(aside.date);
    }
    if let Some(aside) = left.filter(|left| brought.as_ref() != Some(left)) {
        done["older_mailbox_set_aside"] = json!(store.place_of(&aside));
        done["set_aside"] = json!(aside.date);
    }
    tell_aliases(directory, &mut done, &aliases);
    Ok(done)
}

/// A mailbox that lies under the name of an account that nobody has: a version that did not set them aside left it, or
/// the disk failed, or the process ended before the account was there. It is not the next one's.
fn set_left_aside(
    store: &dyn Mailboxes,
    account: &AccountId,
    now: UnixTime,
) -> Result<Option<SetAside>, Problem> {
    if !store.has_account(account.as_str()) {
        return Ok(None);
    }
    store.set_aside(account.as_str(), now).map(Some).map_err(|error| store_problem(&error))
}

/// Which of an account's mailboxes that were set aside it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Newest,
    Older,
}

fn find_removed(store: &dyn Mailboxes, account: &AccountId, date: &str) -> Result<(SetAside, Age), Problem> {
    let all = store.list_set_aside().map_err(|error| store_problem(&error))?;
    let of_account = all.into_iter().filter(|aside| aside.account == account.as_str());
    let mut newest_first =
        of_account.rev().zip([Age::Newest].into_iter().chain(std::iter::repeat(Age::Older)));
    newest_first.find(|(aside, _)| date == NEWEST || aside.date == date).ok_or_else(|| {
        let when = if date == NEWEST { String::new() } else { format!(" of {date}") };
        Problem::setup(
            format!("no mailbox of {account} is set aside{when}"),
            "see 'postern user list --removed'; without --restore the account begins with an empty mailbox",
        )
    })
}

/// From the directory first: from then on no mail is taken for it, and its sessions end.
fn remove_user(
    directory: &Directory,
    store: &dyn Mailboxes,
    address: &str,
    now: UnixTime,
) -> Result<Value, Problem> {
    let address = parse(address)?;
    let removed = directory.remove_account(&address, now)?;
    let mut done = json!({ "account": removed.account.as_str() });
    match store.set_aside(removed.account.as_str(), now) {
        Ok(aside) => {
            done["mailbox_set_aside"] = json!(store.place_of(&aside));
            done["set_aside"] = json!(aside.date);
            done["to_bring_it_back"] = json!(format!("postern user add {address} --restore={}", aside.date));
        }
        Err(StoreError::NoAccount(_)) => {}
        Err(error) => {
            return Err(Problem::failed(
                format!("{address} is removed, and its mailbox could not be set aside: {error}"),
                "nobody gets it: it is set aside by the next 'postern user add' of that address",
            ));
        }
    }
    tell_aliases(directory, &mut done, &removed.aliases);
    Ok(done)
}

/// Aliases that led to an account: those that lead nowhere any more are gone, others have lost one of those whom they lead to.
fn tell_aliases(directory: &Directory, done: &mut Value, aliases: &[String]) {
    let left = directory.aliases();
    let (shorter, gone): (Vec<&String>, Vec<&String>) =
        aliases.iter().partition(|alias| left.iter().any(|(there, _)| there == *alias));
    for (what, which) in [("aliases_removed", gone), ("aliases_that_lead_to_others_only", shorter)] {
        if !which.is_empty() {
            done[what] = json!(which);
        }
    }
}

fn list_removed(store: &dyn Mailboxes) -> Result<Value, Problem> {
    let all = store.list_set_aside().map_err(|error| store_problem(&error))?;
    let row = |aside: &SetAside| json!({ "account": aside.account, "set_aside": aside.date, "path": store.place_of(aside) });
    Ok(all.iter().map(row).collect())
}

fn list_users(directory: &Directory) -> Value {
    directory
        .accounts()
        .iter()
        .map(|(id, at)| json!({ "account": id.as_str(), "address": at.to_string() }))
        .collect()
}

fn add_alias(directory: &Directory, alias: &str, targets: &[Address]) -> Result<Value, Problem> {
    directory.add_alias(alias, targets)?;
    let canonical = alias.to_lowercase();
    let leads_to =
        directory.aliases().into_iter().find(|(there, _)| *there == canonical).map(|(_, targets)| targets);
    let mut done = json!({ "alias": alias, "leads_to": leads_to });
    tell_not_reached(directory, &mut done, targets);
    Ok(done)
}

fn list_aliases(directory: &Directory) -> Value {
    let aliases = directory.aliases().into_iter();
    let row = |(alias, targets): (String, Vec<Address>)| {
        let mut row = json!({ "alias": alias, "targets": targets });
        tell_not_reached(directory, &mut row, &targets);
        row
    };
    aliases.map(row).collect()
}

/// Who is elsewhere gets nothing before Home sends.
fn tell_not_reached(directory: &Directory, row: &mut Value, targets: &[Address]) {
    let away = directory.not_reached(targets);
    if !away.is_empty() {
        row["not_reached_until_outbound_is_on"] = json!(away);
    }
}

/// Asks the running daemon, or does it here when none runs.
///
/// # Errors
/// As [`carry_out`], and when neither the daemon nor the data can be had.
pub async fn command(config: &HomeConfig, request: PeopleRequest) -> Result<Value, Problem> {
    let asked = Request::People(request.clone());
    let _lock = match control::ask_or_lock(&config.data, &asked).await? {
        Ok(value) => return Ok(value),
        Err(lock) => lock,
    };
    data_dir::check(&config.data)?;
    let directory = databases::open_directory(config)?;
    let now = SystemClock.now();
    let store = open_store(config, &directory, now)?;
    carry_out(&directory, &*store, &request, now).map_err(|(what, advice)| Problem::setup(what, advice))
}

#[cfg(test)]
mod tests;
