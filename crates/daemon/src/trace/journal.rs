//! The files of a trace: lines of JSON, the newest in `current.jsonl`, older ones in files that are called by the time at
//! which they were full. Age and octets bound them together. Nothing is synced: a trace is no promise.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use link::Event;

use crate::problem::Problem;

/// Octets of one file, and the milliseconds of a day, after which another is begun.
pub(super) const FILE_OCTETS_MAX: u64 = 8 << 20;
const DAY_MILLIS: u64 = 86_400_000;
/// The file that is written.
const CURRENT: &str = "current.jsonl";
/// The older of two files that builds before this one had.
const PREVIOUS: &str = "previous.jsonl";
/// Octets of a line that is read; the writer makes none as long.
const LINE_OCTETS_MAX: usize = 256 * 1024;

/// How much of a trace is kept. What is older, or too much, goes with its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Days.
    pub days: u64,
    /// Octets of all files; one file more may be there.
    pub octets: u64,
}

impl Keep {
    /// What Home keeps where nothing else is said: a month of many messages.
    pub const HOME: Self = Self { days: 30, octets: 512 << 20 };
    /// What Edge keeps: Home has it, too.
    pub const EDGE: Self = Self { days: 7, octets: 64 << 20 };
}

/// The writing side.
pub(super) struct Journal {
    dir: PathBuf,
    keep: Keep,
    file: Option<File>,
    octets: u64,
    /// The day on which the current file was begun.
    day: u64,
}

impl Journal {
    pub(super) const fn new(dir: PathBuf, keep: Keep) -> Self {
        Self { dir, keep, file: None, octets: 0, day: 0 }
    }

    /// The directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// After a failure the file is opened anew.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// Adds whole lines, at this time in milliseconds since 1970.
    pub(super) fn append(&mut self, lines: &[u8], now: u64) -> io::Result<()> {
        self.open(now)?;
        if self.octets > FILE_OCTETS_MAX || (self.octets > 0 && self.day != now / DAY_MILLIS) {
            self.turn(now)?;
            self.open(now)?;
        }
        if let Some(file) = &mut self.file {
            file.write_all(lines)?;
            self.octets += lines.len() as u64;
        }
        Ok(())
    }

    fn open(&mut self, now: u64) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.dir.join(CURRENT);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let about = file.metadata()?;
        self.octets = about.len();
        self.day = if self.octets == 0 { now } else { millis(about.modified()?) } / DAY_MILLIS;
        self.file = Some(file);
        Ok(())
    }

    /// Puts the current file aside and removes what is not kept any longer.
    fn turn(&mut self, now: u64) -> io::Result<()> {
        self.file = None;
        let older = aside(&self.dir)?;
        // Also where the clock was set back no file takes another's place.
        let last = older.iter().filter_map(|file| number(&file.name)).max().unwrap_or(0);
        let name = format!("{:013}.jsonl", now.max(last + 1));
        std::fs::rename(self.dir.join(CURRENT), self.dir.join(name))?;
        for name in surplus(&aside(&self.dir)?, self.keep, now) {
            // What can't be removed now is tried again at the next turn; lines are not lost for it.
            let _ = std::fs::remove_file(self.dir.join(name));
        }
        Ok(())
    }
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A file that is not written any more.
#[derive(Debug, Clone)]
struct Aside {
    name: String,
    octets: u64,
    /// When it was written last.
    at: u64,
}

/// The number in the name of such a file.
fn number(name: &str) -> Option<u64> {
    name.strip_suffix(".jsonl").filter(|stem| stem.bytes().all(|c| c.is_ascii_digit()))?.parse().ok()
}

/// All files that are not written any more, oldest first.
fn aside(dir: &Path) -> io::Result<Vec<Aside>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name != PREVIOUS && number(&name).is_none() {
            continue;
        }
        // One that went away meanwhile needs no more attention.
        let Ok(about) = entry.metadata() else { continue };
        all.push(Aside { name, octets: about.len(), at: millis(about.modified()?) });
    }
    all.sort_by_key(|file| number(&file.name).unwrap_or(0));
    Ok(all)
}

/// The names of those that go: older than the days, or the oldest of too many octets.
fn surplus(oldest_first: &[Aside], keep: Keep, now: u64) -> Vec<String> {
    let mut octets = 0;
    let mut gone: Vec<String> = Vec::new();
    for file in oldest_first.iter().rev() {
        octets += file.octets;
        if octets > keep.octets || now.saturating_sub(file.at) > keep.days.saturating_mul(DAY_MILLIS) {
            gone.push(file.name.clone());
        }
    }
    gone
}

/// The paths of all files in `dir`, oldest first. That there is none is no error.
///
/// # Errors
/// When the directory can't be read.
pub(super) fn paths(dir: &Path) -> Result<Vec<PathBuf>, Problem> {
    let older = match aside(dir) {
        Ok(older) => older,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(unreadable(dir, &error)),
    };
    let names = older.into_iter().map(|file| file.name).chain([CURRENT.to_owned()]);
    Ok(names.map(|name| dir.join(name)).collect())
}

pub(super) fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let what = format!("can't read {}: {}", path.display(), crate::problem::io_words(error));
    Problem::setup(what, "run as the user that owns it")
}

