//! The octets of a message that is to be stored: where they come from.

use std::fs::File;

use bytes::Bytes;

/// The octets of a message that is to be stored.
#[derive(Debug)]
pub enum Body {
    /// In memory, in pieces that follow each other.
    Memory(Vec<Bytes>),
    /// The first octets of a file, so many. It is read when the message is written, piece by piece. If it is
    /// large, it may be kept as it is: it must have no name, and nobody may write to it any more.
    File(File, u64),
}

impl Body {
    /// The length of the message, in octets.
    #[must_use]
    pub fn octets(&self) -> u64 {
        match self {
            Self::Memory(chunks) => chunks.iter().map(|chunk| chunk.len() as u64).sum(),
            Self::File(_, octets) => *octets,
        }
    }

    /// What it costs to keep it waiting, in octets of memory.
    #[must_use]
    pub fn held(&self) -> usize {
        match self {
            Self::Memory(chunks) => chunks.iter().map(Bytes::len).sum(),
            Self::File(..) => 0,
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(octets: Vec<u8>) -> Self {
        Self::Memory(vec![octets.into()])
    }
}
