//! The names of a house: its hosts, under each domain that the house may call its own, and those domains.

use std::net::IpAddr;

use super::Private;

/// Names of a host that tell nothing.
const PUBLIC_NAMES: &[&str] = &["localhost", "localhost.localdomain"];

/// Shortest name of one label that counts anywhere; it needs a digit or a hyphen as well.
const DISTINCT_CHARS_MIN: usize = 8;

/// Domains that are the same in many houses. A host answers to `HOST.local` (RFC 6762) without knowing of it, and routers
/// hand out the others: RFC 8375, ICANN's `internal`, what was put aside as in use, and makers' own.
const HOUSE_DOMAINS: &[&str] = &[
    "local",
    "lan",
    "home",
    "internal",
    "home.arpa",
    "localdomain",
    "intranet",
    "private",
    "corp",
    "homenet",
    "fritz.box",
    "speedport.ip",
];

/// Labels of a domain from which on it is a part of somebody's own: `house.example.net`. One of two may be the provider's
/// or an employer's, and others write from there.
const OWN_LABELS_MIN: usize = 3;

/// What counts as naming the house, in lower case.
pub(super) struct Names {
    hosts: Vec<Host>,
    /// Domains that are this house's alone: they count wherever they stand, with all that is below them.
    domains: Vec<String>,
    /// A dot and a domain that many houses have: a name below it counts, but in ids of messages.
    shared: Vec<String>,
}

/// One machine, by its names.
struct Host {
    /// Its name without a domain.
    label: String,
    /// Its names that count wherever they stand.
    distinct: Vec<String>,
    /// Those that count behind an `@` only.
    common: Vec<String>,
}

impl Names {
    pub(super) fn of(private: &Private<'_>) -> Self {
        let plain = |name: &str| name.trim_matches('.').to_ascii_lowercase();
        let above = |name: &String| name.split_once('.').map(|(_, domain)| domain.to_owned());
        let is_host = |name: &String| is_host(name, private);
        let own: Vec<String> = private.own.names.iter().map(|name| plain(name)).filter(is_host).collect();
        let client: Vec<String> = [plain(private.helo)].into_iter().filter(is_host).collect();
        let own_domains = private.own.domains.iter().map(|domain| plain(domain));
        let own_domains: Vec<String> = own_domains.chain(own.iter().filter_map(above)).collect();
        let client_domains: Vec<String> = client.iter().filter_map(above).collect();
        let all: Vec<&str> = own_domains.iter().chain(&client_domains).map(String::as_str).collect();
        let hosts = own.iter().chain(&client).map(|name| Host::of(name, &all, private)).collect();
        let own_domains = own_domains.iter().filter(|domain| is_house(domain) || is_deep(domain));
        let whole = own_domains.chain(client_domains.iter().filter(|domain| is_house(domain)));
        let (shared, domains): (Vec<&String>, Vec<&String>) = whole
            .filter(|domain| !leads_to_public(domain, private))
            .partition(|domain| !domain.contains('.') || HOUSE_DOMAINS.contains(&domain.as_str()));
        let shared = shared.into_iter().map(|domain| format!(".{domain}")).collect();
        Self { hosts, domains: domains.into_iter().cloned().collect(), shared }
    }

    /// Whether the text, in lower case, has one of them.
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.are_in_id(text) || self.shared.iter().any(|domain| has_word(text, domain))
    }

    /// The same for an id of a message: those of others may well end in a domain that this house has, too.
    pub(super) fn are_in_id(&self, text: &str) -> bool {
        self.hosts.iter().any(|host| host.is_in(text))
            || self.domains.iter().any(|domain| has_word(text, domain))
    }
}

impl Host {
    fn of(name: &str, domains: &[&str], private: &Private<'_>) -> Self {
        let label = name.split('.').next().unwrap_or_default().to_owned();
        let below = HOUSE_DOMAINS.iter().chain(domains);
        let below = below.map(|domain| format!("{label}.{domain}"));
        let all = below.chain([name.to_owned(), label.clone()]).filter(|name| !private.public.contains(name));
        let (distinct, common) = all.partition(|name| name.contains('.') || is_distinct(name));
        Self { label, distinct, common }
    }

    fn is_in(&self, text: &str) -> bool {
        text.contains(&self.label)
            && (self.distinct.iter().any(|name| has_word(text, name))
                || self.common.iter().any(|name| has_word(text, &format!("@{name}"))))
    }
}

fn is_host(name: &str, private: &Private<'_>) -> bool {
    let is_public = PUBLIC_NAMES.contains(&name) || private.public.iter().any(|public| public == name);
    !(is_public || name.is_empty() || name.starts_with('[') || name.parse::<IpAddr>().is_ok())
}

/// Whether the world knows the domain, or one below it.
fn leads_to_public(domain: &str, private: &Private<'_>) -> bool {
    let is_above = |public: &String| public.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    private.public.iter().any(|public| public == domain || is_above(public))
}

/// Whether the domain is one of [`HOUSE_DOMAINS`], or below one.
fn is_house(domain: &str) -> bool {
    let is_in =
        |known: &str| domain.strip_suffix(known).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    HOUSE_DOMAINS.iter().any(|known| is_in(known))
}

/// Whether a domain that this machine has is deep enough to be the house's alone, or no domain of the world's at all.
fn is_deep(domain: &str) -> bool {
    let labels = domain.split('.').count();
    !domain.is_empty() && (labels == 1 || labels >= OWN_LABELS_MIN)
}

fn is_distinct(label: &str) -> bool {
    label.len() >= DISTINCT_CHARS_MIN && label.contains(|c: char| c.is_ascii_digit() || c == '-')
}

/// Whether `word` stands in `text` and is not a part of a longer name. A name below it counts, one above it
/// does not. A word that starts with a dot counts with a name before it.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '-';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let mut after = text.get(at + word.len()..).unwrap_or_default().chars();
        let ends = match after.next() {
            Some('.') => !after.next().is_some_and(is_name),
            other => !other.is_some_and(is_name),
        };
        let begins = match word.chars().next() {
            Some('@') => true,
            Some('.') => before.is_some_and(is_name),
            _ => !before.is_some_and(is_name),
        };
        ends && begins
    })
}
