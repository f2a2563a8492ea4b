//! Homes of an edge: who may serve which domain, and what is told them.

use link::DomainPolicy;

use daemon::request::HomesRequest;

use super::*;

const NOW: UnixTime = UnixTime(1_000_000_000_000);

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn snapshot(names: &[&str]) -> Snapshot {
    Snapshot {
        generation: 1,
        domains: names.iter().map(|name| DomainPolicy { name: domain(name), catch_all: true }).collect(),
        subaddress_separators: String::new(),
        recipient_key: link::RecipientKey::new([1; 32]),
        recipients: HashSet::new(),
        sealing_key: seal::generate_key().1,
        away: link::Away::Seal,
        message_octets_max: 1 << 20,
        outbound: false,
        return_paths: None,
        srs: None,
        long_reverse_paths: false,
    }
}

struct Edge {
    dir: tempfile::TempDir,
    homes: Homes,
}

impl Edge {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let homes = Homes::open(&dir.path().join("homes"), 1 << 20, daemon::system::now()).unwrap();
        Self { dir, homes }
    }

    fn home(&self, key: u8, paired: u64) -> Arc<Home> {
        self.homes.pair([key; 32], &Grant::Free, &[], UnixTime(paired)).unwrap()
    }

    fn restart(self) -> Self {
        let Self { dir, homes } = self;
        drop(homes);
        let homes = Homes::open(&dir.path().join("homes"), 1 << 20, daemon::system::now()).unwrap();
        Self { dir, homes }
    }

    fn holder(&self, name: &str) -> Option<String> {
        self.homes.route(&domain(name)).map(|(home, _)| home.name.clone())
    }

    fn carry_out(&self, request: &HomesRequest) -> Result<serde_json::Value, daemon::control::Refusal> {
        self.homes.carry_out(request, NOW)
    }

    fn replace(
        &self,
        old: &str,
        new: &str,
        domains: &[&str],
    ) -> Result<serde_json::Value, daemon::control::Refusal> {
        let (old, new) = (old.to_owned(), new.to_owned());
        let domains = domains.iter().map(ToString::to_string).collect();
        self.carry_out(&HomesRequest::Replace { old, new, domains })
    }
}

fn seal(home: &Home) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let done = Box::new(move |result| drop(sender.send(result)));
    home.sealed.append(daemon::system::new_item_id(), Vec::new(), vec![b"sealed".to_vec().into()], done);
    receiver.recv().unwrap().unwrap();
}

fn name(key: u8) -> String {
    to_hex(&[key; 8])
}

#[test]
fn a_domain_of_a_foreign_home_is_nobody_elses_and_belongs_here() {
    let edge = Edge::new();
    let homes = edge.homes.without(HashSet::from([domain("example.org")]));
    let home = homes.pair([7; 32], &Grant::Free, &[], UnixTime(1)).unwrap();
    homes.keep(&home, snapshot(&["example.org", "example.net"])).unwrap();
    let found = |name| (homes.route(&domain(name)).is_some(), homes.has(&domain(name)));
    assert_eq!(found("example.org"), (false, true));
    assert_eq!(found("example.net"), (true, true));
    assert_eq!(found("example.com"), (false, false));
    let served = homes.served(&home, &home.claims(), NOW);
    let withheld: Vec<_> = served.withheld().map(|domain| &domain.served).collect();
    assert_eq!(withheld, [&Served::Elsewhere { home: FOREIGN_HOME.to_owned(), last_here: None }]);
}

#[test]
fn a_domain_stays_with_its_home_until_the_operator_replaces_it_and_after_a_restart() {
    let edge = Edge::new();
    let (old, new) = (edge.home(1, 1), edge.home(2, 2));
    edge.homes.keep(&old, snapshot(&["example.org"])).unwrap();
    edge.homes.keep(&new, snapshot(&["example.org"])).unwrap();
    assert_eq!(edge.holder("example.org"), Some(name(1)));
    seal(&old);
    let said = edge.replace(&name(1), &name(2), &[]).unwrap();
    assert_eq!(said["serves"], serde_json::json!(["example.org"]));
    let kept = said["kept"].as_str().unwrap();
    assert!(kept.starts_with("1 message(s) are sealed for the key of 0101"), "{kept}");
    assert_eq!(edge.holder("example.org"), Some(name(2)));
    // The old one is back, and claims what it had.
    edge.homes.keep(&old, snapshot(&["example.org"])).unwrap();
    edge.homes.keep(&new, snapshot(&["example.net"])).unwrap();
    edge.homes.keep(&old, snapshot(&["example.org"])).unwrap();
    assert_eq!(edge.holder("example.org"), None, "not even when the new one gives it up");
    edge.homes.keep(&new, snapshot(&["example.org"])).unwrap();
    drop((old, new));
    let edge = edge.restart();
    assert_eq!(edge.holder("example.org"), Some(name(2)));
    assert_eq!(edge.homes.by_key(&[1; 32]).unwrap().sealed.count(), 1);
}

