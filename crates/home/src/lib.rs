//! Home: the home MTA. What it is made of, and how it starts and stops.

pub mod accounts;
mod arrive;
mod carriers;
mod checkup;
pub mod config;
mod databases;
pub mod dkim;
mod edges;
mod encoded;
mod filters;
mod fixed;
mod foreign_edge;
mod forward;
mod house;
mod in_force;
mod keeper;
mod listeners;
mod mailboxes;
pub mod moving;
mod opening;
mod outgoing_header;
mod own_host;
mod quarantine;
mod queue_command;
mod reaping;
mod remembered;
pub mod replace;
mod reports;
mod return_path;
mod reused;
mod round_trips;
mod seen_at;
#[cfg(test)]
mod sending;
mod service;
pub mod setup;
mod smarthost;
mod snapshot;
mod status;
mod subject;
mod submit;
mod tls_reports;
mod traveller;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use carriers::OwnCarriers;
use checkup::{Checkup, CheckupParts};
use config::HomeConfig;
use daemon::clock::{Clock, SystemClock};
use daemon::control::{self, Handler, Refusal};
use daemon::descriptors;
use daemon::mail_line::Way;
use daemon::problem::Problem;
use daemon::process::{self, Signals, Wanted};
use daemon::request::{QuarantineRequest, Reloaded, Request};
use daemon::trace::Trace;
use directory::Directory;
use directory::logins::Logins;
use dkim::DomainKeys;
use edges::Edges;
use filters::{Filters, Trainer};
use foreign_edge::ForeignEdge;
use forward::{Forwarder, Srs};
use house::OwnHouse;
use in_force::InForce;
use keeper::Keeper;
use link::TraceStep;
use listeners::Ports;
use net::link_transport::Dialer;
use net::tls::ServerIdentity;
use outbound::CarrierEvent;
use outbound::queue::{self, Queue};
use quarantine::Quarantine;
use reports::{Notices, SenderReports};
use return_path::Signer;
use serde_json::{Value, json};
use setup::Secrets;
use smarthost::Smarthost;
use tls_reports::TlsReports;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use traveller::Traveller;

pub use checkup::examine_alone;

/// Everything that is shared while Home runs.
struct Home {
    /// As it was at the start.
    config: HomeConfig,
    in_force: InForce,
    config_path: PathBuf,
    directory: Directory,
    logins: Logins,
    ports: Ports,
    keeper: Keeper,
    queue: Queue,
    edges: Edges,
    signer: Signer,
    keys: DomainKeys,
    forwarder: Arc<Forwarder>,
    traveller: Traveller,
    quarantine: Quarantine,
    filters: Option<Arc<Filters>>,
    trainer: Option<Trainer>,
    tls_reports: TlsReports,
    checkup: Checkup,
    trace: Trace,
    clock: Arc<dyn Clock>,
    identity: ServerIdentity,
    sessions: TaskTracker,
    stop: CancellationToken,
}

/// Runs Home until it is told to stop.
///
/// # Errors
/// What it lacks to start, with what to do.
pub async fn run(config_path: &Path) -> Result<(), Problem> {
    // First of all: its buffers take no memory as long as they lie where nothing lay before.
    let dialer = Dialer::new();
    let config = load(config_path)?;
    daemon::moved::still_here(&config.data)?;
    let secrets = Secrets::load(&config.data)?;
    let mut signals = Signals::new()?;
    let control::Listening { socket, lock: _lock } = control::listen(&config.data).await?;
    let trace = config.trace.open(&config.data)?;
    let Opened { home, foreign_edge, commands, events } =
        open(config_path, config, secrets, (dialer, &trace))?;
    home.serve_imap()?;
    home.serve_foreign_edge(foreign_edge)?;
    let dispatching = home.start_sending(commands, events, &trace)?;
    let links = tokio::spawn(home.edges.clone().run());
    tokio::spawn(home.tls_reports.clone().run(home.stop.clone()));
    home.start_reaping();
    tokio::spawn(home.checkup.clone().daily(home.examined(), home.stop.clone()));
    tokio::spawn(control::serve(socket, Arc::clone(&home), home.stop.clone()));
    if let Err(problem) = see_that_there_is_a_postmaster(&home.config, &home.directory) {
        tracing::warn!(%problem, "the first account gets what is the postmaster's");
    }
    trace.event(None, TraceStep::Started, "home");
    tracing::info!(accounts = home.directory.accounts().len(), edges = home.config.edges.len(), "home runs");
    process::notify_ready();
    let mut dispatching = dispatching;
    loop {
        tokio::select! {
            wanted = signals.next() => match wanted {
                Wanted::Reload => process::tell_reloaded(home.reload()),
                Wanted::Stop => return home.end(links, dispatching).await,
            },
            // A Home that takes mail from its users and sends none would be worse than none.
            ended = &mut dispatching => {
                let problem = why_sending_ended(ended);
                home.end(links, tokio::spawn(async { Ok(()) })).await?;
                return Err(problem);
            }
        }
    }
}

