//! Users and aliases as the operator changes them: directory and mailbox together, running or not.

use mail::Address;
use serde_json::{Value, json};
use store::Store;

use super::directory::Directory;
use crate::config::HomeConfig;
use crate::control::{self, Refusal, Request};
use crate::problem::Problem;
use crate::{data_dir, system};

/// Opens the mailboxes; an account that the directory has and the store has not gets its mailbox.
pub fn open_store(config: &HomeConfig, directory: &Directory) -> Result<Store, Problem> {
    let dir = config.data.join("mailboxes");
    crate::files::make_private_dir(&dir)?;
    let store = Store::open(&dir, store::Options::default()).map_err(|error| store_problem(&error))?;
    for (account, _) in directory.accounts() {
        if !store.has_account(account.as_str()) {
            store.create_account(account.as_str(), system::now()).map_err(|error| store_problem(&error))?;
        }
    }
    Ok(store)
}

fn store_problem(error: &store::StoreError) -> Problem {
    Problem::failed(
        format!("the mailboxes: {error}"),
        "see the line above; restore from a backup if a file is damaged",
    )
}

/// Carries out a command of `postern user` or `postern alias`.
pub fn change(
    directory: &Directory,
    store: &Store,
    command: &str,
    arguments: &[&str],
) -> Result<Value, Refusal> {
    let done = match (command, arguments) {
        ("user add", [address, password]) => add_user(directory, store, address, password),
        ("user password", [address, password]) => {
            parse(address).and_then(|address| directory.set_password(&address, password)).map(|()| json!({}))
        }
        ("user remove", [address]) => remove_user(directory, store, address),
        ("user list", []) => Ok(list_users(directory)),
        ("alias add", [alias, targets @ ..]) if !targets.is_empty() => {
            let targets: Result<Vec<Address>, Problem> = targets.iter().map(|target| parse(target)).collect();
            targets.and_then(|targets| directory.add_alias(alias, &targets)).map(|()| json!({}))
        }
        ("alias remove", [alias]) => directory.remove_alias(alias).map(|()| json!({})),
        ("alias list", []) => Ok(list_aliases(directory)),
        _ => Err(Problem::setup(format!("'{command}' can't be done with these arguments"), "see --help")),
    };
    done.map_err(|problem| problem.into_parts())
}

fn parse(address: &str) -> Result<Address, Problem> {
    Address::parse(address)
        .map_err(|error| Problem::setup(format!("{address}: {error}"), "write name@domain"))
}

fn add_user(directory: &Directory, store: &Store, address: &str, password: &str) -> Result<Value, Problem> {
    let address = parse(address)?;
    let account = directory.add_account(&address, password)?;
    if !store.has_account(account.as_str()) {
        let made = store.create_account(account.as_str(), system::now());
        if let Err(error) = made {
            // Without its mailbox the account could take no mail: it must not be known to Edge.
            directory.remove_account(&address)?;
            return Err(store_problem(&error));
        }
    }
    Ok(json!({ "account": account.as_str(), "address": address.to_string() }))
}

/// The mailbox file stays, under its name: removing mail is the operator's own decision.
fn remove_user(directory: &Directory, store: &Store, address: &str) -> Result<Value, Problem> {
    let account = directory.remove_account(&parse(address)?)?;
    let kept = store.has_account(account.as_str());
    Ok(json!({ "account": account.as_str(), "mailbox_kept": kept }))
}

fn list_users(directory: &Directory) -> Value {
    directory
        .accounts()
        .iter()
        .map(|(id, at)| json!({ "account": id.as_str(), "address": at.to_string() }))
        .collect()
}

fn list_aliases(directory: &Directory) -> Value {
    let aliases = directory.aliases();
    aliases.iter().map(|(alias, targets)| json!({ "alias": alias, "targets": targets })).collect()
}

/// Asks the running daemon, or does it here when none runs.
pub async fn command(config: &HomeConfig, request: &Request) -> Result<Value, Problem> {
    let _lock = match control::ask_or_lock(&config.data, request).await? {
        Ok(value) => return Ok(value),
        Err(lock) => lock,
    };
    data_dir::check(&config.data)?;
    let directory = Directory::open(config)?;
    let store = open_store(config, &directory)?;
    let arguments: Vec<&str> = request.arguments.iter().map(String::as_str).collect();
    change(&directory, &store, &request.command, &arguments)
        .map_err(|(what, advice)| Problem::setup(what, advice))
}
