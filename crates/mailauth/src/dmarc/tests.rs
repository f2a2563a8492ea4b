//! Records, walks, alignment: RFC 9989's rules, one by one.

use super::*;
use crate::dns::Record as Dns;
use crate::dns::zone::Zone;

async fn dmarc(zone: &Zone, from: &str, spf: Option<&str>, dkim: &[&str]) -> Dmarc {
    let header = format!("Subject: x\r\nFrom: Bob <bob@{from}>\r\n\r\n");
    check(zone, header.as_bytes(), Vouching { spf, dkim, unsure: false }).await
}

fn at(domain: &str, record: &str) -> Zone {
    Zone::default().txt(&format!("_dmarc.{domain}"), record)
}

#[tokio::test]
async fn aligned_domains_pass_and_others_fail() {
    let zone = at("example.com", "v=DMARC1; p=reject");
    let cases: [(Option<&str>, &[&str], DmarcResult); 6] = [
        (Some("example.com"), &[], DmarcResult::Pass),
        (Some("bounce.example.com"), &[], DmarcResult::Pass),
        (None, &["other.example", "mail.Example.com"], DmarcResult::Pass),
        (Some("other.example"), &["notexample.com"], DmarcResult::Fail),
        (Some("com"), &[], DmarcResult::Fail),
        (None, &[], DmarcResult::Fail),
    ];
    for (spf, dkim, wanted) in cases {
        let found = dmarc(&zone, "example.com", spf, dkim).await;
        assert_eq!((found.result, found.policy), (wanted, Policy::Reject), "{spf:?} {dkim:?}");
    }
    assert_eq!(dmarc(&zone, "none.example", Some("none.example"), &[]).await.result, DmarcResult::None);
}

#[tokio::test]
async fn strict_alignment_wants_the_same_domain() {
    let zone = at("example.com", "v=DMARC1; p=reject; adkim=s; aspf=s");
    assert_eq!(
        dmarc(&zone, "example.com", Some("b.example.com"), &["c.example.com"]).await.result,
        DmarcResult::Fail
    );
    let found = dmarc(&zone, "example.com", Some("b.example.com"), &["example.com"]).await;
    assert_eq!(found.alignment, Alignment { spf: false, dkim: true });
}

#[tokio::test]
async fn subdomains_have_a_policy_of_their_own_and_missing_ones_another() {
    let zone = at("example.com", "v=DMARC1; p=none; sp=quarantine; np=reject")
        .with("there.example.com", Dns::A("192.0.2.1".parse().unwrap()))
        .txt("text-only.example.com", "x");
    assert_eq!(dmarc(&zone, "example.com", None, &[]).await.policy, Policy::None);
    assert_eq!(dmarc(&zone, "there.example.com", None, &[]).await.policy, Policy::Quarantine);
    assert_eq!(dmarc(&zone, "text-only.example.com", None, &[]).await.policy, Policy::Quarantine);
    assert_eq!(dmarc(&zone, "missing.example.com", None, &[]).await.policy, Policy::Reject);
    let plain = at("example.com", "v=DMARC1; p=reject");
    assert_eq!(dmarc(&plain, "missing.example.com", None, &[]).await.policy, Policy::Reject);
}

#[tokio::test]
async fn who_only_tries_gets_one_step_less() {
    for (policy, applied) in
        [("reject", Policy::Quarantine), ("quarantine", Policy::None), ("none", Policy::None)]
    {
        let zone = at("example.com", &format!("v=DMARC1; p={policy}; t=y"));
        let found = dmarc(&zone, "example.com", None, &[]).await;
        assert_eq!((found.policy.as_str(), found.applied), (policy, applied));
    }
}

