//! Edge: the external MTA. What it is made of, and how it starts and stops.

mod begun;
mod budget;
pub mod config;
mod deliver;
mod door;
mod draft;
mod drain;
mod echo;
mod errands;
mod examine;
mod feed;
mod foreign;
mod greylist;
mod handoff;
mod homes;
mod incoming;
mod judge;
mod lane;
mod lists;
mod pairing;
mod receive;
pub mod route;
mod score;
mod session;
pub mod setup;
mod signs;
mod strangers;
mod visitor;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use budget::Budget;
use config::EdgeConfig;
use daemon::clock::{Clock, SystemClock};
use daemon::control::{self, Handler, Refusal};
use daemon::descriptors;
use daemon::files;
use daemon::mail_line::Way;
use daemon::problem::Problem;
use daemon::process::{self, Signals, Wanted};
use daemon::request::{Reloaded, Request};
use daemon::trace::Trace;
use deliver::Deliveries;
use door::Door;
use echo::Echo;
use errands::Errands;
use examine::{Examiner, Noticed};
use foreign::ForeignHomes;
use greylist::Greylist;
use handoff::HandOffs;
use homes::{Away, Homes, Watch};
use judge::Judges;
use lane::Lanes;
use link::{EdgeStatus, TraceStep};
use lists::Lists;
use net::dns::{Dns, Questions};
use net::link_key::LinkKey;
use net::link_transport::{LinkListener, LinkStream, LinkTransportError};
use net::smtp_server::Port;
use net::tls::{ServerIdentity, TlsAcceptor};
use pairing::Pairing;
use receive::{Receive, Reception};
use route::{Map, Router};
use score::Table;
use serde_json::{Value, json};
use session::LinkContext;
use smtp::server::{Limits, Mode, Settings};
use strangers::Strangers;
use tlspolicy::tlsa::Tlsa;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use visitor::Visitors;

pub use examine::examine_alone;
pub use homes::{anybody_sends, paired_on_disk};

/// How often the greylist is written. What is lost in a crash costs strangers a second wait.
const SAVED_EVERY: Duration = Duration::from_secs(300);

/// Everything that is shared while Edge runs.
struct Edge {
    config: EdgeConfig,
    config_path: std::path::PathBuf,
    homes: Arc<Homes>,
    foreign: Arc<ForeignHomes>,
    reception: Arc<Reception>,
    deliveries: Arc<Deliveries>,
    errands: Arc<Errands>,
    examiner: Arc<Examiner>,
    noticed: Arc<Noticed>,
    map: Arc<Map>,
    pairing: Pairing,
    strangers: Strangers,
    identity: ServerIdentity,
    sessions: TaskTracker,
    stop: CancellationToken,
    clock: Arc<dyn Clock>,
}

/// Runs Edge until it is told to stop.
///
/// # Errors
/// When the configuration, the data, or an address to listen on does not let it start; later only what ends it.
pub async fn run(config_path: &Path) -> Result<(), Problem> {
    let config = load(config_path)?;
    files::make_private_dir(&config.data)?;
    let key = setup::load_key(&config.data)?;
    let mut signals = Signals::new()?;
    let control::Listening { socket, lock: _lock } = control::listen(&config.data).await?;
    let (edge, trace) = build(config, config_path, &key, SystemClock::shared())?;
    let smtp = process::listen(&edge.config.listen.smtp, "SMTP", "[listen] smtp in edge.toml")?;
    let links = listen_links(&edge.config, &key).await?;
    let acceptor = edge.acceptor()?;
    for listener in smtp {
        tokio::spawn(accept_smtp(Arc::clone(&edge), listener, acceptor.clone()));
    }
    let links = tokio::spawn(accept_links(Arc::clone(&edge), links));
    tokio::spawn(control::serve(socket, Arc::clone(&edge), edge.stop.clone()));
    let (map, stop) = (Arc::clone(&edge.map), edge.stop.clone());
    tokio::spawn(async move { route::refresh_policies(&map, stop).await });
    tokio::spawn(watch_homes(Arc::clone(&edge)));
    tokio::spawn(save_now_and_then(Arc::clone(&edge)));
    trace.event(None, TraceStep::Started, format!("edge {}", edge.config.hostname));
    tracing::info!(hostname = %edge.config.hostname, homes = edge.homes.list().len(), "edge runs");
    process::notify_ready();
    while signals.next().await == Wanted::Reload {
        process::tell_reloaded(edge.reload().await);
    }
    tracing::info!("edge stops: sessions may end within {} s", process::DRAIN_MAX.as_secs());
    process::drain(&edge.sessions, &edge.stop).await;
    let _ = tokio::time::timeout(Duration::from_secs(2), links).await;
    edge.save();
    Ok(())
}