/// Gives every event of a file, as far as its lines are whole, until it is told to stop.
///
/// # Errors
/// When the file can't be opened. That it is gone is no error.
pub(super) fn each(path: &Path, mut take: impl FnMut(Event) -> ControlFlow<()>) -> Result<(), Problem> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(path, &error)),
    };
    let mut lines = Lines { reader: BufReader::with_capacity(128 * 1024, file), held: Vec::new() };
    while let Some(event) = lines.next_event() {
        if take(event).is_break() {
            break;
        }
    }
    Ok(())
}

/// Reads events out of lines; the last one may not be whole yet.
pub(super) struct Lines<R> {
    reader: R,
    held: Vec<u8>,
}

impl Lines<BufReader<File>> {
    /// The current file of a directory, from its end on. `None` while there is none.
    pub(super) fn at_end(dir: &Path) -> Option<Self> {
        use std::io::Seek as _;
        let mut file = File::open(dir.join(CURRENT)).ok()?;
        file.seek(io::SeekFrom::End(0)).ok()?;
        Some(Self { reader: BufReader::new(file), held: Vec::new() })
    }

    /// The current file from its beginning, if it is another than this one.
    pub(super) fn successor(&self, dir: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let file = File::open(dir.join(CURRENT)).ok()?;
        let (ours, now) = (self.reader.get_ref().metadata().ok()?, file.metadata().ok()?);
        (ours.ino() != now.ino()).then(|| Self { reader: BufReader::new(file), held: Vec::new() })
    }
}

impl<R: io::BufRead> Lines<R> {
    /// The next event that is there as a whole. What is no event is passed over.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        loop {
            match self.reader.read_until(b'\n', &mut self.held) {
                Ok(1..) if self.held.last() == Some(&b'\n') => {}
                // A line without its end stays for the next time; one that has none for so long is none.
                _ => {
                    if self.held.len() > LINE_OCTETS_MAX {
                        self.held.clear();
                    }
                    return None;
                }
            }
            let event = serde_json::from_slice(&self.held).ok();
            self.held.clear();
            if event.is_some() {
                return event;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = DAY_MILLIS;

    #[test]
    fn what_is_too_old_or_too_much_goes_and_nothing_else() {
        let file = |number: u64, octets, at| Aside { name: format!("{number}.jsonl"), octets, at };
        let files = [file(1, 10, 0), file(2, 10, DAY), file(3, 10, 2 * DAY)];
        let gone = |days, octets, now| surplus(&files, Keep { days, octets }, now);
        assert_eq!(gone(30, 30, 30 * DAY), [""; 0], "as old and as much as may be");
        assert_eq!(gone(30, 30, 30 * DAY + 1), ["1.jsonl"]);
        assert_eq!(gone(30, 29, 2 * DAY), ["1.jsonl"]);
        assert_eq!(gone(30, 9, 2 * DAY), ["3.jsonl", "2.jsonl", "1.jsonl"]);
    }

    fn names(dir: &Path) -> Vec<String> {
        let all = paths(dir).unwrap_or_else(|problem| panic!("{problem}"));
        all.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_is_full_at_its_limit_and_put_aside_past_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path().to_owned(), Keep::EDGE);
        let now = millis(SystemTime::now()) / DAY * DAY;
        journal.append(&vec![b'x'; usize::try_from(FILE_OCTETS_MAX).unwrap()], now).unwrap();
        journal.append(b"y", now + 1).unwrap();
        assert_eq!(names(dir.path()), ["current.jsonl"]);
        journal.append(b"z\n", now + 2).unwrap();
        assert_eq!(names(dir.path()), [format!("{}.jsonl", now + 2), "current.jsonl".to_owned()]);
        assert_eq!(std::fs::read(dir.path().join(CURRENT)).unwrap(), b"z\n");
    }

    #[test]
    fn each_day_has_a_file_and_a_clock_that_is_set_back_costs_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path().to_owned(), Keep { days: 30_000, octets: 1 << 20 });
        for now in [100 * DAY, 101 * DAY, 101 * DAY + 5, 100 * DAY, 101 * DAY] {
            journal.append(format!("{now}\n").as_bytes(), now).unwrap();
        }
        assert_eq!(names(dir.path()).len(), 4);
        let all: Vec<String> = paths(dir.path())
            .unwrap_or_default()
            .iter()
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        assert_eq!(all.concat().lines().count(), 5, "no line is lost");
    }

    #[test]
    fn the_files_of_the_build_before_are_read_and_go_in_their_time() {
        let dir = tempfile::tempdir().unwrap();
        for name in [CURRENT, PREVIOUS, "notes.txt", "x.jsonl"] {
            std::fs::write(dir.path().join(name), "old\n").unwrap();
        }
        assert_eq!(names(dir.path()), [PREVIOUS, CURRENT]);
        let mut journal = Journal::new(dir.path().to_owned(), Keep { days: 1, octets: 1 << 20 });
        let later = millis(SystemTime::now()) + 3 * DAY;
        journal.append(b"new\n", later).unwrap();
        assert_eq!(names(dir.path()), [CURRENT], "both were older than a day");
        assert!(dir.path().join("x.jsonl").exists(), "what is not the trace's stays");
    }
}
