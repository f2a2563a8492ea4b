//! The header section of a message, wherever its octets lie.

use std::io;

use content::Content;

/// Octets that are read at one time.
const PIECE_OCTETS: usize = 128 * 1024;
/// Octets of a header section that are looked at; a longer one is not taken apart.
const HEADER_OCTETS_MAX: u64 = 1024 * 1024;

/// The header section with the empty line that ends it. Blocks.
///
/// # Errors
/// When the message can't be read, or no header ends within 1 MiB.
pub(crate) fn header_of(content: &Content) -> io::Result<Vec<u8>> {
    let mut start = Vec::new();
    loop {
        let body = mail::header::body_offset(&start);
        let at = start.len() as u64;
        if body < start.len() || at == content.octets() {
            start.truncate(body);
            return Ok(start);
        }
        if at >= HEADER_OCTETS_MAX {
            return Err(io::Error::other("its header is longer than 1 MiB"));
        }
        start.extend_from_slice(&read(content, at)?);
    }
}

/// The octets from here on, as many as are read at one time; empty at the end. Blocks.
pub(crate) fn read(content: &Content, at: u64) -> io::Result<bytes::Bytes> {
    content.piece(at).map_or_else(|| content.read_at(at, PIECE_OCTETS), Ok)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use bytes::Bytes;

    use super::*;

    fn both(octets: &[u8], piece: usize) -> [Content; 2] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(octets).unwrap();
        let pieces = octets.chunks(piece).map(Bytes::copy_from_slice).collect();
        [Content::memory(pieces), Content::file(file, 0, octets.len() as u64)]
    }

    #[test]
    fn a_header_is_found_wherever_pieces_end() {
        let message = [b"A: b\r\n\r\n", &vec![b'x'; 400_000][..]].concat();
        for content in [1, 5, 7, 100_000].into_iter().flat_map(|piece| both(&message, piece)) {
            assert_eq!(header_of(&content).unwrap(), b"A: b\r\n\r\n");
        }
        for content in both(b"A: b\r\n", 4) {
            assert_eq!(header_of(&content).unwrap(), b"A: b\r\n");
        }
    }

    #[test]
    fn a_header_that_does_not_end_is_given_up() {
        for content in both(&b"A: b\r\n".repeat(400_000), 4096) {
            assert!(header_of(&content).is_err());
        }
    }
}
