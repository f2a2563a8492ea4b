//! Lists of addresses in DNS, black and white (RFC 5782), each with a weight.
//!
//! A list that is switched off often answers for everything, and one that refuses us answers for nothing.
//! Both are found by the entries that every list must and must not have, and the list is left out.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use mail::Sign;
use mailauth::dns::{Record, RecordType, Resolver, address_labels};

use crate::config::ListConfig;

/// How often a list is tried, in seconds.
const TRIED_EVERY: u64 = 3600;

/// The lists that are asked.
#[derive(Clone)]
pub(crate) struct Lists(Arc<[List]>);

struct List {
    config: ListConfig,
    tried: AtomicU64,
    fit: AtomicBool,
}

impl Lists {
    /// The lists of the configuration.
    pub(crate) fn new(lists: &[ListConfig]) -> Self {
        let list = |config: &ListConfig| List {
            config: config.clone(),
            tried: AtomicU64::new(0),
            fit: AtomicBool::new(true),
        };
        Self(lists.iter().map(list).collect())
    }

    /// Signs of all lists that have the address. No answer is no sign: mail does not wait for a list.
    pub(crate) async fn ask(
        &self,
        resolver: &(impl Resolver + Clone + 'static),
        ip: IpAddr,
        now: u64,
    ) -> Vec<Sign> {
        let mut asking = tokio::task::JoinSet::new();
        for place in 0..self.0.len() {
            let (lists, resolver) = (self.clone(), resolver.clone());
            asking.spawn(async move {
                let list = lists.0.get(place)?;
                list.ask(&resolver, ip, now).await
            });
        }
        let mut signs: Vec<Sign> = asking.join_all().await.into_iter().flatten().collect();
        signs.sort_by(|a, b| a.name.cmp(&b.name));
        signs
    }
}

impl List {
    async fn ask(&self, resolver: &impl Resolver, ip: IpAddr, now: u64) -> Option<Sign> {
        self.try_out(resolver, now).await;
        if !self.fit.load(Ordering::Relaxed) {
            return None;
        }
        let zone = &self.config.zone;
        let answer = resolver.lookup(&query_name(ip, zone), RecordType::A).await.ok()?;
        let codes = answer.iter().filter_map(|record| match record {
            Record::A(code) if self.counts(*code) => Some(code.to_string()),
            _ => None,
        });
        let codes: Vec<String> = codes.collect();
        if codes.is_empty() {
            return None;
        }
        Some(Sign {
            name: format!("{}{zone}", super::score::LIST),
            tenths: self.config.tenths(),
            detail: codes.join(" "),
        })
    }

    /// Codes outside 127.0.0.0/8 are a parked domain's; of the rest those count that the operator names, or
    /// all but 127.255.255.0/24, with which lists complain about the question.
    fn counts(&self, code: Ipv4Addr) -> bool {
        let octets = code.octets();
        let complaint = octets.starts_with(&[127, 255, 255]);
        if octets[0] != 127 || complaint {
            return false;
        }
        self.config.codes.is_empty() || self.config.codes.contains(&code)
    }

    /// RFC 5782 section 5: 127.0.0.2 is on every list, 127.0.0.1 on none.
    async fn try_out(&self, resolver: &impl Resolver, now: u64) {
        let tried = self.tried.load(Ordering::Relaxed);
        let due = tried == 0 || now.saturating_sub(tried) >= TRIED_EVERY;
        let ours =
            due && self.tried.compare_exchange(tried, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !ours {
            return;
        }
        let zone = &self.config.zone;
        let listed = |octet| {
            let name = query_name(Ipv4Addr::new(127, 0, 0, octet).into(), zone);
            async move { resolver.lookup(&name, RecordType::A).await.is_ok() }
        };
        // A visitor who leaves takes this task along: then the next one tries.
        let again = Again(&self.tried, tried);
        let (must, must_not) = (listed(2).await, listed(1).await);
        std::mem::forget(again);
        let fit = must && !must_not;
        if self.fit.swap(fit, Ordering::Relaxed) != fit || !fit {
            match (must, must_not) {
                (_, true) => {
                    tracing::warn!(list = %zone, "the list has every address: it is left out for an hour")
                }
                (false, _) => {
                    tracing::warn!(list = %zone, "the list lacks its test entry, or does not answer: it is left out for an hour")
                }
                _ => tracing::info!(list = %zone, "the list answers as it should again"),
            }
        }
    }
}

/// Puts the time of the last trial back, unless it is forgotten.
struct Again<'l>(&'l AtomicU64, u64);

impl Drop for Again<'_> {
    fn drop(&mut self) {
        self.0.store(self.1, Ordering::Relaxed);
    }
}

