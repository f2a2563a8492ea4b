//! Commands on the messages of the selected mailbox.

use crate::command::{Access, Command, Search, Silent, Then};
use crate::item::{Item, Seen};
use crate::session::fetch::Fetch;
use crate::session::search::Searching;
use crate::session::view::Expunges;
use crate::session::{Session, State, Work};
use crate::set::{self, By, Set, uid_ranges};
use mailbox::{Account, AccountError, Copied, FlagList, FlagMode, Flags};

impl<B: Account> Session<B> {
    pub(super) fn run_on_messages(&mut self, tag: String, command: Command) {
        let State::Selected(view) = &self.state else { return };
        let changes = match &command {
            Command::Store { .. } | Command::Expunge(_) => true,
            Command::Copy { then, .. } => *then == Then::Remove,
            _ => false,
        };
        if changes && view.access == Access::ReadOnly {
            return self.no(&tag, "[CANNOT] the mailbox is only examined");
        }
        match command {
            Command::Close => self.leave(&tag, Leave::Expunge),
            Command::Unselect => self.leave(&tag, Leave::Keep),
            Command::Expunge(set) => {
                let outcome = self.expunge(set.as_ref());
                self.done(&tag, outcome, "expunged");
            }
            Command::Search(search) => self.search(tag, search),
            Command::Fetch { by, set, items } => self.fetch(tag, by, &set, items),
            Command::Store { by, set, mode, flags, silent } => {
                let store = Store { by, set, mode, flags, silent };
                self.store(tag, &store);
            }
            Command::Copy { by, set, mailbox, then } => self.copy(&tag, by, &set, &mailbox, then),
            _ => self.bad(&tag, "the command is not known"),
        }
    }

    fn leave(&mut self, tag: &str, leave: Leave) {
        let State::Selected(view) = &self.state else { return };
        let outcome = if leave == Leave::Expunge && view.access == Access::ReadWrite {
            self.account.expunge(view.id, &[1..=view.uids.last().copied().unwrap_or(1)])
        } else {
            Ok(())
        };
        self.state = State::Authenticated;
        match outcome {
            Ok(()) => self.ok(tag, "closed"),
            Err(error) => self.refuse(tag, &error),
        }
    }

    /// What the client has not been told of is left alone, whatever flags it has.
    fn expunge(&mut self, set: Option<&Set>) -> Result<(), AccountError> {
        let State::Selected(view) = &self.state else { return Ok(()) };
        let uids = match set {
            None => view.uids.last().map(|last| 1..=*last).into_iter().collect(),
            Some(set) => uid_ranges(&set.places(By::Uid, &view.uids), &view.uids),
        };
        if uids.is_empty() { Ok(()) } else { self.account.expunge(view.id, &uids) }
    }

    fn search(&mut self, tag: String, search: Search) {
        let State::Selected(view) = &self.state else { return };
        match search.charset.as_deref() {
            None | Some("UTF-8" | "US-ASCII") => {
                let searching = Searching::new(search, view);
                self.work = Some(Work::Search { searching, tag });
            }
            Some(_) => self.no(&tag, "[BADCHARSET (US-ASCII UTF-8)] the charset is not known"),
        }
    }

    fn fetch(&mut self, tag: String, by: By, set: &Set, mut items: Vec<Item>) {
        let State::Selected(view) = &mut self.state else { return };
        if by == By::Uid && !items.contains(&Item::Uid) {
            items.insert(0, Item::Uid);
        }
        let places = set.places(by, &view.uids);
        let reads =
            items.iter().any(|item| matches!(item, Item::Section(section) if section.seen == Seen::Set));
        let mut changed = Vec::new();
        if reads && view.access == Access::ReadWrite && !places.is_empty() {
            let seen = FlagList { system: Flags::SEEN, keywords: Vec::new() };
            match self.account.store(view.id, &uid_ranges(&places, &view.uids), FlagMode::Add, &seen) {
                Ok(change) => {
                    view.made(change.modseq);
                    changed = change.changed.into_iter().map(|(uid, _)| uid).collect();
                }
                Err(error) => return self.refuse(&tag, &error),
            }
        }
        self.work = Some(Work::Fetch { fetch: Fetch::new(items, places, changed), tag, done: "fetched" });
    }

    fn store(&mut self, tag: String, store: &Store) {
        let State::Selected(view) = &mut self.state else { return };
        let places = store.set.places(store.by, &view.uids);
        if places.is_empty() {
            return self.finish(&tag, Expunges::Hold, "nothing to store");
        }
        match self.account.store(view.id, &uid_ranges(&places, &view.uids), store.mode, &store.flags) {
            Err(error) => self.refuse(&tag, &error),
            Ok(change) => {
                view.made(change.modseq);
                let places = if store.silent == Silent::Yes { Vec::new() } else { places };
                let mut items = vec![Item::Flags];
                if store.by == By::Uid {
                    items.insert(0, Item::Uid);
                }
                self.work =
                    Some(Work::Fetch { fetch: Fetch::new(items, places, Vec::new()), tag, done: "stored" });
            }
        }
    }

    fn copy(&mut self, tag: &str, by: By, set: &Set, mailbox: &str, then: Then) {
        let State::Selected(view) = &self.state else { return };
        let uids = uid_ranges(&set.places(by, &view.uids), &view.uids);
        if uids.is_empty() {
            return self.finish(tag, Expunges::Hold, "nothing to copy");
        }
        let outcome = match then {
            Then::Keep => self.account.copy(view.id, &uids, mailbox),
            Then::Remove => self.account.relocate(view.id, &uids, mailbox),
        };
        match (outcome, then) {
            (Err(error), _) => self.refuse_target(tag, &error),
            (Ok(copied), Then::Keep) => {
                let text = format!("{}copied", copy_uid(&copied));
                self.finish(tag, Expunges::Hold, &text);
            }
            (Ok(copied), Then::Remove) => {
                let text = format!("* OK {}moved", copy_uid(&copied));
                self.say(&text);
                self.finish(tag, Expunges::Send, "moved");
            }
        }
    }
}

/// What happens to messages with `\Deleted` when a mailbox is left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leave {
    Expunge,
    Keep,
}

/// The arguments of STORE.
struct Store {
    by: By,
    set: Set,
    mode: FlagMode,
    flags: FlagList,
    silent: Silent,
}

/// COPYUID (RFC 4315), unless nothing was copied.
fn copy_uid(copied: &Copied) -> String {
    if copied.uids.is_empty() {
        return String::new();
    }
    let mut sets = Vec::new();
    set::write(&mut sets, copied.uids.iter().map(|(old, _)| *old));
    sets.push(b' ');
    set::write(&mut sets, copied.uids.iter().map(|(_, new)| *new));
    format!("[COPYUID {} {}] ", copied.uidvalidity, String::from_utf8_lossy(&sets))
}
