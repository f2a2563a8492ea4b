//! The edges of this home: one link to each, kept up, dialled out.

mod errands;
mod health;
mod served;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::{Attempt, BODY_FRAME_MAX, ErrandResult, Frame, Hello, Outcomes, ServedDomains, WINDOW_OCTETS};
use mail::{ItemId, UnixTime};
use net::contents;
use net::link_key::LinkKey;
use net::link_transport::{Dialer, LinkStream, Transport};
use outbound::{CARRIER_EVENTS_MAX, CarrierEvent, CarrierName};
use serde_json::{Value, json};
use tokio::io::AsyncRead;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::errands::Errands;
pub(crate) use self::errands::NoEdge;
pub(crate) use self::health::EdgeHealth;
use self::health::{Breaks, Examiner, Up};
pub(crate) use self::served::withheld_words;
use super::arrive::{Arrivals, LinkArrivals};
use super::seen_at::SeenAt;
use super::snapshot::SnapshotSource;
use crate::config::EdgePin;
use content::Content;
use daemon::system;
use doctor::facts::LinkSeen;
use net::link_session::live::Live;
use net::link_session::{self, FrameReader, FrameSender, LinkFault, PING_AFTER, Silence};

/// First wait before a link is dialled again.
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// The longest wait between two tries to link.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// A link that was up for so long was a good one: the next wait is short again.
const GOOD_AFTER: Duration = Duration::from_secs(30);

/// Characters of what an edge calls itself.
const SOFTWARE_CHARS_MAX: usize = 64;

/// All edges. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Edges(Arc<Inner>);

struct Inner {
    /// The edges that are wanted now: a reload may change them.
    pins: watch::Sender<Vec<EdgePin>>,
    key: LinkKey,
    dialer: Dialer,
    links: Mutex<HashMap<String, Link>>,
    seen_at: SeenAt,
    breaks: Mutex<HashMap<String, Breaks>>,
    events: mpsc::Sender<CarrierEvent>,
    arrivals: Arc<Arrivals>,
    snapshots: SnapshotSource,
    stop: CancellationToken,
}

struct Link {
    live: Arc<Live>,
    transport: Transport,
    remote: SocketAddr,
    since: Instant,
    snapshot_kept: u64,
    /// What the edge says of our domains; `None` until it does, and from an older one.
    served: Option<ServedDomains>,
    /// None with an edge that runs none and says nothing.
    errands: Option<Arc<Errands>>,
    /// Whether it looks at itself when asked.
    examines: bool,
    /// Whether it runs errands for reports.
    runs_errands: bool,
    /// Whether it says how it is doing.
    tells_status: bool,
    /// What it calls itself.
    software: String,
    /// Since when the link is up, for people.
    up_at: UnixTime,
}

impl Edges {
    /// The edges that the pins name. What is received goes to the dispatcher.
    pub(crate) fn new(
        pins: Vec<EdgePin>,
        key: LinkKey,
        dialer: Dialer,
        arrivals: Arc<Arrivals>,
        snapshots: SnapshotSource,
        stop: CancellationToken,
    ) -> (Self, mpsc::Receiver<CarrierEvent>) {
        let (events, receiver) = mpsc::channel(CARRIER_EVENTS_MAX);
        let (links, breaks, seen_at) = (Mutex::default(), Mutex::default(), SeenAt::default());
        let pins = watch::Sender::new(pins);
        let inner = Inner { pins, key, dialer, links, seen_at, breaks, events, arrivals, snapshots, stop };
        (Self(Arc::new(inner)), receiver)
    }

    fn links(&self) -> MutexGuard<'_, HashMap<String, Link>> {
        self.0.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The edges whose link is up, in the order of the configuration.
    pub(crate) fn up(&self) -> Vec<CarrierName> {
        let links = self.links();
        let pins = self.0.pins.borrow();
        let names = pins.iter().map(|pin| &pin.name).filter(|name| links.contains_key(*name));
        names.map(|name| CarrierName::edge(name)).collect()
    }

    /// The first edge that is up and has a test address: those that look at themselves have one. An older one would refuse what is
    /// sent there.
    pub(crate) fn with_echo(&self) -> Option<String> {
        let links = self.links();
        let pins = self.0.pins.borrow();
        let mut names = pins.iter().map(|pin| &pin.name);
        names.find(|name| links.get(*name).is_some_and(|link| link.examines)).cloned()
    }

    /// Where the edges see this home.
    pub(crate) fn seen_at(&self) -> SeenAt {
        self.0.seen_at.clone()
    }

