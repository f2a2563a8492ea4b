//! `postern home setup`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::config;
use daemon::control;
use daemon::new_role::NewRole;
use daemon::owner::{self, Owner};
use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::{DoctorRequest, PeopleRequest, Request};
use doctor::look::own_addresses;
use doctor::{Examination, Finding, Fit, Fitness, Half, Verdict};
use home::config::{HomeConfig, Switch};
use home::setup::SetupArguments;
use mail::{Address, Domain};
use serde_json::Value;
use tokio::time::Instant;

use super::ask::{Asks, Terminal, heed_interrupts, missing};
use super::host::{self, PortsOfRole};
use super::program;
use crate::cli::service::{START_PATIENCE, Services, Started};
use crate::cli::{dns, round_trip, test_mail};

/// Where the service reads it.
const USUAL: &str = "/etc/postern/home.toml";
/// Where its data is.
const DATA: &str = "/var/lib/postern/home";
/// How long the link may take to come up after the start.
const LINK_PATIENCE: Duration = Duration::from_secs(60);

/// What `postern home setup` is told.
#[derive(Debug, Clone, clap::Args)]
pub(in super::super) struct HomeSetup {
    /// The pairing code that the edge printed; without one the home is for edges of another kind
    code: Option<String>,
    /// A domain whose mail lives here; may be given several times (asked for at a terminal)
    #[arg(long)]
    domain: Vec<Domain>,
    /// The first user, name@domain, while there is none (asked for at a terminal)
    #[arg(long, value_name = "ADDRESS")]
    account: Option<String>,
    /// Read the first user's password from standard input; without this one is made, and shown once
    #[arg(long, requires = "account")]
    password_stdin: bool,
    /// The configuration file to write
    #[arg(long, default_value = USUAL)]
    config: PathBuf,
    /// Where mailboxes, keys and the queue go
    #[arg(long, default_value = DATA)]
    data: PathBuf,
    /// Address for users' outgoing mail, TLS (default: port 465 on every address)
    #[arg(long, value_name = "ADDR:PORT", value_parser = daemon::network::address_and_port)]
    submission: Vec<SocketAddr>,
    /// Address for users' mailboxes, TLS (default: port 993 on every address)
    #[arg(long, value_name = "ADDR:PORT", value_parser = daemon::network::address_and_port)]
    imap: Vec<SocketAddr>,
    /// Whether users may send to the world: off until the edge's address is fit for it
    #[arg(long, default_value = "off", value_parser = ["off", "on"])]
    outbound: String,
    /// The user that the daemon runs as; made if he is not there (default for root: postern)
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Wait until the DNS records are there, and send a message round (asked for at a terminal)
    #[arg(long)]
    watch: bool,
    /// An address elsewhere that you read: a message is sent there, and what became of it is shown (asked for at a terminal)
    #[arg(long, value_name = "ADDRESS")]
    mail_to: Option<String>,
    /// Do not look at this host
    #[arg(long)]
    no_check: bool,
    /// Leave the service alone
    #[arg(long)]
    no_start: bool,
}

impl HomeSetup {
    /// Whether this is the Home of this host, and no try-out beside it.
    fn is_usual(&self) -> bool {
        self.config == Path::new(USUAL)
    }

    fn with(&self, code: Option<String>, domain: Vec<Domain>) -> SetupArguments {
        SetupArguments {
            code,
            domain,
            config: self.config.clone(),
            data: self.data.clone(),
            submission: self.submission.clone(),
            imap: self.imap.clone(),
            outbound: self.outbound.clone(),
            user: self.user.clone(),
        }
    }
}

/// The first user. Without a password one is made.
struct FirstUser {
    address: String,
    password: Option<String>,
}

/// Carries out `postern home setup`.
pub(in super::super) fn run(told: &HomeSetup) -> Result<(), Problem> {
    heed_interrupts()?;
    converse(told, &mut Terminal)
}

