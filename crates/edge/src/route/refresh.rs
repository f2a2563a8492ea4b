//! MTA-STS policies are fetched anew while they hold, also when no mail goes to their domains: a policy that ends
//! unnoticed can be suppressed by whoever is in between (RFC 8461 sections 3.3 and 10.2).

use std::collections::HashMap;
use std::time::Duration;

use mail::Domain;
use tokio_util::sync::CancellationToken;

use super::map::Map;

/// How often it is looked which policies are old.
const ROUND_EVERY: Duration = Duration::from_secs(3600);
/// Most domains of one round: all that can be kept are asked within a day.
const ROUND_MAX: usize = 500;
/// A domain is asked once in so many seconds, whatever comes of it.
const AGAIN_AFTER_SECONDS: u64 = 86_400;

/// When domains were asked last.
#[derive(Default)]
struct Asked(HashMap<Domain, u64>);

impl Asked {
    /// Those of the old ones whose turn it is, in their order. The others wait.
    fn next_round(&mut self, old: Vec<Domain>, now: u64) -> Vec<Domain> {
        self.0.retain(|_, asked| now < asked.saturating_add(AGAIN_AFTER_SECONDS));
        let mut round = old;
        round.retain(|domain| !self.0.contains_key(domain));
        round.truncate(ROUND_MAX);
        self.0.extend(round.iter().map(|domain| (domain.clone(), now)));
        round
    }
}

/// Refreshes the policies of `map` until `stop`.
pub async fn refresh_policies(map: &Map, stop: CancellationToken) {
    let mut asked = Asked::default();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ROUND_EVERY) => {}
        }
        let now = map.clock.now().as_secs();
        for domain in asked.next_round(map.old_policies(now), now) {
            tokio::select! {
                () = stop.cancelled() => return,
                // `refresh_policy` logs what comes of it.
                () = map.refresh_policy(&domain) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_bounded_and_nobody_is_asked_twice_in_a_day_or_left_out() {
        let all: Vec<Domain> =
            (0..=ROUND_MAX).map(|number| Domain::parse(&format!("{number}.test")).unwrap()).collect();
        let mut asked = Asked::default();
        assert_eq!(asked.next_round(all.clone(), 1000), all[..ROUND_MAX]);
        assert_eq!(asked.next_round(all.clone(), 4600), all[ROUND_MAX..], "also when the first ones failed");
        assert!(asked.next_round(all.clone(), 1000 + AGAIN_AFTER_SECONDS - 1).is_empty());
        assert_eq!(asked.next_round(all.clone(), 1000 + AGAIN_AFTER_SECONDS), all[..ROUND_MAX]);
    }
}
