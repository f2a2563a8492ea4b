//! `postern user` and `postern alias`: who has a mailbox here, and which addresses lead where.

use clap::Subcommand;
use daemon::print;
use daemon::problem::{self, Problem};
use daemon::process;
use daemon::request::PeopleRequest;
use mail::Address;
use serde_json::{Value, json};

use super::{Common, at_home, hidden};

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add an account and its mailbox
    Add {
        /// name@domain
        address: String,
        /// With the mailbox that was set aside when the account was removed: the newest, or that of a date as 'user list
        /// --removed' shows it. Without this the mailbox is a new one
        #[arg(
            long,
            value_name = "DATE",
            num_args = 0..=1,
            require_equals = true,
            default_missing_value = home::accounts::NEWEST
        )]
        restore: Option<String>,
        /// Do nothing when the account is there already, and ask for no password
        #[arg(long, conflicts_with = "restore")]
        if_missing: bool,
        /// Read the password from standard input instead of asking for it
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Set a new password
    Password {
        /// name@domain
        address: String,
        /// Read the password from standard input instead of asking for it
        #[arg(long)]
        password_stdin: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Remove an account and set its mailbox aside; aliases that led to it do no more
    Remove {
        /// name@domain
        address: String,
        #[command(flatten)]
        common: Common,
    },
    /// List accounts
    List {
        /// The mailboxes of removed accounts that were set aside, instead
        #[arg(long)]
        removed: bool,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AliasCommand {
    /// Let an address lead to others, here or elsewhere; '*@domain' takes every unknown address of the domain
    Add {
        /// name@domain or *@domain
        alias: String,
        /// Accounts or aliases of this home, or addresses elsewhere
        #[arg(required = true)]
        targets: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Remove an alias
    Remove {
        /// name@domain or *@domain
        alias: String,
        #[command(flatten)]
        common: Common,
    },
    /// List aliases
    List {
        #[command(flatten)]
        common: Common,
    },
}

/// Carries out `postern user`.
pub(super) fn user(command: UserCommand) -> Result<(), Problem> {
    let (request, common) = match command {
        UserCommand::Add { address, if_missing: true, common, .. } if is_account(&address, &common)? => {
            let done = json!({ "address": address, "there_already": true });
            print::value(&done, common.json);
            return Ok(());
        }
        UserCommand::Add { address, restore, password_stdin, common, .. } => {
            see_whether(&address, &common, false)?;
            let password = read_password(password_stdin)?;
            (PeopleRequest::AddUser { address, password, restore }, common)
        }
        UserCommand::Password { address, password_stdin, common } => {
            see_whether(&address, &common, true)?;
            let password = read_password(password_stdin)?;
            (PeopleRequest::SetPassword { address, password }, common)
        }
        UserCommand::Remove { address, common } => (PeopleRequest::RemoveUser { address }, common),
        UserCommand::List { removed: false, common } => (PeopleRequest::ListUsers, common),
        UserCommand::List { removed: true, common } => (PeopleRequest::ListRemoved, common),
    };
    directory_command(request, &common)
}

/// Carries out `postern alias`.
pub(super) fn alias(command: AliasCommand) -> Result<(), Problem> {
    let (request, common) = match command {
        AliasCommand::Add { alias, targets, common } => (PeopleRequest::AddAlias { alias, targets }, common),
        AliasCommand::Remove { alias, common } => (PeopleRequest::RemoveAlias { alias }, common),
        AliasCommand::List { common } => (PeopleRequest::ListAliases, common),
    };
    directory_command(request, &common)
}

fn is_account(address: &str, common: &Common) -> Result<bool, Problem> {
    let users = at_home(&common.config, |config| {
        process::block_on(home::accounts::command(config, PeopleRequest::ListUsers))?
    })?;
    let Ok(address) = Address::parse(address) else { return Ok(false) };
    let is_same = |user: &Value| {
        let listed = user["address"].as_str().and_then(|listed| Address::parse(listed).ok());
        listed.is_some_and(|listed| listed.canonical() == address.canonical())
    };
    Ok(users.as_array().is_some_and(|users| users.iter().any(is_same)))
}

fn directory_command(request: PeopleRequest, common: &Common) -> Result<(), Problem> {
    let value =
        at_home(&common.config, |config| process::block_on(home::accounts::command(config, request))?)?;
    print::value(&value, common.json);
    Ok(())
}

/// Before a password is asked for: that it is not asked for in vain.
fn see_whether(address: &str, common: &Common, is_there: bool) -> Result<(), Problem> {
    let parsed = Address::parse(address).map_err(|error| {
        Problem::setup(format!("{address}: {error}"), "write a whole address, name@domain")
    })?;
    match (is_account(address, common)?, is_there) {
        (true, false) => Err(Problem::setup(
            format!("{parsed} has an account already"),
            "for another password: postern user password",
        )),
        (false, true) => {
            Err(Problem::setup(format!("there is no account {parsed}"), "see 'postern user list'"))
        }
        _ => Ok(()),
    }
}

fn read_password(from_stdin: bool) -> Result<String, Problem> {
    let failed = |error: std::io::Error| {
        Problem::setup(
            format!("can't read the password: {}", problem::io_words(&error)),
            "give it on standard input with --password-stdin",
        )
    };
    if from_stdin {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map_err(failed)?;
        return Ok(line.trim_end_matches(['\r', '\n']).to_owned());
    }
    let check = |typed: &str| directory::check_password(typed).map_err(|problem| problem.what().to_owned());
    hidden::ask_twice("The password", &check)
}