/// # Errors
/// When the configuration names somebody who has no account.
fn see_that_there_is_a_postmaster(config: &HomeConfig, directory: &Directory) -> Result<(), Problem> {
    let Some(named) = &config.postmaster else { return Ok(()) };
    if directory.accounts().iter().any(|(_, address)| address.canonical() == named.canonical()) {
        return Ok(());
    }
    Err(Problem::setup(
        format!("postmaster = \"{named}\": no account has this address"),
        "name one of 'postern user list' in home.toml, or add it: postern user add",
    ))
}

/// The dispatcher ended by itself.
fn why_sending_ended(ended: Result<Result<(), Problem>, JoinError>) -> Problem {
    let cause = match ended {
        Ok(Err(problem)) => return problem,
        Ok(Ok(())) => "nobody is left who could tell it anything".to_owned(),
        Err(error) => error.to_string(),
    };
    Problem::failed(format!("sending ended: {cause}"), "start Home again: what users sent is in its queue")
}

/// A Home whose parts are there and do nothing yet.
struct Opened {
    home: Arc<Home>,
    foreign_edge: Option<Arc<ForeignEdge>>,
    commands: UnboundedReceiver<queue::Command>,
    events: Receiver<CarrierEvent>,
}

/// Opens what lies on the disk and puts the parts together, in the order in which they need each other.
fn open(
    config_path: &Path,
    config: HomeConfig,
    secrets: Secrets,
    (dialer, trace): (Dialer, &Trace),
) -> Result<Opened, Problem> {
    let (stop, clock) = (CancellationToken::new(), SystemClock::shared());
    let (now, directory) = (clock.now(), databases::open_directory(&config)?);
    let store = accounts::open_store(&config, &directory, now)?;
    let keeper = opening::keeper(&config, &directory, &store, &clock)?;
    let quarantine = Quarantine::open(&config.data)?;
    let filters = Filters::new(&config.filters, trace);
    let trainer = Trainer::start(filters::teachable(&config.filters)?, &store, &stop);
    let signer = Signer::open(&config.data, directory.clone(), now)?;
    let keys = DomainKeys::open(&config.data, &config.domains, now)?;
    let (queue, commands) = Queue::new(opening::queue(&config)?);
    let srs = Srs::open(&config.data)?;
    let notices = Notices::new(directory.clone(), keeper.clone(), Arc::clone(&clock));
    let forwarder =
        opening::forwarder(&config, (&queue, &keys), &directory, &srs, (&notices, trace, &clock))?;
    let arrivals = opening::arrivals(opening::ArrivalParts {
        config: &config,
        secrets: &secrets,
        directory: &directory,
        keeper: &keeper,
        trace,
        filters: filters.clone(),
        quarantine: &quarantine,
        forwarder: &forwarder,
        clock: &clock,
    })?;
    let snapshots = opening::snapshot_source(&directory, &signer, srs, &secrets);
    let logins = Logins::new(directory.clone());
    let foreign_edge = opening::foreign_edge(&config, &arrivals, &snapshots, &logins)?;
    let (edges, events) = Edges::new(
        config.edges.clone(),
        secrets.link_key,
        dialer,
        Arc::clone(&arrivals),
        snapshots,
        stop.clone(),
    );
    let traveller = opening::traveller(&config, &arrivals, (&logins, &queue, &keys), notices, &edges);
    let home = Arc::new(Home {
        config_path: config_path.to_owned(),
        sessions: TaskTracker::new(),
        ports: Ports::new(&config.limits),
        tls_reports: opening::tls_reports(&config, &directory, &queue, (&edges, &keys, trace), &clock)?,
        identity: opening::certificate(&config)?,
        checkup: Checkup::open(&config.data),
        traveller,
        in_force: InForce::new(config.clone()),
        config,
        directory,
        logins,
        keeper,
        queue,
        edges,
        signer,
        keys,
        forwarder,
        quarantine,
        filters,
        trainer,
        trace: trace.clone(),
        clock,
        stop,
    });
    Ok(Opened { home, foreign_edge, commands, events })
}

