//! `postern dns --apply`: changes the zones, by DNS UPDATE or by a program of the operator's. What is to be done is
//! printed first, and nothing is done without a yes.

mod words;

use std::ffi::OsString;
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::clock::{Clock as _, SystemClock};
use daemon::print;
use daemon::problem::{Problem, io_words};
use net::dns::update::{self, KEY_FILE_OCTETS_MAX, UpdateKey};
use net::dns::{Dns, Zone, ZoneServer};
use serde_json::json;

use super::show::{Format, found_row};
use crate::records::Wanted;
use crate::records::ask::{Found, State};
use crate::records::authority::{self, Whom};
use crate::records::hook;
use crate::records::plan::{self, Foreign, Plan, Witness};

/// Where a zone's primary server answers.
const PORT: u16 = 53;
/// Looks after a change, and the pause between them: other servers of the zone fetch it from the primary.
const LOOKS: usize = 4;
const PAUSE: Duration = Duration::from_secs(2);

/// Arguments of the change.
#[derive(Debug, clap::Args)]
pub(super) struct ApplyArguments {
    /// Write what is missing into the zones, with --tsig-key or --hook; what others published stays
    #[arg(long)]
    apply: bool,
    /// The key for DNS UPDATE (RFC 2136), as BIND's tsig-keygen or Knot's 'keymgr -t' writes it
    #[arg(long, value_name = "FILE", requires = "apply", conflicts_with = "hook")]
    tsig_key: Option<PathBuf>,
    /// The server to be asked for the change (default: the zone's primary, of its SOA record)
    #[arg(long, value_name = "ADDR:PORT", requires = "tsig_key", value_parser = daemon::network::address_and_port)]
    server: Option<SocketAddr>,
    /// A program that makes the changes at your provider, and its arguments; everything after it is its own
    #[arg(long, value_name = "PROGRAM", num_args = 1.., allow_hyphen_values = true, requires = "apply")]
    hook: Vec<OsString>,
    /// How many seconds the program may take for a zone
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    hook_timeout: u64,
    /// Take away what somebody else published where only one can be: another SPF or DMARC policy, other MX hosts
    #[arg(long, requires = "apply")]
    replace: bool,
    /// Do it without asking
    #[arg(long, requires = "apply")]
    yes: bool,
}

/// Who makes the changes.
enum Means<'a> {
    Update(UpdateKey),
    Hook(&'a [OsString], Duration),
}

impl ApplyArguments {
    pub(super) const fn is_asked_for(&self) -> bool {
        self.apply
    }

    fn means(&self) -> Result<Means<'_>, Problem> {
        match (&self.tsig_key, &self.hook[..]) {
            (Some(path), _) => key_of(path).map(Means::Update),
            (None, []) => Err(Problem::setup(
                "it is not said how the zone is to be changed",
                "give --tsig-key FILE for a server that takes DNS UPDATE, or --hook PROGRAM for a provider: see the page on DNS",
            )),
            (None, hook) => Ok(Means::Hook(hook, Duration::from_secs(self.hook_timeout))),
        }
    }
}

/// Reads a key; its secret stands on no command line.
fn key_of(path: &Path) -> Result<UpdateKey, Problem> {
    let advice =
        "make one with 'tsig-keygen -a hmac-sha256 NAME' (BIND) or 'keymgr -t NAME hmac-sha256' (Knot)";
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(KEY_FILE_OCTETS_MAX).read_to_string(&mut text))
        .map_err(|error| Problem::setup(format!("{}: {}", path.display(), io_words(&error)), advice))?;
    UpdateKey::parse(&text).map_err(|what| Problem::setup(format!("{}: {what}", path.display()), advice))
}