/// The configuration, with as many sessions as there are descriptors for.
fn load(path: &Path) -> Result<EdgeConfig, Problem> {
    let mut config: EdgeConfig = daemon::config::load(path)?;
    config.limits.sessions = descriptors::sessions_here(config.limits.sessions, 1);
    Ok(config)
}

/// Notes which homes are here, and says which are away for too long while mail waits for them.
async fn watch_homes(edge: Arc<Edge>) {
    let limit = edge.config.homes.away_warning.0;
    let mut watch = Watch::default();
    loop {
        tokio::select! {
            () = edge.stop.cancelled() => return,
            () = tokio::time::sleep(Watch::pause(limit)) => {}
        }
        let now = edge.clock.now();
        let here = edge.homes.list().into_iter().filter(|home| home.live().is_some());
        tokio::task::block_in_place(|| here.for_each(|home| home.was_here(now)));
        for away in watch.due(edge.homes.away(now, limit), now) {
            tracing::warn!("{}", away.warning());
        }
    }
}

/// Writes down now and then what a restart should find.
async fn save_now_and_then(edge: Arc<Edge>) {
    loop {
        tokio::select! {
            () = edge.stop.cancelled() => return,
            () = tokio::time::sleep(SAVED_EVERY) => {}
        }
        let edge = Arc::clone(&edge);
        let _ = tokio::task::spawn_blocking(move || edge.save()).await;
    }
}

fn build(
    config: EdgeConfig,
    config_path: &Path,
    key: &LinkKey,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<Edge>, Trace), Problem> {
    let trace = Trace::open(&config.data.join("trace"), link::Role::Edge)?;
    let (own_octets, foreign_octets) = memory(&config);
    let foreign = Arc::new(ForeignHomes::open(&config, Budget::of_octets(foreign_octets), &trace, &clock)?);
    let homes = Homes::open(&config.data.join("homes"), config.limits.spool.0, clock.now())?;
    let homes = Arc::new(homes.without(foreign.domains().cloned().collect()));
    let deadline = Duration::from_secs(config.limits.hand_off.0);
    let hand_offs = Arc::new(HandOffs::new(own_octets, deadline, trace.clone()));
    let dns = Dns::new(&config.dns.servers).map_err(|error| {
        Problem::setup(error, "name the servers in [dns] servers of edge.toml, or mend /etc/resolv.conf")
    })?;
    let questions = dns.questions();
    let noticed = Arc::new(Noticed::open(&config.data));
    let examiner =
        Examiner::new(config.clone(), Arc::clone(&homes), Arc::clone(&noticed), Arc::clone(&clock));
    let roots = route::public_roots(&config)?;
    let errands = Errands::new(dns.clone(), roots, config.outbound.ipv6, Arc::clone(&examiner));
    let own_names = dns.clone();
    let map = Arc::new(Map::new(&config, dns, Some(&config.data), Arc::clone(&clock))?);
    let router = router(&config, Arc::clone(&map), Arc::clone(&homes))?;
    let lanes = Lanes::new(router, config.outbound.connections_per_domain);
    let greylist = Arc::new(Greylist::open(&config.data)?);
    let echo = Echo::new(&config.hostname, own_names, (&homes, &lanes), trace.clone(), &clock);
    let deliveries = Deliveries::new(
        Arc::clone(&homes),
        (lanes, Arc::new(echo)),
        trace.clone(),
        (Arc::clone(&greylist), Arc::clone(&noticed)),
        Arc::clone(&clock),
    );
    let visitors = visitors(&config, questions, &clock);
    let reception = Reception {
        homes: Arc::clone(&homes),
        foreign: Arc::clone(&foreign),
        hand_offs,
        door: Door::new(config.door.clone(), config.limits.sessions),
        judges: Judges { visitors: Arc::new(visitors), policy: config.policy.clone() },
        greylist,
        trace: trace.clone(),
        greet_pause: Duration::from_secs(config.door.greet_pause.0),
        clock: Arc::clone(&clock),
    };
    let identity = identity(&config)?;
    let edge = Edge {
        pairing: Pairing::new(&config.data, &config.hostname, key, Arc::clone(&homes), Arc::clone(&clock)),
        strangers: Strangers::default(),
        config_path: config_path.to_owned(),
        sessions: TaskTracker::new(),
        stop: CancellationToken::new(),
        config,
        homes,
        foreign,
        reception: Arc::new(reception),
        deliveries,
        errands,
        examiner,
        noticed,
        map,
        identity,
        clock,
    };
    Ok((Arc::new(edge), trace))
}

/// The certificate of the operator, or one made for this host.
fn identity(config: &EdgeConfig) -> Result<ServerIdentity, Problem> {
    let certificate = config.tls.files(&config.data);
    if config.tls.is_self_made() {
        net::tls::ensure_self_signed(&certificate, &config.hostname)
            .map_err(|error| Problem::failed(error, "see whether the data directory can be written"))?;
    }
    ServerIdentity::load(&certificate).map_err(|error| Problem::setup(error, config.tls.advice("edge.toml")))
}

