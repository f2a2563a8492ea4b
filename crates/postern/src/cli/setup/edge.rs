//! `postern edge setup`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::clock::{Clock as _, SystemClock};
use daemon::config;
use daemon::control;
use daemon::new_role::NewRole;
use daemon::owner::Owner;
use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::{DoctorRequest, Request};
use doctor::look::{RealWorld, own_addresses, own_names};
use doctor::{Check, Examination, Half, Verdict, judge};
use edge::config::EdgeConfig;
use edge::setup::SetupArguments;
use mail::Domain;
use mailauth::dns::address_name;
use tokio::time::Instant;

use super::ask::{Asks, Terminal, heed_interrupts, missing};
use super::host::{self, PortsOfRole};
use crate::cli::service::{START_PATIENCE, Services, Started};

/// Where the service reads it.
const USUAL: &str = "/etc/postern/edge.toml";
/// Where its data is.
const DATA: &str = "/var/lib/postern/edge";
/// How long the names of this host are looked for.
const NAMES_PATIENCE: Duration = Duration::from_secs(5);
/// What has to be well so that the world gets in.
const REACHES: [Check; 6] = [
    Check::DaemonRuns,
    Check::ResolverAnswers,
    Check::ClockPlausible,
    Check::EdgeAddress,
    Check::PortsListen,
    Check::PortIn,
];
/// What can't be well before a home is paired, and is the next step anyway.
const LATER: [Check; 3] = [Check::LinkUp, Check::RecipientsKnown, Check::OtherHalf];

/// What `postern edge setup` is told.
#[derive(Debug, Clone, clap::Args)]
pub(in super::super) struct EdgeSetup {
    /// This host's name, as MX records will name it (asked for at a terminal)
    #[arg(long)]
    hostname: Option<String>,
    /// The configuration file to write
    #[arg(long, default_value = USUAL)]
    config: PathBuf,
    /// Where keys and sealed mail go
    #[arg(long, default_value = DATA)]
    data: PathBuf,
    /// Address for SMTP (default: port 25 on every address)
    #[arg(long, value_name = "ADDR:PORT", value_parser = daemon::network::address_and_port)]
    smtp: Vec<SocketAddr>,
    /// Address for the link, UDP and TCP (default: port 443 on every address)
    #[arg(long, value_name = "ADDR:PORT", value_parser = daemon::network::address_and_port)]
    link: Vec<SocketAddr>,
    /// Where Home finds the link (default: the host name and the link's port)
    #[arg(long, value_name = "HOST:PORT")]
    link_address: Option<String>,
    /// Name server to ask (default: those of the system)
    #[arg(long, value_name = "ADDR:PORT", value_parser = daemon::network::address_and_port)]
    dns: Vec<SocketAddr>,
    /// The user that the daemon runs as; made if he is not there (default for root: postern)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// A host elsewhere that takes mail: its port 25 is tried, to see whether port 25 is open outward
    #[arg(long, value_name = "HOST")]
    probe: Option<Domain>,
    /// Look neither at this host nor at DNS
    #[arg(long)]
    no_check: bool,
    /// Leave the service alone
    #[arg(long)]
    no_start: bool,
}

impl EdgeSetup {
    /// Whether this is the Edge of this host, and no try-out beside it.
    fn is_usual(&self) -> bool {
        self.config == Path::new(USUAL)
    }

    fn with_name(&self, hostname: String) -> SetupArguments {
        SetupArguments {
            hostname,
            config: self.config.clone(),
            data: self.data.clone(),
            smtp: self.smtp.clone(),
            link: self.link.clone(),
            link_address: self.link_address.clone(),
            dns: self.dns.clone(),
            user: self.user.clone(),
        }
    }
}

/// Carries out `postern edge setup`.
pub(in super::super) fn run(told: &EdgeSetup) -> Result<(), Problem> {
    heed_interrupts()?;
    converse(told, &mut Terminal)
}