/// Plans, asks, changes and looks.
pub(super) async fn apply(
    dns: &Dns,
    wanted: Vec<Wanted>,
    arguments: &ApplyArguments,
    format: Format,
) -> Result<(), Problem> {
    let means = arguments.means()?;
    let checked = authority::check(dns, wanted.clone(), Whom::Servers).await;
    let foreign = if arguments.replace { Foreign::Replace } else { Foreign::Keep };
    let mut plans = Vec::new();
    let zones = authority::zones_of(dns, &wanted).await.map_err(no_zone)?;
    for zone in &zones {
        let server = match means {
            Means::Update(_) => Some(primary(dns, zone, arguments.server).await?),
            Means::Hook(..) => None,
        };
        let is_its_own = |found: &&Found| nearest(&zones, &found.wanted.name) == Some(zone);
        let found: Vec<Found> = checked.found.iter().filter(is_its_own).cloned().collect();
        let plan = plan(dns, (zone.clone(), server), &found, foreign).await?;
        plans.push((plan, server));
    }
    let empty = plans.iter().all(|(plan, _)| plan.sets.is_empty());
    if format != Format::Json {
        plans.iter().for_each(|(plan, _)| print_plan(plan));
    }
    if !empty {
        confirm(arguments.yes, format)?;
        for (plan, server) in plans.iter().filter(|(plan, _)| !plan.sets.is_empty()) {
            carry_out(&means, plan, *server).await?;
        }
    }
    let plans: Vec<Plan> = plans.into_iter().map(|(plan, _)| plan).collect();
    let seen = look(dns, &wanted, &plans).await;
    conclude(&plans, &seen, format)
}

fn no_zone(cause: String) -> Problem {
    Problem::failed(
        cause,
        "see that the domain is registered and has name servers, or name a resolver with --resolver",
    )
}

/// Where a zone's changes go.
async fn primary(dns: &Dns, zone: &Zone, named: Option<SocketAddr>) -> Result<SocketAddr, Problem> {
    if let Some(server) = named {
        return Ok(server);
    }
    let found = dns.addresses(&zone.primary).await.map(|found| found.value).unwrap_or_default();
    found.first().map(|ip| SocketAddr::new(*ip, PORT)).ok_or_else(|| {
        Problem::setup(
            format!("the primary server of {}, {}, has no address", zone.name, zone.primary),
            "name the server that takes changes: --server ADDR:PORT",
        )
    })
}

/// Makes the plan of one zone of what is there now, where it is to be changed.
async fn plan(
    dns: &Dns,
    (zone, server): (Zone, Option<SocketAddr>),
    found: &[Found],
    foreign: Foreign,
) -> Result<Plan, Problem> {
    let name = zone.name.clone();
    let told = match server {
        Some(server) => ZoneServer::new(server, &name, dns.questions()),
        None => authority::server_of(dns, &zone).await,
    };
    let witness = told.map_or_else(|| Witness::Resolver(dns.questions()), Witness::Server);
    plan::make(zone, found, &witness, foreign).await.map_err(|cause| {
        let who = server.map_or_else(|| "DNS".to_owned(), |server| server.to_string());
        Problem::failed(
            format!("{who} does not say what the zone {name} holds: {cause}"),
            "name the server that takes changes: --server ADDR:PORT",
        )
    })
}

/// The zone that a name stands in: one within another has its own.
fn nearest<'z>(zones: &'z [Zone], name: &str) -> Option<&'z Zone> {
    let is_in = |zone: &&Zone| {
        name == zone.name || name.strip_suffix(&zone.name).is_some_and(|rest| rest.ends_with('.'))
    };
    zones.iter().filter(is_in).max_by_key(|zone| zone.name.len())
}

fn print_plan(plan: &Plan) {
    print::text(&format!("zone {}:", plan.zone.name));
    plan.changes().iter().for_each(|change| print::text(&format!("  {}", change.line())));
    plan.kept.iter().for_each(|kept| print::text(&format!("  {:<7} {kept}", "keep")));
    if plan.sets.is_empty() && plan.kept.is_empty() {
        print::text("  nothing to change");
    }
}

