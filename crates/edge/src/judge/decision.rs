//! What is done with a message, of all that was found: it is delivered, goes to Junk, or is refused. Nothing is asked here
//! and no clock is seen.

#[cfg(test)]
mod tests;

use link::notification::{self, Form, Known};
use mail::{Envelope, Finding, Place, Reply, Sign, Verdict};
use mailauth::dkim::DkimResult;
use mailauth::dmarc::{DmarcResult, Flaw, Policy};
use mailauth::message::Authentication;
use mailauth::spf::SpfResult;

use super::{Circumstances, Ruling, with_explanation};
use crate::config::{DmarcPolicy, OnDnsFailure, PolicyConfig};
use crate::score::{self, Table};
use crate::visitor::Visitor;

/// The row of a `From` field that does not tell whose the message is.
const FROM_BROKEN: &str = "from-broken";

/// The rules by which a message is decided on.
pub(super) struct Rules<'a> {
    /// The points of each sign.
    pub(super) table: &'a Table,
    /// The policy that the operator has set.
    pub(super) policy: &'a PolicyConfig,
    /// This host's name.
    pub(super) authserv_id: &'a str,
}

/// What a message is as a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    /// Its reverse-path is not null: none.
    Letter,
    /// It has the form of a report by a program that delivers, and goes to an address that only mail from here carries.
    OfOurMail,
    /// Another one, or a message with the null reverse-path that is none.
    Other(Form),
}

impl Report {
    fn of(header: &[u8], around: &Circumstances<'_>) -> Self {
        if around.envelope.reverse_path.address().is_some() {
            return Self::Letter;
        }
        let form = Form::of(header);
        let ours = around.known == Known::BySignature && form.is_mailers_report();
        if ours { Self::OfOurMail } else { Self::Other(form) }
    }
}

impl Rules<'_> {
    /// The judgement of a message that has this header section and came over so many hosts.
    pub(super) fn decide(
        &self,
        found: &Authentication,
        header: &[u8],
        hops: u32,
        around: Circumstances<'_>,
    ) -> Ruling {
        let report = Report::of(header, &around);
        let mut signs = around.signs;
        signs.extend(self.message_signs(found, report));
        if self.policy.on_dns_failure == OnDnsFailure::Defer && is_unsure(found) {
            let text = "DNS does not answer for your domain now; try again later";
            return Ruling::Refuse(Reply::new(451, (4, 4, 3), text), signs);
        }
        let wish = self.wish(found);
        let refusal = match wish {
            Policy::Reject if report != Report::OfOurMail => self.refused_for_its_author(found, &signs),
            _ => None,
        };
        let refusal = refusal.or_else(|| self.refused_for_its_score(found, &signs));
        let junk = refusal.is_some() || wish != Policy::None || score::total(&signs) >= self.table.junk_from;
        // Who wants to reach the postmaster about a refusal must be able to (RFC 5321 section 4.5.1, RFC 2142).
        // A message for others as well is refused: else one recipient more would open every door.
        let recipients = &around.envelope.recipients;
        let reachable = recipients.iter().all(|recipient| notification::is_role(recipient.address.local()));
        match refusal {
            Some(reply) if !reachable => return Ruling::Refuse(reply, signs),
            _ => {}
        }
        let mut findings = found.findings();
        findings.insert(0, iprev(around.visitor, around.envelope));
        Ruling::Deliver(Verdict {
            hops,
            authserv_id: self.authserv_id.to_owned(),
            findings,
            signs,
            place: if junk { Place::Junk } else { Place::Inbox },
        })
    }

    fn message_signs(&self, found: &Authentication, report: Report) -> Vec<Sign> {
        let mut rows: Vec<(&str, String)> = Vec::new();
        let holds = found.dkim.iter().any(|signature| signature.result == DkimResult::Pass);
        if !found.dkim.is_empty() && !holds {
            let first = found.dkim.first().map_or("", |signature| signature.reason.as_str());
            rows.push(("dkim-fail", first.to_owned()));
        }
        match found.dmarc.result {
            DmarcResult::Pass => rows.push(("dmarc-pass", found.dmarc.domain.clone())),
            DmarcResult::Fail if found.vouched_by.is_none() => {
                rows.push(("dmarc-fail", found.dmarc.reason.clone()));
            }
            _ => {}
        }
        if let Some(flaw) = &found.dmarc.flaw
            && report != Report::OfOurMail
        {
            rows.push((FROM_BROKEN, flaw.to_string()));
        }
        if matches!(report, Report::Other(form) if !form.is_notification()) {
            rows.push(("forged-dsn", "no report, and not marked as automatic".to_owned()));
        }
        rows.into_iter().filter_map(|(row, detail)| self.table.sign(row, detail)).collect()
    }

    /// What the owner of the author's domain wants done, as far as it is heeded at all. Where nobody knows which author
    /// a program shows, it is what the strictest owner could want: such a message must not fare better than one that
    /// fails.
    fn wish(&self, found: &Authentication) -> Policy {
        if self.policy.dmarc == DmarcPolicy::Score {
            return Policy::None;
        }
        match (&found.dmarc.flaw, found.dmarc.result) {
            (Some(Flaw::Several | Flaw::Alike), _) => Policy::Reject,
            (_, DmarcResult::Fail) if found.vouched_by.is_none() => found.dmarc.applied,
            _ => Policy::None,
        }
    }

    /// The refusal of a message whose author's domain wants it refused, or whose author can't be told. The wish alone
    /// refuses nothing (RFC 9989 section 7.4), unless the operator goes by it; with evidence that is not the same fact
    /// again it does.
    fn refused_for_its_author(&self, found: &Authentication, signs: &[Sign]) -> Option<Reply> {
        let dmarc = &found.dmarc;
        let fails = dmarc.result == DmarcResult::Fail && dmarc.applied == Policy::Reject;
        // That nobody knows the author is no evidence beside itself.
        let beside = signs.iter().filter(|sign| fails || sign.name != FROM_BROKEN);
        let evidence = names(score::evidence_beside_dmarc(beside));
        let strict = self.policy.dmarc == DmarcPolicy::Strict;
        let why = match (&dmarc.flaw, evidence.is_empty()) {
            (_, true) if fails && strict => dmarc.reason.clone(),
            (_, true) => return None,
            (_, false) if fails => format!("{}; besides {evidence}", dmarc.reason),
            (None, false) => return None,
            (Some(flaw), false) => {
                let text = format!("It can't be told who wrote this message: {flaw}; besides {evidence}");
                return Some(Reply::new(550, (5, 7, 1), text));
            }
        };
        let text = format!("The DMARC policy of {} is to refuse this message: {why}", dmarc.domain);
        Some(Reply::new(550, (5, 7, 1), text))
    }

    fn refused_for_its_score(&self, found: &Authentication, signs: &[Sign]) -> Option<Reply> {
        if score::total(signs) < self.table.reject_from {
            return None;
        }
        let text = format!("The message is refused as probably unwanted: {}", names(signs));
        Some(Reply::new(554, (5, 7, 1), with_explanation(text, &found.spf)))
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

/// The signs that speak against it.
fn names<'a>(signs: impl IntoIterator<Item = &'a Sign>) -> String {
    let against = signs.into_iter().filter(|sign| sign.tenths > 0).map(|sign| sign.name.as_str());
    against.collect::<Vec<_>>().join(", ")
}
