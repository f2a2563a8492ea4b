//! The trace: typed events of what happened to each item, in a bounded journal of lines.
//!
//! Events are handed to a writer thread, which appends what has piled up in one write; a trace is no promise
//! to a peer, so nothing waits for the disk. Two files of 32 MiB each bound it. Edge also keeps
//! the events that Home has not confirmed yet, and sends them when a link is up.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use link::{Event, Role, TraceStep};
use mail::ItemId;

use crate::problem::Problem;
use crate::system;

/// Octets of one of the two files.
const FILE_OCTETS_MAX: u64 = 32 << 20;
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
    /// Opens the journal in `dir` and starts its writer.
    ///
    /// # Errors
    /// When the directory can't be made, or the writer's thread can't be started.
    pub fn open(dir: &Path, role: Role) -> Result<Self, Problem> {
        crate::files::make_private_dir(dir)?;
        let (trace, events) = Self::unwritten(role);
        let writer = Writer::new(dir.to_owned(), Arc::clone(&trace.waiting));
        let thread = std::thread::Builder::new().name("trace-writer".to_owned());
        thread
            .spawn(move || writer.run(&events))
            .map_err(|error| Problem::failed(format!("can't start the trace's writer: {error}"), ""))?;
        Ok(trace)
    }

    fn unwritten(role: Role) -> (Self, Receiver<Event>) {
        let (lines, events) = channel();
        (Self { role, lines, waiting: Arc::default() }, events)
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
    dir: PathBuf,
    file: Option<File>,
    octets: u64,
    /// Lines that could not be written, since the last that could.
    lost: usize,
    waiting: Arc<Backlog>,
}

impl Writer {
    const fn new(dir: PathBuf, waiting: Arc<Backlog>) -> Self {
        Self { dir, file: None, octets: 0, lost: 0, waiting }
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
            let written = self.append(&lines);
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
        let dir = self.dir.display();
        match written {
            Err(error) => {
                if self.lost == 0 {
                    tracing::warn!(%error, %dir, "the trace can't be written; mail goes on without it");
                }
                self.lost += lines;
                self.file = None;
            }
            Ok(()) if self.lost > 0 => {
                tracing::warn!(lines = self.lost, %dir, "the trace is written again; these lines are missing");
                self.lost = 0;
            }
            Ok(()) => {}
        }
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.octets > FILE_OCTETS_MAX {
            self.file = None;
            std::fs::rename(self.dir.join(CURRENT), self.dir.join(PREVIOUS))?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                use std::os::unix::fs::OpenOptionsExt as _;
                let path = self.dir.join(CURRENT);
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
                self.octets = file.metadata()?.len();
                self.file.insert(file)
            }
        };
        file.write_all(lines)?;
        self.octets += lines.len() as u64;
        Ok(())
    }
}

const CURRENT: &str = "current.jsonl";
const PREVIOUS: &str = "previous.jsonl";

/// Every event of the journal in `dir`, oldest first, as far as its lines are whole.
///
/// # Errors
/// When a file of it can't be opened. That there is none is no error.
pub fn read(dir: &Path) -> Result<Vec<Event>, Problem> {
    let mut events = Vec::new();
    for name in [PREVIOUS, CURRENT] {
        let path = dir.join(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let what = format!("can't read {}: {error}", path.display());
                return Err(Problem::setup(what, "run as the user that owns it"));
            }
        };
        let lines = BufReader::new(file).split(b'\n').map_while(Result::ok);
        events.extend(lines.filter_map(|line| serde_json::from_slice::<Event>(&line).ok()));
    }
    Ok(events)
}

/// The story of what `what` names: an item id or its beginning, an address, a message-id, any word of an
/// event. Every event of every item that has such an event, both halves joined, in the order of time.
pub fn story(mut events: Vec<Event>, what: &str) -> Vec<Event> {
    let what = what.trim_matches(['<', '>']).to_lowercase();
    let names = |event: &Event| {
        event.item.is_some_and(|item| item.to_string().starts_with(&what))
            || event.detail.to_lowercase().contains(&what)
    };
    let items: std::collections::HashSet<ItemId> =
        events.iter().filter(|event| names(event)).filter_map(|event| event.item).collect();
    events.retain(|event| event.item.map_or_else(|| names(event), |item| items.contains(&item)));
    events.sort_by_key(|event| (event.at, event.role == Role::Home));
    events.dedup();
    events
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
        let mut writer = Writer::new(dir.path().to_owned(), Arc::clone(&trace.waiting));
        writer.push_line(&mut Vec::new(), &a_sixteenth);
        trace.write(a_sixteenth);
        trace.write(event(1, 1, "x", ""));
        assert_eq!((waiting.try_iter().count(), trace.waiting.lost.load(Ordering::Relaxed)), (1, 2));
        writer.append(b"").unwrap();
    }

    #[test]
    fn a_story_joins_all_events_of_the_items_that_a_word_names() {
        let events = vec![
            event(4, 1, "delivered", "to bob@example.org"),
            event(1, 1, "accepted", "from 192.0.2.1"),
            event(2, 2, "delivered", "to eve@example.org"),
        ];
        let steps = |what: &str| -> Vec<String> {
            story(events.clone(), what).into_iter().map(|event| event.step).collect()
        };
        assert_eq!(steps("<BOB@example.org>"), ["accepted", "delivered"]);
        assert_eq!(steps(&ItemId::from_bytes([2; 16]).to_string()[..10]), ["delivered"]);
        assert!(steps("nobody").is_empty());
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
