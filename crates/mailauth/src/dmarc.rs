//! DMARC: is the author's domain one of those that SPF and DKIM vouch for, and what does its owner want done
//! if it is not? (RFC 9989)

mod record;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;

use mail::header::Field;
use serde::{Deserialize, Serialize};

use crate::dns::{Answers, LookupError, Record as DnsRecord, RecordType, Resolver};
use record::DmarcRecord;
pub use record::{AlignmentMode, Policy, Psd};

/// Labels of a name below which the walk goes on; above, it jumps (RFC 9989 section 4.10).
const WALK_LABELS_MAX: usize = 8;
/// Domains of one `From` that are looked at. More than one is rare and suspicious.
pub const AUTHOR_DOMAINS_MAX: usize = 5;

/// What a check says (RFC 8601 section 2.7.3, RFC 9989 section 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum DmarcResult {
    /// The author's domain says nothing, or there is no author.
    #[default]
    None,
    /// A domain that vouches for the message is aligned with the author's.
    Pass,
    /// No domain that vouches for the message is aligned with the author's.
    Fail,
    /// DNS gave no answer now.
    TempError,
    /// The record, or the `From` field, can't be understood.
    PermError,
}

impl DmarcResult {
    /// The word of RFC 8601 section 2.7.3 and RFC 9989.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl fmt::Display for DmarcResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which of the two is aligned with the author's domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Default)]
pub struct Alignment {
    /// Whether the domain that SPF passes for is aligned.
    pub spf: bool,
    /// Whether the domain of a signature that passes is aligned.
    pub dkim: bool,
}

/// The result of DMARC for one message, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dmarc {
    /// The result.
    pub result: DmarcResult,
    /// What the owner wants done with mail that fails: `p`, `sp` or `np`, whichever applies, as published.
    pub policy: Policy,
    /// The same, one step milder when the owner only tries it (`t=y`): what is to be applied.
    pub applied: Policy,
    /// The kinds of authentication that are aligned with the author's domain.
    pub alignment: Alignment,
    /// The author's domain.
    pub domain: String,
    /// The organizational domain.
    pub organizational: String,
    /// The domain whose record was used; `None` when no record was.
    pub record_domain: Option<String>,
    /// The fact that decided, or what is wrong with the record or the field, for people.
    pub reason: String,
    /// What is wrong with the `From` field, whatever the result: which author a mail program shows is not known then.
    pub flaw: Option<Flaw>,
}

impl Dmarc {
    fn bare(result: DmarcResult, domain: &str, reason: impl Into<String>) -> Self {
        Self {
            result,
            policy: Policy::None,
            applied: Policy::None,
            alignment: Alignment::default(),
            domain: domain.to_owned(),
            organizational: domain.to_owned(),
            record_domain: None,
            reason: reason.into(),
            flaw: None,
        }
    }
}

/// Why it can't be told from the header section whose message it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flaw {
    /// There is no `From` field.
    Missing,
    /// There are several, or one of them is none only because its name is folded before its colon: programs do not
    /// agree on which one they show.
    Several,
    /// There is no field but one that looks like it.
    Alike,
    /// The field has no address with a domain.
    Nobody,
    /// This in it is no domain. A stranger's words, without control characters.
    NoDomain(String),
    /// It has more than [`AUTHOR_DOMAINS_MAX`] domains.
    Many,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no From field"),
            Self::Several => f.write_str("there is more than one From field"),
            Self::Alike => f.write_str("a line ends between the name of the From field and its colon"),
            Self::Nobody => f.write_str("the From field has no address"),
            Self::NoDomain(said) => write!(f, "'{said}' in the From field is no domain"),
            Self::Many => write!(f, "the From field has more than {AUTHOR_DOMAINS_MAX} domains"),
        }
    }
}

/// Domains that vouch for a message.
#[derive(Debug, Clone, Copy, Default)]
pub struct Vouching<'a> {
    /// The domain that SPF passed for.
    pub spf: Option<&'a str>,
    /// The domains of signatures that passed.
    pub dkim: &'a [&'a str],
    /// SPF or a signature could not be checked now: a fail may not be one.
    pub unsure: bool,
}

