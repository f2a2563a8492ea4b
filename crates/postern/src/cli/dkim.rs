//! `postern dkim`: the keys that sign, and how they take turns.

use clap::Subcommand;

use super::{Common, print};
use crate::control::Request;
use crate::problem::Problem;
use crate::{daemon, home};

#[derive(Debug, Subcommand)]
pub enum DkimCommand {
    /// The keys of each domain and what is to be done with their DNS records
    Status {
        #[command(flatten)]
        common: Common,
    },
    /// The next step of a rotation: make keys to publish; run again, sign with them
    Rotate {
        /// A domain of this home
        domain: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Carries it out.
pub fn run(command: DkimCommand) -> Result<(), Problem> {
    let (request, common) = match command {
        DkimCommand::Status { common } => (Request::new("dkim status", []), common),
        DkimCommand::Rotate { domain, common } => (Request::new("dkim rotate", [&domain]), common),
    };
    let value = daemon::block_on(home::dkim::command(&common.config, &request))??;
    print::value(&value, common.json);
    Ok(())
}