/// RFC 5782 sections 2.1 and 2.4.
fn query_name(ip: IpAddr, zone: &str) -> String {
    format!("{}.{zone}", address_labels(ip))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use mailauth::dns::{Answer, LookupError};

    use super::*;

    #[derive(Clone, Default)]
    struct Names(Arc<HashMap<String, Ipv4Addr>>);

    impl Resolver for Names {
        async fn lookup(&self, name: &str, _: RecordType) -> Answer {
            match self.0.get(name) {
                Some(code) => Ok([Record::A(*code)].into()),
                None if name.ends_with(".silent.test") => Err(LookupError::Temporary("silent".to_owned())),
                None => Err(LookupError::NoSuchName),
            }
        }
    }

    fn names(entries: &[(&str, [u8; 4])]) -> Names {
        Names(Arc::new(entries.iter().map(|(name, code)| ((*name).to_owned(), (*code).into())).collect()))
    }

    async fn ask(names: &Names, zone: &str, codes: &[[u8; 4]], ip: &str) -> Vec<Sign> {
        let codes = codes.iter().map(|code| Ipv4Addr::from(*code)).collect();
        let lists = Lists::new(&[ListConfig { zone: zone.to_owned(), points: 4.5, codes }]);
        lists.ask(names, ip.parse().unwrap(), 1).await
    }

    #[tokio::test]
    async fn a_listed_address_is_a_sign() {
        let names = names(&[
            ("2.0.0.127.bl.test", [127, 0, 0, 2]),
            ("9.2.0.192.bl.test", [127, 0, 0, 4]),
            ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test", [127, 0, 0, 2]),
            ("8.2.0.192.bl.test", [10, 0, 0, 1]),
            ("7.2.0.192.bl.test", [127, 255, 255, 254]),
        ]);
        let signs = ask(&names, "bl.test", &[], "192.0.2.9").await;
        assert_eq!(
            (signs[0].name.as_str(), signs[0].tenths, signs[0].detail.as_str()),
            ("list:bl.test", 45, "127.0.0.4")
        );
        assert_eq!(ask(&names, "bl.test", &[], "2001:db8::1").await.len(), 1);
        for (ip, codes) in [
            ("192.0.2.10", &[][..]),
            ("192.0.2.8", &[]),
            ("192.0.2.7", &[]),
            ("192.0.2.9", &[[127, 0, 0, 2]]),
        ] {
            assert!(ask(&names, "bl.test", codes, ip).await.is_empty(), "{ip}");
        }
    }

    #[tokio::test]
    async fn a_trial_that_is_left_is_made_by_the_next_visitor() {
        #[derive(Clone)]
        struct Silent;
        impl Resolver for Silent {
            async fn lookup(&self, _: &str, _: RecordType) -> Answer {
                std::future::pending().await
            }
        }
        let names = names(&[("2.0.0.127.bl.test", [127, 0, 0, 2]), ("9.2.0.192.bl.test", [127, 0, 0, 2])]);
        let lists = Lists::new(&[ListConfig { zone: "bl.test".to_owned(), points: 1.0, codes: Vec::new() }]);
        let ip = "192.0.2.9".parse().unwrap();
        let left = tokio::time::timeout(std::time::Duration::from_millis(1), lists.ask(&Silent, ip, 1)).await;
        assert!(left.is_err());
        assert_eq!(lists.ask(&names, ip, 1).await.len(), 1);
    }

    #[tokio::test]
    async fn lists_that_have_everything_or_nothing_are_left_out() {
        let everything = names(&[
            ("2.0.0.127.bl.test", [127, 0, 0, 2]),
            ("1.0.0.127.bl.test", [127, 0, 0, 2]),
            ("9.2.0.192.bl.test", [127, 0, 0, 2]),
        ]);
        assert!(ask(&everything, "bl.test", &[], "192.0.2.9").await.is_empty());
        let nothing = names(&[("9.2.0.192.bl.test", [127, 0, 0, 2])]);
        assert!(ask(&nothing, "bl.test", &[], "192.0.2.9").await.is_empty());
        assert!(ask(&Names::default(), "silent.test", &[], "192.0.2.9").await.is_empty());
    }
}
