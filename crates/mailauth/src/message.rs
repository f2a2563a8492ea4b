//! All of it for one message: who vouches for it, and what that means for its author's domain.

use mail::header::{self, Field};
use mail::{Finding, UnixTime};
use serde::Serialize;

use crate::arc::{ArcResult, ArcVerdict, Chain};
use crate::dkim::fields::HeaderFields;
use crate::dkim::{BodyHashes, DkimResult, DkimVerdict, FinishedHashes, Keys, Signatures};
use crate::dmarc::{self, Authors, Dmarc, DmarcResult, Vouching};
use crate::dns::{Answers, Resolver};
use crate::spf::{Identity, Spf, SpfResult};

/// A message's header section, read once for everything that needs it.
#[derive(Debug, Clone)]
pub struct Header {
    raw: Vec<u8>,
    signatures: Signatures,
    chain: Chain,
    authors: Authors,
    hops: u32,
}

/// What DNS says about a header section: keys and policies, as far as they can be asked for before the body is there.
#[derive(Debug, Default)]
pub struct Known {
    dkim: Keys,
    arc: Keys,
    policies: Answers,
}

impl Header {
    /// Reads a header section, with or without the empty line at its end. The caller bounds it.
    #[must_use]
    pub fn parse(raw: Vec<u8>) -> Self {
        let all: Vec<Field<'_>> = header::look_alikes(&raw).collect();
        let fields = || all.iter().filter(|field| !field.is_only_alike()).copied();
        let signatures = Signatures::of(fields());
        let chain = Chain::of(fields());
        let authors = Authors::among(all.iter().copied());
        let hops = u32::try_from(fields().filter(|field| field.is("Received")).count()).unwrap_or(u32::MAX);
        Self { raw, signatures, chain, authors, hops }
    }

    /// Its `Received` fields: how many hosts it has passed.
    #[must_use]
    pub const fn hops(&self) -> u32 {
        self.hops
    }

    /// The header section as it came.
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Hashes of all body forms that signatures and chain are over. The body is fed to them, in order.
    #[must_use]
    pub fn body_hashes(&self) -> BodyHashes {
        self.signatures.body_hashes().and(self.chain.body_hashes())
    }

    /// Asks for the keys of the signatures and of the chain, and for the policies of the authors' domains, all at once.
    pub async fn ask(&self, resolver: &impl Resolver) -> Known {
        let marks = || self.signatures.marks().chain(self.chain.marks());
        let names = marks().map(|mark| mark.key_name()).chain(self.authors.questions()).collect();
        let answers = Answers::ask(names, resolver).await;
        let dkim = Keys::among(self.signatures.marks(), &answers);
        let arc = Keys::among(self.chain.marks(), &answers);
        Known { dkim, arc, policies: answers }
    }

    /// The verdicts. `known` comes from [`Header::ask`]; what could not be asked before is asked now. `trusted_sealers`
    /// are domains in lower case whose ARC chain may stand for DMARC.
    pub async fn authenticate(
        &self,
        resolver: &impl Resolver,
        body: &FinishedHashes,
        known: &Known,
        spf: Spf,
        now: UnixTime,
        trusted_sealers: &[String],
    ) -> Authentication {
        let (dkim, arc) = self.verify(body, known, now);
        let signers: Vec<&str> = dkim
            .iter()
            .filter(|signature| signature.result == DkimResult::Pass)
            .map(|signature| signature.domain.as_str())
            .collect();
        let unsure = spf.result == SpfResult::TempError
            || dkim.iter().any(|signature| signature.result == DkimResult::TempError);
        let vouching = Vouching {
            spf: (spf.result == SpfResult::Pass).then_some(spf.domain.as_str()),
            dkim: &signers,
            unsure,
        };
        let dmarc = dmarc::check_authors(resolver, &self.authors, &known.policies, vouching).await;
        let vouched_by = match (dmarc.result, arc.result) {
            (DmarcResult::Fail, ArcResult::Pass) if arc.covers_from => {
                self.trusted_sealer(&arc.sealers, trusted_sealers)
            }
            _ => None,
        };
        Authentication { spf, dkim, dmarc, arc, vouched_by }
    }

