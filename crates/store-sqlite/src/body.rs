//! The octets of a message, as they lie in the file.
//!
//! A body is cut into rows of [`PIECE`] octets with consecutive ids, so that neither writing nor reading a
//! large message needs more memory than one of them. Ids of bodies are never given out twice.

use std::fs::File;
use std::ops::Range;

use bytes::Bytes;
use content::Content;
use rusqlite::{Connection, MAIN_DB, params};
use store::StoreError;

use crate::column::column;
use crate::fault::Fault;
use crate::large::{LARGE_OCTETS, LargeBodies};

/// Octets of each row of a body, but its last.
pub(crate) const PIECE: u64 = 256 * 1024;
/// Rows up to this size are read whole, which is quicker than opening them as a stream.
const WHOLE_MAX: u64 = 32 * 1024;

/// How many rows a body of `octets` takes.
pub(crate) const fn rows(octets: u64) -> u64 {
    octets.div_ceil(PIECE)
}

/// Whether this body comes in a file that is kept.
pub(crate) fn keeps_file(body: &Content) -> bool {
    kept_file(body).is_some()
}

/// The file that is kept as it is.
fn kept_file(body: &Content) -> Option<&File> {
    let (file, from) = body.in_file().filter(|_| body.octets() >= LARGE_OCTETS)?;
    (from == 0).then_some(&**file)
}

/// Writes `head` and then `body` to rows from `id` on; a large body that comes in a file keeps it.
pub(crate) fn write(
    connection: &Connection,
    large: &LargeBodies,
    id: u64,
    head: &[u8],
    body: &Content,
) -> Result<(), Fault> {
    let empty = Content::memory(Vec::new());
    let body = match kept_file(body) {
        Some(file) => {
            large.write(connection, id, head.len(), file, body.octets())?;
            &empty
        }
        None => body,
    };
    let mut insert = connection.prepare_cached("INSERT INTO body (id, data) VALUES (?1, ?2)")?;
    let mut source = Source { head, body, at: 0, chunk: 0, chunk_at: 0 };
    let mut left = head.len() as u64 + body.octets();
    let mut piece = Vec::with_capacity(size(left.min(PIECE)));
    let mut row = id;
    while left > 0 {
        piece.clear();
        source.fill(&mut piece, size(left.min(PIECE)))?;
        insert.execute(params![column(row), piece])?;
        left -= piece.len() as u64;
        row += 1;
    }
    Ok(())
}

/// Appends to `out` up to `length` octets from `offset` on of the body `id` that has `octets`. `None`: its
/// file is not there.
pub(crate) fn read(
    connection: &Connection,
    large: &LargeBodies,
    (id, octets): (u64, u64),
    offset: u64,
    length: usize,
    out: &mut Vec<u8>,
) -> Result<Option<()>, Fault> {
    let end = offset.saturating_add(length as u64).min(octets);
    let in_file = if octets >= LARGE_OCTETS { LargeBodies::head(connection, id)? } else { None };
    let Some(head) = in_file else {
        read_rows(connection, (id, octets), offset..end, out)?;
        return Ok(Some(()));
    };
    if offset < head {
        read_rows(connection, (id, head), offset..end.min(head), out)?;
    }
    let from = offset.max(head);
    if from < end { large.read(id, from - head..end - head, out) } else { Ok(Some(())) }
}

fn read_rows(
    connection: &Connection,
    (id, octets): (u64, u64),
    wanted: Range<u64>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let Range { start: mut at, end } = wanted;
    while at < end {
        let row = at / PIECE;
        let row_octets = PIECE.min(octets - row * PIECE);
        let from = at - row * PIECE;
        let to = row_octets.min(end - row * PIECE);
        read_row(connection, id + row, row_octets, size(from)..size(to), out)?;
        at = row * PIECE + to;
    }
    Ok(())
}

