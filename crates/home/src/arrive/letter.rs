//! What an account gets of a message that arrived.

use std::io::{self, Write as _};
use std::path::Path;

use bytes::Bytes;
use content::Content;
use daemon::trace::Trace;
use mail::{ItemId, UnixTime, header};
use net::contents;
use store::{Delivery, FlagList};

use super::arrival::Arrival;
use super::head;
use super::plan::Planned;
use crate::filters::{self, Judgement, Rewrite};
use crate::subject;

/// Octets in which a Message-ID is looked for.
const START_OCTETS: usize = 16 * 1024;

/// What an account gets, under this id and at this time.
pub(super) fn delivery(
    arrival: &Arrival,
    planned: &Planned,
    judgement: &Judgement,
    content: &Content,
    (item, now): (ItemId, UnixTime),
) -> Delivery {
    Delivery {
        item: Some(item),
        mailbox: planned.tray.name().to_owned(),
        head: head::above(arrival, planned, judgement),
        body: content.clone(),
        flags: FlagList::default(),
        internal_date: now,
    }
}

/// What the trace tells a message by: its Message-ID, if that stands at the start of the message, cut to what a line bears; and
/// its subject where that is to be told.
pub(super) async fn marks(content: &Content, trace: &Trace) -> String {
    let start = match content.piece(0) {
        Some(piece) => piece,
        None => contents::read(content, 0, START_OCTETS).await.unwrap_or_default(),
    };
    let field = header::find(&start, "Message-ID");
    let mut marks: String = field.map_or_else(String::new, |field| {
        field.unfolded().chars().filter(|c| !c.is_control()).take(256).collect()
    });
    if trace.tells_subjects() {
        marks += &subject::told(&start);
    }
    marks
}

/// The message with the header as the filters want it in place of the one that it came with; a large one is copied into a
/// file in `drafts`. Blocks.
pub(super) fn rewritten(content: &Content, rewrites: &[Rewrite], drafts: &Path) -> io::Result<Content> {
    let old = filters::header_of(content)?;
    let new = filters::rewrite(&old, rewrites);
    if let Some(pieces) = content.in_memory() {
        let all = Bytes::from(pieces.concat());
        return Ok(Content::memory(vec![new.into(), all.slice(old.len()..)]));
    }
    let mut out = tempfile::tempfile_in(drafts)?;
    out.write_all(&new)?;
    let octets = new.len() as u64 + content.copy_to(old.len() as u64, &mut out)?;
    Ok(Content::file(out, 0, octets))
}
