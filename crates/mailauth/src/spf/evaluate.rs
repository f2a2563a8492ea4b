//! `check_host()`: RFC 7208 section 4.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;

use super::macros::{EXPLANATION_OCTETS_MAX, MacroString, Purpose, Values};
use super::record::{self, Mechanism, Prefixes, Record};
use super::{Identity, LOOKUPS_MAX, NAMES_MAX, Query, Spf, SpfResult, VOID_LOOKUPS_MAX};
use crate::dns::{Answer, LookupError, Record as DnsRecord, RecordType, Resolver, address_name, texts};

/// Most octets of a label (RFC 1035 section 2.3.4).
const LABEL_OCTETS_MAX: usize = 63;
/// Most octets of a name.
const NAME_OCTETS_MAX: usize = 253;
/// Lines of the path that are kept.
const PATH_MAX: usize = 100;

/// Why an evaluation ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stop {
    Temporary(String),
    Permanent(String),
}

type Step<T> = Result<T, Stop>;

/// The result of one domain's record.
struct Outcome {
    result: SpfResult,
    reason: String,
    /// On `fail`: the `exp=` of the record that failed, and the domain that it belongs to.
    explanation: Option<(MacroString, String)>,
}

impl Outcome {
    fn bare(result: SpfResult, reason: impl Into<String>) -> Self {
        Self { result, reason: reason.into(), explanation: None }
    }
}

pub(super) struct Evaluation<'a, R> {
    resolver: &'a R,
    query: &'a Query<'a>,
    ip: IpAddr,
    local: &'a str,
    domain: &'a str,
    lookups: u32,
    /// Terms of which an answer had no records.
    voids: u32,
    /// Whether the term that is evaluated is one of them.
    is_counted_void: bool,
    /// `None` when nobody wants to read it.
    path: Option<Vec<String>>,
}

impl<'a, R: Resolver> Evaluation<'a, R> {
    pub(super) fn new(resolver: &'a R, query: &'a Query<'a>, local: &'a str, domain: &'a str) -> Self {
        // An IPv4 address in IPv6 clothes is an IPv4 address (RFC 7208 section 5).
        let ip = query.ip.to_canonical();
        Self { resolver, query, ip, local, domain, lookups: 0, voids: 0, is_counted_void: false, path: None }
    }

    /// Keeps the path.
    pub(super) fn with_path(self) -> Self {
        Self { path: Some(Vec::new()), ..self }
    }

    pub(super) async fn run(mut self, identity: Identity) -> Spf {
        let domain = self.domain.strip_suffix('.').unwrap_or(self.domain);
        let outcome = match self.check_host(domain, 0).await {
            Ok(outcome) => outcome,
            Err(Stop::Temporary(cause)) => Outcome::bare(SpfResult::TempError, cause),
            Err(Stop::Permanent(cause)) => Outcome::bare(SpfResult::PermError, cause),
        };
        let explanation = match &outcome.explanation {
            Some((exp, domain)) => self.explain(exp, domain).await,
            None => None,
        };
        Spf {
            result: outcome.result,
            domain: domain.to_owned(),
            identity,
            explanation,
            reason: outcome.reason,
            path: self.path.unwrap_or_default(),
        }
    }

    fn note(&mut self, depth: usize, line: impl FnOnce() -> String) {
        if let Some(path) = self.path.as_mut().filter(|path| path.len() < PATH_MAX) {
            path.push(format!("{:indent$}{}", "", line(), indent = depth * 2));
        }
    }

