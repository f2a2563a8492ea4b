//! `postern dkim`: the keys that sign, and how they take turns.

use std::net::SocketAddr;

use clap::Subcommand;
use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::DkimRequest;
use home::config::HomeConfig;
use serde_json::Value;

use super::{Common, at_home, dns};

#[derive(Debug, Subcommand)]
pub(super) enum DkimCommand {
    /// The keys of each domain and what is to be done with their DNS records
    Status {
        #[command(flatten)]
        common: Common,
    },
    /// The next step of a rotation: make keys to publish; run again, sign with them
    Rotate {
        /// A domain of this home
        domain: String,
        /// Sign with the new keys whatever DNS says of their records
        #[arg(long)]
        force: bool,
        /// Ask this name server for the new keys' records instead of the system's
        #[arg(long, value_name = "ADDR:PORT", value_parser = daemon::network::address_and_port)]
        resolver: Vec<SocketAddr>,
        #[command(flatten)]
        common: Common,
    },
}

/// Carries out `postern dkim`.
pub(super) fn run(command: DkimCommand) -> Result<(), Problem> {
    let (request, common) = match command {
        DkimCommand::Status { common } => (DkimRequest::Status, common),
        DkimCommand::Rotate { domain, force, resolver, common } => {
            if !force {
                at_home(&common.config, |config| {
                    process::block_on(check_published(&domain, &resolver, config))?
                })?;
            }
            (DkimRequest::Rotate { domain }, common)
        }
    };
    let value = at_home(&common.config, |config| process::block_on(home::dkim::command(config, request))?)?;
    if common.json {
        print::value(&value, true);
    } else {
        print::value(&keys(&value), false);
    }
    Ok(())
}

/// A row for each key. The records are long, and 'postern dns' shows them.
fn keys(status: &Value) -> Value {
    let row = |domain: &Value, key: &Value| {
        let mut row = key.clone();
        if let Some(fields) = row.as_object_mut() {
            let record = fields.remove("record");
            let kind = record
                .as_ref()
                .and_then(|record| record.as_str()?.split("k=").nth(1)?.split(';').next().map(str::to_owned));
            fields.insert("key".to_owned(), kind.into());
            fields.insert("domain".to_owned(), domain["domain"].clone());
        }
        row
    };
    let Some(domains) = status.as_array().filter(|all| all.iter().all(|one| one["keys"].is_array())) else {
        return status.clone();
    };
    let of = |domain: &Value| {
        domain["keys"].as_array().into_iter().flatten().map(|key| row(domain, key)).collect::<Vec<_>>()
    };
    domains.iter().flat_map(of).collect()
}

/// New keys sign only when DNS has their records: else what they sign would count as unsigned.
async fn check_published(domain: &str, resolver: &[SocketAddr], config: &HomeConfig) -> Result<(), Problem> {
    let keys = home::dkim::status(config).await?;
    let missing = dns::unpublished(domain, &keys, resolver).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let what = format!("DNS does not have the new keys yet: {}", missing.join(", "));
    let advice =
        "publish what 'postern dns' shows and run this again later, or take --force when they are there";
    Err(Problem::setup(what, advice))
}
