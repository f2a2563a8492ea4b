//! How the links are, for the doctor: since when they are up, how often they broke, whether the other transport would do, and
//! what the edges say of themselves.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use doctor::facts::{Fact, LinkSeen, Served};
use doctor::told::{self, HalfTold};
use link::{Errand, ErrandResult, ServedDomains};
use mail::ItemId;
use net::link_session::FrameSender;
use tokio::time::Instant;

use super::errands::Errands;
use super::served::withheld_words;

/// Breaks that are remembered of each link; more in a day say nothing more.
const BREAKS_MAX: usize = 100;
/// For how long they are counted.
const BREAKS_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long an edge may take over its examination: its own patience is shorter.
const EXAMINATION_PATIENCE: Duration = Duration::from_secs(13);

/// When a link broke, the latest last.
#[derive(Debug, Default)]
pub(super) struct Breaks(VecDeque<Instant>);

impl Breaks {
    pub(super) fn note(&mut self, now: Instant) {
        if self.0.len() >= BREAKS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    pub(super) fn lately(&self, now: Instant) -> usize {
        self.0.iter().filter(|at| now.duration_since(**at) < BREAKS_FOR).count()
    }
}

/// An edge as its link shows it.
pub(crate) struct EdgeHealth {
    /// Its name.
    pub(crate) name: String,
    /// The link.
    pub(crate) link: Fact<LinkSeen>,
    /// What it says of itself.
    pub(crate) half: Fact<HalfTold>,
    /// What it serves of our domains.
    pub(crate) served: Option<Vec<(String, Served)>>,
}

/// A link that is up.
pub(super) struct Up {
    /// How it is.
    pub(super) seen: LinkSeen,
    /// Where it leads.
    pub(super) remote: SocketAddr,
    /// What was said on it of our domains.
    pub(super) served: Option<Vec<(String, Served)>>,
}

/// The way to an edge that looks at itself when asked.
pub(super) struct Examiner {
    /// Frames to it.
    pub(super) frames: FrameSender,
    /// The errands on its link.
    pub(super) errands: Arc<Errands>,
}

impl Examiner {
    /// Has it look at itself.
    pub(super) async fn examine(self, id: ItemId, probe: Option<String>) -> Fact<HalfTold> {
        let asked = self.errands.run(&self.frames, id, Errand::Examine { probe });
        match tokio::time::timeout(EXAMINATION_PATIENCE, asked).await {
            Ok(ErrandResult::Examined(examined)) => Ok(told::from_link(&examined)),
            Ok(ErrandResult::Failed(why)) => Err(why),
            Ok(_) => Err("it answered something else".to_owned()),
            Err(_) => Err("it did not answer in time".to_owned()),
        }
    }

    /// Tells it what this half found, as names.
    pub(super) async fn tell(self, id: ItemId, found: Vec<(String, String)>) {
        let told = self.errands.run(&self.frames, id, Errand::Hear(found));
        let _ = tokio::time::timeout(EXAMINATION_PATIENCE, told).await;
    }
}

/// What an edge said of our domains.
pub(super) fn served(told: &ServedDomains) -> Vec<(String, Served)> {
    let of = |domain: &link::ServedDomain| {
        let served = match &domain.served {
            link::Served::Here => Served::Here,
            _ => Served::No(withheld_words(domain, &told.home)),
        };
        (domain.domain.to_string(), served)
    };
    told.domains.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn breaks_are_counted_for_a_day_and_up_to_their_bound() {
        let mut breaks = Breaks::default();
        for _ in 0..BREAKS_MAX {
            breaks.note(Instant::now());
        }
        assert_eq!(breaks.lately(Instant::now()), BREAKS_MAX);
        breaks.note(Instant::now());
        assert_eq!(breaks.0.len(), BREAKS_MAX);
        tokio::time::advance(BREAKS_FOR - Duration::from_secs(1)).await;
        breaks.note(Instant::now());
        assert_eq!(breaks.lately(Instant::now()), BREAKS_MAX);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(breaks.lately(Instant::now()), 1);
    }
}
