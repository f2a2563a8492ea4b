//! SEARCH, some messages at a time, so that a long one can be interrupted.

use std::ops::Range;

use mail::header;

use crate::command::{Search, SearchReturn};
use crate::date::{Day, day_of, sent_day};
use crate::decode;
use crate::key::Key;
use crate::part::{Content, Part};
use crate::session::view::View;
use crate::set::{self, By};
use crate::write;
use mailbox::{Account, AccountError, Flags, Message};

/// Entries that are read at once.
const CHUNK: usize = 256;
/// Octets of one text part that are searched.
const TEXT_MAX: u64 = 4 * 1024 * 1024;

/// A SEARCH on its way.
pub(super) struct Searching {
    by: By,
    returns: Option<Vec<SearchReturn>>,
    test: Test,
    next: usize,
    /// Numbers or uids, in order.
    found: Vec<u32>,
}

/// A key, made ready for one mailbox.
enum Test {
    Always,
    All(Vec<Self>),
    Either(Box<(Self, Self)>),
    Not(Box<Self>),
    Flag(Flags),
    Places(Vec<Range<usize>>),
    Larger(u64),
    Smaller(u64),
    Day(fn(Day, Day) -> bool, Day),
    SentDay(fn(Day, Day) -> bool, Day),
    Header(Vec<u8>, String),
    Body(String),
    Text(String),
    Modseq(u64),
}

const BEFORE: fn(Day, Day) -> bool = |day, limit| day < limit;
const ON: fn(Day, Day) -> bool = |day, limit| day == limit;
const SINCE: fn(Day, Day) -> bool = |day, limit| day >= limit;

impl Searching {
    pub(super) fn new(search: Search, view: &View) -> Self {
        let test = prepare(&search.key, view);
        Self { by: search.by, returns: search.returns, test, next: 0, found: Vec::new() }
    }

    /// Looks at the next messages; false when there are none left.
    pub(super) fn advance(
        &mut self,
        view: &mut View,
        account: &mut impl Account,
    ) -> Result<bool, AccountError> {
        let places = self.next..view.uids.len().min(self.next + CHUNK);
        self.next = places.end;
        let uids = view.uids.get(places).unwrap_or_default();
        let (Some(first), Some(last)) = (uids.first(), uids.last()) else { return Ok(false) };
        let mut messages = Vec::with_capacity(uids.len());
        account.messages(view.id, *first..=*last, &mut |message| messages.push(message))?;
        for message in messages {
            let Ok(place) = view.uids.binary_search(&message.uid) else { continue };
            if holds(&self.test, &Subject { place, message }, view, account)? {
                self.found.push(match self.by {
                    By::Uid => message.uid,
                    By::Number => u32::try_from(place + 1).unwrap_or(u32::MAX),
                });
            }
        }
        Ok(true)
    }