/// Whose message it is, as its header section says.
#[derive(Debug, Clone, Default)]
pub struct Authors {
    /// Their domains, in A-labels, each once; of all `From` fields, and at most [`AUTHOR_DOMAINS_MAX`].
    pub domains: Vec<String>,
    /// What is wrong with the `From` field, if something is.
    pub flaw: Option<Flaw>,
}

impl Authors {
    /// Reads a header section. Where there are several `From` fields, or what only looks like one, nobody knows which a
    /// mail program shows: all are read.
    #[must_use]
    pub fn of(header: &[u8]) -> Self {
        Self::among(mail::header::look_alikes(header))
    }

    /// The same of fields that were found already, and what looks like fields.
    pub(crate) fn among<'a>(look_alikes: impl Iterator<Item = Field<'a>>) -> Self {
        let mut authors = Self::default();
        let (mut fields, mut alike) = (0, false);
        for field in look_alikes.filter(|field| field.is("From")) {
            fields += 1;
            alike |= field.is_only_alike();
            let entries = mail::address_list::parse(field.value);
            for mailbox in mail::address_list::mailboxes(&entries) {
                authors.add(&mailbox.domain);
            }
        }
        match fields {
            0 => authors.flaw = Some(Flaw::Missing),
            1 if alike => authors.flaw = Some(Flaw::Alike),
            1 if authors.domains.is_empty() => authors.spoil(Flaw::Nobody),
            1 => {}
            _ => authors.flaw = Some(Flaw::Several),
        }
        authors
    }

    fn add(&mut self, domain: &str) {
        match mail::Domain::parse(domain.trim_end_matches('.')) {
            Err(_) => self.spoil(Flaw::NoDomain(domain.escape_debug().to_string())),
            Ok(domain) if self.domains.iter().any(|known| known == domain.as_str()) => {}
            Ok(_) if self.domains.len() == AUTHOR_DOMAINS_MAX => self.spoil(Flaw::Many),
            Ok(domain) => self.domains.push(domain.as_str().to_owned()),
        }
    }

    /// The names whose TXT records a check will want: they can be asked for while the body still comes in.
    pub(crate) fn questions(&self) -> Vec<String> {
        let mut names = Vec::new();
        for domain in &self.domains {
            let mut target = Some(domain.clone());
            while let Some(name) = target {
                names.push(format!("_dmarc.{name}"));
                target = above(&name);
            }
        }
        names
    }

    /// The first flaw is the one that is told.
    fn spoil(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }
}

/// Checks a message by its header section. Of several authors' domains, the one that is worst off decides. With a
/// flaw in the `From` field the result is [`DmarcResult::PermError`], unless a domain in it fails: nobody escapes
/// an owner's policy by breaking the field that it is about.
pub async fn check(resolver: &impl Resolver, header: &[u8], vouching: Vouching<'_>) -> Dmarc {
    check_authors(resolver, &Authors::of(header), &Answers::default(), vouching).await
}

/// As [`check`], of authors who were read before, with the answers to their [`Authors::questions`]. What DNS could not
/// answer then is asked once more.
pub(crate) async fn check_authors(
    resolver: &impl Resolver,
    authors: &Authors,
    answers: &Answers,
    vouching: Vouching<'_>,
) -> Dmarc {
    let mut walks = Walks { resolver, answers, done: HashMap::new() };
    let mut worst: Option<Dmarc> = None;
    for domain in &authors.domains {
        let found = walks.check(domain, vouching).await;
        if worst.as_ref().is_none_or(|worst| severity(&found) > severity(worst)) {
            worst = Some(found);
        }
    }
    let flaw = authors.flaw.clone();
    match worst {
        Some(worst) if flaw.is_none() => worst,
        Some(worst) if matches!(worst.result, DmarcResult::Fail | DmarcResult::TempError) => {
            Dmarc { flaw, ..worst }
        }
        _ => {
            let reason = flaw.as_ref().map_or_else(String::new, ToString::to_string);
            Dmarc { flaw, ..Dmarc::bare(DmarcResult::PermError, "", reason) }
        }
    }
}

