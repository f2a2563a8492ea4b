//! A message is judged while it comes in: its header section is held until it is whole, then its body is
//! hashed as it passes, and at its end everything that was found becomes one verdict.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mail::{Envelope, Finding, Place, Reply, Sign, Verdict, header};
use mailauth::dkim::{BodyHashes, DkimResult, Keys};
use mailauth::dmarc::{self, DmarcResult, Policy};
use mailauth::message::{Authentication, Header};
use mailauth::results;
use mailauth::spf::{Query, Spf, SpfResult, check as check_spf};
use tokio_util::task::AbortOnDropHandle;

use super::score::{self, Table};
use super::visitor::{Visitor, Visitors};
use crate::config::{DmarcPolicy, OnDnsFailure, PolicyConfig};
use crate::header_section::{self, Gathered};
use crate::notification;
use crate::system;

/// How long all questions of one message may take together; what is not answered by then counts as no answer
/// (RFC 7208 section 4.6.4 asks for at least 20 s).
const PATIENCE: Duration = Duration::from_secs(20);

/// What judging needs, shared by all sessions.
pub struct Judges {
    /// DNS, points, this host's name.
    pub visitors: Arc<Visitors>,
    /// What the operator wants.
    pub policy: PolicyConfig,
}

/// One message being judged.
pub struct Examination {
    held: Vec<u8>,
    header: Option<Arc<Header>>,
    hashes: BodyHashes,
    keys: Option<AbortOnDropHandle<(Keys, Keys)>>,
}

/// What becomes of a piece of a message.
pub enum Taken {
    /// It is held back: the header section is not whole yet.
    Held,
    /// This is to be handed on.
    Pass(Vec<Bytes>),
    /// The header section is too large.
    TooLarge,
}

/// What is to be done with a message.
pub enum Judgement {
    /// It is delivered.
    Deliver(Verdict),
    /// It is refused, because of these.
    Refuse(Reply, Vec<Sign>),
}

impl Judges {
    fn table(&self) -> &Table {
        &self.visitors.table
    }

    /// Begins to check who may send for the reverse-path; dropped, it asks no further.
    pub fn begin_spf(&self, client: &mail::Client, mail_from: String) -> AbortOnDropHandle<Spf> {
        let (questions, receiver) = (self.visitors.questions.clone(), self.visitors.hostname.clone());
        let (ip, helo) = (client.ip, client.helo.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let query = Query {
                ip,
                helo: &helo,
                mail_from: &mail_from,
                receiver: &receiver,
                now: system::now().as_secs(),
            };
            match tokio::time::timeout(PATIENCE, check_spf(&questions, &query)).await {
                Ok(spf) => spf,
                Err(_) => Spf::unanswered(&query),
            }
        }))
    }

    /// Signs of an SPF result.
    pub fn spf_signs(&self, spf: &Spf) -> Vec<Sign> {
        let row = match spf.result {
            SpfResult::Fail => "spf-fail",
            SpfResult::SoftFail => "spf-softfail",
            SpfResult::TempError | SpfResult::PermError => "spf-error",
            SpfResult::None | SpfResult::Neutral | SpfResult::Pass => return Vec::new(),
        };
        self.table().sign(row, format!("{}: {}", spf.domain, spf.reason)).into_iter().collect()
    }
}

impl Examination {
    /// For a new message.
    pub fn new() -> Self {
        Self { held: Vec::new(), header: None, hashes: BodyHashes::default(), keys: None }
    }

    /// Octets that are held back or kept.
    pub fn held(&self) -> usize {
        self.held.len().max(self.header.as_ref().map_or(0, |header| header.raw().len()))
    }

    /// Takes a piece.
    pub fn take(&mut self, judges: &Judges, piece: Bytes) -> Taken {
        if self.header.is_some() {
            self.hashes.update(&piece);
            return Taken::Pass(vec![piece]);
        }
        match header_section::gather(&mut self.held, &piece) {
            Gathered::Whole(body) => {
                let mut pieces = vec![self.close_header(judges)];
                if !body.is_empty() {
                    self.hashes.update(&body);
                    pieces.push(body);
                }
                Taken::Pass(pieces)
            }
            Gathered::Part => Taken::Held,
            Gathered::TooLarge => Taken::TooLarge,
        }
    }