fn converse(told: &HomeSetup, asks: &mut impl Asks) -> Result<(), Problem> {
    let there = told.config.symlink_metadata().is_ok();
    let (domain, given) =
        if there { (Vec::new(), go_on(told)?) } else { (domains(told, asks)?, told.code.clone()) };
    let code = match given {
        None if !there && asks.is_there() => ask_code(asks)?,
        given => given,
    };
    let first = first_user(told, asks, domain.first())?;
    let done = match (there, code) {
        (false, code) => begin(told, asks, &domain, code)?,
        (true, Some(code)) => home::setup::pair(&told.config, &code, told.user.as_deref())?,
        (true, None) => format!("{} is there already: going on with what is missing.", told.config.display()),
    };
    print::text(&done);
    let config: HomeConfig = config::load(&told.config)?;
    let account = add_first(told, asks, &config, first)?;
    let started = start(told, &config)?;
    finish(told, asks, &config, (account.as_deref(), &started))
}

/// The domains, from the command line or by asking.
fn domains(told: &HomeSetup, asks: &mut impl Asks) -> Result<Vec<Domain>, Problem> {
    if let Some(other) = told.domain.iter().find(|domain| is_domain(domain.as_str()).is_err()) {
        return Err(Problem::setup(
            format!("{other} is no domain that mail could be sent to"),
            "write one such as example.org",
        ));
    }
    if !told.domain.is_empty() {
        return Ok(told.domain.clone());
    }
    if !asks.is_there() {
        return Err(missing("--domain", "postern home setup --domain example.org CODE"));
    }
    let domain = asks.text("The domain whose mail lives here", None, &is_domain)?;
    Domain::parse(&domain).map(|domain| vec![domain]).map_err(|error| Problem::setup(error, "write a domain"))
}

/// Whether mail can be for it.
fn is_domain(text: &str) -> Result<(), String> {
    if text.starts_with("postern1-") {
        return Err(
            "that is the pairing code, which is asked for next: write the domain here, such as example.org"
                .to_owned(),
        );
    }
    match Domain::parse(text) {
        Ok(domain)
            if !domain.is_literal() && text.contains('.') && text.parse::<std::net::IpAddr>().is_err() =>
        {
            Ok(())
        }
        _ => Err("write a domain, such as example.org".to_owned()),
    }
}

/// A code that can be read, or none.
fn ask_code(asks: &mut impl Asks) -> Result<Option<String>, Problem> {
    let is_code = |text: &str| {
        let read = if text.is_empty() { Ok(()) } else { home::setup::check_code(text) };
        read.map_err(|problem| problem.what().to_owned())
    };
    let question = "The pairing code that the edge printed (empty: none, for an edge of another kind)";
    Ok(Some(asks.text(question, None, &is_code)?).filter(|code| !code.is_empty()))
}

/// Who gets an account, if it can be told now: asked for before anything is written.
fn first_user(
    told: &HomeSetup,
    asks: &mut impl Asks,
    domain: Option<&Domain>,
) -> Result<Option<FirstUser>, Problem> {
    if let Some(address) = &told.account {
        let mut line = String::new();
        if told.password_stdin {
            std::io::stdin().read_line(&mut line).map_err(|error| {
                Problem::setup(
                    format!("can't read the password: {}", daemon::problem::io_words(&error)),
                    "give it on standard input",
                )
            })?;
        }
        let password = line.trim_end_matches(['\r', '\n']).to_owned();
        return Ok(Some(FirstUser {
            address: address.clone(),
            password: Some(password).filter(|word| !word.is_empty()),
        }));
    }
    match domain {
        Some(domain) if asks.is_there() => ask_user(asks, domain).map(Some),
        _ => Ok(None),
    }
}

fn ask_user(asks: &mut impl Asks, domain: &Domain) -> Result<FirstUser, Problem> {
    let is_address = |text: &str| match Address::parse(text) {
        Ok(address) if address.domain() == domain => Ok(()),
        _ => Err(format!("write an address of {domain}")),
    };
    let address = asks.text("The first user's address", Some(&format!("me@{domain}")), &is_address)?;
    let password = asks.password("The password (empty: one is made, and shown once)")?;
    Ok(FirstUser { address, password: Some(password).filter(|word| !word.is_empty()) })
}