fn visitors(config: &EdgeConfig, questions: Questions, clock: &Arc<dyn Clock>) -> Visitors {
    Visitors {
        questions,
        lists: Lists::new(&config.lists),
        table: Arc::new(Table::new(&config.score)),
        hostname: config.hostname.to_ascii_lowercase(),
        clock: Arc::clone(clock),
    }
}

/// Memory for messages to paired homes and to those that are other programs. The latter is held until such a home has
/// answered, and must not keep mail from the former.
fn memory(config: &EdgeConfig) -> (u64, u64) {
    let all = config.limits.body_memory.0;
    if config.foreign_homes.is_empty() { (all, 0) } else { (all - all / 2, all / 2) }
}

fn router(config: &EdgeConfig, map: Arc<Map>, homes: Arc<Homes>) -> Result<Router, Problem> {
    let impossible = |error| Problem::failed(format!("TLS can't be set up: {error}"), "");
    Ok(Router {
        map,
        any_certificate: net::tls::opportunistic_connector().map_err(impossible)?,
        public_roots: route::public_roots(config)?,
        roots: route::roots(config)?,
        settings: smtp::client::Settings::new(&config.hostname),
        homes,
        short_hellos: net::tls::ShortHellos::default(),
        providers: route::Providers::new(config.outbound.connections_per_provider),
    })
}

async fn listen_links(config: &EdgeConfig, key: &LinkKey) -> Result<LinkListener, Problem> {
    let has_ipv6 = process::has_ipv6();
    let addresses: Vec<_> = config.listen.link.iter().copied().filter(|a| has_ipv6 || !a.is_ipv6()).collect();
    let opened = LinkListener::bind(&addresses, key, &[link::ALPN, link::ALPN_PAIRING]).await;
    opened.map_err(|error| match error {
        LinkTransportError::Listen { address, cause } => {
            process::listen_problem(address, "the link", "[listen] link in edge.toml", &cause)
        }
        other => Problem::setup(other, "restore the key file, or set Edge up anew"),
    })
}

impl Edge {
    fn save(&self) {
        self.reception.greylist.save();
        self.noticed.save(&self.config.data);
    }

    fn acceptor(&self) -> Result<TlsAcceptor, Problem> {
        let acceptor = self.identity.acceptor();
        acceptor.map_err(|error| Problem::failed(format!("TLS can't be set up: {error}"), ""))
    }

    /// What a new session works with. `SIZE` is what the most generous home allows; each home's own limit is
    /// checked as well.
    fn smtp_port(&self, tls: TlsAcceptor) -> Port {
        let offered = self.reception.message_octets_max();
        let limits = Limits::default();
        let settings = Settings {
            hostname: self.config.hostname.clone(),
            mode: Mode::Mx,
            starttls: true,
            limits: Limits { message_octets: offered.unwrap_or(limits.message_octets), ..limits },
        };
        Port { settings: Arc::new(settings), tls: Some(tls), implicit_tls: false, stop: self.stop.clone() }
    }

    /// Reads the configuration and the certificate again, and says what needs a restart.
    ///
    /// # Errors
    /// When one of them can't be used: what was in force stays.
    async fn reload(&self) -> Result<Reloaded, Problem> {
        self.foreign.reload().await;
        let config = load(&self.config_path)?;
        self.identity
            .reload(&config.tls.files(&self.config.data))
            .map_err(|error| Problem::setup(error, config.tls.advice("edge.toml")))?;
        Ok(Reloaded { after_restart: self.fixed_that_differs(&config) })
    }

    /// What of this configuration is read only when Edge starts, and is not what it started with.
    fn fixed_that_differs(&self, config: &EdgeConfig) -> Vec<String> {
        let ours = &self.config;
        let differs = [
            ("hostname", ours.hostname != config.hostname),
            ("data", ours.data != config.data),
            ("[listen]", ours.listen != config.listen),
            ("[dns]", ours.dns != config.dns),
            ("[limits]", ours.limits != config.limits),
            ("[homes]", ours.homes != config.homes),
            ("[outbound]", ours.outbound != config.outbound),
            ("[door]", ours.door != config.door),
            ("[score]", ours.score != config.score),
            ("[policy]", ours.policy != config.policy),
            ("[[list]]", ours.lists != config.lists),
            ("[[foreign_home]]", ours.foreign_homes != config.foreign_homes),
        ];
        differs.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect()
    }

