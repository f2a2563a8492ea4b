//! FETCH, message by message and piece by piece: neither many messages nor a large one fill the memory.

use std::collections::VecDeque;
use std::ops::Range;

use crate::date::write_date_time;
use crate::envelope::{self, write_structure};
use crate::item::{Item, Section, Text};
use crate::part::{Content, Part};
use crate::session::OUTPUT_FULL;
use crate::session::view::{PIECE, View, select_fields};
use crate::write;
use mailbox::{Account, AccountError, Message};

/// Entries that are read at once.
const CHUNK: usize = 256;

/// A FETCH on its way.
pub(super) struct Fetch {
    items: Vec<Item>,
    places: VecDeque<Range<usize>>,
    chunk: VecDeque<(usize, Message)>,
    current: Option<Current>,
    /// Uids whose flags the fetch itself changed, sorted.
    changed: Vec<u32>,
    /// Something that was asked for is gone.
    missing: bool,
}

/// The message whose response is being written.
struct Current {
    message: Message,
    next_item: usize,
    /// Items written so far.
    written: usize,
    /// What is left of the literal that is being written.
    literal: Option<Range<u64>>,
}

/// The state of a FETCH after one turn.
pub(super) enum Progress {
    /// There is enough output for now.
    Full,
    /// All is written; false when something was gone.
    Done(bool),
    /// A literal was announced whose octets are gone: nothing that follows could be understood.
    Broken,
}

/// The place of a section's octets.
enum Located {
    Octets(Vec<u8>),
    Range(Range<u64>),
    Nothing,
    Gone,
}

impl Fetch {
    pub(super) fn new(items: Vec<Item>, places: Vec<Range<usize>>, changed: Vec<u32>) -> Self {
        Self { items, places: places.into(), chunk: VecDeque::new(), current: None, changed, missing: false }
    }

    /// Writes until there is enough output. After an error no response is half written.
    pub(super) fn advance(
        &mut self,
        view: &mut View,
        account: &mut impl Account,
        out: &mut Vec<u8>,
    ) -> Result<Progress, AccountError> {
        loop {
            if out.len() >= OUTPUT_FULL {
                return Ok(Progress::Full);
            }
            if let Some(mut current) = self.current.take() {
                if !self.write_next(&mut current, view, account, out)? {
                    return Ok(Progress::Broken);
                }
                let more = current.literal.is_some() || current.next_item < self.items.len();
                if more {
                    self.current = Some(current);
                } else {
                    self.end_message(&current, view, out);
                }
            } else if let Some((place, message)) = self.chunk.pop_front() {
                view.know_keywords(account, message.flags, out)?;
                out.extend_from_slice(format!("* {} FETCH (", place + 1).as_bytes());
                self.current = Some(Current { message, next_item: 0, written: 0, literal: None });
            } else if !self.read_chunk(view, account)? {
                return Ok(Progress::Done(!self.missing));
            }
        }
    }

    /// Reads the next entries; false when there are none.
    fn read_chunk(&mut self, view: &View, account: &mut impl Account) -> Result<bool, AccountError> {
        let Some(range) = self.places.front_mut() else { return Ok(false) };
        let places = range.start..range.end.min(range.start + CHUNK);
        range.start = places.end;
        if range.start >= range.end {
            self.places.pop_front();
        }
        let uids = view.uids.get(places.clone()).unwrap_or_default();
        if let (Some(first), Some(last)) = (uids.first(), uids.last()) {
            let chunk = &mut self.chunk;
            account.messages(view.id, *first..=*last, &mut |message| {
                if let Ok(place) = uids.binary_search(&message.uid) {
                    chunk.push_back((places.start + place, message));
                }
            })?;
            self.missing |= self.chunk.len() < uids.len();
        }
        Ok(true)
    }