/// RFC 9989 has taken `pct=` away; `t=y` stands for what `pct=0` was mostly for.
#[tokio::test]
async fn a_share_of_the_mail_is_not_heeded() {
    for percent in ["0", "1", "100", "x"] {
        let zone = at("example.com", &format!("v=DMARC1; p=reject; pct={percent}"));
        let found = dmarc(&zone, "example.com", None, &[]).await;
        assert_eq!((found.result, found.applied), (DmarcResult::Fail, Policy::Reject), "pct={percent}");
    }
}

#[tokio::test]
async fn the_walk_ends_at_psd_and_else_takes_the_highest_record() {
    // The highest record is the organizational domain.
    let zone = at("example.com", "v=DMARC1; p=reject").txt("_dmarc.a.example.com", "v=DMARC1; p=none");
    let found = dmarc(&zone, "b.a.example.com", Some("c.example.com"), &[]).await;
    assert_eq!(found.organizational, "example.com");
    assert_eq!((found.result, found.record_domain.as_deref()), (DmarcResult::Pass, Some("example.com")));
    // psd=n makes one below it.
    let zone = at("example.com", "v=DMARC1; p=reject").txt("_dmarc.a.example.com", "v=DMARC1; p=none; psd=n");
    let found = dmarc(&zone, "b.a.example.com", Some("c.example.com"), &[]).await;
    assert_eq!((found.organizational.as_str(), found.result), ("a.example.com", DmarcResult::Fail));
    // psd=y makes the domain one label below an organizational one.
    let zone = at("gov.example", "v=DMARC1; p=reject; psd=y");
    let found = dmarc(&zone, "x.agency.gov.example", Some("y.agency.gov.example"), &[]).await;
    assert_eq!((found.organizational.as_str(), found.result), ("agency.gov.example", DmarcResult::Pass));
    assert_eq!(found.record_domain.as_deref(), Some("gov.example"));
    let found = dmarc(&zone, "agency.gov.example", Some("other.gov.example"), &[]).await;
    assert_eq!(found.result, DmarcResult::Fail);
    // A suffix that sends mail itself.
    let found = dmarc(&zone, "gov.example", Some("gov.example"), &[]).await;
    assert_eq!((found.organizational.as_str(), found.result), ("gov.example", DmarcResult::Pass));
}

#[tokio::test]
async fn long_names_are_walked_in_eight_questions() {
    let journal = crate::dns::Journal::new(at("j.example.com", "v=DMARC1; p=reject"));
    let found =
        check(&journal, b"From: x@a.b.c.d.e.f.g.h.i.j.example.com\r\n\r\n", Vouching::default()).await;
    assert_eq!(found.record_domain.as_deref(), Some("j.example.com"));
    let names: Vec<String> = journal.asked().into_iter().map(|asked| asked.name).collect();
    assert_eq!(
        names,
        [
            "_dmarc.a.b.c.d.e.f.g.h.i.j.example.com",
            "_dmarc.f.g.h.i.j.example.com",
            "_dmarc.g.h.i.j.example.com",
            "_dmarc.h.i.j.example.com",
            "_dmarc.i.j.example.com",
            "_dmarc.j.example.com",
            "_dmarc.example.com",
            "_dmarc.com",
        ]
    );
}

#[tokio::test]
async fn records_that_can_not_be_used() {
    let cases = [
        ("v=DMARC1; p=bogus", DmarcResult::PermError),
        ("v=DMARC1", DmarcResult::PermError),
        ("v=DMARC1; p=reject; sp=bogus; rua=mailto:a@example.com", DmarcResult::Fail),
        ("v=DMARC1; rua=mailto:a@example.com", DmarcResult::Fail),
        ("v=dmarc1; p=reject", DmarcResult::None),
        ("p=reject; v=DMARC1", DmarcResult::None),
        ("v=DMARC10; p=reject", DmarcResult::None),
        ("v = DMARC1 ;p = Reject ;;unknown=1;", DmarcResult::Fail),
    ];
    for (record, wanted) in cases {
        assert_eq!(
            dmarc(&at("example.com", record), "example.com", None, &[]).await.result,
            wanted,
            "{record}"
        );
    }
    let found =
        dmarc(&at("example.com", "v=DMARC1; p=bogus; rua=mailto:a@b.example"), "example.com", None, &[])
            .await;
    assert_eq!(found.policy, Policy::None);
    let two = at("example.com", "v=DMARC1; p=reject").txt("_dmarc.example.com", "v=DMARC1; p=none");
    assert_eq!(dmarc(&two, "example.com", None, &[]).await.result, DmarcResult::None);
}