fn converse(told: &EdgeSetup, asks: &mut impl Asks) -> Result<(), Problem> {
    let looks = told.is_usual() && !told.no_check;
    let code =
        if told.config.symlink_metadata().is_ok() { go_on(told)? } else { Some(begin(told, asks, looks)?) };
    let config: EdgeConfig = config::load(&told.config)?;
    let started = if told.is_usual() && !told.no_start {
        let owner =
            Owner::of(&config.data).map_or_else(|_| "postern".to_owned(), |owner| owner.name().to_owned());
        Services::here().start("edge", &owner, &config.data)?
    } else {
        Started::NotHere
    };
    if started == Started::NotHere {
        print::text(&format!("Start it:  {}", process::how_to_start("edge", &told.config)));
    }
    if told.is_usual() {
        first_records(&config.hostname, &own_addresses());
    }
    if let Some(code) = code {
        print::text("");
        edge::setup::print_code(&code, &[]);
    }
    if looks {
        say_whether_it_is_reached(told, &config, &started)?;
    }
    Ok(())
}

/// A new Edge. All is asked and looked at before anything is written.
fn begin(told: &EdgeSetup, asks: &mut impl Asks, looks: bool) -> Result<String, Problem> {
    let hostname = match &told.hostname {
        Some(hostname) => {
            let name = hostname.trim_end_matches('.');
            is_name(name)
                .map_err(|why| Problem::setup(format!("'{hostname}' can't be the name of this host"), why))?;
            name.to_owned()
        }
        None if asks.is_there() => ask_name(told, asks)?,
        None => return Err(missing("--hostname", "postern edge setup --hostname mx.example.org")),
    };
    let arguments = told.with_name(hostname);
    let parsed = arguments.parsed()?;
    if looks {
        host::nobody_runs("edge", &told.data)?;
        host::check(Half::Edge, &told.dns)?;
        let tcp: Vec<SocketAddr> = parsed.listen.smtp.iter().chain(&parsed.listen.link).copied().collect();
        let key = "[listen] in edge.toml, which --smtp and --link set";
        host::ports(&PortsOfRole { tcp: &tcp, udp: &parsed.listen.link, key })?;
    }
    let code = edge::setup::setup(&arguments, SystemClock.now())?;
    print::text(&format!("Edge {} is set up: {}", arguments.hostname, told.config.display()));
    Ok(code)
}

/// Asks for the name; what the address of this host is called is most likely it.
fn ask_name(told: &EdgeSetup, asks: &mut impl Asks) -> Result<String, Problem> {
    let named = if told.is_usual() && !told.no_check { names_of_this_host(told)? } else { Vec::new() };
    for (ip, names) in &named {
        let name = names.first().map_or("without a name (PTR) that leads back to it", String::as_str);
        print::text(&format!("This host is {ip}, {name}."));
    }
    let found = named.iter().flat_map(|(_, names)| names).next().cloned();
    asks.text("The name of this host, as MX records will name it", found.as_deref(), &is_name)
}

fn names_of_this_host(told: &EdgeSetup) -> Result<Vec<(IpAddr, Vec<String>)>, Problem> {
    let named = process::block_on(async {
        let world = RealWorld::new(&told.dns, None, None).ok()?;
        Some(own_names(&world, Instant::now() + NAMES_PATIENCE).await)
    })?;
    Ok(named.unwrap_or_default())
}

/// Whether a host can be called so.
fn is_name(text: &str) -> Result<(), String> {
    if !text.is_ascii() {
        return Err("write the name as DNS has it, with xn-- in place of other letters".to_owned());
    }
    match Domain::parse(text) {
        Ok(name) if !name.is_literal() && text.contains('.') && text.parse::<IpAddr>().is_err() => Ok(()),
        _ => Err("write a whole name, such as mx.example.org".to_owned()),
    }
}