    /// Where the dispatcher hears of attempts, for whoever else carries them out.
    pub(crate) fn events(&self) -> mpsc::Sender<CarrierEvent> {
        self.0.events.clone()
    }

    fn live(&self, edge: &str) -> Option<Arc<Live>> {
        self.links().get(edge).map(|link| Arc::clone(&link.live))
    }

    /// Orders an attempt. `false` when the link is down now. The outcome comes as [`CarrierEvent`].
    pub(crate) fn start(&self, edge: &str, attempt: Attempt, content: Content) -> bool {
        let Some(live) = self.live(edge) else { return false };
        let id = attempt.attempt;
        let Ok(item) = live.begin(id) else { return false };
        item.send(Frame::Attempt(Box::new(attempt)));
        let Some(sent) = send_what_is_here(&live, id, &content) else { return true };
        tokio::spawn(async move {
            let mut at = sent;
            while at < content.octets() {
                let piece = match contents::read(&content, at, BODY_FRAME_MAX).await {
                    Ok(piece) => piece,
                    Err(error) => {
                        tracing::error!(attempt = %id, %error, "a queued message can't be read; it stays and is tried again");
                        item.send(Frame::Abort(id));
                        return;
                    }
                };
                at += piece.len() as u64;
                // The link is gone, or the attempt has ended without the rest of its body.
                if item.body(piece, None).await.is_err() {
                    return;
                }
            }
        });
        true
    }

    /// Asks what an edge knows of an attempt. `false` when the link is down now.
    pub(crate) fn ask(&self, edge: &str, attempt: ItemId) -> bool {
        self.live(edge).map(|live| live.frames.send(Frame::Ask(attempt))).is_some()
    }

    /// Tells an edge to forget an attempt's outcomes. `false` when the link is down now.
    pub(crate) fn settled(&self, edge: &str, attempt: ItemId) -> bool {
        self.live(edge).map(|live| live.frames.send(Frame::Settled(attempt))).is_some()
    }

    /// The first edge that is up and runs errands.
    fn errand_runner(&self) -> Option<(FrameSender, Arc<Errands>)> {
        let links = self.links();
        let pins = self.0.pins.borrow();
        let up = pins.iter().filter_map(|pin| links.get(&pin.name));
        up.filter(|link| link.runs_errands)
            .filter_map(|link| Some((link.live.frames.clone(), Arc::clone(link.errands.as_ref()?))))
            .next()
    }

    /// The edges that are up and say how they are doing.
    fn status_tellers(&self) -> Vec<(String, FrameSender, Arc<Errands>)> {
        let links = self.links();
        let telling = links.iter().filter(|(_, link)| link.tells_status);
        telling
            .filter_map(|(name, link)| {
                Some((name.clone(), link.live.frames.clone(), Arc::clone(link.errands.as_ref()?)))
            })
            .collect()
    }

    fn errand_done(&self, edge: &str, id: ItemId, result: ErrandResult) {
        let errands = self.links().get(edge).and_then(|link| link.errands.clone());
        if let Some(errands) = errands {
            errands.done(id, result);
        }
    }

    /// The edges as `status` shows them.
    pub(crate) fn status(&self) -> Value {
        let links = self.links();
        let pins = self.0.pins.borrow();
        let all = pins.iter().map(|pin| match links.get(&pin.name) {
            Some(link) => {
                let mut up = json!({
                    "name": pin.name, "address": pin.address, "link": "up",
                    "transport": link.transport.as_str(), "snapshot": link.snapshot_kept,
                    "since": link.up_at.rfc3339(), "software": link.software,
                });
                if let Some(served) = &link.served {
                    let (here, withheld) = served::for_status(served);
                    up["serves"] = here;
                    if !withheld.is_empty() {
                        up["withheld"] = withheld.into();
                    }
                }
                up
            }
            None => json!({ "name": pin.name, "address": pin.address, "link": "down" }),
        });
        all.collect()
    }

    fn note_break(&self, edge: &str) {
        let mut breaks = self.0.breaks.lock().unwrap_or_else(PoisonError::into_inner);
        breaks.entry(edge.to_owned()).or_default().note(Instant::now());
    }

    /// How all edges are, asked at one time. A host to try from there may be named.
    pub(crate) async fn health(&self, probe: Option<&str>) -> Vec<EdgeHealth> {
        let pins = self.pins();
        let asked = pins.into_iter().map(|pin| {
            let (edges, probe) = (self.clone(), probe.map(str::to_owned));
            tokio::spawn(async move { edges.health_of(&pin, probe).await })
        });
        let asked: Vec<_> = asked.collect();
        let mut all = Vec::new();
        for one in asked {
            all.extend(one.await);
        }
        all
    }

