//! What becomes of a message, by what was found.

use mail::{Recipient, ReversePath};
use mailauth::arc::{ArcResult, ArcVerdict};
use mailauth::dmarc::{Alignment, Dmarc};
use mailauth::spf::{Query, Spf};

use super::*;
use crate::config::ScoreConfig;

const LETTER: &str = "From: Ann <ann@author.example>\r\nSubject: x\r\n\r\n";

fn spf() -> Spf {
    let query = Query {
        ip: [192, 0, 2, 1].into(),
        helo: "mx.list.example",
        mail_from: "l@list.example",
        receiver: "",
        now: 0,
    };
    Spf { result: SpfResult::Pass, ..Spf::unanswered(&query) }
}

/// DMARC with this result; the owner wants this.
fn found(result: DmarcResult, applied: Policy, flaw: Option<Flaw>) -> Authentication {
    let dmarc = Dmarc {
        result,
        policy: applied,
        applied,
        alignment: Alignment::default(),
        domain: "author.example".to_owned(),
        organizational: "author.example".to_owned(),
        record_domain: None,
        reason: "neither SPF nor DKIM vouches for author.example".to_owned(),
        flaw,
    };
    let arc = ArcVerdict {
        result: ArcResult::None,
        reason: String::new(),
        temporary: false,
        oldest_pass: None,
        covers_from: false,
        sealers: Vec::new(),
    };
    Authentication { spf: spf(), dkim: Vec::new(), dmarc, arc, vouched_by: None }
}

fn rejected() -> Authentication {
    found(DmarcResult::Fail, Policy::Reject, None)
}

fn envelope(from: &str, to: &str) -> Envelope {
    let reverse_path = match from {
        "" => ReversePath::Null,
        address => ReversePath::Address(mail::Address::parse(address).unwrap()),
    };
    Envelope {
        reverse_path,
        recipients: vec![Recipient::from(mail::Address::parse(to).unwrap())],
        body: mail::BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        client: None,
    }
}

/// A message and who hands it in.
struct Case<'a> {
    policy: DmarcPolicy,
    client: &'a [&'a str],
    header: &'a str,
    from: &'a str,
    to: &'a str,
    known: Known,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            policy: DmarcPolicy::Enforce,
            client: &[],
            header: LETTER,
            from: "l@list.example",
            to: "bob@example.org",
            known: Known::Always,
        }
    }
}

/// `inbox`, `junk`, or the reply.
fn fate(found: &Authentication, case: &Case<'_>) -> String {
    let table = Table::new(&ScoreConfig::default());
    let policy = PolicyConfig { dmarc: case.policy, ..PolicyConfig::default() };
    let signs = case.client.iter().map(|row| match row.strip_prefix(score::LIST) {
        Some(_) => Sign { name: (*row).to_owned(), tenths: 30, detail: String::new() },
        None => table.sign(row, "").unwrap(),
    });
    let around = Circumstances {
        visitor: &Visitor::default(),
        signs: signs.collect(),
        envelope: &envelope(case.from, case.to),
        known: case.known,
    };
    let rules = Rules { table: &table, policy: &policy, authserv_id: "mx.example.org" };
    match rules.decide(found, case.header.as_bytes(), 1, around) {
        Ruling::Deliver(verdict) if verdict.place == Place::Inbox => "inbox".to_owned(),
        Ruling::Deliver(_) => "junk".to_owned(),
        Ruling::Refuse(reply, _) => reply.to_string(),
    }
}

/// Symptom: whatever a mailing list changed was refused when its author's domain publishes `p=reject`, and its readers
/// were unsubscribed for the bounces. Cause: the wish was carried out as it stands. Analysis: RFC 9989 section 7.4
/// forbids to refuse for it alone; what fails together with DMARC is no second reason.
/// Security lesson: DMARC `p=reject` carried out alone (RFC 7960, RFC 9989).
#[test]
fn a_wish_to_refuse_is_junk_and_with_other_evidence_a_refusal() {
    let start = "550 5.7.1 The DMARC policy of author.example is to refuse this message: neither SPF nor DKIM vouches";
    let fate = |client: &[&str]| fate(&rejected(), &Case { client, ..Case::default() });
    for client in [&[][..], &["spf-fail"], &["spf-softfail"], &["spf-error"], &["helo-unknown"]] {
        assert_eq!(fate(client), "junk", "{client:?}");
    }
    for client in [
        ["no-ptr"],
        ["ptr-mismatch"],
        ["pregreet"],
        ["early-talker"],
        ["helo-bare"],
        ["helo-ours"],
        ["list:bl.test"],
    ] {
        let reply = fate(&client);
        assert!(reply.starts_with(start) && reply.ends_with(&format!("; besides {}", client[0])), "{reply}");
    }
}

