//! The trace: typed events of what happened to each item, in a bounded journal of lines.
//!
//! Events are handed to a writer thread, which appends what has piled up in one write; a trace is no promise
//! to a peer, so nothing waits for the disk. Age and octets of its files bound it. Edge also keeps
//! the events that Home has not confirmed yet, and sends them when a link is up.

mod journal;
mod story;

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::{Event, Role, TraceStep};
use mail::ItemId;

use crate::mail_line::{self, MailLine, Tally};
use crate::problem::Problem;
use crate::system;
use journal::Journal;

pub use journal::Keep;
pub use story::{Follow, LAST_MAX, Question, STORY_EVENTS_MAX, Story, find};

/// Events that Edge keeps for a home that is away; the oldest go first.
const UNSENT_MAX: usize = 50_000;
/// Events in one frame.
const BATCH_MAX: usize = 500;
/// Octets of events in one frame, every octet of text counted twice for its escape.
const BATCH_OCTETS_MAX: usize = link::CONTROL_FRAME_MAX - 1024;
/// Octets of an event beside its detail.
const EVENT_OCTETS: usize = 512;
/// Octets of one event's detail; what is longer is cut.
const DETAIL_OCTETS_MAX: usize = 16 * 1024;

/// Octets of events that wait for the writer; what comes then is not written.
const WAITING_OCTETS_MAX: u64 = 16 << 20;

/// How long lines are gathered before they are written, while events follow each other closely.
const GATHER: Duration = Duration::from_millis(5);

/// A role's trace. Cloning shares it.
#[derive(Clone)]
pub struct Trace {
    role: Role,
    // Bounded by WAITING_OCTETS_MAX: a disk that takes nothing costs lines of the trace, and no memory.
    lines: Sender<Event>,
    waiting: Arc<Backlog>,
    tally: Arc<Tally>,
    tells_subjects: bool,
}

/// What waits for the writer.
#[derive(Default)]
struct Backlog {
    octets: AtomicU64,
    /// Events for which there was no room.
    lost: AtomicUsize,
}

impl Backlog {
    fn enter(&self, octets: u64) -> bool {
        let fits = self.octets.fetch_add(octets, Ordering::Relaxed) + octets <= WAITING_OCTETS_MAX;
        if !fits {
            self.leave(octets);
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    fn leave(&self, octets: u64) {
        self.octets.fetch_sub(octets, Ordering::Relaxed);
    }
}

/// What an event takes of memory, about.
const fn octets_of(event: &Event) -> u64 {
    (event.detail.len() + EVENT_OCTETS) as u64
}

impl Trace {
    /// Opens the journal in `dir` and starts its writer; as much is kept as the role keeps where nothing else is said.
    ///
    /// # Errors
    /// When the directory can't be made, or the writer's thread can't be started.
    pub fn open(dir: &Path, role: Role) -> Result<Self, Problem> {
        let keep = match role {
            Role::Home => Keep::HOME,
            Role::Edge => Keep::EDGE,
        };
        Self::open_to_keep(dir, role, keep)
    }

    /// As [`Self::open`]; as much is kept as is said.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_to_keep(dir: &Path, role: Role, keep: Keep) -> Result<Self, Problem> {
        crate::files::make_private_dir(dir)?;
        let (trace, events) = Self::unwritten(role);
        let writer = Writer::new(Journal::new(dir.to_owned(), keep), Arc::clone(&trace.waiting));
        let thread = std::thread::Builder::new().name("trace-writer".to_owned());
        thread
            .spawn(move || writer.run(&events))
            .map_err(|error| Problem::failed(format!("can't start the trace's writer: {error}"), ""))?;
        Ok(trace)
    }

    fn unwritten(role: Role) -> (Self, Receiver<Event>) {
        let (lines, events) = channel();
        let (waiting, tally) = (Arc::default(), Arc::new(Tally::new(system::now())));
        (Self { role, lines, waiting, tally, tells_subjects: false }, events)
    }

    /// The same trace, whose role tells the subjects of messages in it.
    #[must_use]
    pub fn telling_subjects(self) -> Self {
        Self { tells_subjects: true, ..self }
    }

    /// Whether subjects are to be in it.
    #[must_use]
    pub const fn tells_subjects(&self) -> bool {
        self.tells_subjects
    }

    /// Writes the log's line for a message that has passed, and counts it.
    pub fn passed(&self, line: &MailLine<'_>) {
        mail_line::tell(&self.tally, line, system::now());
    }

    /// How many messages have passed.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Makes an event of now and writes it.
    pub fn event(&self, item: Option<ItemId>, step: TraceStep, detail: impl Into<String>) -> Event {
        let mut detail = detail.into();
        detail.truncate(detail.floor_char_boundary(DETAIL_OCTETS_MAX));
        let event = Event {
            at: system::now(),
            role: self.role,
            edge: None,
            item,
            step: step.word().to_owned(),
            detail,
        };
        self.write(event.clone());
        event
    }

    /// Writes an event that came from elsewhere. While the disk does not keep up, what has no room any more is left out.
    pub fn write(&self, event: Event) {
        if self.waiting.enter(octets_of(&event)) {
            // Only fails when the writer is gone, which is when the program ends.
            let _ = self.lines.send(event);
        }
    }
}

struct Writer {
    journal: Journal,
    /// Lines that could not be written, since the last that could.
    lost: usize,
    waiting: Arc<Backlog>,
}

impl Writer {
    const fn new(journal: Journal, waiting: Arc<Backlog>) -> Self {
        Self { journal, lost: 0, waiting }
    }

