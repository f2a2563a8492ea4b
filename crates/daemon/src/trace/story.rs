//! Questions to a trace: the story of a message, the last messages, and what happens from now on. Files are read one
//! after the other, so that a month of events is never in memory at once.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::BufReader;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use link::{Event, Role};
use mail::ItemId;

use super::journal::{self, Lines};
use crate::problem::Problem;

/// Events that an answer has at most; what would be more names too much.
pub const STORY_EVENTS_MAX: usize = 20_000;
/// Messages that can be asked for as the last ones.
pub const LAST_MAX: usize = 1000;
/// Items that a follower knows by an earlier event; the oldest are forgotten.
const FOLLOWED_MAX: usize = 10_000;

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Everything of each message that has an event with this in it: an item id or its beginning, an address, a message-id,
    /// a word of the subject or of anything else that is told.
    About(String),
    /// Everything of the last so many messages.
    Last(usize),
}

impl Question {
    /// What a person typed, in the form in which it is compared.
    #[must_use]
    pub fn about(what: &str) -> Self {
        Self::About(what.trim_matches(['<', '>']).to_lowercase())
    }
}

fn names(what: &str, event: &Event) -> bool {
    event.item.is_some_and(|item| item.to_string().starts_with(what))
        || event.detail.to_lowercase().contains(what)
}

/// An answer.
#[derive(Debug)]
pub struct Story {
    /// The events, both halves joined, in the order of time.
    pub events: Vec<Event>,
    /// Whether there are more than an answer has.
    pub is_cut: bool,
}

/// Answers a question out of the files in `dir`.
///
/// # Errors
/// When a file can't be read. That there is none is no error.
pub fn find(dir: &Path, question: &Question) -> Result<Story, Problem> {
    let paths = journal::paths(dir)?;
    let (items, loose) = match question {
        Question::About(what) => about(&paths, what)?,
        Question::Last(count) => (last(&paths, (*count).min(LAST_MAX))?, Vec::new()),
    };
    let mut story = Story { events: loose, is_cut: false };
    for path in &paths {
        journal::each(path, |event| {
            if !event.item.is_some_and(|item| items.contains(&item)) {
                return ControlFlow::Continue(());
            }
            if story.events.len() == STORY_EVENTS_MAX {
                story.is_cut = true;
                return ControlFlow::Break(());
            }
            story.events.push(event);
            ControlFlow::Continue(())
        })?;
    }
    in_order(&mut story.events);
    Ok(story)
}

/// Edge's part of a moment comes before Home's, and what came over the link twice is there once.
fn in_order(events: &mut Vec<Event>) {
    events.sort_by_key(|event| (event.at, event.role == Role::Home));
    events.dedup();
}

