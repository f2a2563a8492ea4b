//! `postern dns`: the records that the domains need, and whether they are there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use home::config::HomeConfig;
use mail::Domain;
use net::dns::{Dns, Questions};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{HOME_CONFIG, at_home};
use crate::records::ask::{Found, State, ask};
use crate::records::{self, Purpose, Wanted};

/// How long an operator waits for all answers together.
const PATIENCE: Duration = Duration::from_secs(8);
/// Records that are asked for at one time: many domains must not flood a name server.
const AT_ONE_TIME: usize = 32;

/// Arguments of `postern dns`.
#[derive(Debug, clap::Args)]
pub(super) struct DnsArguments {
    /// Only what these domains of the home need
    domain: Vec<Domain>,
    /// Ask DNS which are there; exit code 1 when one is missing, wrong or can't be asked for
    #[arg(long)]
    check: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// Ask this name server instead of the system's
    #[arg(long, value_name = "ADDR:PORT", value_parser = daemon::network::address_and_port)]
    resolver: Vec<SocketAddr>,
    /// The configuration file of Home
    #[arg(long, default_value = HOME_CONFIG)]
    config: std::path::PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table
    Table,
    /// Lines for a zone file
    Zone,
    /// JSON
    Json,
}

/// Carries out `postern dns`.
pub(super) fn run(arguments: &DnsArguments) -> Result<(), Problem> {
    at_home(&arguments.config, |config| process::block_on(show(config.clone(), arguments))?)
}

async fn show(mut config: HomeConfig, arguments: &DnsArguments) -> Result<(), Problem> {
    if let Some(other) = arguments.domain.iter().find(|domain| !config.domains.contains(domain)) {
        return Err(Problem::setup(format!("{other} is no domain of this home"), "see domains in home.toml"));
    }
    let keys = home::dkim::status(&config).await?;
    if !arguments.domain.is_empty() {
        config.domains.clone_from(&arguments.domain);
    }
    let wanted = records::wanted(&config, &keys);
    let format = if arguments.json { Format::Json } else { arguments.format };
    if !arguments.check {
        print_wanted(&wanted, format);
        return Ok(());
    }
    let found = ask_all(&questions(&arguments.resolver)?, wanted).await;
    print_found(&found, format);
    let faults = found.iter().filter(|found| found.state.is_fault()).count();
    if faults == 0 {
        return Ok(());
    }
    // A script reads one document.
    if format == Format::Json {
        return Err(Problem::told());
    }
    let what = format!("{faults} of {} records are missing, wrong or can't be asked for", found.len());
    Err(Problem::failed(what, "publish them as 'postern dns --format zone' shows them; DNS may take an hour"))
}

/// Those of a domain's records that are to be there before its next keys sign, and are not.
pub(super) async fn unpublished(
    domain: &str,
    keys: &[home::dkim::DomainRecords],
    resolver: &[SocketAddr],
) -> Result<Vec<String>, Problem> {
    let of_domain = keys.iter().filter(|of| of.domain.eq_ignore_ascii_case(domain));
    let next = of_domain.flat_map(records::next_keys).collect();
    let found = ask_all(&questions(resolver)?, next).await;
    let missing = found.into_iter().filter(|found| found.state.is_fault());
    Ok(missing.map(|found| format!("{} ({})", found.wanted.name, found.state.as_str())).collect())
}

fn questions(resolver: &[SocketAddr]) -> Result<Questions, Problem> {
    let dns = Dns::new(resolver)
        .map_err(|error| Problem::setup(error, "name a server with --resolver ADDR:PORT"))?;
    Ok(dns.questions())
}

/// All at one time, and in the order they were given: with a name server that is dead the operator waits once.
async fn ask_all(questions: &Questions, wanted: Vec<Wanted>) -> Vec<Found> {
    let (until, places) = (Instant::now() + PATIENCE, Arc::new(Semaphore::new(AT_ONE_TIME)));
    let asked = wanted.into_iter().map(|record| {
        let (questions, places) = (questions.clone(), Arc::clone(&places));
        tokio::spawn(async move {
            let answered = tokio::time::timeout_at(until, async {
                let _place = places.acquire().await;
                ask(&questions, record.clone()).await
            });
            answered.await.unwrap_or_else(|_| Found {
                wanted: record,
                state: State::Unknown,
                found: vec!["the name servers did not answer in time".to_owned()],
            })
        })
    });
    let asked: Vec<_> = asked.collect();
    let mut all = Vec::new();
    for answer in asked {
        all.extend(answer.await);
    }
    all
}

fn print_wanted(wanted: &[Wanted], format: Format) {
    match format {
        Format::Json => print::value(&json!(wanted), true),
        Format::Zone => wanted.iter().for_each(|record| print::text(&record.zone())),
        Format::Table => wanted.iter().for_each(|record| print::text(&row(record, ""))),
    }
}

fn print_found(found: &[Found], format: Format) {
    match format {
        Format::Json => print::value(&json!(found), true),
        Format::Zone => found.iter().for_each(|found| {
            print::text(&format!("{} ; {}", found.wanted.zone(), found.state.as_str()));
        }),
        Format::Table => {
            for found in found {
                print::text(&row(&found.wanted, found.state.as_str()));
                if found.state.is_fault() {
                    found.found.iter().for_each(|line| print::text(&format!("          there is: {line}")));
                }
            }
        }
    }
}

fn row(record: &Wanted, state: &str) -> String {
    let kind = match (record.purpose, record.kind) {
        (Purpose::EdgeAddress, _) => "A/AAAA",
        (_, records::Kind::Mx) => "MX",
        _ => "TXT",
    };
    let value = if record.value.is_empty() { "the edge's address" } else { &record.value };
    format!("{state:<8}  {}  {kind}  {value}\n          {}", record.name, record.action())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symptom: `dns --check` took minutes when the name server was dead. Cause: one record was asked for after the
    /// other, each with all its tries.
    #[tokio::test(start_paused = true)]
    async fn a_dead_name_server_is_waited_for_once_however_many_records_there_are() {
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let questions =
            questions(&[silent.local_addr().unwrap()]).unwrap_or_else(|problem| panic!("{problem}"));
        let domains: Vec<String> = (0..AT_ONE_TIME * 3).map(|n| format!("\"d{n}.example\"")).collect();
        let config: HomeConfig = toml::from_str(&format!("domains = [{}]", domains.join(", "))).unwrap();
        let wanted = records::wanted(&config, &[]);
        assert!(wanted.len() > AT_ONE_TIME * 2);
        let begun = Instant::now();
        let found = ask_all(&questions, wanted.clone()).await;
        // The clock is simulated.
        assert!(begun.elapsed() <= Duration::from_secs(10), "{:?}", begun.elapsed());
        let names = |all: &[Wanted]| all.iter().map(|record| record.name.clone()).collect::<Vec<_>>();
        let asked: Vec<Wanted> = found.iter().map(|found| found.wanted.clone()).collect();
        assert_eq!(names(&asked), names(&wanted));
        assert!(found.iter().all(|found| found.state == State::Unknown && !found.found.is_empty()));
    }
}