#[test]
fn strict_goes_by_the_wish_alone_and_score_not_at_all() {
    let fate = |found: &Authentication, policy| fate(found, &Case { policy, ..Case::default() });
    let said = "550 5.7.1 The DMARC policy of author.example is to refuse this message: \
        neither SPF nor DKIM vouches for author.example";
    assert_eq!(fate(&rejected(), DmarcPolicy::Strict), said);
    assert_eq!(fate(&rejected(), DmarcPolicy::Enforce), "junk");
    assert_eq!(fate(&rejected(), DmarcPolicy::Score), "inbox");
    let quarantined = found(DmarcResult::Fail, Policy::Quarantine, None);
    assert_eq!(fate(&quarantined, DmarcPolicy::Strict), "junk");
    assert_eq!(fate(&quarantined, DmarcPolicy::Score), "inbox");
    assert_eq!(fate(&found(DmarcResult::Fail, Policy::None, None), DmarcPolicy::Strict), "inbox");
    let vouched = Authentication { vouched_by: Some("list.example".to_owned()), ..rejected() };
    assert_eq!(fate(&vouched, DmarcPolicy::Strict), "inbox");
}

#[test]
fn quarantine_is_junk_whatever_else_is_there() {
    let quarantined = found(DmarcResult::Fail, Policy::Quarantine, None);
    assert_eq!(fate(&quarantined, &Case { client: &["no-ptr"], ..Case::default() }), "junk");
}

#[test]
fn a_message_to_the_postmaster_alone_is_never_refused_for_its_author() {
    let case = Case { client: &["no-ptr"], to: "postmaster@example.org", ..Case::default() };
    assert_eq!(fate(&rejected(), &case), "junk");
}

/// Symptom: a message with two `From` fields had fewer points than one whose domain fails, and `p=none` beside another
/// author made it none at all. Cause: the flaw and the failure were one result, of which one was counted. Analysis: which
/// author is shown is not known, so it is treated as if the strictest owner had been asked.
/// Security lesson: Composition Kills (USENIX Security 2020).
#[test]
fn an_author_who_can_not_be_told_fares_no_better_than_one_who_fails() {
    for flaw in [Flaw::Several, Flaw::Alike] {
        for (result, applied) in [
            (DmarcResult::PermError, Policy::None),
            (DmarcResult::Fail, Policy::None),
            (DmarcResult::TempError, Policy::None),
        ] {
            let unclear = found(result, applied, Some(flaw.clone()));
            let fate = |client: &[&str]| fate(&unclear, &Case { client, ..Case::default() });
            assert_eq!(fate(&[]), "junk");
            let reply = fate(&["no-ptr"]);
            assert!(reply.starts_with("550 5.7.1 It can't be told who wrote this message: "), "{reply}");
            assert!(reply.ends_with("; besides no-ptr"), "{reply}");
        }
        let reply = fate(&found(DmarcResult::Fail, Policy::Reject, Some(flaw)), &Case::default());
        assert!(reply.ends_with("; besides from-broken"), "{reply}");
    }
    let table = Table::new(&ScoreConfig::default());
    let policy = PolicyConfig::default();
    let rules = Rules { table: &table, policy: &policy, authserv_id: "" };
    let sum = |found: &Authentication| score::total(&rules.message_signs(found, Report::Letter));
    for result in [DmarcResult::PermError, DmarcResult::Fail, DmarcResult::TempError] {
        assert!(sum(&found(result, Policy::None, Some(Flaw::Several))) >= sum(&rejected()), "{result}");
    }
}

/// Symptom: 17 of 200 reports of our own mail went to Junk. Cause: `From: MAILER-DAEMON <>` and its like name no author,
/// and old forms are no notification by RFC 3464 or RFC 3834. Analysis: they answer to an address that only mail from
/// here carries; what they look like is their system's matter.
#[test]
fn a_report_of_our_own_mail_needs_no_author_and_no_modern_form() {
    let nobody = found(DmarcResult::PermError, Policy::None, Some(Flaw::NoDomain(String::new())));
    let header = "From: MAILER-DAEMON <>\r\nSubject: Returned mail\r\n\r\n";
    let case = |known, header| Case { header, from: "", known, ..Case::default() };
    assert_eq!(fate(&nobody, &case(Known::BySignature, header)), "inbox");
    assert_eq!(fate(&nobody, &case(Known::Always, header)), "junk");
    let letter = "From: The Bank <>\r\nSubject: Returned mail\r\n\r\n";
    assert_eq!(fate(&nobody, &case(Known::BySignature, letter)), "junk", "a tag alone proves nothing");
    let not_null = Case { header, known: Known::BySignature, ..Case::default() };
    assert_eq!(fate(&nobody, &not_null), "junk", "a report has the null reverse-path");
}

#[test]
fn a_report_of_our_own_mail_that_fails_dmarc_is_junk_and_never_refused() {
    let header = "From: postmaster@author.example\r\nContent-Type: multipart/report; report-type=delivery-status\r\n\r\n";
    for policy in [DmarcPolicy::Enforce, DmarcPolicy::Strict] {
        let case = |known| Case { policy, client: &["no-ptr"], header, from: "", known, ..Case::default() };
        assert_eq!(fate(&rejected(), &case(Known::BySignature)), "junk");
        assert!(fate(&rejected(), &case(Known::Always)).starts_with("550"));
    }
}