/// A new Home. At a terminal a code that does not do is asked for again.
fn begin(
    told: &HomeSetup,
    asks: &mut impl Asks,
    domain: &[Domain],
    mut code: Option<String>,
) -> Result<String, Problem> {
    if told.is_usual() && !told.no_check {
        host::nobody_runs("home", &told.data)?;
        host::check(Half::Home, &[])?;
        let listen = told.with(None, domain.to_vec()).parsed()?.listen;
        let tcp: Vec<SocketAddr> = listen.submission.iter().chain(&listen.imap).copied().collect();
        let key = "[listen] in home.toml, which --submission and --imap set";
        host::ports(&PortsOfRole { tcp: &tcp, udp: &[], key })?;
    }
    loop {
        let arguments = told.with(code.clone(), domain.to_vec());
        match home::setup::setup(&arguments) {
            Err(problem) if code.is_some() && asks.is_there() => {
                print::text(&problem.to_string());
                code = ask_code(asks)?;
            }
            done => return done,
        }
    }
}

/// A Home that is there already: a code of an edge that it knows was used by it, any other is for one more edge.
fn go_on(told: &HomeSetup) -> Result<Option<String>, Problem> {
    let config: HomeConfig = config::load(&told.config)?;
    if let Some(other) = told.domain.iter().find(|domain| !config.domains.contains(domain)) {
        return Err(Problem::setup(
            format!("{} is there already, and {other} is no domain of it", told.config.display()),
            "add the domain to domains there; to begin anew stop it (systemctl stop postern-home) and remove the file",
        ));
    }
    host::same_data((&told.data, DATA), &config.data)?;
    NewRole::again(&told.config, &config.data, told.user.as_deref())?.go_on()?;
    let Some(code) = &told.code else { return Ok(None) };
    Ok(match home::setup::edge_of(&config, code)? {
        Some(edge) => {
            print::text(&format!(
                "The code is of {edge}, with which this home is paired already; to pair anew: postern home pair CODE"
            ));
            None
        }
        None => Some(code.clone()),
    })
}

fn accounts(config: &HomeConfig) -> Result<Vec<String>, Problem> {
    let listed = ask_or_do(config, PeopleRequest::ListUsers)?;
    let addresses = listed
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|user| user["address"].as_str().map(str::to_owned));
    Ok(addresses.collect())
}

fn ask_or_do(config: &HomeConfig, request: PeopleRequest) -> Result<Value, Problem> {
    owner::as_owner_of(&config.data, || process::block_on(home::accounts::command(config, request))?)
}

/// Adds the first user unless there is one; gives who there is.
fn add_first(
    told: &HomeSetup,
    asks: &mut impl Asks,
    config: &HomeConfig,
    first: Option<FirstUser>,
) -> Result<Option<String>, Problem> {
    if let Some(there) = accounts(config)?.into_iter().next() {
        return Ok(Some(there));
    }
    let first = match (first, config.domains.first()) {
        (None, Some(domain)) if asks.is_there() => Some(ask_user(asks, domain)?),
        (first, _) => first,
    };
    let Some(FirstUser { address, password }) = first else {
        let domain = config.domains.first().map_or("example.org", Domain::as_str);
        print::text(&format!(
            "Add a user:  postern user add you@{domain} --config {}",
            told.config.display()
        ));
        return Ok(None);
    };
    let made = password.is_none().then(host::made_password);
    let chosen = password.or_else(|| made.clone()).unwrap_or_default();
    ask_or_do(config, PeopleRequest::AddUser { address: address.clone(), password: chosen, restore: None })?;
    match made {
        Some(made) => {
            print::text(&format!("The user {address} has the password {made}   (it is shown this once)"))
        }
        None => print::text(&format!("The user {address} is there.")),
    }
    Ok(Some(address))
}

