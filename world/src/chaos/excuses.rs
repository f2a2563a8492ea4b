//! Which messages that leave may have come more than once, as Home's trace tells: an Edge that is killed may have had
//! them delivered and not written that down (`forgotten`), or Home has ended the wait for an edge that is away, which
//! its clock may have it do (`given up`). Each attempt of that kind explains one more copy of its own message.

use std::collections::BTreeMap;

use super::traffic::{ALICE, OUTBOUND};
use crate::world::World;

/// So many copies of each number beyond the first.
#[derive(Debug, Default)]
pub(super) struct Excuses(BTreeMap<u32, u32>);

/// How often each number had a step.
pub(super) type Steps = BTreeMap<u32, u32>;

impl Excuses {
    /// Edge was killed, and `before` had been forgotten until then: what was since is an excuse. An attempt that is
    /// forgotten while Edge lives never got there, and is none.
    pub(super) fn learn(&mut self, world: &World, before: &Steps) {
        for (number, times) in forgotten(world) {
            let new = times - before.get(&number).copied().unwrap_or_default();
            *self.0.entry(number).or_default() += new;
        }
    }

    /// Adds messages that Home gave up.
    pub(super) fn close(mut self, world: &World) -> Self {
        for (number, times) in steps(world, "given up") {
            *self.0.entry(number).or_default() += times;
        }
        self.0.retain(|_, times| *times > 0);
        self
    }

    /// Copies of this number beyond the first that are explained.
    pub(super) fn of(&self, number: u32) -> u32 {
        self.0.get(&number).copied().unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn from<const N: usize>(copies: [(u32, u32); N]) -> Self {
        Self(copies.into())
    }

    /// The number of messages that have an excuse.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// How often an edge knew nothing of an attempt, so far.
pub(super) fn forgotten(world: &World) -> Steps {
    steps(world, "forgotten")
}

/// How often each outbound number has this step in Home's trace.
fn steps(world: &World, step: &str) -> Steps {
    let events = world.trace_of_home();
    let text = |event: &serde_json::Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let numbers: BTreeMap<String, u32> = events
        .iter()
        .filter(|event| event["step"] == "queued")
        .filter_map(|event| Some((text(event, "item"), number(&text(event, "detail"))?)))
        .collect();
    let mut steps = Steps::new();
    for event in events.iter().filter(|event| event["step"] == step) {
        if let Some(number) = numbers.get(&text(event, "item")) {
            *steps.entry(*number).or_default() += 1;
        }
    }
    steps
}

/// The number in the `Message-ID` that is traced.
fn number(detail: &str) -> Option<u32> {
    let (_, id) = detail.split_once("message-id <")?;
    id.strip_prefix(OUTBOUND)?.strip_suffix('>')?.strip_suffix(ALICE)?.strip_suffix('.')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_from_the_trace() {
        let line = "from <alice@example.org> to 1 recipients, message-id <out17.alice@example.org>";
        assert_eq!(number(line), Some(17));
        assert_eq!(number("from <> to 1 recipients, message-id <x@example.org>"), None);
    }
}
