//! Which edge gets an attempt: the first of the operator's list that reaches the world.
//!
//! An edge whose provider closed port 25, or whose network is broken, fails at every domain. It is then left alone
//! for a while, as long as another one is up.

use std::collections::HashMap;
use std::time::Duration;

use mail::UnixTime;

use super::destinations::Sign;

/// How much one attempt weighs: about eight failures in a row make an edge unfit, and a dead domain among living ones
/// never does.
const WEIGHT: f64 = 0.1;
/// Below it an edge is unfit.
const FIT: f64 = 0.45;
/// How long an edge that became unfit is left alone.
const PAUSE: Duration = Duration::from_secs(600);

/// The edges' success with hosts of other domains, by name.
#[derive(Debug, Default)]
pub(super) struct Health(HashMap<String, Edge>);

#[derive(Debug)]
struct Edge {
    /// The share of attempts that reached a host, the latest ones first: 0 to 1.
    score: f64,
    unfit_since: Option<UnixTime>,
}

impl Health {
    /// What came of an attempt by this edge.
    pub(super) fn learn(&mut self, edge: &str, sign: Sign, now: UnixTime) {
        let known = self.0.entry(edge.to_owned()).or_insert(Edge { score: 1.0, unfit_since: None });
        let reached = if sign == Sign::Dead { 0.0 } else { 1.0 };
        known.score += (reached - known.score) * WEIGHT;
        if reached > 0.0 {
            known.score = known.score.max(FIT);
            known.unfit_since = None;
        } else if known.score < FIT && known.unfit_since.is_none() {
            tracing::warn!(edge, "an edge reaches no mail host: others are preferred for ten minutes");
            known.unfit_since = Some(now);
        }
    }

    /// The edges that are up, the best first.
    pub(super) fn order(&self, mut up: Vec<String>, now: UnixTime) -> Vec<String> {
        up.sort_by_key(|edge| self.is_unfit(edge, now));
        up
    }

    fn is_unfit(&self, edge: &str, now: UnixTime) -> bool {
        let since = self.0.get(edge).and_then(|known| known.unfit_since);
        let pause = u64::try_from(PAUSE.as_micros()).unwrap_or(u64::MAX);
        since.is_some_and(|since| now.0.saturating_sub(since.0) < pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(health: &Health, now: UnixTime) -> Vec<String> {
        health.order(vec!["one".to_owned(), "two".to_owned()], now)
    }

    #[test]
    fn an_edge_that_reaches_nobody_comes_last_for_a_while() {
        let (mut health, now) = (Health::default(), UnixTime::from_secs(1000));
        for _ in 0..7 {
            health.learn("one", Sign::Dead, now);
        }
        assert_eq!(order(&health, now), ["one", "two"], "a few dead domains say nothing");
        health.learn("one", Sign::Dead, now);
        assert_eq!(order(&health, now), ["two", "one"]);
        assert_eq!(order(&health, now.plus_secs(PAUSE.as_secs())), ["one", "two"], "it is tried again");
        health.learn("one", Sign::Busy, now);
        assert_eq!(order(&health, now), ["one", "two"], "whoever is answered is fit");
    }

    #[test]
    fn every_second_domain_may_be_dead() {
        let (mut health, now) = (Health::default(), UnixTime::from_secs(1000));
        for _ in 0..100 {
            health.learn("one", Sign::Dead, now);
            health.learn("one", Sign::Well, now);
        }
        assert_eq!(order(&health, now), ["one", "two"]);
    }
}