    async fn health_of(&self, pin: &EdgePin, probe: Option<String>) -> EdgeHealth {
        let name = pin.name.clone();
        let Some(Up { seen: mut link, remote, served }) = self.link_seen(&name) else {
            let down = || format!("it is down; the log says why ({})", pin.address);
            return EdgeHealth { name, link: Err(down()), half: Err(down()), served: None };
        };
        let quic = link.transport == Transport::Quic.as_str();
        let other = if quic { Transport::Tcp } else { Transport::Quic };
        let half = async {
            let examiner = self.examiner(&name).ok_or("its version can't look at itself: update it")?;
            examiner.examine(self.0.arrivals.clock.new_item_id(), probe).await
        };
        let (half, other) = tokio::join!(half, async {
            let pinned = pin.fingerprint().ok_or("its pinned key is malformed")?;
            // Nothing is said on it, so that it does not take the place of the link.
            self.0.dialer.dial_by(other, remote, &self.0.key, pinned, link::ALPN).await.map(drop)
        });
        link.other = other;
        EdgeHealth { name, link: Ok(link), half, served }
    }

    /// A link that is up, where it leads, and what was said on it of our domains.
    fn link_seen(&self, edge: &str) -> Option<Up> {
        let now = Instant::now();
        let links = self.links();
        let link = links.get(edge)?;
        let breaks = self.0.breaks.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = LinkSeen {
            transport: link.transport.as_str(),
            up_secs: now.duration_since(link.since).as_secs(),
            breaks: breaks.get(edge).map_or(0, |breaks| breaks.lately(now)),
            other: Ok(()),
            asked_at: self.0.arrivals.clock.now(),
        };
        Some(Up { seen, remote: link.remote, served: link.served.as_ref().map(health::served) })
    }

    /// The way to an edge that looks at itself when asked.
    fn examiner(&self, edge: &str) -> Option<Examiner> {
        let links = self.links();
        let link = links.get(edge).filter(|link| link.examines)?;
        Some(Examiner { frames: link.live.frames.clone(), errands: Arc::clone(link.errands.as_ref()?) })
    }

    /// Tells all edges that understand it what this half found, as names.
    pub(crate) async fn tell_findings(&self, found: &[(String, String)]) {
        for pin in self.pins() {
            if let Some(examiner) = self.examiner(&pin.name) {
                examiner.tell(self.0.arrivals.clock.new_item_id(), found.to_vec()).await;
            }
        }
    }

    /// The edges that are wanted now.
    fn pins(&self) -> Vec<EdgePin> {
        self.0.pins.borrow().clone()
    }

    /// Links to these edges from now on, and to no others.
    pub(crate) fn adopt(&self, pins: Vec<EdgePin>) {
        self.0.pins.send_if_modified(|wanted| {
            let differs = *wanted != pins;
            *wanted = pins;
            differs
        });
    }

    /// Keeps all links up until `stop`.
    pub(crate) async fn run(self) {
        let mut wanted = self.0.pins.subscribe();
        let mut kept: Vec<KeptUp> = Vec::new();
        loop {
            let pins = wanted.borrow_and_update().clone();
            let (stay, go): (Vec<KeptUp>, _) = kept.into_iter().partition(|link| pins.contains(&link.pin));
            kept = stay;
            // One whose key or address has changed is down before it comes up again, so that nobody hears it the other way round.
            for link in go {
                tracing::info!(edge = %link.pin.name, "no link is wanted any more");
                link.end().await;
            }
            for pin in pins {
                if !kept.iter().any(|link| link.pin == pin) {
                    kept.push(self.start_keeping_up(pin));
                }
            }
            tokio::select! {
                () = self.0.stop.cancelled() => break,
                changed = wanted.changed() => if changed.is_err() { break },
            }
        }
        for link in kept {
            link.end().await;
        }
    }

    fn start_keeping_up(&self, pin: EdgePin) -> KeptUp {
        let stop = self.0.stop.child_token();
        let task = tokio::spawn(self.clone().keep_up(pin.clone(), stop.clone()));
        KeptUp { pin, stop, task }
    }