    /// The header section is whole: it is read, DNS is asked for the keys, and it is given on without the
    /// results that claim to be ours.
    fn close_header(&mut self, judges: &Judges) -> Bytes {
        let raw = std::mem::take(&mut self.held);
        let passed_on = Bytes::from(header_section::without_results(&raw, |results| {
            results::claims(results, &judges.visitors.hostname)
        }));
        let header = Arc::new(Header::parse(raw));
        self.hashes = header.body_hashes();
        let (asking, questions) = (Arc::clone(&header), judges.visitors.questions.clone());
        self.keys = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let (dkim, arc, ()) = tokio::join!(
                asking.dkim_keys(&questions),
                asking.arc_keys(&questions),
                dmarc::ask_ahead(&questions, asking.raw()),
            );
            (dkim, arc)
        })));
        self.header = Some(header);
        passed_on
    }

    /// The message is whole. Gives what is still to be handed on, if it had no body.
    pub fn end(&mut self, judges: &Judges) -> Option<Bytes> {
        if self.header.is_some() { None } else { Some(self.close_header(judges)) }
    }

    /// `Received` fields.
    pub fn hops(&self) -> u32 {
        self.header.as_ref().map_or(0, |header| header_section::hops(header.raw()))
    }

    /// The header section, after [`Examination::end`].
    pub fn header(&self) -> &[u8] {
        self.header.as_ref().map_or(&[], |header| header.raw())
    }

    /// The verdict, after [`Examination::end`].
    pub async fn judge(
        self,
        judges: &Judges,
        spf: Spf,
        visitor: &Visitor,
        client: &[Sign],
        envelope: &Envelope,
    ) -> Judgement {
        let hops = self.hops();
        let Some(header) = self.header else {
            return Judgement::Deliver(Verdict { hops, ..Verdict::default() });
        };
        let keys = match self.keys {
            Some(asking) => asking.await.unwrap_or_default(),
            None => Default::default(),
        };
        let hashes = self.hashes.finish();
        let trusted = &judges.policy.trusted_sealers;
        let questions = &judges.visitors.questions;
        let found =
            header.authenticate(questions, &hashes, (&keys.0, &keys.1), spf, system::now(), trusted).await;
        let mut signs = client.to_vec();
        signs.extend(judges.message_signs(&found, header.raw(), envelope));
        judges.decide(&found, signs, visitor, envelope, hops)
    }
}

impl Judges {
    fn message_signs(&self, found: &Authentication, header: &[u8], envelope: &Envelope) -> Vec<Sign> {
        let mut rows: Vec<(&str, String)> = Vec::new();
        let holds = found.dkim.iter().any(|signature| signature.result == DkimResult::Pass);
        if !found.dkim.is_empty() && !holds {
            let first = found.dkim.first().map_or("", |signature| signature.reason.as_str());
            rows.push(("dkim-fail", first.to_owned()));
        }
        match found.dmarc.result {
            DmarcResult::Pass => rows.push(("dmarc-pass", found.dmarc.domain.clone())),
            DmarcResult::Fail if found.vouched_by.is_none() => {
                rows.push(("dmarc-fail", found.dmarc.reason.clone()))
            }
            DmarcResult::PermError if found.dmarc.domain.is_empty() => {
                rows.push(("from-broken", found.dmarc.reason.clone()));
            }
            _ => {}
        }
        if envelope.reverse_path.address().is_none() && !is_notification(header) {
            rows.push(("forged-dsn", "no report, and not marked as automatic".to_owned()));
        }
        rows.into_iter().filter_map(|(row, detail)| self.table().sign(row, detail)).collect()
    }

    fn decide(
        &self,
        found: &Authentication,
        signs: Vec<Sign>,
        visitor: &Visitor,
        envelope: &Envelope,
        hops: u32,
    ) -> Judgement {
        let applied = match found.dmarc.result {
            DmarcResult::Fail if found.vouched_by.is_none() && self.policy.dmarc == DmarcPolicy::Enforce => {
                found.dmarc.applied
            }
            _ => Policy::None,
        };
        let total = score::total(&signs);
        if self.policy.on_dns_failure == OnDnsFailure::Defer && is_unsure(found) {
            let text = "DNS does not answer for your domain now; try again later";
            return Judgement::Refuse(Reply::new(451, (4, 4, 3), text), signs);
        }
        let refusal = if applied == Policy::Reject {
            Some(Reply::new(
                550,
                (5, 7, 1),
                format!(
                    "The DMARC policy of {} is to refuse this message: {}",
                    found.dmarc.domain, found.dmarc.reason
                ),
            ))
        } else if total >= self.table().reject_from {
            let text = format!("The message is refused as probably unwanted: {}", names(&signs));
            Some(Reply::new(554, (5, 7, 1), with_explanation(text, &found.spf)))
        } else {
            None
        };
        // Who wants to reach the postmaster about a refusal must be able to (RFC 5321 section 4.5.1, RFC 2142).
        // A message for others as well is refused: else one recipient more would open every door.
        let reachable =
            envelope.recipients.iter().all(|recipient| notification::is_role(recipient.address.local()));
        match refusal {
            Some(reply) if !reachable => return Judgement::Refuse(reply, signs),
            _ => {}
        }
        let junk = refusal.is_some() || applied == Policy::Quarantine || total >= self.table().junk_from;
        let mut findings = found.findings();
        findings.insert(0, iprev(visitor, envelope));
        Judgement::Deliver(Verdict {
            hops,
            authserv_id: self.visitors.hostname.clone(),
            findings,
            signs,
            place: if junk { Place::Junk } else { Place::Inbox },
        })
    }
}

