//! Which home serves which domain: decided by Edge's operator, never by what a home claims.
//!
//! A pairing code grants its home certain domains, or any that no home has. What a home claims beyond that it does not
//! get, whoever claims it, and however often. No files and no clock are in here.

use std::collections::{BTreeMap, HashSet};

use mail::Domain;
use serde::{Deserialize, Serialize};

/// A home's key, hexadecimal.
pub(super) type HomeKey = String;

/// The domains that a home may have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// Any that is free when the home claims it.
    #[default]
    Free,
    /// These domains and no others.
    Only(Vec<Domain>),
}

impl Grant {
    /// Of the domains that a code is for; any that is free when it is for none in particular.
    pub fn of(domains: &[Domain]) -> Self {
        if domains.is_empty() { Self::Free } else { Self::Only(domains.to_vec()) }
    }

    /// Whether it covers a domain.
    pub fn covers(&self, domain: &Domain) -> bool {
        match self {
            Self::Free => true,
            Self::Only(domains) => domains.contains(domain),
        }
    }

    /// The domains of both grants together.
    #[must_use]
    pub fn and(self, more: &Self) -> Self {
        match (self, more) {
            (Self::Only(mut domains), Self::Only(more)) => {
                domains.extend(
                    more.iter().filter(|domain| !domains.contains(domain)).cloned().collect::<Vec<_>>(),
                );
                Self::Only(domains)
            }
            _ => Self::Free,
        }
    }
}

/// Who serves what. Each domain has one home at the most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Domains(BTreeMap<Domain, HomeKey>);

impl Domains {
    /// The home that serves a domain.
    pub(super) fn holder(&self, domain: &Domain) -> Option<&HomeKey> {
        self.0.get(domain)
    }

    /// The domains of a home.
    pub(super) fn of<'a>(&'a self, home: &'a str) -> impl Iterator<Item = &'a Domain> {
        self.0.iter().filter(move |(_, holder)| *holder == home).map(|(domain, _)| domain)
    }

    /// Gives a home those of the domains that are free and granted.
    pub(super) fn take_free(
        &mut self,
        home: &str,
        grant: &Grant,
        claimed: &[Domain],
        reserved: &HashSet<Domain>,
    ) {
        for domain in claimed.iter().filter(|domain| grant.covers(domain) && !reserved.contains(*domain)) {
            self.0.entry(domain.clone()).or_insert_with(|| home.to_owned());
        }
    }

    /// A home names all its domains: what it had and names no more is free.
    pub(super) fn claim(
        &mut self,
        home: &str,
        grant: &Grant,
        claimed: &[Domain],
        reserved: &HashSet<Domain>,
    ) {
        let named: HashSet<&Domain> = claimed.iter().collect();
        self.0.retain(|domain, holder| holder != home || named.contains(domain));
        self.take_free(home, grant, claimed, reserved);
    }

    /// Gives a domain to a home, whoever had it: the operator says so.
    pub(super) fn give(&mut self, domain: &Domain, home: &str) {
        self.0.insert(domain.clone(), home.to_owned());
    }

    /// A home is no more: what it served is free.
    pub(super) fn forget(&mut self, home: &str) {
        self.0.retain(|_, holder| holder != home);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(names: &[&str]) -> Vec<Domain> {
        names.iter().map(|name| Domain::parse(name).unwrap()).collect()
    }

    fn served(domains: &Domains, home: &str) -> Vec<String> {
        domains.of(home).map(ToString::to_string).collect()
    }

    fn nothing() -> HashSet<Domain> {
        HashSet::new()
    }

    /// Symptom: after a reinstall two homes had one domain, both links were up, senders heard 250, and mail was sealed for
    /// a key that nobody had. Cause: the home that was paired first won for ever. Analysis: a claim is not a decision.
    #[test]
    fn a_claim_takes_what_is_free_and_never_what_another_home_has() {
        let mut all = Domains::default();
        all.claim("old", &Grant::Free, &domains(&["a.example", "b.example"]), &nothing());
        all.claim("new", &Grant::Free, &domains(&["b.example", "c.example"]), &nothing());
        assert_eq!(served(&all, "old"), ["a.example", "b.example"]);
        assert_eq!(served(&all, "new"), ["c.example"]);
        all.give(&domains(&["b.example"])[0], "new");
        all.claim("old", &Grant::Free, &domains(&["a.example", "b.example"]), &nothing());
        assert_eq!(served(&all, "new"), ["b.example", "c.example"]);
    }

    #[test]
    fn a_code_for_some_domains_gives_no_others_although_they_are_free() {
        let mut all = Domains::default();
        let grant = Grant::of(&domains(&["a.example"]));
        all.claim("home", &grant, &domains(&["a.example", "b.example"]), &nothing());
        assert_eq!(served(&all, "home"), ["a.example"]);
        let more = grant.and(&Grant::of(&domains(&["b.example", "a.example"])));
        assert_eq!(more, Grant::Only(domains(&["a.example", "b.example"])));
        all.claim("home", &more, &domains(&["a.example", "b.example"]), &nothing());
        assert_eq!(served(&all, "home"), ["a.example", "b.example"]);
        assert_eq!(more.and(&Grant::Free), Grant::Free);
    }

    #[test]
    fn what_a_home_names_no_more_is_free_and_so_is_all_of_one_that_is_removed() {
        let mut all = Domains::default();
        all.claim("one", &Grant::Free, &domains(&["a.example", "b.example"]), &nothing());
        all.claim("one", &Grant::Free, &domains(&["a.example"]), &nothing());
        all.claim("two", &Grant::Free, &domains(&["a.example", "b.example"]), &nothing());
        assert_eq!(
            (served(&all, "one"), served(&all, "two")),
            (vec!["a.example".into()], vec!["b.example".into()])
        );
        all.forget("one");
        all.claim("two", &Grant::Free, &domains(&["a.example", "b.example"]), &nothing());
        assert_eq!(served(&all, "two"), ["a.example", "b.example"]);
    }

    #[test]
    fn a_domain_that_the_configuration_gives_away_is_taken_by_nobody() {
        let mut all = Domains::default();
        let reserved = HashSet::from_iter(domains(&["a.example"]));
        all.claim("one", &Grant::Free, &domains(&["a.example"]), &reserved);
        assert_eq!(all, Domains::default());
    }
}