    /// DKIM and ARC. The fields are sorted once for both, and for a message that has neither not at all.
    fn verify(&self, body: &FinishedHashes, known: &Known, now: UnixTime) -> (Vec<DkimVerdict>, ArcVerdict) {
        let wanted = if self.signatures.is_empty() && self.chain.is_empty() { &[] } else { &self.raw[..] };
        let fields = HeaderFields::new(wanted);
        let dkim = self.signatures.verify_in(&fields, body, &known.dkim, now);
        (dkim, self.chain.verify_in(&fields, body, &known.arc, now))
    }

    /// The trusted host that saw DMARC pass before others changed the message: everybody who sealed it since
    /// is trusted as well (RFC 8617 section 7.2).
    fn trusted_sealer(&self, sealers: &[String], trusted: &[String]) -> Option<String> {
        let is_trusted = |sealer: &String| {
            trusted.iter().any(|known| {
                sealer.strip_suffix(known.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            })
        };
        let mut found = None;
        for (place, sealer) in sealers.iter().enumerate().rev().take_while(|(_, sealer)| is_trusted(sealer)) {
            if self.saw_dmarc_pass(place + 1) {
                found = Some(sealer.clone());
            }
        }
        found
    }

    /// Whether the ARC-Authentication-Results of an instance say that DMARC passed.
    fn saw_dmarc_pass(&self, instance: usize) -> bool {
        let fields = header::fields(&self.raw).filter(|field| field.is("ARC-Authentication-Results"));
        let mut results = fields.filter_map(|field| {
            let text = field.unfolded();
            let (number, results) = text.split_once(';')?;
            let (name, number) = number.split_once('=')?;
            let is_it = name.trim() == "i" && number.trim().parse() == Ok(instance);
            is_it.then(|| results.to_ascii_lowercase())
        });
        results.next().is_some_and(|results| {
            // Behind the sealer's name, each result is a part of its own.
            results.split(';').skip(1).any(|part| {
                let part: String = part.split_whitespace().collect();
                part.starts_with("dmarc=pass")
            })
        })
    }
}

/// What is known of a message's origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Authentication {
    /// Whether the client may send for the reverse-path.
    pub spf: Spf,
    /// Each signature, from the top.
    pub dkim: Vec<DkimVerdict>,
    /// What that means for the author's domain.
    pub dmarc: Dmarc,
    /// Whether those who handled it before have sealed what they saw.
    pub arc: ArcVerdict,
    /// DMARC failed, and this trusted host has sealed that it had passed when it got there.
    pub vouched_by: Option<String>,
}

impl Authentication {
    /// The same as results for `Authentication-Results` (RFC 8601 section 2.7).
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let property = match self.spf.identity {
            Identity::MailFrom => "smtp.mailfrom",
            Identity::Helo => "smtp.helo",
        };
        let spf = Finding::new("spf", self.spf.result.as_str()).with(property, &self.spf.domain);
        let mut findings = vec![spf];
        findings.extend(self.dkim.iter().map(dkim_finding));
        if self.dkim.is_empty() {
            findings.push(Finding::new("dkim", "none"));
        }
        let mut dmarc = Finding::new("dmarc", self.dmarc.result.as_str())
            .with("header.from", &self.dmarc.domain)
            .with("policy.dmarc", self.dmarc.policy.as_str());
        if let Some(sealer) = &self.vouched_by {
            dmarc = dmarc.because(&format!("{sealer} has sealed that it had passed"));
        }
        findings.push(dmarc);
        if self.arc.result != ArcResult::None {
            let last = self.arc.sealers.last().map_or("", String::as_str);
            let arc =
                Finding::new("arc", self.arc.result.as_str()).with("header.oldest-pass", &self.oldest_pass());
            let arc = arc.with("arc.chain", last);
            findings.push(if self.arc.reason.is_empty() { arc } else { arc.because(&self.arc.reason) });
        }
        findings
    }

    fn oldest_pass(&self) -> String {
        self.arc.oldest_pass.map_or_else(String::new, |instance| instance.to_string())
    }
}

fn dkim_finding(signature: &DkimVerdict) -> Finding {
    let algorithm = signature.algorithm.map_or("", |algorithm| algorithm.as_str());
    let finding = Finding::new("dkim", signature.result.as_str())
        .with("header.d", &signature.domain)
        .with("header.s", &signature.selector)
        .with("header.a", algorithm)
        .with("header.b", &signature.start);
    if signature.reason.is_empty() { finding } else { finding.because(&signature.reason) }
}
