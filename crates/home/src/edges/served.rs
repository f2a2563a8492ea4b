//! What an edge says of the domains that this home names: whether it serves them there, and who does if not.

use link::{Served, ServedDomain, ServedDomains};
use mail::UnixTime;
use serde_json::Value;

/// A domain that this home, which the edge calls `own`, does not get, and what to type.
pub(crate) fn withheld_words(domain: &ServedDomain, own: &str) -> String {
    let name = &domain.domain;
    match &domain.served {
        Served::Here => format!("{name} is served by this home"),
        Served::NotGranted => format!(
            "{name} is not served there: the pairing code was for other domains. Type at the edge \
             'postern edge pair --domain {name}', then here 'postern home pair CODE'"
        ),
        Served::Elsewhere { home, last_here } if is_home(home) => {
            let last = last_here.map_or_else(|| "never".to_owned(), UnixTime::rfc3339);
            format!(
                "{name} is served there by another home, {home} (last here: {last}), which keeps it. If this one takes \
                 its place, start this one, then type at the edge 'postern edge homes replace {home} {own}'"
            )
        }
        Served::Elsewhere { home, .. } => format!("{name} is served there by {home} of its edge.toml"),
    }
}

/// A home has digits for a name; anything else is words for people.
fn is_home(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_hexdigit())
}

/// For `status`: the domains that this home serves there, and a sentence for each that it does not.
pub(super) fn for_status(served: &ServedDomains) -> (Value, Vec<Value>) {
    let here = served.domains.iter().filter(|domain| domain.served == Served::Here);
    let words = served.withheld().map(|domain| withheld_words(domain, &served.home).into());
    (here.map(|domain| Value::from(domain.domain.as_str())).collect(), words.collect())
}

/// Says in the log what this home does not get.
pub(super) fn warn(edge: &str, served: &ServedDomains) {
    for domain in served.withheld() {
        tracing::warn!(%edge, "{}", withheld_words(domain, &served.home));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_home_does_not_get_is_said_with_what_to_type() {
        let domain = |served| ServedDomain { domain: mail::Domain::parse("example.org").unwrap(), served };
        let elsewhere = Served::Elsewhere { home: "3fa9".to_owned(), last_here: Some(UnixTime(0)) };
        let words = withheld_words(&domain(elsewhere.clone()), "77ab");
        assert!(words.contains("3fa9 (last here: 1970-01-01"), "{words}");
        assert!(words.contains("'postern edge homes replace 3fa9 77ab'"), "{words}");
        let never = Served::Elsewhere { home: "3fa9".to_owned(), last_here: None };
        assert!(withheld_words(&domain(never), "77ab").contains("last here: never"));
        let words = withheld_words(&domain(Served::NotGranted), "77ab");
        assert!(words.contains("'postern edge pair --domain example.org'"), "{words}");
        let foreign = Served::Elsewhere { home: "a [[foreign_home]]".to_owned(), last_here: None };
        let words = withheld_words(&domain(foreign), "77ab");
        assert!(
            words.contains("a [[foreign_home]] of its edge.toml") && !words.contains("replace"),
            "{words}"
        );
        let served =
            ServedDomains { home: "77ab".to_owned(), domains: vec![domain(Served::Here), domain(elsewhere)] };
        let (here, withheld) = for_status(&served);
        assert_eq!((here, withheld.len()), (serde_json::json!(["example.org"]), 1));
    }
}