/// Whether DNS kept back an answer that the verdict needed.
fn is_unsure(found: &Authentication) -> bool {
    let dkim = found.dkim.iter().any(|signature| signature.result == DkimResult::TempError);
    found.spf.result == SpfResult::TempError || dkim || found.dmarc.result == DmarcResult::TempError
}

fn iprev(visitor: &Visitor, envelope: &Envelope) -> Finding {
    let ip = envelope.client.as_ref().map_or_else(String::new, |client| client.ip.to_string());
    let row = |name: &str| visitor.signs.iter().any(|sign| sign.name == name);
    let result = match &visitor.name {
        Some(_) => "pass",
        None if row("no-ptr") || row("ptr-mismatch") => "fail",
        None => "temperror",
    };
    let finding = Finding::new("iprev", result).with("policy.iprev", &ip);
    match &visitor.name {
        Some(name) => finding.with("policy.ptr", name),
        None => finding,
    }
}

fn names(signs: &[Sign]) -> String {
    let against: Vec<&str> =
        signs.iter().filter(|sign| sign.tenths > 0).map(|sign| sign.name.as_str()).collect();
    against.join(", ")
}

/// The text of a refusal, and what the owner of the reverse-path's domain says to those who may not send for it.
/// Whose words they are is told with them (RFC 7208 section 8.4).
pub fn with_explanation(text: String, spf: &Spf) -> String {
    match &spf.explanation {
        Some(said) => format!("{text}\n{} explains: {said}", spf.domain),
        None => text,
    }
}

/// Whether a message with the null reverse-path is one that may have it: a report (RFC 6522), marked as
/// automatic (RFC 3834), or a report in a form of its own.
fn is_notification(section: &[u8]) -> bool {
    let report = header::find(section, "Content-Type")
        .is_some_and(|field| field.unfolded().to_ascii_lowercase().starts_with("multipart/report"));
    let automatic = header::find(section, "Auto-Submitted")
        .is_some_and(|field| !field.unfolded().to_ascii_lowercase().starts_with("no"));
    report || automatic || notification::is_failure_notice(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_whose_explanation_it_passes_on() {
        let query =
            Query { ip: [192, 0, 2, 1].into(), helo: "", mail_from: "a@b.example", receiver: "", now: 0 };
        let silent = Spf { domain: "b.example".to_owned(), ..Spf::unanswered(&query) };
        assert_eq!(with_explanation("Refused".to_owned(), &silent), "Refused");
        let explained = Spf { explanation: Some("Ask us".to_owned()), ..silent };
        assert_eq!(with_explanation("Refused".to_owned(), &explained), "Refused\nb.example explains: Ask us");
    }

    #[test]
    fn reports_and_automatic_replies_may_have_the_null_reverse_path() {
        // Symptom: two thirds of what it takes to be junk for every report that OpenSMTPD writes. Cause: it calls them
        // multipart/mixed and marks them in no way but by their author.
        let opensmtpd = "From: Mailer Daemon <MAILER-DAEMON@mx.example.net>\r\n\
            Content-Type: multipart/mixed;boundary=\"1/mx.example.net\"\r\n";
        let report = "Content-Type: multipart/report; x=y\r\n";
        for header in [report, "Auto-Submitted: auto-replied\r\n", opensmtpd] {
            assert!(is_notification(header.as_bytes()), "{header}");
        }
        for header in ["Subject: x\r\n", "Content-Type: text/plain\r\nAuto-Submitted: no\r\n"] {
            assert!(!is_notification(header.as_bytes()), "{header}");
        }
    }
}