    /// Writes the next item or the next piece of one; false when a literal can't be completed.
    fn write_next(
        &mut self,
        current: &mut Current,
        view: &mut View,
        account: &mut impl Account,
        out: &mut Vec<u8>,
    ) -> Result<bool, AccountError> {
        if let Some(left) = &mut current.literal {
            let before = out.len();
            let length = usize::try_from(left.end - left.start).unwrap_or(PIECE).min(PIECE);
            let there = account.read(view.id, current.message.uid, left.start, length, out);
            write::replace_nul(out, before);
            let read = (out.len() - before) as u64;
            if !there.unwrap_or(false) || read == 0 {
                return Ok(false);
            }
            left.start += read;
            if left.start >= left.end {
                current.literal = None;
            }
            return Ok(true);
        }
        let Some(item) = self.items.get(current.next_item) else { return Ok(true) };
        current.next_item += 1;
        let start = out.len();
        if current.written > 0 {
            out.push(b' ');
        }
        match write_item(item, current, view, account, out) {
            Ok(true) => current.written += 1,
            Ok(false) => {
                out.truncate(start);
                self.missing = true;
            }
            Err(error) => {
                out.truncate(start);
                self.end_message(current, view, out);
                return Err(error);
            }
        }
        Ok(true)
    }

    fn end_message(&self, current: &Current, view: &View, out: &mut Vec<u8>) {
        let tells_flags = self.items.contains(&Item::Flags);
        let untold = !tells_flags && self.changed.binary_search(&current.message.uid).is_ok();
        if untold {
            out.extend_from_slice(if current.written > 0 { b" FLAGS " } else { b"FLAGS " });
            write::flags(out, current.message.flags, &view.keywords);
        } else if current.written == 0 {
            out.extend_from_slice(format!("UID {}", current.message.uid).as_bytes());
        }
        out.extend_from_slice(b")\r\n");
    }
}

/// Writes the name and the value of an item; false when the message is gone.
fn write_item(
    item: &Item,
    current: &mut Current,
    view: &mut View,
    account: &mut impl Account,
    out: &mut Vec<u8>,
) -> Result<bool, AccountError> {
    let message = current.message;
    match item {
        Item::Flags => {
            out.extend_from_slice(b"FLAGS ");
            write::flags(out, message.flags, &view.keywords);
        }
        Item::InternalDate => {
            out.extend_from_slice(
                format!("INTERNALDATE \"{}\"", write_date_time(message.internal_date)).as_bytes(),
            );
        }
        Item::Size => out.extend_from_slice(format!("RFC822.SIZE {}", message.octets).as_bytes()),
        Item::Uid => out.extend_from_slice(format!("UID {}", message.uid).as_bytes()),
        Item::Modseq => out.extend_from_slice(format!("MODSEQ ({})", message.modseq).as_bytes()),
        Item::Envelope => {
            let Some(head) = view.head(account, &message)? else { return Ok(false) };
            out.extend_from_slice(b"ENVELOPE ");
            envelope::write(out, &head.section);
        }
        Item::Structure(form) => {
            let Some(part) = view.structure(account, &message)? else { return Ok(false) };
            let name: &[u8] = if *form == envelope::Form::Basic { b"BODY " } else { b"BODYSTRUCTURE " };
            out.extend_from_slice(name);
            write_structure(out, &part, *form);
        }
        Item::Section(section) => {
            let located = locate(section, view, account, &message)?;
            out.extend_from_slice(&section.label);
            out.push(b' ');
            return write_located(located, section.partial, current, view, account, out);
        }
    }
    Ok(true)
}

