//! What is done or not.

use serde::Deserialize;

/// A switch: `"on"` or `"off"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// It is not done.
    #[default]
    Off,
    /// It is done.
    On,
}
