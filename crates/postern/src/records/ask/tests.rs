//! What is said of records that are there, are not, or are other than wanted.

use std::collections::HashMap;

use mailauth::dns::Answer;

use super::*;
use crate::records::Kind;
use home::dkim::Stage;

const KEY: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// A DNS of a few records. `?` as a text: no answer.
#[derive(Default)]
struct Zone(HashMap<String, Vec<Record>>);

impl Zone {
    fn with(mut self, name: &str, record: Record) -> Self {
        self.0.entry(name.to_owned()).or_default().push(record);
        self
    }

    fn text(self, name: &str, text: &str) -> Self {
        self.with(name, Record::Txt(text.as_bytes().to_vec()))
    }
}

impl Resolver for Zone {
    async fn lookup(&self, name: &str, kind: RecordType) -> Answer {
        let records = self.0.get(name).ok_or(LookupError::NoSuchName)?;
        if records.contains(&Record::Txt(b"?".to_vec())) {
            return Err(LookupError::Temporary("timeout".to_owned()));
        }
        let is_kind = |record: &&Record| match record {
            Record::A(_) => kind == RecordType::A,
            Record::Mx(..) => kind == RecordType::Mx,
            Record::Txt(_) => kind == RecordType::Txt,
            Record::Ptr(_) => kind == RecordType::Ptr,
            Record::Aaaa(_) => kind == RecordType::Aaaa,
        };
        let of_kind: Vec<Record> = records.iter().filter(is_kind).cloned().collect();
        if of_kind.is_empty() { Err(LookupError::NoRecords) } else { Ok(of_kind.into()) }
    }
}

/// What the mail side has no word for stands here as a text that begins with its kind.
impl Source for Zone {
    async fn data(&self, name: &str, kind: DataKind) -> Result<Vec<Data>, LookupError> {
        let texts = self.lookup(name, RecordType::Txt).await?;
        let of_kind = texts.iter().filter_map(|record| {
            let Record::Txt(text) = record else { return None };
            let text = std::str::from_utf8(text).unwrap().strip_prefix(&format!("{kind:?} "))?;
            Some(Data::parse(kind, text).unwrap())
        });
        let of_kind: Vec<Data> = of_kind.collect();
        if of_kind.is_empty() { Err(LookupError::NoRecords) } else { Ok(of_kind) }
    }
}

fn found(zone: &Zone, wanted: Wanted) -> Found {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(ask(zone, wanted))
}

fn state(zone: &Zone, wanted: Wanted) -> State {
    found(zone, wanted).state
}

fn edge() -> Record {
    Record::A([192, 0, 2, 1].into())
}

#[test]
fn a_key_is_there_alone_or_it_is_wrong() {
    let wanted = |stage| Wanted {
        stage: Some(stage),
        ..Wanted::new("s._domainkey.example.org", Kind::Txt, KEY, Purpose::Dkim)
    };
    let name = "s._domainkey.example.org";
    let there = Zone::default().text(name, KEY);
    let other = KEY.replace("11q", "22q");
    for stage in [Stage::Signing, Stage::Next, Stage::Kept] {
        assert_eq!(state(&there, wanted(stage)), State::Good);
        assert_eq!(state(&Zone::default(), wanted(stage)), State::Missing);
        assert_eq!(state(&Zone::default().text(name, "?"), wanted(stage)), State::Unknown);
        assert_eq!(state(&Zone::default().text(name, &other), wanted(stage)), State::Wrong);
        assert_eq!(state(&Zone::default().text(name, KEY).text(name, &other), wanted(stage)), State::Wrong);
    }
    assert_eq!(state(&there, wanted(Stage::Remove)), State::Remove);
    assert_eq!(state(&Zone::default(), wanted(Stage::Remove)), State::Good);
    assert!(!found(&there, wanted(Stage::Remove)).is_fault());
    assert!(found(&Zone::default().text(name, "?"), wanted(Stage::Signing)).is_fault());
}