    async fn keep_up(self, pin: EdgePin, stop: CancellationToken) {
        let mut backoff = BACKOFF_MIN;
        loop {
            let begun = Instant::now();
            let ended = self.connect(&pin, &stop).await;
            if stop.is_cancelled() {
                return;
            }
            if begun.elapsed() > GOOD_AFTER {
                backoff = BACKOFF_MIN;
            }
            let wait = jittered(backoff);
            tracing::warn!(edge = %pin.name, cause = %ended, again_in_ms = wait.as_millis(), "no link");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// One link from dialling to its end. Gives the reason for the end.
    async fn connect(&self, pin: &EdgePin, stop: &CancellationToken) -> String {
        let Some(pinned) = pin.fingerprint() else { return "its pinned key is malformed".to_owned() };
        let dialled = tokio::select! {
            () = stop.cancelled() => return String::new(),
            dialled = self.0.dialer.dial(&pin.address, &self.0.key, pinned, link::ALPN) => dialled,
        };
        match dialled {
            Ok(stream) => match self.serve(stream, pin, stop).await {
                Ok(()) => "closed".to_owned(),
                Err(fault) => fault.to_string(),
            },
            Err(error) => error.to_string(),
        }
    }

    async fn serve(
        &self,
        stream: LinkStream,
        pin: &EdgePin,
        stop: &CancellationToken,
    ) -> Result<(), LinkFault> {
        let LinkStream { reader, writer, transport, remote, .. } = stream;
        let (frames, queue) = link_session::frame_queue();
        let mut writing = tokio::spawn(link_session::write_frames(writer, queue));
        let mut reader = FrameReader::new(reader);
        let ours = Hello::ours(None);
        frames.send(Frame::Hello(ours.clone()));
        let theirs = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            theirs = reader.expect_hello(&ours) => theirs?,
        };
        let able = |wanted: &str| theirs.capabilities.iter().any(|ability| ability == wanted);
        let (runs_errands, examines, tells_status) =
            (able(link::TLS_REPORTS), able(link::DOCTOR), able(link::STATUS));
        let software: String =
            theirs.software.chars().filter(|c| !c.is_control()).take(SOFTWARE_CHARS_MAX).collect();
        let mut changes = self.0.snapshots.changes();
        frames.send(Frame::Snapshot(Box::new(
            self.0.snapshots.snapshot(&pin.key, self.0.arrivals.clock.now()),
        )));
        let live = Live::new(frames.clone());
        let errands = (runs_errands || examines || tells_status).then(Arc::default);
        let link = Link {
            live: Arc::clone(&live),
            transport,
            remote,
            since: Instant::now(),
            snapshot_kept: 0,
            served: None,
            errands,
            examines,
            runs_errands,
            tells_status,
            software,
            up_at: self.0.arrivals.clock.now(),
        };
        self.links().insert(pin.name.clone(), link);
        tracing::info!(edge = %pin.name, %remote, transport = transport.as_str(), "link up");
        let _ = self.0.events.send(CarrierEvent::Up(CarrierName::edge(&pin.name))).await;
        let mut session = Session {
            edges: self,
            pin,
            live: &live,
            arrivals: LinkArrivals::new(Arc::clone(&self.0.arrivals), frames.clone(), pin.name.clone()),
        };
        let ended = tokio::select! {
            ended = link_session::unharmed(session.run(&mut reader, &mut changes)) => ended,
            written = &mut writing => written.unwrap_or(Ok(())),
            () = stop.cancelled() => Ok(()),
        };
        self.links().remove(&pin.name);
        self.note_break(&pin.name);
        live.close();
        let _ = self.0.events.send(CarrierEvent::Down(CarrierName::edge(&pin.name))).await;
        writing.abort();
        ended
    }
}

/// Sends a body that the window takes as a whole, as far as no disk is waited for. What is then still to be sent begins at
/// this octet; `None` when that is nothing.
fn send_what_is_here(live: &Live, id: ItemId, content: &Content) -> Option<u64> {
    if content.octets() > WINDOW_OCTETS {
        return Some(0);
    }
    let mut at = 0;
    while at < content.octets() {
        let Some(piece) = content.read_now(at, BODY_FRAME_MAX) else { return Some(at) };
        at += piece.len() as u64;
        live.frames.send(Frame::Body(id, piece));
    }
    None
}

/// A link that is kept up.
struct KeptUp {
    pin: EdgePin,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl KeptUp {
    async fn end(self) {
        self.stop.cancel();
        let _ = self.task.await;
    }
}

/// A wait between half and whole, so that many homes do not dial in step.
fn jittered(wait: Duration) -> Duration {
    let half = wait / 2;
    let spread = u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_millis(system::random_u64() % spread)
}

struct Session<'a> {
    edges: &'a Edges,
    pin: &'a EdgePin,
    live: &'a Arc<Live>,
    arrivals: LinkArrivals,
}

impl Session<'_> {
    async fn run(
        &mut self,
        reader: &mut FrameReader<Box<dyn AsyncRead + Send + Unpin>>,
        changes: &mut watch::Receiver<u64>,
    ) -> Result<(), LinkFault> {
        let mut silence = Silence::default();
        loop {
            let frame = tokio::select! {
                frame = reader.next(PING_AFTER) => frame?,
                Ok(()) = changes.changed() => {
                    self.push_snapshot();
                    continue;
                }
                answer = self.arrivals.taken() => {
                    self.arrivals.answer(answer);
                    continue;
                }
            };
            let Some(frame) = frame else {
                silence.lasts(&self.live.frames)?;
                continue;
            };
            silence.broken();
            self.take(frame).await?;
        }
    }