    /// How it is doing, for a home: nothing of others.
    fn status_for(&self, home: &homes::Home) -> EdgeStatus {
        let tally = self.reception.trace.tally();
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        EdgeStatus {
            software: link::Hello::ours(None).software,
            begun: tally.begun(),
            sessions: number(self.sessions.len()),
            sessions_max: number(self.config.limits.sessions),
            incoming: tally.passed(Way::In),
            outgoing: tally.passed(Way::Out),
            sealed: number(home.sealed.count()),
            sealed_octets: home.sealed.item_octets(),
            tlsa: Tlsa::of_own_key(&self.identity.certificate()).map(|tlsa| tlsa.text()),
        }
    }

    fn status(&self) -> Value {
        let now = self.clock.now();
        let tally = self.reception.trace.tally();
        let mut status = json!({
            "role": "edge",
            "software": link::Hello::ours(None).software,
            "begun": tally.begun().rfc3339(),
            "hostname": self.config.hostname,
            "mail": { "in": tally.shown(Way::In), "out": tally.shown(Way::Out) },
            "sessions": self.sessions.len(),
            "sessions_max": self.config.limits.sessions,
            "smtp": self.reception.door.count().shown(),
            "homes": self.homes.status(now),
        });
        let away = self.homes.away(now, self.config.homes.away_warning.0);
        if !away.is_empty() {
            status["warnings"] = away.iter().map(Away::warning).collect();
        }
        let foreign = self.foreign.status();
        if !foreign.is_empty() {
            status["foreign_homes"] = foreign.into();
        }
        status
    }
}

impl Handler for Edge {
    async fn handle(&self, request: Request) -> Result<Value, Refusal> {
        match request {
            Request::Status => Ok(self.status()),
            Request::Reload => {
                self.reload().await.map(|reloaded| json!(reloaded)).map_err(Problem::into_parts)
            }
            Request::Homes(request) => {
                tokio::task::block_in_place(|| self.homes.carry_out(&request, self.clock.now()))
            }
            Request::Doctor(request) => match self.examiner.report(&request).await {
                Ok(report) => Ok(report.to_json()),
                Err(what) => Err((what, "see [dns] and [tls] in edge.toml".to_owned())),
            },
            _ => Err((
                "Edge has none of what is asked for".to_owned(),
                "ask Home, with --config home.toml".to_owned(),
            )),
        }
    }
}

async fn accept_smtp(edge: Arc<Edge>, listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        let (stream, peer) = tokio::select! {
            () = edge.stop.cancelled() => return,
            accepted = net::listen::accept(&listener) => accepted,
        };
        edge.noticed.came(peer.ip(), edge.clock.now());
        let admission = match edge.reception.admit(peer.ip()) {
            Ok(admission) => admission,
            Err(reply) => {
                edge.sessions.spawn(net::smtp_server::turn_away(stream, reply));
                continue;
            }
        };
        let service = Receive::new(Arc::clone(&edge.reception), admission);
        let port = edge.smtp_port(acceptor.clone());
        edge.sessions.spawn(async move {
            if let Err(error) = net::smtp_server::serve(stream, peer.ip(), &port, service).await {
                tracing::debug!(%peer, %error, "session broke off");
            }
        });
    }
}

async fn accept_links(edge: Arc<Edge>, mut listener: LinkListener) {
    let context = LinkContext {
        hostname: edge.config.hostname.clone(),
        homes: Arc::clone(&edge.homes),
        deliveries: Arc::clone(&edge.deliveries),
        errands: Arc::clone(&edge.errands),
        status: {
            let edge = Arc::clone(&edge);
            Arc::new(move |home| edge.status_for(home))
        },
        clock: Arc::clone(&edge.clock),
        stop: edge.stop.clone(),
    };
    let tasks = TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = edge.stop.cancelled() => break,
            stream = listener.accept() => stream,
        };
        let Some(stream) = stream else { break };
        let (edge, context) = (Arc::clone(&edge), context.clone());
        tasks.spawn(async move { serve_link(&edge, stream, context).await });
    }
    tasks.close();
    let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;
    listener.close().await;
}

/// Who may speak: a pinned key the link, any key the pairing exchange.
async fn serve_link(edge: &Edge, stream: LinkStream, context: LinkContext) {
    let key = link::key_fingerprint(&stream.peer_spki);
    let ended = if stream.alpn == link::ALPN_PAIRING {
        edge.pairing.serve(stream).await
    } else if let Some(home) = edge.homes.by_key(&key) {
        let ended = session::serve(stream, home, context).await;
        // Before the hello it was no link, and nothing went down: Home looks so whether the other transport would do.
        if let Err(fault) = ended {
            tracing::debug!(%fault, "a link ended before it was one");
        }
        return;
    } else {
        edge.strangers.turned_away(&key, Instant::now());
        return;
    };
    if let Err(fault) = ended {
        tracing::debug!(%fault, "pairing connection ended");
    }
}