    fn run(mut self, events: &Receiver<Event>) {
        let (mut lines, mut is_busy) = (Vec::new(), false);
        while let Ok(first) = events.recv() {
            lines.clear();
            self.push_line(&mut lines, &first);
            if is_busy {
                std::thread::sleep(GATHER);
            }
            let one = lines.len();
            while lines.len() < 1 << 20 {
                match events.try_recv() {
                    Ok(event) => self.push_line(&mut lines, &event),
                    Err(_) => break,
                }
            }
            is_busy = lines.len() > one;
            let written = self.journal.append(&lines, system::now().0 / 1000);
            if written.is_ok() {
                self.lost += self.waiting.lost.swap(0, Ordering::Relaxed);
            }
            self.complain(&written, lines.iter().filter(|octet| **octet == b'\n').count());
        }
    }

    fn push_line(&self, lines: &mut Vec<u8>, event: &Event) {
        self.waiting.leave(octets_of(event));
        // Writing our own type into memory does not fail.
        let _ = serde_json::to_writer(&mut *lines, event);
        lines.push(b'\n');
    }

    /// Says once that the trace can't be written, and once that it can be again.
    fn complain(&mut self, written: &io::Result<()>, lines: usize) {
        let dir = self.journal.dir().display().to_string();
        match written {
            Err(error) => {
                if self.lost == 0 {
                    tracing::warn!(%error, %dir, "the trace can't be written; mail goes on without it");
                }
                self.lost += lines;
                self.journal.close();
            }
            Ok(()) if self.lost > 0 => {
                tracing::warn!(lines = self.lost, %dir, "the trace is written again; these lines are missing");
                self.lost = 0;
            }
            Ok(()) => {}
        }
    }
}

/// Every event of the journal in `dir`, oldest first, as far as its lines are whole. For a journal that is known to be small.
///
/// # Errors
/// When a file of it can't be read. That there is none is no error.
pub fn read(dir: &Path) -> Result<Vec<Event>, Problem> {
    let mut events = Vec::new();
    for path in journal::paths(dir)? {
        journal::each(&path, |event| {
            events.push(event);
            ControlFlow::Continue(())
        })?;
    }
    Ok(events)
}

/// Events for one home, until it confirms them.
#[derive(Clone, Default)]
pub struct Unsent {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<Event>,
    /// Sequence number of the first event in `events`.
    first: u64,
    /// Sequence number after the last one that was put on the current link.
    sent: u64,
}

impl Unsent {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event; the oldest goes when there are too many.
    pub fn push(&self, event: Event) {
        let mut queue = self.queue();
        if queue.events.len() >= UNSENT_MAX {
            queue.events.pop_front();
            queue.first += 1;
        }
        queue.events.push_back(event);
    }

    /// A link came up: what was not confirmed is sent again.
    pub fn rewind(&self) {
        let mut queue = self.queue();
        queue.sent = queue.first;
    }