    fn push_snapshot(&self) {
        let snapshot = self.edges.0.snapshots.snapshot(&self.pin.key, self.edges.0.arrivals.clock.now());
        self.live.frames.send(Frame::Snapshot(Box::new(snapshot)));
    }

    async fn take(&mut self, frame: Frame) -> Result<(), LinkFault> {
        match frame {
            Frame::Ping => self.live.frames.send(Frame::Pong),
            Frame::Pong => {}
            Frame::Goodbye(reason) => return Err(LinkFault::Goodbye(reason)),
            Frame::Open(open) => self.arrivals.open(open)?,
            Frame::OpenSealed(open) => self.arrivals.open_sealed(&open)?,
            Frame::Body(item, piece) => self.arrivals.body(item, piece)?,
            Frame::End(item, verdict) => self.arrivals.end(item, &verdict),
            Frame::Abort(item) => self.arrivals.abort(item),
            Frame::Unheard(item) => self.arrivals.unheard(item),
            Frame::Credit(attempt, octets) => self.live.credited(attempt, octets),
            Frame::SnapshotKept(generation) => self.snapshot_kept(generation),
            Frame::Served(served) => self.served(served),
            Frame::SeenAt(ip) => self.edges.0.seen_at.tell(&self.pin.name, ip),
            Frame::Trace(sequence, events) => self.keep_trace(sequence, events),
            Frame::Outcomes(outcomes) => self.outcomes(outcomes).await,
            Frame::OutcomesSealed(attempt, sealed) => self.outcomes_sealed(attempt, &sealed).await,
            Frame::ErrandDone(id, result) => self.edges.errand_done(&self.pin.name, id, result),
            Frame::Known(attempt, state) => {
                let carrier = CarrierName::edge(&self.pin.name);
                let _ = self.edges.0.events.send(CarrierEvent::Known { carrier, attempt, state }).await;
            }
            _ => return Err(LinkFault::Protocol("a frame that only Home sends")),
        }
        Ok(())
    }

    fn snapshot_kept(&self, generation: u64) {
        if let Some(link) = self.edges.links().get_mut(&self.pin.name) {
            link.snapshot_kept = generation;
        }
    }

    fn served(&self, served: ServedDomains) {
        served::warn(&self.pin.name, &served);
        if let Some(link) = self.edges.links().get_mut(&self.pin.name) {
            link.served = Some(served);
        }
    }

    fn keep_trace(&self, sequence: u64, events: Vec<link::Event>) {
        for event in events {
            let edge = Some(self.pin.name.clone());
            self.edges.0.arrivals.trace.write(link::Event { edge, role: link::Role::Edge, ..event });
        }
        self.live.frames.send(Frame::TraceKept(sequence));
    }

    async fn outcomes(&mut self, outcomes: Outcomes) {
        self.live.over(outcomes.attempt);
        let carrier = CarrierName::edge(&self.pin.name);
        let _ = self.edges.0.events.send(CarrierEvent::Outcomes { carrier, outcomes }).await;
    }

    async fn outcomes_sealed(&mut self, attempt: ItemId, sealed: &[u8]) {
        let opened = self.edges.0.arrivals.unseal.unseal(sealed);
        let parsed = opened.and_then(|octets| Ok(serde_json::from_slice::<Outcomes>(&octets)?));
        match parsed {
            Ok(outcomes) if outcomes.attempt == attempt => self.outcomes(outcomes).await,
            Ok(_) => tracing::error!(%attempt, "Edge's journal holds the outcome of another attempt"),
            Err(error) => tracing::error!(%attempt, %error, "an outcome in Edge's journal can't be opened"),
        }
    }
}
