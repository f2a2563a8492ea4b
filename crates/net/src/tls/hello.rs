//! The first message of a handshake, and hosts to which only a short one gets through.
//!
//! With a share for X25519MLKEM768 it has some 1,200 octets more and spans two segments, which some networks drop. A short
//! one has a share for X25519 alone; the group is offered all the same, so that a server may still ask for it. What a
//! certificate has to be like is not its business: that is the connector's, whichever message it begins with.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

/// For so many seconds a host gets the short message first.
const REMEMBERED_SECONDS: u64 = 86_400;
/// Most hosts that are remembered. One that is not costs a wait, and no mail.
const HOSTS_MAX: usize = 1024;

/// The key shares in the first message of a TLS handshake (RFC 8446 section 4.2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hello {
    /// A share for each kind of key exchange.
    Full,
    /// Without the share that makes it long.
    Short,
}

impl Hello {
    /// The same demands with this first message.
    #[must_use]
    pub fn of(self, connector: &TlsConnector) -> TlsConnector {
        match self {
            Self::Full => connector.clone(),
            Self::Short => {
                let mut config = connector.config().as_ref().clone();
                config.resumption = Resumption::store(Arc::new(ShortShare));
                TlsConnector::from(Arc::new(config))
            }
        }
    }
}

/// Says of each server that it once chose X25519, so that the library sends a share for that. A session that is taken up
/// again would make the message longer, so none is kept.
#[derive(Debug)]
struct ShortShare;

impl ClientSessionStore for ShortShare {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        Some(NamedGroup::X25519)
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {}

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

/// Hosts that answered the short message after they had not answered the other. Times are seconds of any clock that
/// the caller keeps to.
#[derive(Debug, Default)]
pub struct ShortHellos(Mutex<HashMap<String, u64>>);

impl ShortHellos {
    fn hosts(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first message that a handshake with the host is to begin with.
    #[must_use]
    pub fn for_host(&self, host: &str, now: u64) -> Hello {
        let hosts = self.hosts();
        let until = hosts.get(&host.to_ascii_lowercase());
        if until.is_some_and(|until| now < *until) { Hello::Short } else { Hello::Full }
    }

    /// The host answered the short one only. When there are too many, the one that was remembered first is forgotten.
    pub fn remember(&self, host: &str, now: u64) {
        let mut hosts = self.hosts();
        let host = host.to_ascii_lowercase();
        if hosts.len() >= HOSTS_MAX && !hosts.contains_key(&host) {
            hosts.retain(|_, until| now < *until);
            let first = hosts.iter().min_by_key(|(_, until)| **until).map(|(first, _)| first.clone());
            if let Some(first) = first.filter(|_| hosts.len() >= HOSTS_MAX) {
                hosts.remove(&first);
            }
        }
        hosts.insert(host, now.saturating_add(REMEMBERED_SECONDS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::opportunistic_connector;

    /// The first message of a handshake as a client writes it, of TLS 1.3 without a middlebox in between.
    fn first_message(hello: Hello) -> Vec<u8> {
        let connector = hello.of(&opportunistic_connector().unwrap());
        let name = ServerName::try_from("mx.example.net").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::clone(connector.config()), name).unwrap();
        let mut out = Vec::new();
        client.write_tls(&mut out).unwrap();
        out
    }

    fn holds(message: &[u8], part: &[u8]) -> bool {
        message.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn the_short_message_has_no_ml_kem_share_and_offers_the_group_all_the_same() {
        let (full, short) = (first_message(Hello::Full), first_message(Hello::Short));
        assert!(full.len() > 1400 && short.len() < 600, "{} and {}", full.len(), short.len());
        // X25519MLKEM768 is 0x11ec; a share has its length of 1,216 octets behind it.
        assert!(holds(&full, &[0x11, 0xec, 0x04, 0xc0]));
        assert!(!holds(&short, &[0x11, 0xec, 0x04, 0xc0]) && holds(&short, &[0x11, 0xec]));
        // X25519 is 0x001d, with a share of 32 octets.
        assert!(holds(&short, &[0x00, 0x1d, 0x00, 0x20]));
    }

    #[test]
    fn a_host_is_remembered_for_a_day() {
        let hosts = ShortHellos::default();
        assert_eq!(hosts.for_host("mx.a.test", 1000), Hello::Full);
        hosts.remember("MX.a.test", 1000);
        assert_eq!(hosts.for_host("mx.A.test", 1000), Hello::Short);
        assert_eq!(hosts.for_host("mx.b.test", 1000), Hello::Full);
        assert_eq!(hosts.for_host("mx.a.test", 1000 + REMEMBERED_SECONDS - 1), Hello::Short);
        assert_eq!(hosts.for_host("mx.a.test", 1000 + REMEMBERED_SECONDS), Hello::Full);
    }

    #[test]
    fn so_many_hosts_are_remembered_and_then_the_first_is_forgotten() {
        let hosts = ShortHellos::default();
        for number in 0..HOSTS_MAX {
            hosts.remember(&format!("mx{number}.test"), 1000 + number as u64);
        }
        hosts.remember("mx0.test", 900);
        assert_eq!(hosts.hosts().len(), HOSTS_MAX);
        assert_eq!(hosts.for_host("mx0.test", 1000), Hello::Short, "nobody had to go");
        hosts.remember("one-more.test", 5000);
        assert_eq!(hosts.hosts().len(), HOSTS_MAX);
        assert_eq!(
            (hosts.for_host("mx0.test", 1000), hosts.for_host("mx1.test", 1000)),
            (Hello::Full, Hello::Short)
        );
        // Whose day is over goes before anybody else.
        hosts.remember("late.test", 1500 + REMEMBERED_SECONDS);
        assert_eq!(hosts.for_host("one-more.test", 5000), Hello::Short);
        assert!(hosts.hosts().len() < HOSTS_MAX);
    }
}
