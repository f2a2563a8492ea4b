//! One link of one home, as Edge runs it: hello, then frames until it ends.

use std::net::IpAddr;
use std::sync::Arc;

use daemon::clock::Clock;
use link::fingerprint::to_hex;
use link::{EdgeStatus, Errand, ErrandResult, Frame, Hello, SEEN_AT, SERVED_DOMAINS, UNHEARD};
use mail::UnixTime;
use net::link_session::live::Live;
use net::link_session::{self, FrameReader, FrameSender, LinkFault, PING_AFTER, Silence};
use net::link_transport::LinkStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::deliver::Deliveries;
use super::drain;
use super::errands::Errands;
use super::homes::{Home, Homes};

/// What a link session needs of Edge.
#[derive(Clone)]
pub(crate) struct LinkContext {
    /// Edge's host name, for the hello.
    pub hostname: String,
    /// All paired homes.
    pub homes: Arc<Homes>,
    /// Attempts that homes order.
    pub deliveries: Arc<Deliveries>,
    /// Other tasks of homes: questions to DNS, reports to post.
    pub errands: Arc<Errands>,
    /// How Edge is doing, for a home.
    pub status: Arc<dyn Fn(&Home) -> EdgeStatus + Send + Sync>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Ends the link.
    pub stop: CancellationToken,
}

/// Serves a link until it ends, which is said.
///
/// # Errors
/// When it ended before both sides had said hello.
pub(crate) async fn serve(
    mut stream: LinkStream,
    home: Arc<Home>,
    context: LinkContext,
) -> Result<(), LinkFault> {
    stream.trust();
    let LinkStream { reader, writer, transport, remote, .. } = stream;
    let (frames, queue) = link_session::frame_queue();
    let mut tasks = JoinSet::new();
    let (unwritten, cannot_write) = oneshot::channel();
    tasks.spawn(async move {
        if let Err(fault) = link_session::write_frames(writer, queue).await {
            let _ = unwritten.send(fault);
        }
    });
    let mut reader = FrameReader::new(reader);
    let ours = Hello::ours(Some(context.hostname.clone()));
    frames.send(Frame::Hello(ours.clone()));
    let theirs = reader.expect_hello(&ours).await?;
    let live = Live::new(frames.clone());
    if home.connect(Arc::clone(&live)) {
        context.deliveries.link_lost(&home);
    }
    tokio::task::block_in_place(|| home.was_here(context.clock.now()));
    // Home's address stays out of the log: nothing on Edge is to tell where Home is.
    tracing::info!(home = %home.name, transport = transport.as_str(), "link up");
    let (deliveries, repeating) = (Arc::clone(&context.deliveries), (Arc::clone(&home), frames.clone()));
    tasks.spawn_blocking(move || deliveries.repeat_outcomes(&repeating.0, &repeating.1));
    if let Some(told) = where_seen(&theirs, remote.ip()) {
        frames.send(told);
    }
    if knows(&theirs, UNHEARD) {
        home.unheard.linked(frames.clone());
    }
    tasks.spawn(drain::run(Arc::clone(&home), Arc::clone(&live)));
    tasks.spawn(send_trace(Arc::clone(&home), frames.clone()));
    if knows(&theirs, SERVED_DOMAINS) {
        tasks.spawn(send_served(Arc::clone(&home), context.clone(), frames.clone()));
    }
    let ended = tokio::select! {
        ended = link_session::unharmed(read_frames(&mut reader, &home, &live, &context)) => ended,
        Ok(fault) = cannot_write => Err(fault),
        () = live.closed() => Err(LinkFault::Lost("closed here: a newer one took its place, or Home did not answer on it".to_owned())),
        () = context.stop.cancelled() => {
            frames.send(Frame::Goodbye("Edge is shutting down".to_owned()));
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            Ok(())
        }
    };
    if home.disconnect(&live) {
        home.unheard.unlinked();
        tokio::task::block_in_place(|| home.was_here(context.clock.now()));
        context.deliveries.link_lost(&home);
    }
    tasks.shutdown().await;
    let cause = ended.as_ref().err().map_or_else(|| "closed here".to_owned(), LinkFault::to_string);
    tracing::info!(home = %home.name, %cause, "link down");
    Ok(())
}

fn knows(theirs: &Hello, ability: &str) -> bool {
    theirs.capabilities.iter().any(|known| known == ability)
}

/// What a home hears of where it is, if it knows the frame. The address goes nowhere else.
fn where_seen(theirs: &Hello, remote: IpAddr) -> Option<Frame> {
    knows(theirs, SEEN_AT).then(|| Frame::SeenAt(remote.to_canonical()))
}

