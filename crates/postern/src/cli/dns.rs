//! `postern dns`: the records that the domains need, whether they are there, and how they get there.

mod apply;
mod show;
mod told;
mod watch;

use std::net::SocketAddr;
use std::path::Path;

use daemon::problem::Problem;
use daemon::process;
use home::config::HomeConfig;
use mail::Domain;
use net::dns::Dns;

use super::{HOME_CONFIG, at_home};
use crate::records::authority::{Checked, Whom, check};
use crate::records::{self, Need, Wanted};
use show::{Format, print_checked, print_wanted};

/// Arguments of `postern dns`.
#[derive(Debug, clap::Args)]
pub(super) struct DnsArguments {
    /// Only what these domains of the home need
    domain: Vec<Domain>,
    /// Ask the zones' own name servers which are there; exit code 1 when one is missing, wrong or can't be asked for
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    watch: watch::WatchArguments,
    #[command(flatten)]
    apply: apply::ApplyArguments,
    #[command(flatten)]
    told: told::ToldArguments,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The same as --format json
    #[arg(long)]
    json: bool,
    /// Ask this name server instead of the system's
    #[arg(long, value_name = "ADDR:PORT", value_parser = daemon::network::address_and_port)]
    resolver: Vec<SocketAddr>,
    /// Ask the resolver alone: the zones' own name servers do not see this host's address
    #[arg(long, conflicts_with = "apply")]
    resolver_only: bool,
    /// The configuration file of Home
    #[arg(long, default_value = HOME_CONFIG)]
    config: std::path::PathBuf,
}

impl DnsArguments {
    const fn whom(&self) -> Whom {
        if self.resolver_only { Whom::Resolver } else { Whom::Servers }
    }
}

/// Carries out `postern dns`. Only the keys are Home's own to read; all else is done by who typed it, since a key file or
/// a hook need not be the service's.
pub(super) fn run(arguments: &DnsArguments) -> Result<(), Problem> {
    let wanted = process::block_on(async {
        let told = told::look_up(&arguments.told, &arguments.config, &arguments.resolver).await?;
        Ok::<_, Problem>(told)
    })??;
    let wanted = all_of(&arguments.config, &arguments.domain, &wanted)?;
    process::block_on(carry_out(wanted, arguments))?
}

/// Shows the records of a home, as `postern home setup` does.
pub(super) fn table(config: &Path) -> Result<(), Problem> {
    let mut wanted = all_of(config, &[], &records::Told::default())?;
    // What can't be published yet can wait until it is asked for.
    wanted.retain(|one| one.need != Need::Later);
    print_wanted(&wanted, Format::Table);
    Ok(())
}

/// Waits until all that mail needs is in DNS, and tells what changes.
pub(super) fn wait(config: &Path) -> Result<(), Problem> {
    let wanted = all_of(config, &[], &records::Told::default())?;
    process::block_on(async {
        let dns = dns(&[])?;
        watch::watch(|| check(&dns, wanted.clone(), Whom::Servers), None, Format::Table).await
    })?
}

/// The records of a home, or of some of its domains.
fn all_of(config: &Path, domains: &[Domain], told: &records::Told) -> Result<Vec<Wanted>, Problem> {
    at_home(config, |config| {
        let mut config: HomeConfig = config.clone();
        if let Some(other) = domains.iter().find(|domain| !config.domains.contains(domain)) {
            let what = format!("{other} is no domain of this home");
            return Err(Problem::setup(what, "see domains in home.toml"));
        }
        let keys = process::block_on(home::dkim::status(&config))??;
        if !domains.is_empty() {
            config.domains = domains.to_vec();
        }
        Ok(records::wanted(&config, &keys, told))
    })
}

async fn carry_out(wanted: Vec<Wanted>, arguments: &DnsArguments) -> Result<(), Problem> {
    let format = if arguments.json { Format::Json } else { arguments.format };
    let dns = dns(&arguments.resolver)?;
    if arguments.apply.is_asked_for() {
        apply::apply(&dns, wanted.clone(), &arguments.apply, format).await?;
        if !arguments.watch.is_asked_for() {
            return Ok(());
        }
    }
    if arguments.watch.is_asked_for() {
        return watch::watch(|| check(&dns, wanted.clone(), arguments.whom()), arguments.watch.max(), format)
            .await;
    }
    if !arguments.check {
        print_wanted(&wanted, format);
        return Ok(());
    }
    let checked = check(&dns, wanted, arguments.whom()).await;
    print_checked(&checked, format);
    verdict(&checked, format)
}

/// What a check ends with.
fn verdict(checked: &Checked, format: Format) -> Result<(), Problem> {
    let faults = checked.faults().count();
    if faults == 0 {
        return Ok(());
    }
    // A script reads one document.
    if format == Format::Json {
        return Err(Problem::told());
    }
    let what =
        format!("{faults} of {} records are missing, wrong or can't be asked for", checked.found.len());
    Err(Problem::failed(
        what,
        "write the lines after 'should be' into the zone, then wait for them with 'postern dns --watch'",
    ))
}

/// Those of a domain's records that are to be there before its next keys sign, and are not.
pub(super) async fn unpublished(
    domain: &str,
    keys: &[home::dkim::DomainRecords],
    resolver: &[SocketAddr],
) -> Result<Vec<String>, Problem> {
    let of_domain = keys.iter().filter(|of| of.domain.eq_ignore_ascii_case(domain));
    let next = of_domain.flat_map(records::next_keys).collect();
    let checked = check(&dns(resolver)?, next, Whom::Resolver).await;
    Ok(checked.faults().map(|found| format!("{} ({})", found.wanted.name, found.state.as_str())).collect())
}

fn dns(resolver: &[SocketAddr]) -> Result<Dns, Problem> {
    Dns::new(resolver).map_err(|error| Problem::setup(error, "name a server with --resolver ADDR:PORT"))
}
