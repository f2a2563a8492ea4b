//! The selected mailbox as this session has told its client about it.
//!
//! Message numbers only change when the client is told so: what is gone in the mailbox stays in `uids` until
//! a command after which EXPUNGE may be sent (RFC 9051 section 7.5.1).

use std::sync::Arc;

use mail::header;
use memchr::memchr_iter;

use crate::command::Access;
use crate::mime::Scanner;
use crate::part::Part;
use crate::write;
use mailbox::{Account, AccountError, Changes, Flags, Mailbox, MailboxId, Message};

/// Octets read from the account at once.
pub(super) const PIECE: usize = 64 * 1024;
/// Octets of a header section whose fields are looked at.
pub(super) const HEADER_MAX: usize = 1024 * 1024;
/// Octets of a message that are read first: most header sections end within.
const HEADER_FIRST: usize = 8 * 1024;

/// Whether EXPUNGE may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expunges {
    Send,
    Hold,
}

pub(super) struct View {
    pub(super) id: MailboxId,
    pub(super) access: Access,
    /// Uids by message number less one.
    pub(super) uids: Vec<u32>,
    pub(super) keywords: Vec<String>,
    modseq: u64,
    uidnext: u32,
    /// Ranges that are gone and not yet told.
    vanished: Vec<(u32, u32)>,
    /// Changes of flags that this session made and that its client knows of.
    own: Vec<u64>,
    structure: Option<(u32, Arc<Part>)>,
    head: Option<(u32, Arc<Head>)>,
}

/// The start of a message.
pub(super) struct Head {
    /// Its header section with the empty line, up to [`HEADER_MAX`] octets of it.
    pub(super) section: Vec<u8>,
    /// Where its body starts, if that was within reach.
    pub(super) end: Option<u64>,
}

impl View {
    pub(super) fn new(selected: &Mailbox, access: Access, uids: Vec<u32>, keywords: Vec<String>) -> Self {
        Self {
            id: selected.id,
            access,
            uids,
            keywords,
            modseq: selected.modseq,
            uidnext: selected.uidnext,
            vanished: Vec::new(),
            own: Vec::new(),
            structure: None,
            head: None,
        }
    }

    /// The client learns of this change of flags by the command that made it.
    pub(super) fn made(&mut self, modseq: u64) {
        self.own.push(modseq);
    }

    /// The message number of a uid.
    pub(super) fn number(&self, uid: u32) -> Option<u32> {
        self.uids.binary_search(&uid).ok().and_then(|place| u32::try_from(place + 1).ok())
    }

    /// Writes what changed in the mailbox since the client was last told.
    pub(super) fn sync(
        &mut self,
        account: &mut impl Account,
        expunges: Expunges,
        out: &mut Vec<u8>,
    ) -> Result<(), AccountError> {
        let changes = account.changes(self.id, self.modseq, self.uidnext)?;
        self.learn_keywords(account, &changes, out)?;
        self.modseq = changes.modseq;
        let known = self.uidnext;
        self.uidnext = changes.uidnext.max(known);
        self.vanished.extend_from_slice(&changes.vanished);
        if expunges == Expunges::Send {
            self.expunge(out);
        }
        let before = self.uids.len();
        for message in &changes.messages {
            // A message that came and went before it was told of is in `vanished` at most.
            if message.uid >= known && self.uids.last().is_none_or(|last| *last < message.uid) {
                self.uids.push(message.uid);
            }
        }
        if self.uids.len() != before {
            out.extend_from_slice(format!("* {} EXISTS\r\n", self.uids.len()).as_bytes());
        }
        for message in &changes.messages {
            if message.uid < known && !self.own.contains(&message.modseq) {
                self.write_flags(message, out);
            }
        }
        self.own.clear();
        Ok(())
    }

    fn expunge(&mut self, out: &mut Vec<u8>) {
        let mut gone = std::mem::take(&mut self.vanished);
        if gone.is_empty() {
            return;
        }
        // They may overlap: the account may tell of more than is asked for. Each begins behind the end of the one before.
        gone.sort_unstable();
        gone.dedup_by(|next, before| {
            let overlaps = next.0 <= before.1;
            before.1 = if overlaps { before.1.max(next.1) } else { before.1 };
            overlaps
        });
        let is_gone = |uid: u32| {
            let place = gone.partition_point(|(first, _)| *first <= uid);
            place.checked_sub(1).and_then(|place| gone.get(place)).is_some_and(|(_, last)| uid <= *last)
        };
        // From the last one down, so that no number changes before it is told.
        for (place, _) in self.uids.iter().enumerate().rev().filter(|(_, uid)| is_gone(**uid)) {
            out.extend_from_slice(format!("* {} EXPUNGE\r\n", place + 1).as_bytes());
        }
        self.uids.retain(|uid| !is_gone(*uid));
    }

    fn write_flags(&self, message: &Message, out: &mut Vec<u8>) {
        if let Some(number) = self.number(message.uid) {
            out.extend_from_slice(format!("* {number} FETCH (UID {} FLAGS ", message.uid).as_bytes());
            write::flags(out, message.flags, &self.keywords);
            out.extend_from_slice(b")\r\n");
        }
    }