fn severity(found: &Dmarc) -> (u8, Policy) {
    let result = match found.result {
        DmarcResult::Pass => 0,
        DmarcResult::None => 1,
        DmarcResult::PermError => 2,
        DmarcResult::TempError => 3,
        DmarcResult::Fail => 4,
    };
    (result, found.applied)
}

/// A record, and the domain at which it stands.
#[derive(Debug, Clone)]
struct Found {
    domain: String,
    record: DmarcRecord,
}

/// The records on the way from a domain to the root.
#[derive(Debug, Clone, Default)]
struct Walk {
    /// The records, from the domain itself upwards.
    found: Vec<Found>,
}

/// Walks that are done, since alignment asks for several.
struct Walks<'r, R> {
    resolver: &'r R,
    /// Answers of DNS that are known already.
    answers: &'r Answers,
    done: HashMap<String, Walk>,
}

impl<R: Resolver> Walks<'_, R> {
    async fn check(&mut self, domain: &str, vouching: Vouching<'_>) -> Dmarc {
        let walk = match self.walk(domain).await {
            Ok(walk) => walk,
            Err((name, error)) => {
                return Dmarc::bare(DmarcResult::TempError, domain, format!("TXT of {name}: {error}"));
            }
        };
        let organizational = walk.organizational(domain);
        let Some(found) = walk.applicable(domain, &organizational) else {
            let reason = format!("no DMARC record at {domain} nor above it");
            return Dmarc { organizational, ..Dmarc::bare(DmarcResult::None, domain, reason) };
        };
        let found = found.clone();
        if !found.record.is_usable() {
            let reason = format!(
                "the DMARC record of {} has no valid policy and no address for reports",
                found.domain
            );
            return Dmarc { organizational, ..Dmarc::bare(DmarcResult::PermError, domain, reason) };
        }
        let policy = match self.policy(domain, &found).await {
            Ok(policy) => policy,
            Err(error) => {
                return Dmarc::bare(DmarcResult::TempError, domain, format!("A of {domain}: {error}"));
            }
        };
        let alignment = match self.alignment(domain, &organizational, &found.record, vouching).await {
            Ok(alignment) => alignment,
            Err((name, error)) => {
                return Dmarc::bare(DmarcResult::TempError, domain, format!("TXT of {name}: {error}"));
            }
        };
        let (result, reason) = judge(domain, alignment, vouching.unsure);
        Dmarc {
            result,
            policy,
            applied: if found.record.testing { policy.milder() } else { policy },
            alignment,
            domain: domain.to_owned(),
            organizational,
            record_domain: Some(found.domain),
            reason,
            flaw: None,
        }
    }

    /// `p` for the record's own domain; below it `sp`, or `np` when the author's domain does not exist
    /// (RFC 9989 section 4.7).
    async fn policy(&self, domain: &str, found: &Found) -> Result<Policy, LookupError> {
        let record = &found.record;
        if found.domain == domain {
            return Ok(record.policy);
        }
        let below = record.subdomain_policy.unwrap_or(record.policy);
        let Some(missing) = record.missing_policy else { return Ok(below) };
        match self.resolver.lookup(domain, RecordType::A).await {
            Err(LookupError::NoSuchName) => Ok(missing),
            Err(error @ LookupError::Temporary(_)) => Err(error),
            _ => Ok(below),
        }
    }

    async fn alignment(
        &mut self,
        domain: &str,
        organizational: &str,
        record: &DmarcRecord,
        vouching: Vouching<'_>,
    ) -> Result<Alignment, (String, LookupError)> {
        let mut alignment = Alignment::default();
        if let Some(spf) = vouching.spf {
            alignment.spf = self.is_aligned(spf, domain, organizational, record.spf_mode).await?;
        }
        for signer in vouching.dkim {
            if self.is_aligned(signer, domain, organizational, record.dkim_mode).await? {
                alignment.dkim = true;
                break;
            }
        }
        Ok(alignment)
    }

    /// RFC 9989 section 4.4.
    async fn is_aligned(
        &mut self,
        vouching: &str,
        domain: &str,
        organizational: &str,
        mode: AlignmentMode,
    ) -> Result<bool, (String, LookupError)> {
        let vouching = vouching.trim_end_matches('.').to_ascii_lowercase();
        if vouching == domain {
            return Ok(true);
        }
        // Whatever is aligned lies at or below the organizational domain: most strangers need no walk.
        if mode == AlignmentMode::Strict || !is_at_or_below(&vouching, organizational) {
            return Ok(false);
        }
        let walk = self.walk(&vouching).await?;
        Ok(walk.organizational(&vouching) == organizational)
    }

    /// The DNS tree walk (RFC 9989 section 4.10).
    async fn walk(&mut self, domain: &str) -> Result<Walk, (String, LookupError)> {
        if let Some(walk) = self.done.get(domain) {
            return Ok(walk.clone());
        }
        let mut walk = Walk::default();
        let mut target = domain.to_owned();
        loop {
            let name = format!("_dmarc.{target}");
            let answer = match self.answers.of(&name) {
                Some(known) if !matches!(known, Err(LookupError::Temporary(_))) => known.clone(),
                _ => self.resolver.lookup(&name, RecordType::Txt).await,
            };
            let found = match &answer {
                Ok(records) => &records[..],
                Err(error) if error.is_void() => &[],
                Err(error) => return Err((name, error.clone())),
            };
            let mut records = found.iter().filter_map(|record| match record {
                DnsRecord::Txt(text) => DmarcRecord::parse(text),
                _ => None,
            });
            // Several records are as good as none.
            if let (Some(record), None) = (records.next(), records.next()) {
                let ends = record.psd != Psd::Unknown;
                walk.found.push(Found { domain: target.clone(), record });
                if ends {
                    break;
                }
            }
            match above(&target) {
                Some(next) => target = next,
                None => break,
            }
        }
        self.done.insert(domain.to_owned(), walk.clone());
        Ok(walk)
    }
}