fn read_row(
    connection: &Connection,
    row: u64,
    row_octets: u64,
    range: Range<usize>,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    if row_octets > WHOLE_MAX {
        let blob = connection.blob_open(MAIN_DB, "body", "data", column(row), true)?;
        let start = out.len();
        out.resize(start + range.len(), 0);
        blob.read_at_exact(&mut out[start..], range.start)?;
        return Ok(());
    }
    let mut select = connection.prepare_cached("SELECT data FROM body WHERE id = ?1")?;
    select.query_row([column(row)], |found| {
        let data = found.get_ref(0)?.as_blob()?;
        out.extend_from_slice(data.get(range).unwrap_or_default());
        Ok(())
    })?;
    Ok(())
}

/// Removes one message's hold on the body `id`; the last one removes the body. True when its file, if the
/// transaction is committed, is of no more use.
pub(crate) fn release(connection: &Connection, id: u64, octets: u64) -> Result<bool, Fault> {
    let mut fewer = connection
        .prepare_cached("UPDATE shared SET messages = messages - 1 WHERE body = ?1 RETURNING messages")?;
    let left: Option<i64> = match fewer.query_row([column(id)], |row| row.get(0)) {
        Ok(left) => Some(left),
        Err(rusqlite::Error::QueryReturnedNoRows) => None,
        Err(error) => return Err(error.into()),
    };
    match left {
        Some(2..) => Ok(false),
        Some(_) => {
            connection.prepare_cached("DELETE FROM shared WHERE body = ?1")?.execute([column(id)])?;
            Ok(false)
        }
        None => {
            let mut delete = connection.prepare_cached("DELETE FROM body WHERE id BETWEEN ?1 AND ?2")?;
            delete.execute([column(id), column(id + rows(octets)) - 1])?;
            if octets >= LARGE_OCTETS { LargeBodies::release(connection, id) } else { Ok(false) }
        }
    }
}

/// Adds one message's hold on the body `id`. Bodies that only one message has are not listed.
pub(crate) fn share(connection: &Connection, id: u64) -> Result<(), Fault> {
    let sql = "INSERT INTO shared (body, messages) VALUES (?1, 2)
               ON CONFLICT (body) DO UPDATE SET messages = messages + 1";
    connection.prepare_cached(sql)?.execute([column(id)])?;
    Ok(())
}

struct Source<'a> {
    head: &'a [u8],
    body: &'a Content,
    /// Octets taken so far.
    at: u64,
    chunk: usize,
    chunk_at: usize,
}

impl Source<'_> {
    /// Appends the next `wanted` octets to the empty `piece`.
    fn fill(&mut self, piece: &mut Vec<u8>, wanted: usize) -> Result<(), Fault> {
        let head = self.head.get(size(self.at)..).unwrap_or_default();
        piece.extend_from_slice(&head[..head.len().min(wanted)]);
        let more = wanted - piece.len();
        match self.body.in_memory() {
            Some(chunks) => self.fill_from_memory(chunks, piece, more),
            None => {
                let start = piece.len();
                let offset = self.at + start as u64 - self.head.len() as u64;
                piece.resize(start + more, 0);
                let read = self.body.read_exact_at(&mut piece[start..], offset);
                read.map_err(|error| Fault::from(StoreError::Source(error.to_string())))?;
            }
        }
        self.at += piece.len() as u64;
        Ok(())
    }

    fn fill_from_memory(&mut self, chunks: &[Bytes], piece: &mut Vec<u8>, mut more: usize) {
        while let Some(chunk) = chunks.get(self.chunk).filter(|_| more > 0) {
            let rest = &chunk[self.chunk_at..];
            let taken = rest.len().min(more);
            piece.extend_from_slice(&rest[..taken]);
            more -= taken;
            self.chunk_at += taken;
            if self.chunk_at == chunk.len() {
                self.chunk += 1;
                self.chunk_at = 0;
            }
        }
    }
}

fn size(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
