//! `postern edge homes`: who is paired with this edge, and who serves which domain.

use std::path::PathBuf;

use clap::Subcommand;
use daemon::config;
use daemon::control;
use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::{HomesRequest, Request};
use edge::config::EdgeConfig;
use mail::Domain;

use super::EDGE_CONFIG;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct OfEdge {
    /// The configuration file of Edge
    #[arg(long, default_value = EDGE_CONFIG)]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum HomesCommand {
    /// Each home: its domains, when it was last here, and what waits for it
    List {
        #[command(flatten)]
        of: OfEdge,
    },
    /// Let a home serve the domains of another, as after a reinstallation; what is sealed for the old one is kept
    Replace {
        /// The home that served them: its name, or the first digits of it
        old: String,
        /// The home that is to serve them
        new: String,
        /// Only this domain; may be given several times (default: all of the old home's)
        #[arg(long)]
        domain: Vec<Domain>,
        #[command(flatten)]
        of: OfEdge,
    },
    /// End a pairing: the home's key opens nothing any more and its domains are free; what is sealed for it is kept
    Remove {
        /// Its name, or the first digits of it
        home: String,
        #[command(flatten)]
        of: OfEdge,
    },
}

/// Carries out `postern edge homes`.
pub(super) fn run(command: HomesCommand) -> Result<(), Problem> {
    let (request, of) = match command {
        HomesCommand::List { of } => (HomesRequest::List, of),
        HomesCommand::Replace { old, new, domain, of } => {
            let domains = domain.iter().map(ToString::to_string).collect();
            (HomesRequest::Replace { old, new, domains }, of)
        }
        HomesCommand::Remove { home, of } => (HomesRequest::Remove { home }, of),
    };
    let config: EdgeConfig = config::load(&of.config)?;
    let value = process::block_on(control::demand(&config.data, &Request::Homes(request)))??;
    print::value(&value, of.json);
    Ok(())
}