/// The next name of a walk; `None` after the name of the top level.
fn above(name: &str) -> Option<String> {
    let labels: Vec<&str> = name.split('.').collect();
    let drop = if labels.len() >= WALK_LABELS_MAX { labels.len() - (WALK_LABELS_MAX - 1) } else { 1 };
    let rest = labels.get(drop..).filter(|rest| !rest.is_empty())?;
    Some(rest.join("."))
}

impl Walk {
    /// RFC 9989 section 4.10.2.
    fn organizational(&self, domain: &str) -> String {
        for found in &self.found {
            match found.record.psd {
                Psd::No => return found.domain.clone(),
                Psd::Yes if found.domain != domain => return one_below(&found.domain, domain),
                _ => {}
            }
        }
        self.found.last().map_or_else(|| domain.to_owned(), |found| found.domain.clone())
    }

    /// The record whose policy counts for mail of `domain` (RFC 9989 section 4.10.1).
    fn applicable(&self, domain: &str, organizational: &str) -> Option<&Found> {
        let at = |name: &str| self.found.iter().find(|found| found.domain == name);
        at(domain).or_else(|| at(organizational)).or_else(|| {
            // Last, that of the public suffix.
            self.found.iter().find(|found| found.record.psd == Psd::Yes)
        })
    }
}

/// The ancestor of `domain` that is one label below `suffix`.
fn one_below(suffix: &str, domain: &str) -> String {
    let before = domain.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('.')).unwrap_or_default();
    let label = before.rsplit('.').next().unwrap_or_default();
    format!("{label}.{suffix}")
}

fn is_at_or_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn judge(domain: &str, alignment: Alignment, unsure: bool) -> (DmarcResult, String) {
    match (alignment.spf, alignment.dkim) {
        (true, true) => (DmarcResult::Pass, format!("SPF and DKIM are aligned with {domain}")),
        (true, false) => (DmarcResult::Pass, format!("SPF is aligned with {domain}")),
        (false, true) => (DmarcResult::Pass, format!("DKIM is aligned with {domain}")),
        (false, false) if unsure => {
            let reason = format!(
                "neither SPF nor DKIM vouches for {domain}, but one of them could not be checked now"
            );
            (DmarcResult::TempError, reason)
        }
        (false, false) => (DmarcResult::Fail, format!("neither SPF nor DKIM vouches for {domain}")),
    }
}