/// Asks whoever sits there. A script says yes beforehand.
fn confirm(yes: bool, format: Format) -> Result<(), Problem> {
    if yes {
        return Ok(());
    }
    if format == Format::Json || !std::io::stdin().is_terminal() {
        return Err(Problem::setup(
            "nobody is there to be asked; nothing was changed",
            "read the plan above, then type it again with --yes after --apply (what follows --hook is the hook's own)",
        ));
    }
    eprint!("Make these changes? [y/N] ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Problem::failed("nothing was changed", "")),
    }
}

async fn carry_out(means: &Means<'_>, plan: &Plan, server: Option<SocketAddr>) -> Result<(), Problem> {
    let zone = &plan.zone.name;
    match (means, server) {
        (Means::Update(key), Some(server)) => {
            let now = SystemClock.now().as_secs();
            let done = update::send(server, zone, &plan.sets, key, now).await;
            done.map_err(|error| words::of_update(&error, zone, server, &key.name()))
        }
        (Means::Update(_), None) => Ok(()),
        (Means::Hook(program, patience), _) => {
            let applied = hook::run(program, plan, *patience).await;
            let applied = applied.map_err(|error| words::of_hook(&error, zone, program))?;
            let left: Vec<String> = plan
                .changes()
                .iter()
                .filter(|change| !applied.contains(&change.id))
                .map(|change| change.line())
                .collect();
            if left.is_empty() { Ok(()) } else { Err(words::left_out(zone, program, &left)) }
        }
    }
}

/// What is there afterwards, of what was changed; the zone's other servers get a moment.
async fn look(dns: &Dns, wanted: &[Wanted], plans: &[Plan]) -> Vec<Found> {
    let changed = wanted.iter().filter(|wanted| plans.iter().any(|plan| plan.changes_this(wanted)));
    let changed: Vec<Wanted> = changed.cloned().collect();
    let mut looks = 0;
    loop {
        let checked = authority::check(dns, changed.clone(), Whom::Servers).await;
        looks += 1;
        if looks == LOOKS || checked.found.iter().all(|found| found.state == State::Good) {
            return checked.found;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn conclude(plans: &[Plan], seen: &[Found], format: Format) -> Result<(), Problem> {
    let amiss = seen.iter().filter(|found| found.state != State::Good).count();
    let kept: Vec<&String> = plans.iter().flat_map(|plan| &plan.kept).collect();
    if format == Format::Json {
        let changes: Vec<_> = plans
            .iter()
            .map(|plan| json!({ "zone": plan.zone.name, "changes": plan.changes(), "kept": plan.kept }))
            .collect();
        print::value(&json!({ "zones": changes, "records": seen }), true);
        return if amiss == 0 && kept.is_empty() { Ok(()) } else { Err(Problem::told()) };
    }
    seen.iter().for_each(|found| print::text(&found_row(found)));
    if amiss > 0 {
        return Err(Problem::failed(
            format!("{amiss} of {} changed records are not in DNS yet", seen.len()),
            "name servers may take some minutes: wait with 'postern dns --watch'",
        ));
    }
    if !kept.is_empty() {
        return Err(Problem::failed(
            format!("what somebody else published was kept, in {} place(s)", kept.len()),
            "read them above; with --replace ours take their place",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_changed_in_the_innermost_zone_that_has_its_name() {
        let zone = |name: &str| Zone { name: name.to_owned(), primary: String::new(), servers: Vec::new() };
        let zones = [zone("a.test"), zone("mx.a.test"), zone("b.test")];
        let of = |name: &str| nearest(&zones, name).map(|zone| zone.name.as_str());
        assert_eq!(of("_dmarc.a.test"), Some("a.test"));
        assert_eq!(of("_25._tcp.mx.a.test"), Some("mx.a.test"));
        assert_eq!((of("b.test"), of("ab.test"), of("test")), (Some("b.test"), None, None));
    }
}
