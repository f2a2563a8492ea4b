//! What the structure of a message is told in: its parts, and where they are.

use std::ops::Range;

use crate::fields::Fields;

/// A part, or a whole message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Part {
    /// Its header section with the empty line.
    pub(crate) header: Range<u64>,
    /// What follows, without the line end that belongs to the next boundary.
    pub(crate) body: Range<u64>,
    /// Line ends in the body.
    pub(crate) lines: u64,
    /// Its fields about content.
    pub(crate) fields: Fields,
    /// The content of the body.
    pub(crate) content: Content,
}

/// The kind of content that a part's body has, with the parts in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Content {
    /// Text, an image, or anything else.
    #[default]
    Leaf,
    /// Parts; at least one.
    Multipart(Vec<Part>),
    /// A message, and its ENVELOPE as it is written.
    Message(Box<Part>, Vec<u8>),
}

impl Part {
    /// Leaves nothing of the part beyond `end`.
    pub(crate) fn limit(&mut self, end: u64) {
        for range in [&mut self.header, &mut self.body] {
            range.start = range.start.min(end);
            range.end = range.end.min(end);
        }
    }

    /// The part of a section number such as `1.2` (RFC 9051 section 6.4.5.1); `self` is the message.
    pub(crate) fn at(&self, path: &[u32]) -> Option<&Self> {
        let mut found: Option<&Self> = None;
        for number in path {
            let index = usize::try_from(*number).ok()?.checked_sub(1)?;
            let around = match found.map(|part| (part, &part.content)) {
                None => self,
                Some((_, Content::Message(message, _))) => message,
                Some((part, Content::Multipart(_))) => part,
                Some((_, Content::Leaf)) => return None,
            };
            found = Some(match &around.content {
                Content::Multipart(parts) => parts.get(index)?,
                // The only part of a message that is no multipart is its body.
                _ if index == 0 => around,
                _ => return None,
            });
        }
        found
    }
}