#[test]
fn only_a_home_that_names_the_domain_can_take_it_and_one_domain_can_be_moved_alone() {
    let edge = Edge::new();
    let (old, new) = (edge.home(1, 1), edge.home(2, 2));
    edge.homes.keep(&old, snapshot(&["a.example", "b.example"])).unwrap();
    let refused =
        |arguments: &[&str]| edge.replace(arguments[0], arguments[1], &arguments[2..]).unwrap_err().0;
    assert!(refused(&["0101", "0202"]).contains("home 0202020202020202 does not name a.example"));
    edge.homes.keep(&new, snapshot(&["b.example"])).unwrap();
    assert!(refused(&["0101", "0202", "c.example"]).contains("does not serve c.example"));
    assert!(refused(&["0101", "0101"]).contains("the same home"));
    assert!(refused(&["0202", "0101"]).contains("serves no domain"));
    assert!(refused(&["01", "0202"]).contains("beginning of several homes' names"));
    assert!(refused(&["0303", "0202"]).contains("no paired home is called '0303'"));
    edge.replace("0101", "0202", &["b.example"]).unwrap();
    assert_eq!((edge.holder("a.example"), edge.holder("b.example")), (Some(name(1)), Some(name(2))));
}

#[test]
fn a_home_that_is_removed_is_known_no_more_and_gets_what_was_sealed_when_it_is_paired_again() {
    let edge = Edge::new();
    let (old, new) = (edge.home(1, 1), edge.home(2, 2));
    edge.homes.keep(&old, snapshot(&["example.org"])).unwrap();
    edge.homes.keep(&new, snapshot(&["example.org"])).unwrap();
    seal(&old);
    let said = edge.carry_out(&HomesRequest::Remove { home: name(1) }).unwrap();
    assert_eq!(said["free"], serde_json::json!(["example.org"]));
    assert!(said["kept"].as_str().unwrap().contains("paired again with the same keys"));
    assert!(edge.homes.by_key(&[1; 32]).is_none());
    assert_eq!(edge.holder("example.org"), None);
    edge.homes.keep(&new, snapshot(&["example.org"])).unwrap();
    assert_eq!(edge.holder("example.org"), Some(name(2)));
    drop((old, new));
    let edge = edge.restart();
    assert!(edge.homes.by_key(&[1; 32]).is_none());
    let listed = edge.carry_out(&HomesRequest::List).unwrap();
    let removed: Vec<_> =
        listed.as_array().unwrap().iter().filter(|home| !home["removed"].is_null()).collect();
    assert_eq!((removed.len(), &removed[0]["sealed"]), (1, &serde_json::json!(1)));
    assert_eq!(edge.homes.status(NOW).len(), 1);
    let again = edge.home(1, 3);
    assert_eq!((again.sealed.count(), edge.holder("example.org")), (1, Some(name(2))));
}

/// An Edge of an older version kept no record of who serves what: the home that was paired first had it.
#[test]
fn after_an_update_the_home_that_was_paired_first_keeps_a_domain_that_two_claim() {
    let edge = Edge::new();
    let (late, early) = (edge.home(1, 20), edge.home(2, 10));
    edge.homes.keep(&late, snapshot(&["example.org", "late.example"])).unwrap();
    early.keep(snapshot(&["example.org"])).unwrap();
    drop((late, early));
    std::fs::remove_file(domains_path(&edge.dir.path().join("homes"))).unwrap();
    let edge = edge.restart();
    assert_eq!(edge.holder("example.org"), Some(name(2)));
    assert_eq!(edge.holder("late.example"), Some(name(1)));
    let status = edge.homes.status(NOW);
    assert_eq!(status[1]["withheld"], serde_json::json!([format!("example.org (of {})", name(2))]));
    assert_eq!(holder_on_disk(&edge.dir.path().join("homes"), &domain("example.org")), Some(name(2)));
}

#[test]
fn somebody_sends_while_the_snapshot_of_a_paired_home_says_so() {
    let nowhere = tempfile::tempdir().unwrap();
    assert!(!anybody_sends(&nowhere.path().join("homes")).unwrap(), "nothing was set up");
    let edge = Edge::new();
    let dir = edge.dir.path().join("homes");
    let (_silent, home) = (edge.home(1, 10), edge.home(2, 20));
    assert!(!anybody_sends(&dir).unwrap(), "neither has said anything");
    for outbound in [false, true, false, true] {
        edge.homes.keep(&home, Snapshot { outbound, ..snapshot(&["example.org"]) }).unwrap();
        assert_eq!(anybody_sends(&dir).unwrap(), outbound);
    }
    edge.carry_out(&HomesRequest::Remove { home: home.name.clone() }).unwrap();
    assert!(!anybody_sends(&dir).unwrap(), "its key opens nothing any more");
    std::fs::write(dir.join(home.pin().key).join("pin.json"), "{").unwrap();
    assert!(anybody_sends(&dir).is_err(), "then nobody knows");
}

#[test]
fn a_home_is_away_from_the_limit_on_and_only_while_mail_waits() {
    let edge = Edge::new();
    let home = edge.home(1, 1);
    home.was_here(NOW);
    let days_3 = 3 * 24 * 3600;
    assert_eq!(edge.homes.away(NOW.plus_secs(days_3), days_3), []);
    seal(&home);
    assert_eq!(edge.homes.away(NOW.plus_secs(days_3 - 1), days_3), []);
    let away = edge.homes.away(NOW.plus_secs(days_3), days_3);
    assert_eq!(away, [Away { home: name(1), last_here: Some(NOW), sealed: 1 }]);
    drop(home);
    let edge = edge.restart();
    let home = edge.homes.by_key(&[1; 32]).unwrap();
    assert_eq!(home.last_here(NOW.plus_secs(9)), Some(NOW));
    let (frames, _queue) = net::link_session::frame_queue();
    home.connect(net::link_session::live::Live::new(frames));
    assert_eq!(edge.homes.away(NOW.plus_secs(days_3), days_3), []);
    assert_eq!(home.last_here(NOW.plus_secs(9)), Some(NOW.plus_secs(9)));
}