/// Submission, IMAP, a foreign edge: each has as many sessions as the configuration says.
const PORTS: u64 = 3;

/// The configuration, with as many sessions as there are descriptors for.
fn load(path: &Path) -> Result<HomeConfig, Problem> {
    let mut config: HomeConfig = daemon::config::load(path)?;
    config.limits.sessions = descriptors::sessions_here(config.limits.sessions, PORTS);
    Ok(config)
}

impl Home {
    /// Has forgotten daily what would grow for ever.
    fn start_reaping(&self) {
        let (store, quarantine) = (Arc::clone(self.keeper.store()), self.quarantine.clone());
        let clock = Arc::clone(&self.clock);
        let reap = move || {
            reaping::tidy_mailboxes(&*store, clock.now());
            quarantine.tidy(&*store);
        };
        tokio::spawn(reaping::run(reap, self.stop.clone()));
    }

    /// What the doctor looks at.
    fn examined(&self) -> CheckupParts {
        CheckupParts {
            config: self.in_force.clone(),
            directory: self.directory.clone(),
            queue: self.queue.clone(),
            edges: self.edges.clone(),
            keys: self.keys.clone(),
            traveller: self.traveller.clone(),
            quarantine: self.quarantine.clone(),
            clock: Arc::clone(&self.clock),
        }
    }

    fn carriers(&self) -> Result<OwnCarriers, Problem> {
        let open = |config| {
            Smarthost::open(config, self.config.hostname(), self.edges.events(), Arc::clone(&self.clock))
        };
        let smarthost = self.config.smarthost.as_ref().map(open).transpose()?;
        Ok(OwnCarriers { edges: self.edges.clone(), smarthost })
    }

    /// Opens submission and starts the dispatcher.
    fn start_sending(
        self: &Arc<Self>,
        commands: UnboundedReceiver<queue::Command>,
        events: Receiver<CarrierEvent>,
        trace: &Trace,
    ) -> Result<JoinHandle<Result<(), Problem>>, Problem> {
        let scratch = self.config.data.join("drafts");
        self.serve_submission(Arc::clone(&self.traveller.submit))?;
        let (signer, tls_reports) = (self.signer.clone(), self.tls_reports.clone());
        let clock = Arc::clone(&self.clock);
        let parts = outbound::Parts {
            queue: self.queue.clone(),
            commands,
            carriers: self.carriers()?,
            events,
            house: OwnHouse {
                directory: self.directory.clone(),
                keeper: self.keeper.clone(),
                scratch,
                clock: Arc::clone(&self.clock),
            },
            reporter: SenderReports {
                directory: self.directory.clone(),
                keeper: self.keeper.clone(),
                forwarder: Arc::clone(&self.forwarder),
                clock: Arc::clone(&self.clock),
            },
            clock: Arc::clone(&self.clock),
            sign: Box::new(move |path| signer.sign(path, clock.now())),
            count_tls: Box::new(move |domain, results| tls_reports.count(domain, results)),
            trace: trace.clone(),
            settings: self.config.sending_settings(),
        };
        Ok(tokio::spawn(outbound::run(parts, self.stop.clone())))
    }

    /// Reads the configuration and the certificate again, and says what needs a restart.
    ///
    /// # Errors
    /// When one of them can't be used: what was in force stays.
    fn reload(&self) -> Result<Reloaded, Problem> {
        let config = load(&self.config_path)?;
        see_that_there_is_a_postmaster(&config, &self.directory)?;
        self.keys.adopt(&config.domains, self.clock.now())?;
        self.identity
            .reload(&config.tls.files(&self.config.data))
            .map_err(|error| Problem::setup(error, config.tls.advice("home.toml")))?;
        self.signer.adopt(&config.policy(), self.clock.now());
        self.directory.adopt(config.policy());
        self.edges.adopt(config.edges.clone());
        let after_restart = fixed::that_differs(&self.config, &config);
        self.in_force.adopt(config);
        Ok(Reloaded { after_restart })
    }