fn write_located(
    located: Located,
    partial: Option<(u64, u64)>,
    current: &mut Current,
    view: &View,
    account: &mut impl Account,
    out: &mut Vec<u8>,
) -> Result<bool, AccountError> {
    match located {
        Located::Gone => return Ok(false),
        Located::Nothing => out.extend_from_slice(b"NIL"),
        Located::Octets(octets) => {
            let range = cut(0..octets.len() as u64, partial);
            let from = usize::try_from(range.start).unwrap_or(usize::MAX);
            let to = usize::try_from(range.end).unwrap_or(usize::MAX);
            let octets = octets.get(from..to).unwrap_or_default();
            write::literal(out, octets);
        }
        Located::Range(range) => {
            let range = cut(range, partial);
            let octets = range.end - range.start;
            write::literal_head(out, octets);
            if octets > PIECE as u64 {
                current.literal = Some(range);
            } else if octets > 0 {
                // Read before anything is promised: a message may be gone meanwhile.
                let start = out.len();
                let length = usize::try_from(octets).unwrap_or(PIECE);
                let there = account.read(view.id, current.message.uid, range.start, length, out)?;
                write::replace_nul(out, start);
                return Ok(there && out.len() - start == length);
            }
        }
    }
    Ok(true)
}

/// The part of a range that a partial asks for.
fn cut(range: Range<u64>, partial: Option<(u64, u64)>) -> Range<u64> {
    let Some((start, octets)) = partial else { return range };
    let start = range.start.saturating_add(start).min(range.end);
    start..start.saturating_add(octets).min(range.end)
}

/// Finds the octets of a section.
fn locate(
    section: &Section,
    view: &mut View,
    account: &mut impl Account,
    message: &Message,
) -> Result<Located, AccountError> {
    if section.path.is_empty() {
        return locate_in_message(&section.text, view, account, message);
    }
    let Some(structure) = view.structure(account, message)? else { return Ok(Located::Gone) };
    let Some(part) = structure.at(&section.path) else { return Ok(Located::Nothing) };
    let inside = || match &part.content {
        Content::Message(inner, _) => Some(&**inner),
        _ => None,
    };
    Ok(match &section.text {
        Text::Whole => Located::Range(part.body.clone()),
        Text::Mime => Located::Range(part.header.clone()),
        Text::Header => inside().map_or(Located::Nothing, |inner| Located::Range(inner.header.clone())),
        Text::Content => inside().map_or(Located::Nothing, |inner| Located::Range(inner.body.clone())),
        Text::Fields(_) | Text::FieldsNot(_) => match inside() {
            None => Located::Nothing,
            Some(inner) => match read_header(view, account, message, inner)? {
                Some(header) => Located::Octets(fields(&section.text, &header)),
                None => Located::Gone,
            },
        },
    })
}

fn locate_in_message(
    text: &Text,
    view: &mut View,
    account: &mut impl Account,
    message: &Message,
) -> Result<Located, AccountError> {
    if *text == Text::Whole {
        return Ok(Located::Range(0..message.octets));
    }
    let Some(head) = view.head(account, message)? else { return Ok(Located::Gone) };
    let end = match head.end {
        Some(end) => end,
        None => match view.structure(account, message)? {
            Some(structure) => structure.header.end,
            None => return Ok(Located::Gone),
        },
    };
    Ok(match text {
        Text::Whole | Text::Header | Text::Mime => Located::Range(0..end),
        Text::Content => Located::Range(end..message.octets),
        Text::Fields(_) | Text::FieldsNot(_) => Located::Octets(fields(text, &head.section)),
    })
}

fn fields(text: &Text, section: &[u8]) -> Vec<u8> {
    let listed = |names: &[Vec<u8>], name: &[u8]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    match text {
        Text::Fields(names) => select_fields(section, |name| listed(names, name)),
        Text::FieldsNot(names) => select_fields(section, |name| !listed(names, name)),
        _ => Vec::new(),
    }
}

/// The header section of a message within the message.
fn read_header(
    view: &View,
    account: &mut impl Account,
    message: &Message,
    inner: &Part,
) -> Result<Option<Vec<u8>>, AccountError> {
    let octets = inner.header.end - inner.header.start;
    let length = usize::try_from(octets).unwrap_or(usize::MAX).min(crate::mime::HEADER_MAX);
    let mut header = Vec::new();
    let there = account.read(view.id, message.uid, inner.header.start, length, &mut header)?;
    Ok(there.then_some(header))
}
