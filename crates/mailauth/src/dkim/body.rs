//! The hashes of a body that streams by: one for each way in which its signatures hash it.

use aws_lc_rs::digest::Digest;

use super::canonical::{BodyHasher, Canonicalization};

/// Hashes a body while it comes in. Made by the signatures that need it, all with SHA-256 over the whole body:
/// a signature that covers a part (`l=`) or uses SHA-1 can't pass and has nothing hashed for it.
#[derive(Clone, Default)]
pub struct BodyHashes {
    simple: Option<BodyHasher>,
    relaxed: Option<BodyHasher>,
}

impl BodyHashes {
    pub(crate) fn for_forms(forms: impl Iterator<Item = Canonicalization>) -> Self {
        let mut hashes = Self::default();
        for form in forms {
            let slot = match form {
                Canonicalization::Simple => &mut hashes.simple,
                Canonicalization::Relaxed => &mut hashes.relaxed,
            };
            slot.get_or_insert_with(|| BodyHasher::new(form));
        }
        hashes
    }

    /// The hashes that either needs, each once: DKIM and ARC read the body together. Both must be new.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { simple: self.simple.or(other.simple), relaxed: self.relaxed.or(other.relaxed) }
    }

    /// The next octets of the body, which starts after the empty line and has CRLF line ends and no dots
    /// added for transport. It may be cut anywhere.
    pub fn update(&mut self, piece: &[u8]) {
        for hasher in [&mut self.simple, &mut self.relaxed].into_iter().flatten() {
            hasher.update(piece);
        }
    }

    /// Ends the body and gives its hashes.
    #[must_use]
    pub fn finish(self) -> FinishedHashes {
        FinishedHashes {
            simple: self.simple.map(BodyHasher::finish),
            relaxed: self.relaxed.map(BodyHasher::finish),
        }
    }
}

impl std::fmt::Debug for BodyHashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BodyHashes")
            .field("simple", &self.simple.is_some())
            .field("relaxed", &self.relaxed.is_some())
            .finish()
    }
}

/// The hashes of a whole body.
#[derive(Debug, Clone)]
pub struct FinishedHashes {
    simple: Option<Digest>,
    relaxed: Option<Digest>,
}

impl FinishedHashes {
    /// The hash of the relaxed form; `None` when the body was not hashed this way.
    pub(crate) const fn relaxed(&self) -> Option<&Digest> {
        self.relaxed.as_ref()
    }

    /// Whether the body has this hash; not when it was not hashed this way.
    pub(crate) fn matches(&self, form: Canonicalization, hash: &[u8]) -> bool {
        let digest = match form {
            Canonicalization::Simple => &self.simple,
            Canonicalization::Relaxed => &self.relaxed,
        };
        digest.as_ref().is_some_and(|digest| digest.as_ref() == hash)
    }
}