fn start(told: &HomeSetup, config: &HomeConfig) -> Result<Started, Problem> {
    if !told.is_usual() || told.no_start {
        return Ok(Started::NotHere);
    }
    let owner =
        Owner::of(&config.data).map_or_else(|_| "postern".to_owned(), |owner| owner.name().to_owned());
    let started = Services::here().start("home", &owner, &config.data)?;
    // In a container, or under another service manager, it may run already.
    let runs =
        || Ok::<_, Problem>(process::block_on(control::ask(&config.data, &Request::Status))??.is_some());
    Ok(if started == Started::NotHere && runs()? { Started::Yes } else { started })
}

/// What comes after the files: the link, DNS, the mail program, and whether it works.
fn finish(
    told: &HomeSetup,
    asks: &mut impl Asks,
    config: &HomeConfig,
    (account, started): (Option<&str>, &Started),
) -> Result<(), Problem> {
    if *started == Started::NotHere {
        print::text(&format!("DNS records: postern dns --config {}", told.config.display()));
        print::text(&format!("Start it:    {}", process::how_to_start("home", &told.config)));
    } else {
        if !config.edges.is_empty() {
            process::block_on(host::unless_stopped(wait_for_link(config)))??;
            print::text("The link is up.");
        }
        print::text("\nThe DNS records of the domain:");
        dns::table(&told.config)?;
        let wait = "Wait until they are there? Their name servers are asked, which see this host's address. Ctrl-C ends it, \
                    and nothing is lost";
        let records = (told.watch || asks.is_there() && asks.yes(wait)?) && finish_with_records(&told.config);
        if let Some(to) = mail_to(told, asks, (config, records))? {
            send_there(&told.config, &to);
        }
    }
    if let Some(account) = account {
        program::show(config, account, &own_addresses());
    }
    if *started == Started::Yes {
        say_how_it_is(config)?;
    }
    Ok(())
}

async fn wait_for_link(config: &HomeConfig) -> Result<(), Problem> {
    let until = Instant::now() + LINK_PATIENCE;
    loop {
        let status = control::ask(&config.data, &Request::Status).await?;
        let edges = status.as_ref().and_then(|status| status["edges"].as_array());
        if edges.is_some_and(|edges| edges.iter().any(|edge| edge["link"] == "up")) {
            return Ok(());
        }
        if Instant::now() > until {
            let what = if status.is_some() {
                "there is no link to the edge yet"
            } else {
                "the service was started and does not answer"
            };
            return Err(Problem::failed(
                what,
                "see why: journalctl -u postern-home -n 20, and that the edge runs; then type 'postern home setup', which goes on here",
            ));
        }
        tokio::time::sleep(START_PATIENCE / 40).await;
    }
}

/// Until all are there, or whoever waits has enough of it: then set-up goes on without. Gives whether they are.
fn finish_with_records(config: &Path) -> bool {
    let there = dns::wait(config).is_ok();
    if there {
        print::text("All records are there.");
        send_one_round(config);
    } else {
        print::text("\nNot waited for any longer: 'postern dns --check' says at any time what is missing.");
    }
    there
}

