//! Connections to one provider at one time: many domains have their mail hosts at the same few, and those count
//! connections by where they come from, not by whom the mail is for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Providers that are remembered before those without a connection are forgotten.
const KNOWN_MAX: usize = 1000;

/// Mail providers, by the end that their hosts' names share, with the room for connections to each.
pub struct Providers {
    most: usize,
    known: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Providers {
    /// At most `most` connections to each.
    pub fn new(most: usize) -> Self {
        Self { most, known: Mutex::default() }
    }

    /// Waits for room for one connection to a mail host. The room is taken until the permit is dropped; `None` is
    /// room without a bound.
    pub(super) async fn enter(&self, host: &str) -> Option<OwnedSemaphorePermit> {
        self.of(host).acquire_owned().await.ok()
    }

    fn of(&self, host: &str) -> Arc<Semaphore> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, room| Arc::strong_count(room) > 1 || room.available_permits() < self.most);
        }
        let room = known.entry(provider(host)).or_insert_with(|| Arc::new(Semaphore::new(self.most)));
        Arc::clone(room)
    }
}

/// The last two labels of a host's name; three where the second is short below a country's domain, as in
/// `mx.example.co.uk`. A guess that needs no list: at worst some providers share a limit.
fn provider(host: &str) -> String {
    let mut labels = host.trim_end_matches('.').rsplit('.');
    let (last, second) = (labels.next().unwrap_or_default(), labels.next());
    let third = second.filter(|second| last.len() == 2 && second.len() <= 3).and_then(|_| labels.next());
    let parts = [third, second, Some(last)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(".").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_one_provider_share_its_name() {
        for (host, name) in [
            ("aspmx.l.google.com", "google.com"),
            ("ALT1.aspmx.L.Google.com.", "google.com"),
            ("mx.example.co.uk", "example.co.uk"),
            ("mx.example.de", "example.de"),
            ("a.b.web.de", "b.web.de"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(provider(host), name, "{host}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_provider_gets_so_many_connections_and_the_next_waits_for_one_to_end() {
        let providers = Providers::new(2);
        let first = providers.enter("mx1.big.test").await;
        let _second = providers.enter("mx2.big.test").await;
        let wait = std::time::Duration::from_secs(1);
        assert!(tokio::time::timeout(wait, providers.enter("mx3.big.test")).await.is_err());
        assert!(providers.enter("mx.other.test").await.is_some());
        drop(first);
        assert!(tokio::time::timeout(wait, providers.enter("mx3.big.test")).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn providers_without_a_connection_are_forgotten() {
        let providers = Providers::new(1);
        let _kept = providers.enter("mx.kept.test").await;
        for number in 0..2 * KNOWN_MAX {
            drop(providers.enter(&format!("mx.d{number}.test")).await);
        }
        let known = providers.known.lock().unwrap();
        assert!(known.len() <= KNOWN_MAX && known.contains_key("kept.test"), "{}", known.len());
    }
}
