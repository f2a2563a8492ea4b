//! What is known of a role and is to be drawn.

use std::collections::VecDeque;

use link::Event;
use mail::UnixTime;
use serde_json::Value;

use super::pace::Pace;

/// Events that are kept to be shown.
pub(super) const EVENTS_MAX: usize = 200;

/// What is known of a role.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    /// What the daemon said last.
    pub(super) status: Value,
    /// Why it says nothing now.
    pub(super) trouble: Option<String>,
    pub(super) pace: Pace,
    pub(super) events: VecDeque<Event>,
}

impl Picture {
    /// The daemon has said this.
    pub(crate) fn hear(&mut self, status: Value, now: UnixTime) {
        let count = |way: &str, what: &str| status["mail"][way][what].as_u64().unwrap_or_default();
        self.pace.count(
            now.as_secs(),
            [
                count("in", "taken"),
                count("in", "not_taken"),
                count("out", "taken"),
                count("out", "not_taken"),
            ],
        );
        (self.status, self.trouble) = (status, None);
    }

    /// The daemon says nothing, for this reason.
    pub(crate) fn miss(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// Events have come, the oldest first.
    pub(crate) fn follow(&mut self, events: Vec<Event>) {
        self.events.extend(events);
        let surplus = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..surplus);
    }
}
