//! The application hello. In TLS 1.3 a refused client key shows only after the handshake looked finished, so
//! the link counts as up only when both hellos were read.

use serde::{Deserialize, Serialize};

use crate::edge_status::STATUS;
use crate::errand::{DOCTOR, TLS_REPORTS};
use crate::served::SERVED_DOMAINS;

/// The version of the frames that this build speaks.
pub const VERSION: u32 = 1;

/// The ability to hear of replies that nobody may have read: [`crate::Frame::Unheard`].
pub const UNHEARD: &str = "unheard";

/// The ability to hear from which address the link comes: [`crate::Frame::SeenAt`].
pub const SEEN_AT: &str = "seen-at";

/// Names of abilities that nobody has yet, and what they will say. None of another meaning may have them, and a side that
/// does not say one is never spoken to under it (ADR 36).
///
/// - `streams`: the two octets after a frame's kind and its zero are the number of a stream, for sessions of clients elsewhere
///   whose bytes Edge passes on. Stream 0 is what there is now. Kinds 56 to 63 are theirs.
/// - `sealing-keys`: beside the snapshot's `sealing_key`, which stays one of X25519, there are `sealing_keys` of other kinds and any
///   size, and sealed items may have a stanza for each.
/// - `fence`: an attempt has a number `fence`, which grows with each Home that takes the queue over; Edge carries out none whose
///   number is lower than one it has seen from homes with this queue.
pub const RESERVED: [&str; 3] = ["streams", "sealing-keys", "fence"];

/// The first frame of each side: its versions and abilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Lowest version the sender speaks.
    pub version_min: u32,
    /// Highest version the sender speaks.
    pub version_max: u32,
    /// `postern` and its version, for logs.
    pub software: String,
    /// Edge says its host name here; Home says nothing that names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Names of optional abilities; unknown ones are passed over.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

/// The version and abilities that both sides settled on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The highest version that both speak.
    pub version: u32,
    /// Abilities that both have.
    pub capabilities: Vec<String>,
}

/// Why no link came up. The operator has to update one side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// The two sides have no version in common.
    #[error("the other side speaks link versions {theirs:?}, this one {ours:?}: update the older one")]
    Version {
        /// Lowest and highest of the peer.
        theirs: (u32, u32),
        /// Lowest and highest of this build.
        ours: (u32, u32),
    },
}

impl Hello {
    /// The hello of this build.
    #[must_use]
    pub fn ours(hostname: Option<String>) -> Self {
        Self {
            version_min: VERSION,
            version_max: VERSION,
            software: concat!("postern ", env!("CARGO_PKG_VERSION")).to_owned(),
            hostname,
            capabilities: [TLS_REPORTS, SERVED_DOMAINS, UNHEARD, SEEN_AT, DOCTOR, STATUS]
                .map(str::to_owned)
                .to_vec(),
        }
    }

    /// Settles on the highest common version and the common abilities.
    ///
    /// # Errors
    /// [`HelloError::Version`] when the ranges do not meet.
    pub fn agree(&self, theirs: &Self) -> Result<Agreed, HelloError> {
        let version = self.version_max.min(theirs.version_max);
        if version < self.version_min || version < theirs.version_min {
            return Err(HelloError::Version {
                theirs: (theirs.version_min, theirs.version_max),
                ours: (self.version_min, self.version_max),
            });
        }
        let common = self.capabilities.iter().filter(|ours| theirs.capabilities.contains(ours));
        Ok(Agreed { version, capabilities: common.cloned().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaks(version_min: u32, version_max: u32, capabilities: &[&str]) -> Hello {
        let capabilities = capabilities.iter().map(ToString::to_string).collect();
        Hello { version_min, version_max, capabilities, ..Hello::ours(None) }
    }

    #[test]
    fn the_highest_common_version_is_spoken() {
        let agreed = speaks(1, 3, &["a", "b"]).agree(&speaks(2, 5, &["b", "c"])).unwrap();
        assert_eq!(agreed, Agreed { version: 3, capabilities: vec!["b".to_owned()] });
    }

    #[test]
    fn what_is_reserved_is_not_said_yet() {
        let ours = Hello::ours(None).capabilities;
        assert!(RESERVED.iter().all(|name| ours.iter().all(|known| known != name)), "{ours:?}");
    }

    #[test]
    fn an_older_sides_hello_is_read_and_nothing_is_done_that_it_does_not_name() {
        let old = r#"{"version_min":1,"version_max":1,"software":"postern 0.1"}"#;
        let agreed = Hello::ours(None).agree(&serde_json::from_str(old).unwrap()).unwrap();
        assert_eq!(agreed, Agreed { version: VERSION, capabilities: Vec::new() });
    }

    #[test]
    fn of_a_newer_sides_hello_what_is_not_known_here_is_passed_over() {
        let names = RESERVED.map(|name| format!("{name:?}")).join(",");
        let new = format!(
            r#"{{"version_min":1,"version_max":3,"software":"postern 9","hostname":"mx.example.org","keys":[{{"kind":"x"}}],
                "capabilities":[{names},"unheard","of-tomorrow"]}}"#
        );
        let agreed = Hello::ours(None).agree(&serde_json::from_str(&new).unwrap()).unwrap();
        assert_eq!(agreed, Agreed { version: VERSION, capabilities: vec![UNHEARD.to_owned()] });
    }

    #[test]
    fn ranges_that_do_not_meet_say_what_to_do() {
        let error = speaks(1, 1, &[]).agree(&speaks(2, 3, &[])).unwrap_err();
        assert!(error.to_string().contains("update the older one"));
    }
}
