//! The parts of Home, opened: what each is made from, and what is said when its files do not let it.

use std::sync::Arc;

use content::Budget;
use daemon::clock::Clock;
use daemon::config::Octets;
use daemon::files;
use daemon::problem::Problem;
use daemon::system;
use daemon::trace::Trace;
use directory::Directory;
use directory::logins::Logins;
use net::tls::ServerIdentity;
use outbound::queue::Queue;
use spool::{RealDisk, Spool};
use store::Mailboxes;

use crate::arrive::{Arrivals, Repeats, Unsealers, WAITING_OCTETS_MAX};
use crate::config::{self, HomeConfig};
use crate::dkim::DomainKeys;
use crate::edges::Edges;
use crate::filters::Filters;
use crate::foreign_edge::ForeignEdge;
use crate::forward::{self, Forwarder, Srs};
use crate::keeper::{Keeper, Lmtp};
use crate::quarantine::Quarantine;
use crate::reports::Notices;
use crate::return_path::Signer;
use crate::round_trips::RoundTrips;
use crate::seen_at::SeenAt;
use crate::setup::Secrets;
use crate::snapshot::SnapshotSource;
use crate::submit::{self, Submit};
use crate::tls_reports::{self, TlsReports};
use crate::traveller::Traveller;

/// The way of users' mail into the queue.
fn submit(
    config: &HomeConfig,
    arrivals: &Arrivals,
    (logins, queue, keys): (&Logins, &Queue, &DomainKeys),
    notices: Notices,
    seen_at: SeenAt,
) -> Arc<Submit> {
    Submit::new(submit::Parts {
        directory: arrivals.directory.clone(),
        logins: logins.clone(),
        queue: queue.clone(),
        hostname: config.name_outside(),
        seen_at,
        keys: keys.clone(),
        trace: arrivals.trace.clone(),
        notices,
        scratch: Arc::clone(&arrivals.drafts),
        memory: half(config.limits.body_memory),
        clock: Arc::clone(&arrivals.clock),
    })
}

/// What edges are to know of this Home.
pub(super) fn snapshot_source(
    directory: &Directory,
    signer: &Signer,
    srs: Srs,
    secrets: &Secrets,
) -> SnapshotSource {
    SnapshotSource {
        directory: directory.clone(),
        signer: signer.clone(),
        srs,
        hash_secret: secrets.hash_secret,
        sealing_key: secrets.unseal.public(),
    }
}

pub(super) fn tls_reports(
    config: &HomeConfig,
    directory: &Directory,
    queue: &Queue,
    (edges, keys, trace): (&Edges, &DomainKeys, &Trace),
    clock: &Arc<dyn Clock>,
) -> Result<TlsReports, Problem> {
    let parts = tls_reports::Parts {
        directory: directory.clone(),
        queue: queue.clone(),
        run_errand: errand_runner(edges),
        keys: keys.clone(),
        trace: trace.clone(),
        clock: Arc::clone(clock),
    };
    TlsReports::open(&config.data, parts)
}

pub(super) fn queue(config: &HomeConfig) -> Result<Spool, Problem> {
    let options = spool::Options { octets_max: config.limits.queue.0, ..spool::Options::default() };
    let dir = config.data.join("queue");
    Spool::open(&dir, options, Arc::new(RealDisk)).map_err(|error| {
        Problem::setup(format!("the queue {}: {error}", dir.display()), "see the line above")
    })
}

pub(super) fn keeper(
    config: &HomeConfig,
    directory: &Directory,
    store: &Arc<dyn Mailboxes>,
    clock: &Arc<dyn Clock>,
) -> Result<Keeper, Problem> {
    let open =
        |deliver| Lmtp::open(deliver, config.hostname(), &config.data, directory.clone(), Arc::clone(clock));
    Ok(Keeper::new(Arc::clone(store), config.deliver.as_ref().map(open).transpose()?))
}

pub(super) fn foreign_edge(
    config: &HomeConfig,
    arrivals: &Arc<Arrivals>,
    snapshots: &SnapshotSource,
    logins: &Logins,
) -> Result<Option<Arc<ForeignEdge>>, Problem> {
    let open = |foreign: &config::ForeignEdgeConfig| {
        let (arrivals, snapshots) = (Arc::clone(arrivals), snapshots.clone());
        ForeignEdge::open(foreign, config.hostname(), arrivals, snapshots, logins.clone())
    };
    config.foreign_edge.as_ref().map(open).transpose()
}

