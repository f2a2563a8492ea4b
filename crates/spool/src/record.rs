//! Records of a segment: a fixed header with its own checksum, then meta, then body, with theirs.

use mail::ItemId;

/// First octets of every segment file.
pub(crate) const MAGIC: &[u8; 16] = b"postern spool 1\n";
/// Whether a segment begins as one of a newer version does.
pub(crate) fn is_of_newer(magic: &[u8; 16]) -> bool {
    let number = magic.strip_prefix(b"postern spool ").and_then(|rest| rest.strip_suffix(b"\n"));
    matches!(number, Some([b'2'..=b'9']))
}
/// Octets of a record's header.
pub(crate) const HEADER_OCTETS: usize = 48;

/// The change that a record makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Adds an item; meta and body follow.
    Item,
    /// Adds an item whose body is in a file of its own; meta follows.
    Large,
    /// Replaces an item's meta, which follows.
    Update,
    /// Removes an item.
    Remove,
}

impl Kind {
    const fn number(self) -> u8 {
        match self {
            Self::Item => 1,
            Self::Large => 2,
            Self::Update => 3,
            Self::Remove => 4,
        }
    }

    const fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Item),
            2 => Some(Self::Large),
            3 => Some(Self::Update),
            4 => Some(Self::Remove),
            _ => None,
        }
    }
}

/// A record is whole and of a kind that a newer version has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnknownKind;

/// A record's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) id: ItemId,
    pub(crate) meta_octets: u32,
    /// Octets of the body, wherever it is.
    pub(crate) body_octets: u64,
    /// CRC-32 of meta and of the body that follows.
    pub(crate) content_crc: u32,
}

impl Header {
    /// Layout: kind, 3 zeros, meta length (4), body length (8), id (16), content CRC (4), 8 zeros, header
    /// CRC (4). Numbers are little endian.
    pub(crate) fn encode(&self) -> [u8; HEADER_OCTETS] {
        let mut out = [0; HEADER_OCTETS];
        out[0] = self.kind.number();
        out[4..8].copy_from_slice(&self.meta_octets.to_le_bytes());
        out[8..16].copy_from_slice(&self.body_octets.to_le_bytes());
        out[16..32].copy_from_slice(self.id.as_bytes());
        out[32..36].copy_from_slice(&self.content_crc.to_le_bytes());
        let crc = crc32fast::hash(&out[..44]);
        out[44..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None` when these octets are no header: torn, or never written.
    ///
    /// # Errors
    /// A header that is whole and that this version has no meaning for.
    pub(crate) fn decode(octets: &[u8; HEADER_OCTETS]) -> Result<Option<Self>, UnknownKind> {
        let word = |at: usize| octets.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        if word(44) != Some(crc32fast::hash(&octets[..44])) {
            return Ok(None);
        }
        let kind = Kind::of(octets[0]).ok_or(UnknownKind)?;
        let header = || {
            Some(Self {
                kind,
                id: ItemId::from_bytes(octets[16..32].try_into().ok()?),
                meta_octets: word(4)?,
                body_octets: u64::from_le_bytes(octets[8..16].try_into().ok()?),
                content_crc: word(32)?,
            })
        };
        Ok(header())
    }

    /// Octets of body that follow in the segment.
    pub(crate) const fn inline_body_octets(&self) -> u64 {
        match self.kind {
            Kind::Item => self.body_octets,
            Kind::Large | Kind::Update | Kind::Remove => 0,
        }
    }

    /// Octets of the whole record in the segment.
    pub(crate) const fn record_octets(&self) -> u64 {
        HEADER_OCTETS as u64 + self.meta_octets as u64 + self.inline_body_octets()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_any_flipped_bit_is_noticed() {
        let header = Header {
            kind: Kind::Item,
            id: ItemId::from_bytes([5; 16]),
            meta_octets: 7,
            body_octets: 1 << 33,
            content_crc: 99,
        };
        let octets = header.encode();
        assert_eq!(Header::decode(&octets), Ok(Some(header)));
        for bit in 0..HEADER_OCTETS * 8 {
            let mut damaged = octets;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&damaged), Ok(None), "bit {bit}");
        }
        assert_eq!(Header::decode(&[0; HEADER_OCTETS]), Ok(None));
    }
}