    /// The next batch and the sequence number that confirms it.
    pub fn take_batch(&self) -> Option<(u64, Vec<Event>)> {
        let mut queue = self.queue();
        let from = usize::try_from(queue.sent.max(queue.first) - queue.first).unwrap_or(usize::MAX);
        let mut octets = 0;
        let fits = |event: &&Event| {
            octets += event.detail.len() * 2 + EVENT_OCTETS;
            octets <= BATCH_OCTETS_MAX
        };
        let all = queue.events.iter().skip(from).take(BATCH_MAX);
        let batch: Vec<Event> = all.take_while(fits).cloned().collect();
        if batch.is_empty() {
            return None;
        }
        queue.sent = queue.sent.max(queue.first) + batch.len() as u64;
        Some((queue.sent, batch))
    }

    /// Home has everything before `sequence`.
    pub fn confirm(&self, sequence: u64) {
        let mut queue = self.queue();
        let sequence = sequence.min(queue.sent);
        while queue.first < sequence && queue.events.pop_front().is_some() {
            queue.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: u64, item: u8, step: &str, detail: &str) -> Event {
        Event {
            at: mail::UnixTime(at),
            role: if at.is_multiple_of(2) { Role::Home } else { Role::Edge },
            edge: None,
            item: Some(ItemId::from_bytes([item; 16])),
            step: step.to_owned(),
            detail: detail.to_owned(),
        }
    }

    #[test]
    fn events_wait_for_the_disk_up_to_the_limit_and_what_is_past_it_is_counted_as_lost() {
        let (trace, waiting) = Trace::unwritten(Role::Home);
        let a_sixteenth = event(1, 1, "x", &"y".repeat((1 << 20) - EVENT_OCTETS));
        (0..16).for_each(|_| trace.write(a_sixteenth.clone()));
        trace.write(event(1, 1, "x", ""));
        assert_eq!((waiting.try_iter().count(), trace.waiting.lost.load(Ordering::Relaxed)), (16, 1));
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::new(Journal::new(dir.path().to_owned(), Keep::HOME), Arc::clone(&trace.waiting));
        writer.push_line(&mut Vec::new(), &a_sixteenth);
        trace.write(a_sixteenth);
        trace.write(event(1, 1, "x", ""));
        assert_eq!((waiting.try_iter().count(), trace.waiting.lost.load(Ordering::Relaxed)), (1, 2));
    }

    #[test]
    fn events_are_sent_again_until_they_are_confirmed() {
        let unsent = Unsent::default();
        for at in 0..3 {
            unsent.push(event(at, 1, "x", ""));
        }
        let (sequence, batch) = unsent.take_batch().unwrap();
        assert_eq!((sequence, batch.len()), (3, 3));
        assert!(unsent.take_batch().is_none());
        unsent.confirm(1);
        unsent.rewind();
        let (sequence, batch) = unsent.take_batch().unwrap();
        assert_eq!((sequence, batch.len()), (3, 2));
        unsent.confirm(u64::MAX);
        unsent.rewind();
        assert!(unsent.take_batch().is_none());
    }

    #[test]
    fn a_batch_fits_its_frame_however_long_its_events_are() {
        let unsent = Unsent::default();
        for at in 0..500 {
            unsent.push(event(at, 1, "x", &"\"".repeat(DETAIL_OCTETS_MAX)));
        }
        let mut sent = 0;
        while let Some((sequence, batch)) = unsent.take_batch() {
            sent += batch.len();
            link::Frame::Trace(sequence, batch).encode(&mut bytes::BytesMut::new()).unwrap();
        }
        assert_eq!(sent, 500);
    }

    #[test]
    fn the_events_of_a_home_that_is_away_are_bounded() {
        let unsent = Unsent::default();
        for at in 0..=UNSENT_MAX as u64 {
            unsent.push(event(at, 1, "x", ""));
        }
        let (_, batch) = unsent.take_batch().unwrap();
        assert_eq!(batch[0].at, mail::UnixTime(1));
    }

    #[test]
    fn the_journal_is_read_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let trace = Trace::open(dir.path(), Role::Home).unwrap();
        for n in 0..10 {
            trace.event(None, TraceStep::Queued, n.to_string());
        }
        let mut read_back = Vec::new();
        for _ in 0..500 {
            read_back = read(dir.path()).unwrap();
            if read_back.len() == 10 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let details: Vec<_> = read_back.into_iter().map(|event| event.detail).collect();
        assert_eq!(details, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}
