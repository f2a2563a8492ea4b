//! `postern edge homes list|replace|remove`, as the running Edge carries them out.

use std::sync::Arc;

use daemon::control::Refusal;
use daemon::problem::Problem;
use daemon::request::HomesRequest;
use link::Served;
use mail::{Domain, UnixTime};
use serde_json::{Value, json};

use super::home::{Home, Pin};
use super::{Grant, Homes};

/// Fewest digits of a home's key that name it.
const NAME_DIGITS_MIN: usize = 4;

impl Homes {
    /// Carries out what the operator asks for.
    ///
    /// # Errors
    /// What can't be done, and what to do about it; nothing was changed.
    pub fn carry_out(&self, request: &HomesRequest, now: UnixTime) -> Result<Value, Refusal> {
        match request {
            HomesRequest::List => Ok(self.list_for_people(now)),
            HomesRequest::Replace { old, new, domains } => self.replace(old, new, domains, now),
            HomesRequest::Remove { home } => self.remove(home, now),
        }
    }

    /// For `status`: those that are paired.
    pub fn status(&self, now: UnixTime) -> Vec<Value> {
        self.list().iter().map(|home| self.describe(home, now)).collect()
    }

    fn list_for_people(&self, now: UnixTime) -> Value {
        let all = self.list_with_removed();
        let shown = all.iter().filter(|home| home.pin().removed.is_none() || home.sealed.count() > 0);
        shown.map(|home| self.describe(home, now)).collect()
    }

    fn describe(&self, home: &Home, now: UnixTime) -> Value {
        let pin = home.pin();
        let served: Vec<String> = self.served_by(home).iter().map(ToString::to_string).collect();
        let mut described = json!({
            "name": home.name,
            "link": if home.live().is_some() { "up" } else { "down" },
            "last_here": home.last_here(now).map(UnixTime::rfc3339),
            "domains": served,
            "snapshot": home.kept().map(|kept| kept.snapshot.generation),
            "sealed": home.sealed.count(),
            "sealed_octets": home.sealed.item_octets(),
            "outcomes": home.outcomes.count(),
            "paired": pin.paired.rfc3339(),
            "removed": pin.removed.map(UnixTime::rfc3339),
        });
        let withheld: Vec<Value> = self.withheld(home, now);
        if !withheld.is_empty() {
            described["withheld"] = withheld.into();
        }
        described
    }

    fn withheld(&self, home: &Home, now: UnixTime) -> Vec<Value> {
        let served = self.served(home, &home.claims(), now);
        let said = served.withheld().map(|domain| match &domain.served {
            Served::Elsewhere { home, .. } => format!("{} (of {home})", domain.domain),
            Served::NotGranted | Served::Here => format!("{} (its code was not for it)", domain.domain),
        });
        said.map(Value::from).collect()
    }

    /// The home that the operator means, by the first digits of its key.
    fn named(&self, name: &str) -> Result<Arc<Home>, Refusal> {
        let list = "'postern edge homes list' shows them".to_owned();
        let wanted = name.to_ascii_lowercase();
        let mut found = self.list().into_iter().filter(|home| home.pin().key.starts_with(&wanted));
        match (found.next(), found.next()) {
            (Some(home), None) if wanted.len() >= NAME_DIGITS_MIN => Ok(home),
            (Some(_), _) => {
                Err((format!("'{name}' is the beginning of several homes' names; give more of it"), list))
            }
            (None, _) => Err((format!("no paired home is called '{name}'"), list)),
        }
    }