#[test]
fn spf_is_good_when_each_edge_passes_however_it_is_written() {
    let wanted = || Wanted::new("example.org", Kind::Txt, "v=spf1 a:mx.example.org -all", Purpose::Spf);
    let with = |text: &str| Zone::default().with("mx.example.org", edge()).text("example.org", text);
    for good in ["v=spf1 a:mx.example.org -all", "v=spf1 ip4:192.0.2.0/24 ~all"] {
        assert_eq!(state(&with(good), wanted()), State::Good, "{good}");
    }
    for wrong in ["v=spf1 -all", "v=spf1 ip4:192.0.2.2 ~all", "v=spf1 nonsense:"] {
        assert_eq!(state(&with(wrong), wanted()), State::Wrong, "{wrong}");
    }
    assert_eq!(state(&with("other text"), wanted()), State::Missing);
    assert_eq!(state(&with("?"), wanted()), State::Unknown);
    let without_edge = Zone::default().text("example.org", "v=spf1 a:mx.example.org -all");
    assert_eq!(state(&without_edge, wanted()), State::Wrong);
    let own = Wanted::new("mx.example.org", Kind::Txt, "v=spf1 a -all", Purpose::EdgeSpf);
    let zone = Zone::default().with("mx.example.org", edge()).text("mx.example.org", "v=spf1 a -all");
    assert_eq!(state(&zone, own.clone()), State::Good);
    assert_eq!(state(&Zone::default().with("mx.example.org", edge()), own), State::Missing);
}

#[test]
fn other_records_are_good_when_ours_is_among_them() {
    let mx = || Wanted::new("example.org", Kind::Mx, "10 mx.example.org", Purpose::Mx);
    let of = |host: &str| Zone::default().with("example.org", Record::Mx(5, host.to_owned()));
    assert_eq!(state(&of("MX.example.org"), mx()), State::Good);
    assert_eq!(state(&of("mx.example.net"), mx()), State::Wrong);
    assert_eq!(state(&Zone::default(), mx()), State::Missing);
    let dmarc = || Wanted::new("_dmarc.example.org", Kind::Txt, "v=DMARC1; p=quarantine", Purpose::Dmarc);
    let zone = || Zone::default().text("_dmarc.example.org", "v=DMARC1; p=reject");
    assert_eq!(state(&zone().text("_dmarc.example.org", "note"), dmarc()), State::Good);
    assert_eq!(state(&zone().text("_dmarc.example.org", "v=DMARC1; p=none"), dmarc()), State::Wrong);
    let address = || Wanted::new("mx.example.org", Kind::A, "", Purpose::EdgeAddress);
    assert_eq!(state(&Zone::default().with("mx.example.org", edge()), address()), State::Good);
    assert_eq!(state(&Zone::default(), address()), State::Missing);
}

/// Symptom: beside an MX record of the provider before, ours was called good, and `--replace` had nothing to do; half of the mail went
/// elsewhere. Cause: each record was looked at alone.
#[test]
fn a_mail_host_that_is_not_ours_makes_ours_wrong_and_another_edge_does_not() {
    let mx = |host: &str| Wanted::new("example.org", Kind::Mx, format!("10 {host}"), Purpose::Mx);
    let zone = Zone::default()
        .with("example.org", Record::Mx(10, "mx.example.org".to_owned()))
        .with("example.org", Record::Mx(20, "mx2.example.org".to_owned()));
    let all = |hosts: &[&str]| {
        let mut all: Vec<Found> = hosts.iter().map(|host| found(&zone, mx(host))).collect();
        beside_strangers(&mut all);
        all
    };
    assert!(all(&["mx.example.org", "mx2.example.org"]).iter().all(|one| one.state == State::Good));
    let alone = all(&["mx.example.org"]);
    assert_eq!(alone[0].state, State::Wrong);
    let should = alone[0].should_be.as_ref().unwrap();
    assert!(
        should.contains("MX 10 mx.example.org")
            && should.contains("and not")
            && should.contains("mx2.example.org"),
        "{should}"
    );
}