/// The parts that [`Arrivals`] are built from.
pub(super) struct ArrivalParts<'a> {
    pub(super) config: &'a HomeConfig,
    pub(super) secrets: &'a Secrets,
    pub(super) directory: &'a Directory,
    pub(super) keeper: &'a Keeper,
    pub(super) trace: &'a Trace,
    pub(super) filters: Option<Arc<Filters>>,
    pub(super) quarantine: &'a Quarantine,
    pub(super) forwarder: &'a Arc<Forwarder>,
    pub(super) clock: &'a Arc<dyn Clock>,
}

pub(super) fn arrivals(parts: ArrivalParts<'_>) -> Result<Arc<Arrivals>, Problem> {
    let drafts = parts.config.data.join("drafts");
    files::make_private_dir(&drafts)?;
    let unsealers = Unsealers::start().map_err(|error| {
        Problem::failed(format!("can't start threads: {error}"), "see the system's limits")
    })?;
    let limits = &parts.config.limits;
    Ok(Arc::new(Arrivals {
        keeper: parts.keeper.clone(),
        directory: parts.directory.clone(),
        trace: parts.trace.clone(),
        filters: parts.filters,
        quarantine: parts.quarantine.clone(),
        forwarder: Arc::clone(parts.forwarder),
        unseal: parts.secrets.unseal.clone(),
        unsealers,
        drafts: drafts.into(),
        memory: half(limits.body_memory),
        waiting: Budget::of_octets(WAITING_OCTETS_MAX),
        message_octets_max: limits.message.0,
        repeats: Repeats::new(system::random()),
        round_trips: RoundTrips::default(),
        clock: Arc::clone(parts.clock),
        runtime: tokio::runtime::Handle::current(),
    }))
}

/// The certificate for mail programs: the configured one, or one made for the first domain.
pub(super) fn certificate(config: &HomeConfig) -> Result<ServerIdentity, Problem> {
    let files = config.tls.files(&config.data);
    let problem = |error| Problem::setup(error, config.tls.advice("home.toml"));
    if config.tls.is_self_made() {
        net::tls::ensure_self_signed(&files, &config.hostname()).map_err(problem)?;
    }
    ServerIdentity::load(&files).map_err(problem)
}

/// Who sends mail on to addresses elsewhere.
pub(super) fn forwarder(
    config: &HomeConfig,
    (queue, keys): (&Queue, &DomainKeys),
    directory: &Directory,
    srs: &Srs,
    (notices, trace, clock): (&Notices, &Trace, &Arc<dyn Clock>),
) -> Result<Arc<Forwarder>, Problem> {
    let parts = forward::Parts {
        queue: queue.clone(),
        directory: directory.clone(),
        keys: keys.clone(),
        srs: srs.clone(),
        notices: notices.clone(),
        trace: trace.clone(),
        clock: Arc::clone(clock),
    };
    Forwarder::open(&config.data, parts)
}

/// What messages of Home's own are sent round with, the way of users' mail among it.
pub(super) fn traveller(
    config: &HomeConfig,
    arrivals: &Arrivals,
    ways: (&Logins, &Queue, &DomainKeys),
    notices: Notices,
    edges: &Edges,
) -> Traveller {
    Traveller {
        submit: submit(config, arrivals, ways, notices, edges.seen_at()),
        directory: arrivals.directory.clone(),
        edges: edges.clone(),
        trips: arrivals.round_trips.clone(),
        clock: Arc::clone(&arrivals.clock),
    }
}

/// Arrivals and submissions share the memory for bodies half and half.
fn half(of: Octets) -> Budget {
    Budget::of_octets(of.0 / 2)
}

/// The edges, as reports need them.
fn errand_runner(edges: &Edges) -> tls_reports::RunErrand {
    let edges = edges.clone();
    Box::new(move |errand| {
        let edges = edges.clone();
        Box::pin(async move { edges.run_errand(errand).await })
    })
}