    /// The domains of one home become those of another. The old one stays paired, so that it can fetch what is sealed
    /// for its key, and gets no domain by itself any more.
    fn replace(&self, old: &str, new: &str, domains: &[String], now: UnixTime) -> Result<Value, Refusal> {
        let _one_at_a_time = self.deciding();
        let (old, new) = (self.named(old)?, self.named(new)?);
        if Arc::ptr_eq(&old, &new) {
            return Err((
                "both are the same home".to_owned(),
                "name the old one, then the new one".to_owned(),
            ));
        }
        let moved = self.wanted(&old, domains)?;
        let claimed = new.claims();
        if let Some(domain) = moved.iter().find(|domain| !claimed.contains(domain)) {
            let what = format!("home {} does not name {domain}: mail for it would be refused", new.name);
            let advice = "start it, with the domain in its home.toml, so that it is linked once; then again";
            return Err((what, advice.to_owned()));
        }
        let both = (old.pin(), new.pin());
        let left: Vec<_> =
            self.served_by(&old).into_iter().filter(|domain| !moved.contains(domain)).collect();
        let granted = both.1.grant.clone().and(&Grant::Only(moved.clone()));
        let refusal = Problem::into_parts;
        new.change_pin(Pin { grant: granted, ..both.1.clone() }).map_err(refusal)?;
        self.decide(|all| moved.iter().for_each(|domain| all.give(domain, &both.1.key))).map_err(refusal)?;
        old.change_pin(Pin { grant: Grant::Only(left), ..both.0 }).map_err(refusal)?;
        let names: Vec<_> = moved.iter().map(ToString::to_string).collect();
        tracing::warn!(old = %old.name, new = %new.name, domains = ?names, sealed = old.sealed.count(), "the operator replaced a home");
        Ok(with_kept(json!({ "home": new.name, "serves": names }), &old, now))
    }

    fn wanted(&self, old: &Home, domains: &[String]) -> Result<Vec<Domain>, Refusal> {
        let has = self.served_by(old);
        if domains.is_empty() {
            let what = format!("home {} serves no domain", old.name);
            return if has.is_empty() {
                Err((what, "'postern edge homes list' shows who serves what".to_owned()))
            } else {
                Ok(has)
            };
        }
        let parse = |name: &String| {
            let domain =
                Domain::parse(name).map_err(|error| (format!("'{name}': {error}"), String::new()))?;
            if has.contains(&domain) {
                return Ok(domain);
            }
            let what = format!("home {} does not serve {domain}", old.name);
            Err((what, "'postern edge homes list' shows who serves what".to_owned()))
        };
        domains.iter().map(parse).collect()
    }

    /// A home's key opens nothing any more, and its domains are free. Its files stay.
    fn remove(&self, home: &str, now: UnixTime) -> Result<Value, Refusal> {
        let _one_at_a_time = self.deciding();
        let home = self.named(home)?;
        let pin = home.pin();
        let freed: Vec<_> = self.served_by(&home).iter().map(ToString::to_string).collect();
        home.change_pin(Pin { removed: Some(now), ..pin.clone() }).map_err(Problem::into_parts)?;
        self.decide(|all| all.forget(&pin.key)).map_err(Problem::into_parts)?;
        if let Some(live) = home.live() {
            live.close();
        }
        tracing::warn!(home = %home.name, domains = ?freed, sealed = home.sealed.count(), "the operator removed a home");
        Ok(with_kept(json!({ "removed": home.name, "free": freed }), &home, now))
    }
}

/// Says what becomes of the mail that is sealed for a home's key, if there is any.
fn with_kept(mut said: Value, home: &Home, now: UnixTime) -> Value {
    let sealed = home.sealed.count();
    if sealed == 0 {
        return said;
    }
    let how = if home.is_removed() {
        "it gets them when it is paired again with the same keys"
    } else {
        "it gets them when it comes back"
    };
    let last = home.last_here(now).map_or_else(|| "never".to_owned(), UnixTime::rfc3339);
    said["kept"] = format!(
        "{sealed} message(s) are sealed for the key of {} (last here: {last}) and stay in {}: only that home, or one \
         set up from a backup of its keys, can open them; {how}",
        home.name,
        home.dir().display()
    )
    .into();
    said
}