async fn read_frames(
    reader: &mut FrameReader<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    home: &Arc<Home>,
    live: &Arc<Live>,
    context: &LinkContext,
) -> Result<(), LinkFault> {
    let mut silence = Silence::default();
    loop {
        match reader.next(PING_AFTER).await? {
            Some(frame) => {
                silence.broken();
                take_frame(frame, home, live, context)?;
            }
            None => silence.lasts(&live.frames)?,
        }
    }
}

fn take_frame(
    frame: Frame,
    home: &Arc<Home>,
    live: &Arc<Live>,
    context: &LinkContext,
) -> Result<(), LinkFault> {
    let frames = &live.frames;
    match frame {
        Frame::Ping => frames.send(Frame::Pong),
        Frame::Pong => {}
        Frame::Goodbye(reason) => return Err(LinkFault::Goodbye(reason)),
        Frame::Snapshot(snapshot) => {
            keep_snapshot(&context.homes, home, *snapshot, frames, context.clock.now())?;
        }
        Frame::Answer(answer) => live.answered(answer),
        Frame::Credit(item, octets) => live.credited(item, octets),
        Frame::Attempt(attempt) => context.deliveries.attempt(home, *attempt, frames),
        Frame::Body(attempt, octets) => context.deliveries.body(home, attempt, octets)?,
        Frame::Abort(attempt) => context.deliveries.abort(home, attempt),
        Frame::Ask(attempt) => context.deliveries.ask(home, attempt, frames),
        Frame::Settled(attempt) => context.deliveries.settled(home, attempt),
        Frame::Errand(id, errand) if *errand == Errand::Status => {
            frames.send(Frame::ErrandDone(id, ErrandResult::Status(Box::new((context.status)(home)))));
        }
        Frame::Errand(id, errand) => context.errands.run(home, id, *errand, frames),
        Frame::TraceKept(sequence) => home.unsent.confirm(sequence),
        _ => return Err(LinkFault::Protocol("a frame that only Edge sends")),
    }
    Ok(())
}

fn keep_snapshot(
    homes: &Homes,
    home: &Arc<Home>,
    snapshot: link::Snapshot,
    frames: &FrameSender,
    now: UnixTime,
) -> Result<(), LinkFault> {
    let generation = snapshot.generation;
    let kept = tokio::task::block_in_place(|| homes.keep(home, snapshot));
    match kept {
        Ok(()) => {
            tracing::info!(home = %home.name, generation, "snapshot kept");
            frames.send(Frame::SnapshotKept(generation));
            homes.warn_of_withheld(home, now);
            Ok(())
        }
        Err(error) => {
            tracing::error!(home = %home.name, %error, "the snapshot could not be kept");
            Err(LinkFault::Protocol("a snapshot that can't be kept"))
        }
    }
}

/// Sends trace events to Home as they come, in batches.
async fn send_trace(home: Arc<Home>, frames: FrameSender) {
    home.unsent.rewind();
    loop {
        let stirred = home.stirred.notified();
        while let Some((sequence, events)) = home.unsent.take_batch() {
            frames.send(Frame::Trace(sequence, events));
        }
        stirred.await;
        // A moment lets events pile up: one frame for many.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// Tells Home which of its domains it serves, as often as that is decided anew or it names others.
async fn send_served(home: Arc<Home>, context: LinkContext, frames: FrameSender) {
    let homes = &context.homes;
    let mut decisions = homes.decisions();
    let mut told = None;
    loop {
        decisions.borrow_and_update();
        let claims = home.claims();
        let served = homes.served(&home, &claims, context.clock.now());
        let whose: Vec<_> =
            served.domains.iter().map(|domain| (domain.domain.clone(), domain.served.whose())).collect();
        // A first snapshot comes before there is anything to tell; when another home was here last is no news.
        if !claims.is_empty() && told.as_ref() != Some(&whose) {
            frames.send(Frame::Served(served));
            told = Some(whose);
        }
        if decisions.changed().await.is_err() {
            return;
        }
    }
}

/// The name of an unknown key in logs: the first 16 hexadecimal digits of its fingerprint.
pub(crate) fn key_name(key: &[u8; 32]) -> String {
    to_hex(key).get(..16).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_of_an_older_version_hears_nothing_of_where_it_is() {
        let remote = "::ffff:203.0.113.9".parse().unwrap();
        let old = Hello { capabilities: vec![UNHEARD.to_owned()], ..Hello::ours(None) };
        assert_eq!(where_seen(&old, remote), None);
        let seen = where_seen(&Hello::ours(None), remote);
        assert_eq!(seen, Some(Frame::SeenAt("203.0.113.9".parse().unwrap())));
    }
}
