//! The command line.

mod dkim;
mod dns;
mod doctor;
mod firewall;
mod hidden;
mod homes;
mod papers;
mod people;
mod roles;
mod round_trip;
mod service;
mod settings;
mod setup;
mod status;
mod test_mail;
mod tls_report;
mod top;
mod trace;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use daemon::clock::{Clock as _, SystemClock};
use daemon::config;
use daemon::control;
use daemon::owner;
use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::{QuarantineRequest, QueueRequest, Request};
use edge::config::EdgeConfig;
use home::config::HomeConfig;
use mail::ItemId;
use serde_json::Value;

use self::roles::{EDGE_CONFIG, HOME_CONFIG};
use crate::check;

/// Mail for people who want their mail at home and their home out of sight.
#[derive(Debug, Parser)]
#[command(name = "postern", version, about, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The external MTA, on a public host
    #[command(subcommand)]
    Edge(EdgeCommand),
    /// The home MTA, behind NAT
    #[command(subcommand)]
    Home(HomeCommand),
    /// Users of this home
    #[command(subcommand)]
    User(people::UserCommand),
    /// Aliases of this home
    #[command(subcommand)]
    Alias(people::AliasCommand),
    /// Mail that waits to be sent
    #[command(subcommand)]
    Queue(QueueCommand),
    /// What would be said of a client or a message, and why
    #[command(subcommand)]
    Check(CheckCommand),
    /// Mail that a filter kept from its recipients
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// The keys that sign what users send
    #[command(subcommand)]
    Dkim(dkim::DkimCommand),
    /// What other domains are told of TLS with their mail hosts
    #[command(subcommand)]
    TlsReport(tls_report::TlsReportCommand),
    /// Every DNS record that the domains need, and whether it is there
    Dns(dns::DnsArguments),
    /// Whether both halves are fit: to receive, to send, and hidden
    Doctor(doctor::DoctorArguments),
    /// The rules for a role's host: what may come in and go out
    #[command(subcommand)]
    Firewall(firewall::FirewallCommand),
    /// Make a configuration of Home, commands for accounts, and a report, of a Postfix
    ImportPostfix {
        /// The directory that holds its main.cf and the text files of its maps
        dir: PathBuf,
        /// Where home.toml, accounts.sh and report.txt are written
        #[arg(long, default_value = ".")]
        out: PathBuf,
    },
    /// What a shell needs to complete these commands
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write a man page for each command, for packages
    #[command(hide = true)]
    ManPages {
        /// Where they are written; it must be there
        dir: PathBuf,
    },
    /// Both roles and a pretend internet on loopback; a mail each way
    Demo {
        /// End when both messages were read back
        #[arg(long)]
        once: bool,
    },
    /// Let users send to the world, or not
    Outbound {
        /// On or off
        wanted: settings::Outbound,
        /// Switch it on though the doctor knows something against it, or can't be asked
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Have the running role read its configuration and certificate again
    Reload {
        /// The configuration file of the role (default: that of the role that is set up on this host)
        #[arg(long)]
        config: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// What the daemon is doing, at home also what its edges are doing
    Status {
        /// The configuration file of the role (default: that of the role that is set up on this host)
        #[arg(long)]
        config: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The same, live: messages a minute, links, queue, the last events; q ends
    Top {
        /// The configuration file of the role (default: that of the role that is set up on this host)
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// The story of a message: its id, an address, a word of its subject or of an event; or of the last ones
    Trace(trace::TraceArguments),
}

#[derive(Debug, Subcommand)]
enum CheckCommand {
    /// May this address send for that domain? (SPF)
    Spf(check::ClientArguments),
    /// SPF, DKIM, DMARC and ARC of a message
    Message(check::MessageArguments),
    /// Where mail for a domain would go, and with which TLS: MX, DANE, MTA-STS
    Destination(check::DestinationArguments),
    /// Whether an edge is reached from this host, any host: port 25, and the link by TCP and UDP
    Edge(check::EdgeArguments),
    /// A message out to the edge's test address and back, as a user's mail program would send it
    RoundTrip {
        #[command(flatten)]
        common: Common,
    },
    /// A message of the first user's to an address elsewhere that you read: its way, and what became of it
    Send {
        /// The address
        to: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Subcommand)]
enum EdgeCommand {
    /// Make keys and configuration, and print a pairing code
    Setup(setup::EdgeSetup),
    /// Print a new pairing code
    Pair(edge::setup::PairArguments),
    /// The homes that are paired, and which of them serves which domain
    #[command(subcommand)]
    Homes(homes::HomesCommand),
    /// At home: let a new edge take the place of one
    Replace(home::replace::ReplaceArguments),
    /// At home: forget an edge
    Remove(home::replace::RemoveArguments),
    /// Run in the foreground
    Run {
        /// The configuration file
        #[arg(long, default_value = EDGE_CONFIG)]
        config: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum HomeCommand {
    /// Make keys and configuration, and pair with an edge
    Setup(setup::HomeSetup),
    /// Pair with one more edge
    Pair {
        /// The pairing code that the edge printed
        code: String,
        /// The configuration file
        #[arg(long, default_value = HOME_CONFIG)]
        config: PathBuf,
        /// The user that the daemon runs as, while there is no data yet (default for root: postern)
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
    },
    /// Take this home to another machine; old and new never both take mail
    #[command(subcommand)]
    Move(MoveCommand),
    /// Run in the foreground
    Run {
        /// The configuration file
        #[arg(long, default_value = HOME_CONFIG)]
        config: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
enum MoveCommand {
    /// On the old machine: pack all of it; from then on it does not start here
    Out(home::moving::OutArguments),
    /// On the new machine: unpack it
    In(home::moving::InArguments),
    /// On the old machine: it stays after all
    Back {
        /// The configuration file of Home
        #[arg(long, default_value = HOME_CONFIG)]
        config: PathBuf,
    },
}

#[derive(Debug, Clone, clap::Args)]
struct Common {
    /// The configuration file of Home
    #[arg(long, default_value = HOME_CONFIG)]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// List what waits
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show one message's state
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Try one message, or all, now
    Retry {
        /// Its id, or 'all'
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Keep a message back: it is neither tried nor given up until it is released
    Hold {
        /// Its id
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Let a message go: from hold, and from waiting for an edge that is away and may have delivered it
    Release {
        /// Its id
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Remove a message from the queue; nobody is told
    Remove {
        /// Its id
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Subcommand)]
enum QuarantineCommand {
    /// List what is kept, for whom it was and why
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show what is known of one message, and its header
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        common: Common,
    },
    /// Deliver a message to the INBOX of those it was for
    Release {
        /// Its id
        id: String,
        /// Deliver it to this address instead
        #[arg(long, value_name = "ADDRESS")]
        to: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Delete a message; nobody is told
    Delete {
        /// Its id
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

/// Reads the command line; what can't be understood ends the program, in JSON for who asked for JSON.
pub(crate) fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| {
        if !error.use_stderr() || !wants_json() {
            error.exit();
        }
        let said = error.to_string();
        let what = said.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let problem = Problem::setup(what, "see --help");
        let _ = tell(&problem);
        std::process::exit(2)
    })
}

/// Tells a person what is wrong, or the script that asked for JSON.
pub(crate) fn tell(problem: &Problem) -> ExitCode {
    if problem.is_told() {
        return problem.exit_code();
    }
    if wants_json() {
        print::text(&problem.to_json().to_string());
    } else {
        eprintln!("postern: {problem}");
    }
    problem.exit_code()
}

/// Also when the rest of the command line could not be read.
fn wants_json() -> bool {
    let mut words = std::env::args_os().skip(1).take_while(|word| word != "--").peekable();
    while let Some(word) = words.next() {
        if word == "--json"
            || word == "--format=json"
            || (word == "--format" && words.peek().is_some_and(|next| next == "json"))
        {
            return true;
        }
    }
    false
}

/// Carries out the command line.
pub(crate) fn run(cli: Cli) -> Result<(), Problem> {
    match cli.command {
        Command::Edge(EdgeCommand::Setup(told)) => setup::edge(&told),
        Command::Edge(EdgeCommand::Pair(arguments)) => edge::setup::pair(&arguments, SystemClock.now()),
        Command::Edge(EdgeCommand::Homes(command)) => homes::run(command),
        Command::Edge(EdgeCommand::Replace(arguments)) => home::replace::replace(&arguments),
        Command::Edge(EdgeCommand::Remove(arguments)) => home::replace::remove(&arguments),
        Command::Edge(EdgeCommand::Run { config }) => {
            process::start_logging();
            process::settle(&config::load::<EdgeConfig>(&config)?.data)?;
            process::block_on(edge::run(&config))?
        }
        Command::Home(HomeCommand::Setup(told)) => setup::home(&told),
        Command::Home(HomeCommand::Pair { code, config, user }) => {
            home::setup::pair(&config, &code, user.as_deref()).map(|done| print::text(&done))
        }
        Command::Home(HomeCommand::Move(MoveCommand::Out(arguments))) => home::moving::out(&arguments),
        Command::Home(HomeCommand::Move(MoveCommand::In(arguments))) => home::moving::arrive(&arguments),
        Command::Home(HomeCommand::Move(MoveCommand::Back { config })) => home::moving::back(&config),
        Command::Home(HomeCommand::Run { config }) => {
            process::start_logging();
            process::settle(&config::load::<HomeConfig>(&config)?.data)?;
            process::block_on(home::run(&config))?
        }
        Command::User(command) => people::user(command),
        Command::Alias(command) => people::alias(command),
        Command::Queue(command) => queue(command),
        Command::Check(CheckCommand::Spf(arguments)) => process::block_on(check::check_spf(&arguments))?,
        Command::Check(CheckCommand::Message(arguments)) => {
            process::block_on(check::check_message(&arguments))?
        }
        Command::Check(CheckCommand::Destination(arguments)) => {
            process::block_on(check::check_destination(&arguments))?
        }
        Command::Check(CheckCommand::Edge(arguments)) => process::block_on(check::check_edge(&arguments))?,
        Command::Check(CheckCommand::Send { to, common }) => test_mail::run(&common.config, &to, common.json),
        Command::Check(CheckCommand::RoundTrip { common }) => round_trip::run(&common.config, common.json),
        Command::Quarantine(command) => quarantine(command),
        Command::Dkim(command) => dkim::run(command),
        Command::TlsReport(command) => tls_report::run(command),
        Command::Dns(arguments) => dns::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments, roles::configuration_here),
        Command::Firewall(command) => firewall::run(command),
        Command::ImportPostfix { dir, out } => import_postfix(&dir, &out),
        Command::Completions { shell } => papers::completions(Cli::command(), shell),
        Command::ManPages { dir } => papers::man_pages(Cli::command(), &dir),
        Command::Demo { once } => crate::demo::run(once),
        Command::Outbound { wanted, force, common } => {
            let care = if force { settings::Care::Force } else { settings::Care::Fit };
            settings::outbound(wanted, &common.config, (care, common.json))
        }
        Command::Reload { config, json } => reload(config, json),
        Command::Status { config, json } => status::run(config, json),
        Command::Top { config } => top::run(config),
        Command::Trace(arguments) => trace::run(&arguments),
    }
}

fn import_postfix(dir: &Path, out: &Path) -> Result<(), Problem> {
    for path in crate::import::import(dir, out)? {
        print::text(&path.display().to_string());
    }
    print::text("Read report.txt first: it says what was not taken over, and what to do next.");
    Ok(())
}

/// Does something with the data of Home, as its owner: also when root does it, the daemon has to find it writable.
fn at_home<T: Send>(
    path: &Path,
    work: impl FnOnce(&HomeConfig) -> Result<T, Problem> + Send,
) -> Result<T, Problem> {
    let config: HomeConfig = config::load(path)?;
    owner::as_owner_of(&config.data, || work(&config))
}

/// Asks the running Home.
fn ask_home(request: &Request, common: &Common) -> Result<Value, Problem> {
    let config: HomeConfig = config::load(&common.config)?;
    process::block_on(control::demand(&config.data, request))?
}

fn quarantine(command: QuarantineCommand) -> Result<(), Problem> {
    let (request, common) = match command {
        QuarantineCommand::List { common } => (QuarantineRequest::List, common),
        QuarantineCommand::Show { id, common } => (QuarantineRequest::Show(item(&id, "quarantine")?), common),
        QuarantineCommand::Release { id, to, common } => {
            (QuarantineRequest::Release { item: item(&id, "quarantine")?, to }, common)
        }
        QuarantineCommand::Delete { id, common } => {
            (QuarantineRequest::Delete(item(&id, "quarantine")?), common)
        }
    };
    print::value(&ask_home(&Request::Quarantine(request), &common)?, common.json);
    Ok(())
}

/// The id of a message, which a list shows.
fn item(text: &str, list: &str) -> Result<ItemId, Problem> {
    text.parse()
        .map_err(|error| Problem::setup(format!("{text}: {error}"), format!("see 'postern {list} list'")))
}

fn queue(command: QueueCommand) -> Result<(), Problem> {
    let (request, common) = match command {
        QueueCommand::List { common } => (QueueRequest::List, common),
        QueueCommand::Show { id, common } => (QueueRequest::Show(item(&id, "queue")?), common),
        QueueCommand::Retry { id, common } if id == "all" => (QueueRequest::Retry(None), common),
        QueueCommand::Retry { id, common } => (QueueRequest::Retry(Some(item(&id, "queue")?)), common),
        QueueCommand::Hold { id, common } => (QueueRequest::Hold(item(&id, "queue")?), common),
        QueueCommand::Release { id, common } => (QueueRequest::Release(item(&id, "queue")?), common),
        QueueCommand::Remove { id, common } => (QueueRequest::Remove(item(&id, "queue")?), common),
    };
    print::value(&ask_home(&Request::Queue(request), &common)?, common.json);
    Ok(())
}

fn reload(config: Option<PathBuf>, json: bool) -> Result<(), Problem> {
    let path = config.map_or_else(roles::configuration_here, Ok)?;
    let data = roles::data_of(Some(path.clone()))?;
    match config::role_of(&path)? {
        link::Role::Edge => settings::reload::<EdgeConfig>(&path, &data, json),
        link::Role::Home => settings::reload::<HomeConfig>(&path, &data, json),
    }
}