#[tokio::test]
async fn dns_without_an_answer_is_a_temporary_error() {
    let silent = at("example.com", "v=DMARC1; p=reject").silent("_dmarc.b.example.com");
    assert_eq!(dmarc(&silent, "b.example.com", None, &[]).await.result, DmarcResult::TempError);
    let unsure = Vouching { unsure: true, ..Vouching::default() };
    let zone = at("example.com", "v=DMARC1; p=reject");
    assert_eq!(check(&zone, b"From: a@example.com\r\n\r\n", unsure).await.result, DmarcResult::TempError);
}

#[tokio::test]
async fn a_from_field_that_names_no_one_or_too_many() {
    let zone = at("example.com", "v=DMARC1; p=reject").txt("_dmarc.other.example", "v=DMARC1; p=none");
    let cases = [
        ("Subject: x\r\n\r\n", DmarcResult::PermError),
        ("From: a@none.example\r\nFrom: b@none.example\r\n\r\n", DmarcResult::PermError),
        ("From: a@other.example\r\nFrom: b@other.example\r\n\r\n", DmarcResult::PermError),
        ("From: nobody\r\n\r\n", DmarcResult::PermError),
        ("From: a@example.com, b@other.example\r\n\r\n", DmarcResult::Fail),
        ("From: a@x.1, a@x.2, a@x.3, a@x.4, a@x.5, a@x.6\r\n\r\n", DmarcResult::PermError),
        ("From: \"a@other.example\" <b@EXAMPLE.com>\r\n\r\n", DmarcResult::Fail),
    ];
    for (header, wanted) in cases {
        let found =
            check(&zone, header.as_bytes(), Vouching { spf: Some("other.example"), ..Vouching::default() })
                .await;
        assert_eq!(found.result, wanted, "{header}");
    }
    let five = check(&zone, b"From: a@x.1, a@x.2, a@x.3, a@x.4, a@x.5\r\n\r\n", Vouching::default()).await;
    assert_eq!(five.result, DmarcResult::None);
    let authors = Authors::of("From: a@b\u{fc}cher.example\r\n\r\n".as_bytes());
    assert_eq!((authors.domains, authors.flaw), (vec!["xn--bcher-kva.example".to_owned()], None));
}

/// Symptom: a message in the name of a domain with `p=reject` came to the inbox when it had a second `From` field.
/// Cause: a `From` that breaks a rule was a permanent error and nothing else, and no policy was looked at.
/// Analysis: which of the authors a mail program shows is not known; each of them has to be vouched for.
/// Security lesson: Composition Kills (USENIX Security 2020).
#[tokio::test]
async fn a_policy_is_not_escaped_by_a_from_field_that_breaks_a_rule() {
    let zone = at("example.com", "v=DMARC1; p=reject");
    let broken = [
        "From: a@example.com\r\nFrom: b@other.example\r\n\r\n",
        "From: b@other.example\r\nFrom: a@example.com\r\n\r\n",
        "From: a@example.com\r\nFrom: nobody\r\n\r\n",
        "From: a@example.com, b@in_valid..example\r\n\r\n",
        "From: a@example.com, a@x.1, a@x.2, a@x.3, a@x.4, a@x.5\r\n\r\n",
    ];
    for header in broken {
        assert!(Authors::of(header.as_bytes()).flaw.is_some(), "{header}");
        let other = Vouching { spf: Some("other.example"), ..Vouching::default() };
        let found = check(&zone, header.as_bytes(), other).await;
        assert_eq!((found.result, found.applied), (DmarcResult::Fail, Policy::Reject), "{header}");
        let own = Vouching { spf: Some("example.com"), ..Vouching::default() };
        let found = check(&zone, header.as_bytes(), own).await;
        assert_eq!((found.result, found.applied), (DmarcResult::PermError, Policy::None), "{header}");
    }
}