    /// Lets sessions end, then everything else; tells how the dispatcher ended.
    async fn end(
        &self,
        links: JoinHandle<()>,
        dispatching: JoinHandle<Result<(), Problem>>,
    ) -> Result<(), Problem> {
        tracing::info!("home stops: sessions may end within {} s", process::DRAIN_MAX.as_secs());
        process::drain(&self.sessions, &self.stop).await;
        if let Some(filters) = &self.filters {
            filters.stop().await;
        }
        let _ = tokio::time::timeout(Duration::from_secs(2), links).await;
        let ended = tokio::time::timeout(Duration::from_secs(2), dispatching).await;
        tokio::task::block_in_place(|| self.tls_reports.save());
        match ended {
            Ok(Ok(ended)) => ended,
            _ => Ok(()),
        }
    }

    async fn of_the_quarantine(&self, request: &QuarantineRequest) -> Result<Value, Refusal> {
        let drafts = self.config.data.join("drafts");
        let parts = quarantine::Parts {
            keeper: &self.keeper,
            directory: &self.directory,
            trace: &self.trace,
            forwarder: &self.forwarder,
            drafts: &drafts,
            now: self.clock.now(),
        };
        self.quarantine.carry_out(&parts, request).await
    }

    async fn status(&self) -> Value {
        let (of_edges, quarantine) = tokio::join!(self.edges.edge_statuses(), self.quarantine.count());
        let tally = self.trace.tally();
        let status = json!({
            "role": "home",
            "software": link::Hello::ours(None).software,
            "begun": tally.begun().rfc3339(),
            "mail": { "in": tally.shown(Way::In), "out": tally.shown(Way::Out) },
            "quarantine": quarantine,
            "outbound": self.directory.policy().sends,
            "domains": self.directory.policy().domains,
            "accounts": self.directory.accounts().len(),
            "sessions": self.sessions.len(),
            "ports": self.ports.as_json(&self.config),
            "logins": self.logins.as_json(),
            "queue": self.queue.count(),
            "filters": self.config.filters.iter().map(config::FilterConfig::name).collect::<Vec<_>>(),
            "edges": status::with_numbers(self.edges.status(), &of_edges),
            "deliver": self.config.deliver.as_ref().map(|deliver| deliver.lmtp.to_string()),
            "smarthost": self.config.smarthost.as_ref().map(|smarthost| &smarthost.address),
            "foreign_edge": self.config.foreign_edge.as_ref().map(|edge| &edge.listen),
            "doctor": self.checkup.as_json(),
        });
        status::with_problems(status)
    }
}

impl Handler for Home {
    async fn handle(&self, request: Request) -> Result<Value, Refusal> {
        match request {
            Request::Status => Ok(self.status().await),
            Request::Reload => tokio::task::block_in_place(|| self.reload())
                .map(|reloaded| json!(reloaded))
                .map_err(Problem::into_parts),
            Request::RoundTrip => self.checkup.round(&self.traveller).await.map_err(|why| {
                (why, "see 'postern status'; a user and an edge that is up are needed".to_owned())
            }),
            Request::TestMail(to) => self.traveller.send_to(&to).await.map_err(|why| {
                (why, "see 'postern status'; where sending is off: postern outbound on".to_owned())
            }),
            Request::Queue(request) => queue_command::carry_out(&self.queue, request).await,
            Request::Quarantine(request) => self.of_the_quarantine(&request).await,
            Request::TlsReport(request) => self.tls_reports.carry_out(&request).await,
            Request::Dkim(request) => tokio::task::block_in_place(|| {
                dkim::carry_out(&self.keys, &self.config, &request, self.clock.now())
            }),
            Request::People(request) => tokio::task::block_in_place(|| {
                accounts::carry_out(&self.directory, &**self.keeper.store(), &request, self.clock.now())
            }),
            Request::Doctor(request) => match self.checkup.run(&self.examined(), &request).await {
                Ok(report) => Ok(report.to_json()),
                Err(what) => Err((what, "see /etc/resolv.conf".to_owned())),
            },
            Request::Homes(_) => Err((
                "Home has none of what is asked for".to_owned(),
                "ask Edge, with --config edge.toml".to_owned(),
            )),
        }
    }
}
