//! `postern tls-report`: what other domains are told of TLS with their mail hosts.

use clap::Subcommand;
use daemon::print;
use daemon::problem::Problem;
use daemon::request::{Request, TlsReportRequest};

use super::{Common, ask_home};

#[derive(Debug, Subcommand)]
pub(super) enum TlsReportCommand {
    /// List the reports of the last days: sessions, and how far each report is
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show what a domain is told, as it is sent
    Show {
        /// The domain that mail went to
        domain: String,
        #[command(flatten)]
        common: Common,
    },
    /// Send the reports on the days so far now, today's too
    Send {
        #[command(flatten)]
        common: Common,
    },
}

/// Carries out `postern tls-report`, by asking the running daemon.
pub(super) fn run(command: TlsReportCommand) -> Result<(), Problem> {
    let (request, common, as_it_is) = match command {
        TlsReportCommand::List { common } => (TlsReportRequest::List, common, false),
        TlsReportCommand::Show { domain, common } => (TlsReportRequest::Show { domain }, common, true),
        TlsReportCommand::Send { common } => (TlsReportRequest::Send, common, false),
    };
    let value = ask_home(&Request::TlsReport(request), &common)?;
    if as_it_is && !common.json {
        let document = serde_json::to_string_pretty(&value).unwrap_or_default();
        print::text(&document);
    } else {
        print::value(&value, common.json);
    }
    Ok(())
}