/// An Edge that is there already: what is missing of it. A new code while no home is paired.
fn go_on(told: &EdgeSetup) -> Result<Option<String>, Problem> {
    let config: EdgeConfig = config::load(&told.config)?;
    let other = told.hostname.as_ref().filter(|name| !name.eq_ignore_ascii_case(&config.hostname));
    if let Some(other) = other {
        return Err(Problem::setup(
            format!("{} is there already, of {}, not of {other}", told.config.display(), config.hostname),
            "for a new pairing code use 'postern edge pair'; to begin anew stop it (systemctl stop postern-edge) and remove the file",
        ));
    }
    host::same_data((&told.data, DATA), &config.data)?;
    NewRole::again(&told.config, &config.data, told.user.as_deref())?.go_on()?;
    print::text(&format!("{} is there already: going on with what is missing.", told.config.display()));
    if edge::paired_on_disk(&config.data.join("homes"))? > 0 {
        print::text("A home is paired: for one more use 'postern edge pair'.");
        return Ok(None);
    }
    edge::setup::new_code(&config, &[], SystemClock.now()).map(Some)
}

/// What Home needs first, and who sends: all else `postern dns` shows there.
fn first_records(name: &str, addresses: &[IpAddr]) {
    print::text("\nThe two records that Home needs first:");
    for line in record_lines(name, addresses) {
        print::text(&format!("  {line}"));
    }
}

fn record_lines(name: &str, addresses: &[IpAddr]) -> Vec<String> {
    let outside: Vec<&IpAddr> = addresses.iter().filter(|ip| !judge::is_inner(**ip)).collect();
    if outside.is_empty() {
        return vec![
            format!("{name}.  A  (the public address of this host)"),
            format!("PTR of that address:  {name}.   (the provider of this host sets it)"),
        ];
    }
    let kind = |ip: &IpAddr| if ip.is_ipv4() { "A" } else { "AAAA" };
    let forward = outside.iter().map(|ip| format!("{name}.  {}  {ip}", kind(ip)));
    let back = outside
        .iter()
        .map(|ip| format!("{}.  PTR  {name}.   (the provider of this host sets it)", address_name(**ip)));
    forward.chain(back).collect()
}

fn say_whether_it_is_reached(
    told: &EdgeSetup,
    config: &EdgeConfig,
    started: &Started,
) -> Result<(), Problem> {
    let request = DoctorRequest { probe: told.probe.as_ref().map(ToString::to_string), firewall: None };
    let look = async {
        let running = if *started == Started::Yes { answering(config, &request).await? } else { None };
        if let Some(report) = running {
            return Ok(report);
        }
        let seen = edge::examine_alone(config, &request).await;
        seen.map_err(|why| Problem::setup(why, "see /etc/resolv.conf"))
    };
    let report = process::block_on(host::unless_stopped(look))??;
    print::text("");
    host::show(&report.findings, &LATER);
    print::text(&reached(&report, &config.hostname));
    Ok(())
}

/// What the daemon finds, as soon as it answers.
async fn answering(config: &EdgeConfig, request: &DoctorRequest) -> Result<Option<Examination>, Problem> {
    let until = Instant::now() + START_PATIENCE;
    loop {
        if let Some(value) = control::ask(&config.data, &Request::Doctor(request.clone())).await? {
            return Ok(Examination::from_json(&value));
        }
        if Instant::now() > until {
            return Err(Problem::failed(
                "the service was started and does not answer",
                "see why: journalctl -u postern-edge -n 20; then type this again, which goes on here",
            ));
        }
        tokio::time::sleep(START_PATIENCE / 100).await;
    }
}

/// The last line: yes, no, or what is not known, because.
fn reached(report: &Examination, name: &str) -> String {
    let of = |verdict| {
        let all =
            report.findings.iter().filter(move |one| one.verdict == verdict && REACHES.contains(&one.check));
        all.map(|one| one.what.as_str()).collect::<Vec<_>>().join("; ")
    };
    let (broken, unknown) = (of(Verdict::Fault), of(Verdict::Unknown));
    if !broken.is_empty() {
        return format!("reachable: no, because {broken}");
    }
    if !unknown.is_empty() {
        return format!(
            "reachable: not known yet, because {unknown}. Home tries it when it is paired: postern doctor. From any other host, now: \
             postern check edge {name}"
        );
    }
    "reachable: yes".to_owned()
}

#[cfg(test)]
mod tests {
    use doctor::Finding;
    use mail::UnixTime;

    use super::super::ask::testing::Answers;
    use super::*;

