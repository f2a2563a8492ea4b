//! What an account gets of a message that arrived.

use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use daemon::system;
use mail::{ItemId, header};
use store::{Delivery, FlagList};

use super::arrival::Arrival;
use super::head;
use super::plan::Planned;
use crate::filters::{self, Contents, Judgement, Rewrite};

/// What an account gets, under this id.
pub(super) fn delivery(
    arrival: &Arrival,
    planned: &Planned,
    judgement: &Judgement,
    contents: &Contents,
    item: ItemId,
) -> io::Result<Delivery> {
    let body = match contents {
        Contents::Memory(pieces) => store::Body::Memory(pieces.clone()),
        Contents::File(file, octets) => store::Body::File(file.try_clone()?, *octets),
    };
    Ok(Delivery {
        item: Some(item),
        mailbox: planned.tray.name().to_owned(),
        head: head::above(arrival, planned, judgement),
        body,
        flags: FlagList::default(),
        internal_date: system::now(),
    })
}

/// The Message-ID, if it stands in the first piece of the message; cut to what a line of the trace bears.
pub(super) fn message_id(contents: &Contents) -> String {
    let mut start = [0; 16 * 1024];
    let start = match contents {
        Contents::Memory(pieces) => pieces.first().map(|piece| &piece[..]).unwrap_or_default(),
        Contents::File(file, _) => {
            let octets = file.read_at(&mut start, 0).unwrap_or(0);
            start.get(..octets).unwrap_or_default()
        }
    };
    let field = header::find(start, "Message-ID");
    field.map_or_else(String::new, |field| {
        field.unfolded().chars().filter(|c| !c.is_control()).take(256).collect()
    })
}

/// The message with the header as the filters want it in place of the one that it came with; a large one is copied into a
/// file in `drafts`. Blocks.
pub(super) fn rewritten(contents: &Contents, rewrites: &[Rewrite], drafts: &Path) -> io::Result<Contents> {
    let old = contents.header()?;
    let new = filters::rewrite(&old, rewrites);
    match contents {
        Contents::Memory(pieces) => {
            let all = Bytes::from(pieces.concat());
            Ok(Contents::Memory(vec![new.into(), all.slice(old.len()..)]))
        }
        Contents::File(file, _) => {
            let mut rest = file.try_clone()?;
            rest.seek(io::SeekFrom::Start(old.len() as u64))?;
            let mut out = tempfile::tempfile_in(drafts)?;
            out.write_all(&new)?;
            let octets = new.len() as u64 + io::copy(&mut rest, &mut out)?;
            Ok(Contents::File(Arc::new(out), octets))
        }
    }
}