/// Symptom: `From`, a line end, a blank and a colon was read as the author, and two `From` fields of which one fails a
/// policy of `none` had no flaw any more. Cause: names were read too far, and a flaw was a result like others. Analysis:
/// RFC 5322 section 4.5 has blanks before the colon, no fold; a flaw stands beside whatever was found.
#[tokio::test]
async fn a_flaw_of_the_from_field_is_told_beside_the_result() {
    let zone = at("example.com", "v=DMARC1; p=reject")
        .txt("_dmarc.none.example", "v=DMARC1; p=none")
        .silent("_dmarc.silent.example");
    for (header, flaw, result) in [
        ("From\r\n : a@example.com\r\n\r\n", Flaw::Alike, DmarcResult::Fail),
        ("From\r\n : a@plain.example\r\n\r\n", Flaw::Alike, DmarcResult::PermError),
        (
            "From: a@plain.example\r\nFrom\r\n\t: a@plain.example\r\n\r\n",
            Flaw::Several,
            DmarcResult::PermError,
        ),
        ("From: a@none.example\r\nFrom: a@plain.example\r\n\r\n", Flaw::Several, DmarcResult::Fail),
        ("From: a@silent.example\r\nFrom: a@plain.example\r\n\r\n", Flaw::Several, DmarcResult::TempError),
        ("From: MAILER-DAEMON <>\r\n\r\n", Flaw::NoDomain(String::new()), DmarcResult::PermError),
        ("From: nobody:;\r\n\r\n", Flaw::Nobody, DmarcResult::PermError),
        ("Subject: x\r\n\r\n", Flaw::Missing, DmarcResult::PermError),
        ("From: a@x.1, a@x.2, a@x.3, a@x.4, a@x.5, a@x.6\r\n\r\n", Flaw::Many, DmarcResult::PermError),
    ] {
        let found = check(&zone, header.as_bytes(), Vouching::default()).await;
        assert_eq!((found.flaw, found.result), (Some(flaw), result), "{header}");
    }
    for good in ["From : a@none.example\r\n\r\n", "From: a@none.example\r\n\r\n"] {
        assert_eq!(check(&zone, good.as_bytes(), Vouching::default()).await.flaw, None, "{good}");
    }
}

#[tokio::test]
async fn what_is_asked_ahead_is_what_the_check_asks_and_is_not_asked_again() {
    let header = b"From: x@a.b.c.d.e.f.g.h.i.example.com, y@other.example\r\n\r\n";
    let authors = Authors::of(header);
    let journal =
        crate::dns::Journal::new(at("other.example", "v=DMARC1; p=reject").silent("_dmarc.example.com"));
    let names = |asked: Vec<crate::dns::Asked>| {
        asked.into_iter().map(|asked| asked.name).collect::<std::collections::BTreeSet<_>>()
    };
    let found = check(&journal, header, Vouching::default()).await;
    let wanted = names(journal.asked());
    assert!(wanted.iter().all(|name| authors.questions().contains(name)), "{wanted:?}");
    let answers = Answers::ask(authors.questions(), &journal).await;
    let before = journal.asked().len();
    assert_eq!(check_authors(&journal, &authors, &answers, Vouching::default()).await, found);
    let again: Vec<String> = journal.asked().into_iter().skip(before).map(|asked| asked.name).collect();
    assert_eq!(again, ["_dmarc.example.com"], "what had no answer is asked once more");
    assert!(Authors::of(b"From: nobody\r\n\r\n").questions().is_empty());
}