    fn told(dir: &Path, hostname: Option<&str>) -> EdgeSetup {
        EdgeSetup {
            hostname: hostname.map(str::to_owned),
            config: dir.join("edge.toml"),
            data: dir.join("data"),
            smtp: Vec::new(),
            link: Vec::new(),
            link_address: None,
            dns: vec!["127.0.0.1:9".parse().unwrap()],
            user: daemon::owner::is_root().then(|| "root".to_owned()),
            probe: None,
            no_check: false,
            no_start: false,
        }
    }

    struct Nobody;

    impl Asks for Nobody {
        fn is_there(&self) -> bool {
            false
        }
        fn text(
            &mut self,
            _: &str,
            _: Option<&str>,
            _: &dyn Fn(&str) -> Result<(), String>,
        ) -> Result<String, Problem> {
            panic!("nobody is asked")
        }
        fn yes(&mut self, _: &str) -> Result<bool, Problem> {
            panic!("nobody is asked")
        }
        fn password(&mut self, _: &str) -> Result<String, Problem> {
            panic!("nobody is asked")
        }
    }

    #[test]
    fn a_script_that_leaves_the_name_away_hears_what_to_type_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let said = converse(&told(dir.path(), None), &mut Nobody).unwrap_err().to_string();
        assert!(
            said.contains("--hostname is missing") && said.contains("postern edge setup --hostname"),
            "{said}"
        );
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_interruption_at_the_question_leaves_nothing_and_the_same_again_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let said = converse(&told(dir.path(), None), &mut Answers(Vec::new())).unwrap_err().to_string();
        assert!(said.starts_with("stopped") && said.contains("it goes on with what is missing"), "{said}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        // A name without a dot is asked for again.
        let mut answers = Answers(vec!["mx", "mx.example.org"]);
        converse(&told(dir.path(), None), &mut answers).unwrap_or_else(|problem| panic!("{problem}"));
        let written = std::fs::read(dir.path().join("edge.toml")).unwrap();
        // Whatever was interrupted after the file was written: nothing is made anew but the code.
        let key = std::fs::read(dir.path().join("data/link-key.pem")).unwrap();
        for hostname in [None, Some("MX.example.org")] {
            converse(&told(dir.path(), hostname), &mut Nobody).unwrap_or_else(|problem| panic!("{problem}"));
        }
        assert_eq!(std::fs::read(dir.path().join("edge.toml")).unwrap(), written);
        assert_eq!(std::fs::read(dir.path().join("data/link-key.pem")).unwrap(), key);
        let said =
            converse(&told(dir.path(), Some("other.example.org")), &mut Nobody).unwrap_err().to_string();
        assert!(said.contains("is there already, of mx.example.org, not of other.example.org"), "{said}");
    }

    #[test]
    fn the_records_that_home_needs_first_are_those_of_the_address_that_the_world_sees() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let lines = record_lines("mx.example.org", &[ip("203.0.113.2"), ip("fd00::2")]);
        assert_eq!(lines[0], "mx.example.org.  A  203.0.113.2");
        assert!(lines[1].starts_with("2.113.0.203.in-addr.arpa.  PTR  mx.example.org."), "{lines:?}");
        assert_eq!(lines.len(), 2);
        assert!(
            record_lines("mx.example.org", &[ip("10.0.0.2")])[0].contains("the public address of this host")
        );
    }

    #[test]
    fn the_last_line_says_whether_the_world_gets_in_and_why_not() {
        let report = |found: &[(Check, Verdict)]| {
            let findings =
                found.iter().map(|(check, verdict)| Finding::new(Half::Edge, *check, *verdict, "it is so"));
            reached(&Examination::of(UnixTime::from_secs(0), findings.collect()), "mx.example.org")
        };
        let fine = (Check::EdgeAddress, Verdict::Fine);
        assert_eq!(report(&[fine, (Check::LinkUp, Verdict::Fault)]), "reachable: yes");
        assert_eq!(report(&[fine, (Check::PortsListen, Verdict::Fault)]), "reachable: no, because it is so");
        assert!(
            report(&[fine, (Check::PortIn, Verdict::Unknown)])
                .starts_with("reachable: not known yet, because it is so.")
        );
    }
}