    /// RFC 7208 section 4.3 and on. Boxed, because `include` and `redirect` come back here; the limit on
    /// lookups bounds how deep.
    fn check_host<'b>(
        &'b mut self,
        domain: &'b str,
        depth: usize,
    ) -> Pin<Box<dyn Future<Output = Step<Outcome>> + Send + 'b>> {
        Box::pin(async move {
            if !is_well_formed(domain) {
                return Ok(Outcome::bare(SpfResult::None, format!("'{domain}' is no domain to ask for")));
            }
            let answer = match self.resolver.lookup(domain, RecordType::Txt).await {
                Ok(answer) => answer,
                Err(error) if error.is_void() => return Ok(without_record(domain)),
                Err(error) => return Err(Stop::Temporary(format!("TXT of {domain}: {error}"))),
            };
            let Some(text) = the_record(&answer, domain)? else { return Ok(without_record(domain)) };
            self.note(depth, || format!("{domain}: {}", text.escape_ascii()));
            let record = record::parse(text)
                .map_err(|cause| Stop::Permanent(format!("the record of {domain}: {cause}")))?;
            self.evaluate(&record, domain, depth).await
        })
    }

    async fn evaluate(&mut self, record: &Record<'_>, domain: &str, depth: usize) -> Step<Outcome> {
        for directive in &record.directives {
            let matches = self.matches(&directive.mechanism, domain, depth).await?;
            let said = if matches { "matches" } else { "does not match" };
            self.note(depth + 1, || format!("{} {said}", directive.text));
            if matches {
                let failed = directive.result == SpfResult::Fail;
                let explanation = record.explanation.clone().filter(|_| failed);
                return Ok(Outcome {
                    result: directive.result,
                    reason: format!("'{}' of {domain} matches", directive.text),
                    explanation: explanation.map(|text| (text, domain.to_owned())),
                });
            }
        }
        let Some(redirect) = &record.redirect else {
            return Ok(Outcome::bare(
                SpfResult::Neutral,
                format!("nothing in the record of {domain} matches"),
            ));
        };
        self.count_lookup()?;
        let target = self.name(Some(redirect), domain).await;
        self.note(depth + 1, || format!("redirect={target}"));
        let outcome = self.check_host(&target, depth + 1).await?;
        if outcome.result == SpfResult::None {
            return Err(Stop::Permanent(format!("{domain} redirects to '{target}', which has no record")));
        }
        Ok(outcome)
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str, depth: usize) -> Step<bool> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, length) => Ok(self.is_in_ip4(*network, *length)),
            Mechanism::Ip6(network, length) => Ok(self.is_in_ip6(*network, *length)),
            Mechanism::Include(target) => {
                self.count_lookup()?;
                let target = self.name(Some(target), domain).await;
                self.include(&target, depth).await
            }
            Mechanism::A(target, prefixes) => {
                self.count_lookup()?;
                let target = self.name(target.as_ref(), domain).await;
                self.has_address(&target, *prefixes).await
            }
            Mechanism::Mx(target, prefixes) => {
                self.count_lookup()?;
                let target = self.name(target.as_ref(), domain).await;
                self.has_mail_host(&target, *prefixes).await
            }
            Mechanism::Ptr(target) => {
                self.count_lookup()?;
                let target = self.name(target.as_ref(), domain).await;
                let names = self.validated_names(true).await?;
                Ok(names.iter().any(|name| is_at_or_below(name, &target)))
            }
            Mechanism::Exists(target) => {
                self.count_lookup()?;
                let target = self.name(Some(target), domain).await;
                let answer = self.ask(&target, RecordType::A).await?;
                Ok(answer.is_some())
            }
        }
    }

    async fn include(&mut self, target: &str, depth: usize) -> Step<bool> {
        let outcome = self.check_host(target, depth + 1).await?;
        match outcome.result {
            SpfResult::Pass => Ok(true),
            SpfResult::None => Err(Stop::Permanent(format!("'{target}' is included and has no record"))),
            SpfResult::TempError => Err(Stop::Temporary(outcome.reason)),
            SpfResult::PermError => Err(Stop::Permanent(outcome.reason)),
            SpfResult::Neutral | SpfResult::Fail | SpfResult::SoftFail => Ok(false),
        }
    }

    /// Counts a term that asks DNS. What is asked from here on is asked for this term.
    fn count_lookup(&mut self) -> Step<()> {
        self.lookups += 1;
        self.is_counted_void = false;
        if self.lookups > LOOKUPS_MAX {
            return Err(Stop::Permanent(format!("more than {LOOKUPS_MAX} terms ask DNS")));
        }
        Ok(())
    }

    /// Counts an answer without records. The limit is for terms (RFC 7208 section 4.6.4): the hosts of one `mx` that have
    /// no address of the client's family are one, however many they are.
    fn count_void(&mut self) -> Step<()> {
        if !std::mem::replace(&mut self.is_counted_void, true) {
            self.voids += 1;
        }
        if self.voids > VOID_LOOKUPS_MAX {
            let cause = format!("more than {VOID_LOOKUPS_MAX} terms had answers without records");
            return Err(Stop::Permanent(cause));
        }
        Ok(())
    }

    /// Asks for records; `None` is an answer without any: few terms may have such.
    async fn ask(&mut self, name: &str, kind: RecordType) -> Step<Option<std::sync::Arc<[DnsRecord]>>> {
        match lookup(self.resolver, name, kind).await {
            Ok(records) => Ok(Some(records)),
            Err(error) if error.is_void() => self.count_void().map(|()| None),
            Err(error) => Err(Stop::Temporary(format!("{kind} of {name}: {error}"))),
        }
    }

    /// Whether one of the host's addresses is the client's, or in its network.
    async fn has_address(&mut self, host: &str, prefixes: Prefixes) -> Step<bool> {
        let kind = if self.ip.is_ipv4() { RecordType::A } else { RecordType::Aaaa };
        let records = self.ask(host, kind).await?;
        let found = records.iter().flat_map(|records| records.iter()).any(|record| match record {
            DnsRecord::A(address) => self.is_in_ip4(*address, prefixes.ip4),
            DnsRecord::Aaaa(address) => self.is_in_ip6(*address, prefixes.ip6),
            _ => false,
        });
        Ok(found)
    }

    async fn has_mail_host(&mut self, domain: &str, prefixes: Prefixes) -> Step<bool> {
        let Some(records) = self.ask(domain, RecordType::Mx).await? else { return Ok(false) };
        let mut hosts: Vec<(u16, &str)> = Vec::new();
        for record in records.iter() {
            if let DnsRecord::Mx(preference, host) = record {
                hosts.push((*preference, host));
            }
        }
        if hosts.len() > NAMES_MAX {
            return Err(Stop::Permanent(format!("{domain} has more than {NAMES_MAX} mail hosts")));
        }
        hosts.sort_unstable();
        for (_, host) in hosts {
            // The host "." says that there is none (RFC 7505).
            if !host.trim_end_matches('.').is_empty() && self.has_address(host, prefixes).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The names of the client's address that lead back to it (RFC 7208 section 5.5). An answer that does
    /// not come makes no error here: the name is not used.
    async fn validated_names(&mut self, counts_as_void: bool) -> Step<Vec<String>> {
        let answer = lookup(self.resolver, &address_name(self.ip), RecordType::Ptr).await;
        let records = match answer {
            Ok(records) => records,
            Err(error) if error.is_void() && counts_as_void => {
                return self.count_void().map(|()| Vec::new());
            }
            Err(_) => return Ok(Vec::new()),
        };
        let kind = if self.ip.is_ipv4() { RecordType::A } else { RecordType::Aaaa };
        let mut names = Vec::new();
        for record in records.iter().take(NAMES_MAX) {
            let DnsRecord::Ptr(name) = record else { continue };
            let addresses = lookup(self.resolver, name, kind).await.unwrap_or_default();
            let leads_back = addresses.iter().any(|record| match record {
                DnsRecord::A(address) => IpAddr::V4(*address) == self.ip,
                DnsRecord::Aaaa(address) => IpAddr::V6(*address) == self.ip,
                _ => false,
            });
            if leads_back {
                names.push(name.trim_end_matches('.').to_owned());
            }
        }
        Ok(names)
    }

    /// The name that a domain-spec gives; without one, `domain`.
    async fn name(&mut self, spec: Option<&MacroString>, domain: &str) -> String {
        let Some(spec) = spec else { return domain.to_owned() };
        let validated = self.validated_for(spec, domain).await;
        spec.expand_domain(&self.values(domain, &validated))
    }

    /// `%{p}`, if it is asked for (RFC 7208 section 7.3).
    async fn validated_for(&mut self, text: &MacroString, domain: &str) -> String {
        if !text.wants_validated_name() {
            return String::new();
        }
        let names = self.validated_names(false).await.unwrap_or_default();
        let best = names
            .iter()
            .find(|name| name.eq_ignore_ascii_case(domain))
            .or_else(|| names.iter().find(|name| is_at_or_below(name, domain)))
            .or_else(|| names.first());
        best.map_or_else(|| "unknown".to_owned(), Clone::clone)
    }

    fn values<'v>(&'v self, domain: &'v str, validated: &'v str) -> Values<'v> {
        Values {
            local: self.local,
            sender_domain: self.domain,
            domain,
            ip: self.ip,
            helo: self.query.helo,
            validated,
            receiver: self.query.receiver,
            now: self.query.now,
        }
    }

    /// What the owner says to those it fails (RFC 7208 section 6.2). Whatever is wrong with it, it is left out.
    async fn explain(&mut self, exp: &MacroString, domain: &str) -> Option<String> {
        let target = self.name(Some(exp), domain).await;
        if !is_well_formed(&target) {
            return None;
        }
        let texts = texts(self.resolver, &target).await.ok()?;
        let [text] = texts.as_slice() else { return None };
        let text = str::from_utf8(text).ok().filter(|text| text.is_ascii())?;
        let text = MacroString::parse(text, Purpose::Explanation).ok()?;
        let validated = self.validated_for(&text, domain).await;
        let said = text.expand(&self.values(domain, &validated), EXPLANATION_OCTETS_MAX);
        // The sender's own words may be in it, and they need not be printable.
        let printable = said.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' });
        Some(printable.take(EXPLANATION_OCTETS_MAX).collect())
    }

    fn is_in_ip4(&self, network: Ipv4Addr, length: u8) -> bool {
        let IpAddr::V4(ip) = self.ip else { return false };
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        ip.to_bits() & mask == network.to_bits() & mask
    }

    fn is_in_ip6(&self, network: Ipv6Addr, length: u8) -> bool {
        let IpAddr::V6(ip) = self.ip else { return false };
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        ip.to_bits() & mask == network.to_bits() & mask
    }
}