/// Who gets a message elsewhere: asked where it can arrive.
fn mail_to(
    told: &HomeSetup,
    asks: &mut impl Asks,
    (config, records): (&HomeConfig, bool),
) -> Result<Option<String>, Problem> {
    if told.mail_to.is_some() || !records || config.outbound != Switch::On || !asks.is_there() {
        return Ok(told.mail_to.clone());
    }
    let is_address = |text: &str| match Address::parse(text) {
        Ok(_) => Ok(()),
        Err(_) if text.is_empty() => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    let question = "An address elsewhere that you read, to send a message there (empty: none)";
    Ok(Some(asks.text(question, None, &is_address)?).filter(|to| !to.is_empty()))
}

/// A message to the world.
fn send_there(config_path: &Path, to: &str) {
    print::text("\nA message goes to the world:");
    if let Err(problem) = test_mail::run(config_path, to, false) {
        print::text(&problem.to_string());
    }
}

/// A message out and back.
fn send_one_round(config_path: &Path) {
    print::text("\nA message goes out and comes back:");
    if let Err(problem) = round_trip::run(config_path, false) {
        print::text(&problem.to_string());
    }
}

fn say_how_it_is(config: &HomeConfig) -> Result<(), Problem> {
    let asked = async { control::ask(&config.data, &Request::Doctor(DoctorRequest::default())).await };
    let Some(report) =
        process::block_on(host::unless_stopped(asked))??.as_ref().and_then(Examination::from_json)
    else {
        return Ok(());
    };
    print::text("");
    host::show(&report.findings, &[]);
    for one in Fitness::ALL {
        let answer = report.answer(one);
        print::text(&answer.line(one));
        // What keeps it from a yes is worth a line of its own.
        if answer.fit == Fit::Unknown {
            let keeps =
                |found: &&Finding| found.verdict == Verdict::Unknown && answer.because.contains(&found.check);
            report.findings.iter().filter(keeps).for_each(|found| {
                print::text(&format!("         {}: {}", found.check, found.what));
                print::text(&format!("         what to do: {}", found.advice));
            });
        }
    }
    print::text("'postern doctor' says it again at any time.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::ask::testing::Answers;
    use super::*;

    fn told(dir: &Path, domain: &[&str]) -> HomeSetup {
        HomeSetup {
            code: None,
            domain: domain.iter().map(|name| Domain::parse(name).unwrap()).collect(),
            account: None,
            password_stdin: false,
            config: dir.join("home.toml"),
            data: dir.join("data"),
            submission: Vec::new(),
            imap: Vec::new(),
            outbound: "off".to_owned(),
            watch: false,
            mail_to: None,
            user: owner::is_root().then(|| "root".to_owned()),
            no_check: false,
            no_start: false,
        }
    }

    fn names(dir: &Path) -> usize {
        std::fs::read_dir(dir).unwrap().count()
    }

    /// Interrupted at each question in turn, nothing is there; and answered to the end, everything is, and stays when it is
    /// typed again.
    #[test]
    fn an_interruption_at_any_question_leaves_nothing_and_the_same_again_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let answers = ["example", "example.org", "no code", "", "me@elsewhere.example", "me@example.org", ""];
        for ends in 0..answers.len() {
            let mut answers = Answers(answers[..ends].to_vec());
            let said = converse(&told(dir.path(), &[]), &mut answers).unwrap_err().to_string();
            assert!(said.starts_with("stopped") && said.contains("goes on"), "{said}");
            assert_eq!(names(dir.path()), 0, "after {ends} answers");
        }
        let mut all = Answers(answers.to_vec());
        converse(&told(dir.path(), &[]), &mut all).unwrap_or_else(|problem| panic!("{problem}"));
        let config: HomeConfig =
            config::load(&dir.path().join("home.toml")).unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(accounts(&config).unwrap_or_else(|problem| panic!("{problem}")), ["me@example.org"]);
        let key = std::fs::read(dir.path().join("data/sealing-key.txt")).unwrap();
        // Nobody is asked again for what is there.
        converse(&told(dir.path(), &["example.org"]), &mut Answers(Vec::new()))
            .unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(std::fs::read(dir.path().join("data/sealing-key.txt")).unwrap(), key);
        let said = converse(&told(dir.path(), &["other.example"]), &mut Answers(Vec::new()))
            .unwrap_err()
            .to_string();
        assert!(said.contains("is there already, and other.example is no domain of it"), "{said}");
    }

    #[test]
    fn a_home_without_a_user_that_is_set_up_again_asks_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let first = told(dir.path(), &["example.org"]);
        home::setup::setup(&first.with(None, first.domain.clone()))
            .unwrap_or_else(|problem| panic!("{problem}"));
        let mut answers = Answers(vec!["", "a good password"]);
        converse(&first, &mut answers).unwrap_or_else(|problem| panic!("{problem}"));
        let config: HomeConfig = config::load(&first.config).unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(accounts(&config).unwrap_or_else(|problem| panic!("{problem}")), ["me@example.org"]);
    }
}