/// The messages that have such an event, and such events that are of none.
fn about(paths: &[PathBuf], what: &str) -> Result<(HashSet<ItemId>, Vec<Event>), Problem> {
    let (mut items, mut loose) = (HashSet::new(), Vec::new());
    for path in paths {
        journal::each(path, |event| {
            if names(what, &event) {
                match event.item {
                    Some(item) => drop(items.insert(item)),
                    None if loose.len() < STORY_EVENTS_MAX => loose.push(event),
                    None => {}
                }
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok((items, loose))
}

/// The messages that have the newest events.
fn last(paths: &[PathBuf], count: usize) -> Result<HashSet<ItemId>, Problem> {
    let mut found = HashSet::new();
    for path in paths.iter().rev() {
        let mut items: VecDeque<ItemId> = VecDeque::new();
        journal::each(path, |event| {
            items.extend(event.item);
            ControlFlow::Continue(())
        })?;
        for item in items.into_iter().rev() {
            if found.len() == count {
                return Ok(found);
            }
            found.insert(item);
        }
    }
    Ok(found)
}

/// What is written from now on.
pub struct Follow {
    dir: PathBuf,
    lines: Option<Lines<BufReader<File>>>,
    /// Compared as [`Question::about`] says; everything when it is empty.
    what: String,
    known: HashSet<ItemId>,
    oldest: VecDeque<ItemId>,
}

impl Follow {
    /// Begins at the end of what is there. Of messages that are known already, such as those of a story, all is told.
    #[must_use]
    pub fn new(dir: &Path, what: Option<&str>, known: impl IntoIterator<Item = ItemId>) -> Self {
        let what = what.map_or_else(String::new, |what| what.trim_matches(['<', '>']).to_lowercase());
        let lines = Lines::at_end(dir);
        let mut follow =
            Self { dir: dir.to_owned(), lines, what, known: HashSet::new(), oldest: VecDeque::new() };
        known.into_iter().for_each(|item| follow.know(item));
        follow
    }

    fn know(&mut self, item: ItemId) {
        if self.known.insert(item) {
            self.oldest.push_back(item);
        }
        if self.oldest.len() > FOLLOWED_MAX
            && let Some(item) = self.oldest.pop_front()
        {
            self.known.remove(&item);
        }
    }

    /// The events that came since the last call.
    pub fn news(&mut self) -> Vec<Event> {
        let mut news = Vec::new();
        loop {
            while let Some(event) = self.lines.as_mut().and_then(Lines::next_event) {
                if self.is_wanted(&event) {
                    news.push(event);
                }
            }
            let next = match &self.lines {
                Some(lines) => lines.successor(&self.dir),
                None => Lines::at_end(&self.dir),
            };
            match next {
                // What was written between the last look and the change of files is in the old one.
                Some(next) => {
                    while let Some(event) = self.lines.as_mut().and_then(Lines::next_event) {
                        if self.is_wanted(&event) {
                            news.push(event);
                        }
                    }
                    self.lines = Some(next);
                }
                None => return news,
            }
        }
    }

    fn is_wanted(&mut self, event: &Event) -> bool {
        let known = event.item.is_some_and(|item| self.known.contains(&item));
        let wanted = known || self.what.is_empty() || names(&self.what, event);
        if wanted && let Some(item) = event.item {
            self.know(item);
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::journal::{FILE_OCTETS_MAX, Journal, Keep};

    fn event(at: u64, item: u8, step: &str, detail: &str) -> Event {
        Event {
            at: mail::UnixTime(at),
            role: if at.is_multiple_of(2) { Role::Home } else { Role::Edge },
            edge: None,
            item: (item > 0).then(|| ItemId::from_bytes([item; 16])),
            step: step.to_owned(),
            detail: detail.to_owned(),
        }
    }

    struct Files {
        dir: tempfile::TempDir,
        journal: Journal,
    }

    impl Files {
        fn of(events: &[Event]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let journal = Journal::new(dir.path().to_owned(), Keep::HOME);
            let mut files = Self { dir, journal };
            events.iter().for_each(|event| files.write(event));
            files
        }

        fn write(&mut self, event: &Event) {
            let line = format!("{}\n", serde_json::to_string(event).unwrap());
            self.journal.append(line.as_bytes(), 1).unwrap();
        }

        /// Fills the current file with what is nobody's, so that the next line is in another.
        fn turn(&mut self) {
            let mut filler = vec![b' '; usize::try_from(FILE_OCTETS_MAX).unwrap()];
            filler.push(b'\n');
            self.journal.append(&filler, 1).unwrap();
        }

        fn steps(&self, question: &Question) -> Vec<String> {
            let story = find(self.dir.path(), question).unwrap_or_else(|problem| panic!("{problem}"));
            story.events.into_iter().map(|event| event.step).collect()
        }
    }

    fn three() -> Files {
        let mut files = Files::of(&[
            event(4, 1, "delivered", "to bob@example.org, subject \"Apples\""),
            event(1, 1, "accepted", "from 192.0.2.1"),
        ]);
        files.turn();
        files.write(&event(2, 2, "delivered", "to eve@example.org"));
        files.write(&event(6, 0, "started", "home"));
        files
    }

    #[test]
    fn a_story_joins_all_events_of_the_items_that_a_word_names_whichever_file_they_are_in() {
        let mut files = three();
        files.write(&event(8, 1, "settled", ""));
        let about = |what: &str| files.steps(&Question::about(what));
        assert_eq!(about("<BOB@example.org>"), ["accepted", "delivered", "settled"]);
        assert_eq!(about("apples"), ["accepted", "delivered", "settled"]);
        assert_eq!(about(&ItemId::from_bytes([2; 16]).to_string()[..10]), ["delivered"]);
        assert_eq!(about("home"), ["started"]);
        assert!(about("nobody").is_empty());
        let empty = tempfile::tempdir().unwrap();
        assert!(
            find(&empty.path().join("none"), &Question::Last(1)).is_ok_and(|story| story.events.is_empty())
        );
    }

    #[test]
    fn the_last_messages_are_those_with_the_newest_events() {
        let files = three();
        assert_eq!(files.steps(&Question::Last(1)), ["delivered"]);
        assert_eq!(files.steps(&Question::Last(2)), ["accepted", "delivered", "delivered"]);
        assert_eq!(files.steps(&Question::Last(usize::MAX)).len(), 3);
        assert!(files.steps(&Question::Last(0)).is_empty());
    }

    #[test]
    fn an_answer_has_so_many_events_and_no_more() {
        let mut files = Files::of(&[]);
        let line = format!("{}\n", serde_json::to_string(&event(1, 1, "x", "")).unwrap());
        for (more, cut) in [(STORY_EVENTS_MAX, false), (1, true)] {
            files.journal.append(line.repeat(more).as_bytes(), 1).unwrap();
            let item = ItemId::from_bytes([1; 16]).to_string();
            let story =
                find(files.dir.path(), &Question::about(&item)).unwrap_or_else(|problem| panic!("{problem}"));
            assert_eq!(story.is_cut, cut);
        }
    }

    #[test]
    fn who_follows_hears_what_comes_also_across_a_change_of_files() {
        let mut files = three();
        let mut all = Follow::new(files.dir.path(), None, []);
        let mut bobs = Follow::new(files.dir.path(), Some("<bob@example.org>"), []);
        let known = ItemId::from_bytes([9; 16]);
        let mut one = Follow::new(files.dir.path(), Some("nobody"), [known]);
        assert!(all.news().is_empty());
        files.write(&event(8, 3, "a", "for bob@example.org"));
        files.turn();
        files.write(&event(9, 3, "b", ""));
        files.write(&event(9, 9, "c", ""));
        let steps =
            |follow: &mut Follow| follow.news().into_iter().map(|event| event.step).collect::<Vec<_>>();
        assert_eq!(steps(&mut all), ["a", "b", "c"]);
        assert_eq!(steps(&mut bobs), ["a", "b"]);
        assert_eq!(steps(&mut one), ["c"]);
        assert!(all.news().is_empty());
    }

    #[test]
    fn half_a_line_is_waited_for() {
        let mut files = Files::of(&[event(1, 1, "a", "")]);
        let mut follow = Follow::new(files.dir.path(), None, []);
        let line = format!("{}\n", serde_json::to_string(&event(2, 1, "b", "")).unwrap());
        let (first, second) = line.as_bytes().split_at(20);
        files.journal.append(first, 1).unwrap();
        assert!(follow.news().is_empty());
        files.journal.append(second, 1).unwrap();
        assert_eq!(follow.news().len(), 1);
    }

    #[test]
    fn a_follower_forgets_the_oldest_messages_past_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let items = (0..=FOLLOWED_MAX as u128).map(|n| ItemId::from_bytes(n.to_be_bytes()));
        let follow = Follow::new(dir.path(), Some("x"), items);
        assert_eq!((follow.known.len(), follow.oldest.len()), (FOLLOWED_MAX, FOLLOWED_MAX));
        assert!(!follow.known.contains(&ItemId::from_bytes([0; 16])));
    }
}
