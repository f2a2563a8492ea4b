//! Events of the trace: what happened to an item, typed, in the order it happened.
//!
//! Edge's events name domains, never local parts: they rest in Edge's files until Home has them.

use mail::{ItemId, UnixTime};
use serde::{Deserialize, Serialize};

/// Which half saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The external MTA.
    Edge,
    /// The home MTA.
    Home,
}

/// One event. `step` is one of the words of docs/trace.md; `detail` is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: UnixTime,
    /// Which half.
    pub role: Role,
    /// The edge's name, on events that came over the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edge: Option<String>,
    /// The item, or the attempt's item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<ItemId>,
    /// `accepted`, `refused`, `sealed`, `handed-off`, `delivered`, `queued`, `attempted`, …
    pub step: String,
    /// What a person wants to know of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}