    fn learn_keywords(
        &mut self,
        account: &mut impl Account,
        changes: &Changes,
        out: &mut Vec<u8>,
    ) -> Result<(), AccountError> {
        let used = changes.messages.iter().fold(0, |used, message| used | message.flags.0);
        self.know_keywords(account, Flags(used), out)
    }

    /// Asks for the keywords again when one of `flags` is not known, and tells the client.
    pub(super) fn know_keywords(
        &mut self,
        account: &mut impl Account,
        flags: Flags,
        out: &mut Vec<u8>,
    ) -> Result<(), AccountError> {
        let known = u32::try_from(self.keywords.len()).unwrap_or(u32::MAX);
        let unknown = flags.0.checked_shr(known.saturating_add(Flags::FIRST_KEYWORD_BIT)).unwrap_or(0);
        if unknown != 0 {
            self.keywords = account.keywords()?;
            self.write_flag_lists(out);
        }
        Ok(())
    }

    /// FLAGS and PERMANENTFLAGS.
    pub(super) fn write_flag_lists(&self, out: &mut Vec<u8>) {
        let mut all = Vec::new();
        write::flags(&mut all, Flags(u64::MAX), &self.keywords);
        out.extend_from_slice(b"* FLAGS ");
        out.extend_from_slice(&all);
        out.extend_from_slice(b"\r\n* OK [PERMANENTFLAGS ");
        if self.access == Access::ReadOnly {
            out.extend_from_slice(b"()");
        } else {
            out.extend_from_slice(all.strip_suffix(b")").unwrap_or(&all));
            out.extend_from_slice(b" \\*)");
        }
        out.extend_from_slice(b"] flags that are kept\r\n");
    }

    /// The structure of a message; None when it is gone.
    pub(super) fn structure(
        &mut self,
        account: &mut impl Account,
        message: &Message,
    ) -> Result<Option<Arc<Part>>, AccountError> {
        if let Some((_, part)) = self.structure.as_ref().filter(|(uid, _)| *uid == message.uid) {
            return Ok(Some(Arc::clone(part)));
        }
        let mut scanner = Scanner::new();
        let mut piece = Vec::new();
        let mut at = 0;
        while at < message.octets {
            piece.clear();
            if !account.read(self.id, message.uid, at, PIECE, &mut piece)? || piece.is_empty() {
                return Ok(None);
            }
            scanner.feed(&piece);
            at += piece.len() as u64;
        }
        let part = Arc::new(scanner.finish());
        self.structure = Some((message.uid, Arc::clone(&part)));
        Ok(Some(part))
    }

    /// The header section of a message; None when it is gone.
    pub(super) fn head(
        &mut self,
        account: &mut impl Account,
        message: &Message,
    ) -> Result<Option<Arc<Head>>, AccountError> {
        if let Some((_, head)) = self.head.as_ref().filter(|(uid, _)| *uid == message.uid) {
            return Ok(Some(Arc::clone(head)));
        }
        let mut section = Vec::new();
        let mut end = None;
        let mut searched = 0;
        while end.is_none() && section.len() < HEADER_MAX {
            let at = section.len();
            let wanted = if at == 0 { HEADER_FIRST } else { PIECE };
            if !account.read(self.id, message.uid, at as u64, wanted, &mut section)? {
                return Ok(None);
            }
            end = header_end(&section, &mut searched);
            if section.len() == at {
                end = Some(at);
            }
        }
        section.truncate(end.unwrap_or(HEADER_MAX));
        let head = Arc::new(Head { section, end: end.map(|end| end as u64) });
        self.head = Some((message.uid, Arc::clone(&head)));
        Ok(Some(head))
    }
}

/// Where the header section at the start of `octets` ends, if it does. `searched` is kept between calls.
fn header_end(octets: &[u8], searched: &mut usize) -> Option<usize> {
    if *searched == 0 && octets.starts_with(b"\r\n") {
        return Some(2);
    }
    if *searched == 0 && octets.starts_with(b"\n") {
        return Some(1);
    }
    let from = *searched;
    for newline in memchr_iter(b'\n', octets.get(from..).unwrap_or_default()) {
        let next = from + newline + 1;
        match octets.get(next..) {
            Some([b'\n', ..]) => return Some(next + 1),
            Some([b'\r', b'\n', ..]) => return Some(next + 2),
            _ => {}
        }
    }
    *searched = octets.len().saturating_sub(2);
    None
}

/// The fields of a header section that `wanted` accepts, as they are, and an empty line.
pub(super) fn select_fields(section: &[u8], wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut selected = Vec::new();
    for field in header::fields(section).filter(|field| wanted(field.name)) {
        selected.extend_from_slice(field.raw);
    }
    selected.extend_from_slice(b"\r\n");
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_to_be_gone_twice_and_in_ranges_that_overlap_is_gone_once() {
        let mailbox = Mailbox {
            id: MailboxId(1),
            name: "INBOX".into(),
            uidvalidity: 1,
            uidnext: 13,
            modseq: 1,
            special_use: None,
        };
        let mut view = View::new(&mailbox, Access::ReadWrite, (1..=12).collect(), Vec::new());
        view.vanished = vec![(4, 5), (2, 9), (8, 10), (2, 3), (12, 12)];
        let mut out = Vec::new();
        view.expunge(&mut out);
        assert_eq!(view.uids, [1, 11]);
        assert_eq!(String::from_utf8(out).unwrap().matches("EXPUNGE").count(), 10);
    }
}