#[test]
fn the_line_to_be_written_keeps_what_somebodys_policy_allows_besides() {
    let wanted = || Wanted::new("example.org", Kind::Txt, "v=spf1 a:mx.example.org -all", Purpose::Spf);
    let with = |text: &str| {
        let zone = Zone::default().with("mx.example.org", edge()).text("example.org", text);
        found(&zone, wanted()).should_be
    };
    let line = |value: &str| Some(format!("example.org. 3600 IN TXT \"{value}\""));
    assert_eq!(with("v=spf1 ip4:192.0.2.9 ~all"), line("v=spf1 a:mx.example.org ip4:192.0.2.9 ~all"));
    assert_eq!(with("v=spf1 nonsense:"), line("v=spf1 a:mx.example.org -all"));
    assert_eq!(with("other text"), line("v=spf1 a:mx.example.org -all"));
    assert_eq!(with("v=spf1 a:mx.example.org -all"), None);
}

#[test]
fn each_public_address_has_the_name_that_leads_to_it() {
    let wanted = || Wanted::new("mx.test", Kind::Ptr, "mx.test", Purpose::Ptr);
    let with = |name: &str| {
        Zone::default().with("mx.test", edge()).with("1.2.0.192.in-addr.arpa", Record::Ptr(name.to_owned()))
    };
    assert_eq!(state(&with("MX.test."), wanted()), State::Good);
    assert_eq!(state(&with("mx.test"), wanted()), State::Good);
    let wrong = found(&with("1-2-0-192.pool.example"), wanted());
    assert_eq!(wrong.found, ["1.2.0.192.in-addr.arpa. PTR 1-2-0-192.pool.example"]);
    assert_eq!(wrong.state, State::Wrong);
    let one = Record::Aaaa("2001:db8::1".parse().unwrap());
    assert_eq!(state(&with("mx.test").with("mx.test", one), wanted()), State::Missing, "one of two has none");
    let own = Zone::default().with("mx.test", Record::A([10, 0, 0, 1].into()));
    assert_eq!(state(&own, wanted()), State::Good, "nobody outside can ask for it");
    assert_eq!(state(&Zone::default(), wanted()), State::Missing);
}

#[test]
fn what_may_be_left_out_is_a_notice_and_no_fault_but_for_a_certificate_that_is_not_the_edges() {
    let tlsa = || Wanted::new("_25._tcp.mx.test", Kind::Tlsa, "3 1 1 00", Purpose::Tlsa);
    let said = |text: &str| {
        let found = found(&Zone::default().text("_25._tcp.mx.test", text), tlsa());
        (found.state, found.is_fault(), found.word())
    };
    assert_eq!(said("Tlsa 3 1 1 00"), (State::Good, false, "good"));
    assert_eq!(said("Tlsa 3 1 1 01"), (State::Wrong, true, "wrong"));
    assert_eq!(said("other"), (State::Missing, false, "notice"));
    let service = |value: &str| Wanted::new("_imaps._tcp.test", Kind::Srv, value, Purpose::Programs);
    let zone = Zone::default().text("_imaps._tcp.test", "Srv 5 7 993 mail.test");
    assert_eq!(state(&zone, service("0 1 993 mail.test")), State::Good, "priority and weight are his own");
    for other in ["0 1 143 mail.test", "0 1 993 mail2.test"] {
        let found = found(&zone, service(other));
        assert_eq!((found.state, found.word()), (State::Wrong, "notice"));
    }
    let reports =
        Wanted::new("_smtp._tls.test", Kind::Txt, "v=TLSRPTv1; rua=mailto:a@test", Purpose::TlsReports);
    let zone = Zone::default().text("_smtp._tls.test", "v=TLSRPTv1; rua=https://r.example/");
    assert_eq!(state(&zone, reports), State::Good);
}

#[test]
fn what_can_not_be_there_yet_is_not_asked_for() {
    let wanted = Wanted::new("_mta-sts.test", Kind::Txt, "v=STSv1; id=1", Purpose::MtaSts);
    let found = found(&Zone::default().text("_mta-sts.test", "?"), wanted);
    assert_eq!((found.state, found.is_fault()), (State::Later, false));
}