fn without_record(domain: &str) -> Outcome {
    Outcome::bare(SpfResult::None, format!("{domain} has no SPF record"))
}

/// The one record among a domain's texts (RFC 7208 sections 4.4 and 4.5).
fn the_record<'r>(answer: &'r [DnsRecord], domain: &str) -> Step<Option<&'r [u8]>> {
    let mut records = answer.iter().filter_map(|record| match record {
        DnsRecord::Txt(text) if record::is_spf(text) => Some(text.as_slice()),
        _ => None,
    });
    match (records.next(), records.next()) {
        (first, None) => Ok(first),
        (_, Some(_)) => Err(Stop::Permanent(format!("{domain} has more than one SPF record"))),
    }
}

/// Names that DNS can't hold do not exist.
async fn lookup(resolver: &impl Resolver, name: &str, kind: RecordType) -> Answer {
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels = name.split('.').all(|label| (1..=LABEL_OCTETS_MAX).contains(&label.len()));
    if name.len() > NAME_OCTETS_MAX || !labels {
        return Err(LookupError::NoSuchName);
    }
    resolver.lookup(name, kind).await
}

/// A name of several labels, each of a right length (RFC 7208 section 4.3).
fn is_well_formed(domain: &str) -> bool {
    let name = domain.strip_suffix('.').unwrap_or(domain);
    let labels = name.split('.').all(|label| (1..=LABEL_OCTETS_MAX).contains(&label.len()));
    let literal = name.starts_with('[');
    labels && !literal && name.is_ascii() && name.contains('.') && name.len() <= NAME_OCTETS_MAX
}

fn is_at_or_below(name: &str, domain: &str) -> bool {
    let (name, domain) = (name.as_bytes(), domain.trim_end_matches('.').as_bytes());
    let Some(start) = name.len().checked_sub(domain.len()) else { return false };
    let (before, end) = name.split_at(start);
    end.eq_ignore_ascii_case(domain) && (before.is_empty() || before.ends_with(b"."))
}