    /// Writes what was found.
    pub(super) fn write(&self, tag: &str, out: &mut Vec<u8>) {
        let Some(returns) = &self.returns else {
            out.extend_from_slice(b"* SEARCH");
            for number in &self.found {
                out.extend_from_slice(format!(" {number}").as_bytes());
            }
            out.extend_from_slice(b"\r\n");
            return;
        };
        out.extend_from_slice(b"* ESEARCH (TAG ");
        write::string(out, tag.as_bytes());
        out.extend_from_slice(if self.by == By::Uid { b") UID" } else { b")" });
        for wanted in returns {
            match (wanted, self.found.first(), self.found.last()) {
                (SearchReturn::Min, Some(first), _) => {
                    out.extend_from_slice(format!(" MIN {first}").as_bytes())
                }
                (SearchReturn::Max, _, Some(last)) => {
                    out.extend_from_slice(format!(" MAX {last}").as_bytes())
                }
                (SearchReturn::All, Some(_), _) => {
                    out.extend_from_slice(b" ALL ");
                    set::write(out, self.found.iter().copied());
                }
                (SearchReturn::Count, ..) => {
                    out.extend_from_slice(format!(" COUNT {}", self.found.len()).as_bytes());
                }
                _ => {}
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn prepare(key: &Key, view: &View) -> Test {
    let never = || Test::Not(Box::new(Test::Always));
    let lower = |text: &[u8]| decode::lowercase(text, b"");
    match key {
        Key::All => Test::Always,
        Key::And(keys) => Test::All(keys.iter().map(|key| prepare(key, view)).collect()),
        Key::Or(either) => Test::Either(Box::new((prepare(&either.0, view), prepare(&either.1, view)))),
        Key::Not(key) => Test::Not(Box::new(prepare(key, view))),
        Key::Flag(flag) => Test::Flag(*flag),
        Key::Keyword(name) => {
            let index = view.keywords.iter().position(|known| known.eq_ignore_ascii_case(name));
            index.map_or_else(never, |index| Test::Flag(write::keyword(index)))
        }
        Key::Numbers(set) => Test::Places(set.places(By::Number, &view.uids)),
        Key::Uids(set) => Test::Places(set.places(By::Uid, &view.uids)),
        Key::Larger(octets) => Test::Larger((*octets).into()),
        Key::Smaller(octets) => Test::Smaller((*octets).into()),
        Key::Before(day) => Test::Day(BEFORE, *day),
        Key::On(day) => Test::Day(ON, *day),
        Key::Since(day) => Test::Day(SINCE, *day),
        Key::SentBefore(day) => Test::SentDay(BEFORE, *day),
        Key::SentOn(day) => Test::SentDay(ON, *day),
        Key::SentSince(day) => Test::SentDay(SINCE, *day),
        Key::Header(name, text) => Test::Header(name.clone(), lower(text)),
        Key::Body(text) => Test::Body(lower(text)),
        Key::Text(text) => Test::Text(lower(text)),
        Key::Modseq(modseq) => Test::Modseq(*modseq),
    }
}

/// The message that is looked at.
struct Subject {
    place: usize,
    message: Message,
}

fn holds(
    test: &Test,
    subject: &Subject,
    view: &mut View,
    account: &mut impl Account,
) -> Result<bool, AccountError> {
    let message = &subject.message;
    Ok(match test {
        Test::Always => true,
        Test::All(tests) => {
            for test in tests {
                if !holds(test, subject, view, account)? {
                    return Ok(false);
                }
            }
            true
        }
        Test::Either(tests) => {
            holds(&tests.0, subject, view, account)? || holds(&tests.1, subject, view, account)?
        }
        Test::Not(test) => !holds(test, subject, view, account)?,
        Test::Flag(flag) => message.flags.contains(*flag),
        Test::Places(places) => {
            let after = places.partition_point(|range| range.start <= subject.place);
            after
                .checked_sub(1)
                .and_then(|at| places.get(at))
                .is_some_and(|range| range.contains(&subject.place))
        }
        Test::Larger(octets) => message.octets > *octets,
        Test::Smaller(octets) => message.octets < *octets,
        Test::Day(compare, day) => compare(day_of(message.internal_date), *day),
        Test::Modseq(modseq) => message.modseq >= *modseq,
        Test::SentDay(compare, day) => {
            let head = view.head(account, message)?;
            let date = head.as_ref().and_then(|head| header::find(&head.section, "Date"));
            date.and_then(|date| sent_day(&date.unfolded())).is_some_and(|sent| compare(sent, *day))
        }
        Test::Header(name, text) => {
            let Some(head) = view.head(account, message)? else { return Ok(false) };
            let mut named =
                header::fields(&head.section).filter(|field| field.name.eq_ignore_ascii_case(name));
            named.any(|field| decode::header_lowercase(field.value).contains(text))
        }
        Test::Body(text) => in_body(text, message, view, account)?,
        Test::Text(text) => {
            let Some(head) = view.head(account, message)? else { return Ok(false) };
            let named = |field: header::Field<'_>| {
                let name = decode::lowercase(field.name, b"");
                format!("{name}: {}", decode::header_lowercase(field.value)).contains(text)
            };
            header::fields(&head.section).any(named) || in_body(text, message, view, account)?
        }
    })
}

fn in_body(
    text: &str,
    message: &Message,
    view: &mut View,
    account: &mut impl Account,
) -> Result<bool, AccountError> {
    if text.is_empty() {
        return Ok(true);
    }
    let Some(structure) = view.structure(account, message)? else { return Ok(false) };
    let mut parts = vec![&*structure];
    while let Some(part) = parts.pop() {
        match &part.content {
            Content::Multipart(inner) => parts.extend(inner),
            Content::Message(inner, _) => parts.push(inner),
            Content::Leaf if part.fields.is_text() => {
                if in_part(text, part, message, view, account)? {
                    return Ok(true);
                }
            }
            Content::Leaf => {}
        }
    }
    Ok(false)
}

fn in_part(
    text: &str,
    part: &Part,
    message: &Message,
    view: &View,
    account: &mut impl Account,
) -> Result<bool, AccountError> {
    let octets = (part.body.end - part.body.start).min(TEXT_MAX);
    let mut body = Vec::new();
    let length = usize::try_from(octets).unwrap_or(usize::MAX);
    if !account.read(view.id, message.uid, part.body.start, length, &mut body)? {
        return Ok(false);
    }
    let body = decode::transfer(body, &part.fields.encoding);
    Ok(decode::lowercase(&body, part.fields.parameter("charset").unwrap_or_default()).contains(text))
}
