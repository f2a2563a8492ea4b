//! Accounts, aliases and passwords, with what the operator types wrong.

use store::tables::Past;
use store_memory::MemoryPeople;

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);

fn directory() -> Directory {
    let policy = Policy::of(vec![Domain::parse("example.org").unwrap()]);
    let directory = Directory::open(policy, Arc::new(MemoryPeople::default())).unwrap();
    for name in ["alice", "bob"] {
        directory.add_account(&at(&format!("{name}@example.org")), "correct horse").unwrap();
    }
    directory
}

fn at(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn names(found: Option<Destinations>) -> Vec<String> {
    found.unwrap_or_default().accounts.iter().map(ToString::to_string).collect()
}

#[test]
fn logins_need_the_right_name_and_password() {
    let directory = directory();
    for _ in 0..2 {
        assert!(directory.login_blocking("Alice@Example.org", "correct horse").is_some());
        assert!(directory.login_blocking("alice@example.org", "wrong horse").is_none());
    }
    assert!(directory.login_blocking("nobody@example.org", "correct horse").is_none());
    assert!(directory.login_blocking("alice", "correct horse").is_none());
    directory.set_password(&at("alice@example.org"), "battery staple").unwrap();
    assert!(directory.login_blocking("alice@example.org", "correct horse").is_none());
    assert!(directory.login_blocking("alice@example.org", "battery staple").is_some());
}

/// Symptom: a password stayed good after it was changed. Cause: a login that had read the old hash and waited for
/// its check noted the password as right after the change had forgotten all such notes.
#[test]
fn a_login_that_was_checked_against_a_replaced_hash_is_refused_and_not_remembered() {
    let directory = directory();
    let id = AccountId::of(&at("alice@example.org")).unwrap();
    let old = directory.view().accounts.get(&id).unwrap().password.clone();
    let digest = directory.digest("correct horse");
    assert!(directory.remember(&id, &old, digest));
    directory.set_password(&at("alice@example.org"), "battery staple").unwrap();
    assert!(!directory.remember(&id, &old, digest));
    assert!(directory.login_blocking("alice@example.org", "correct horse").is_none());
}

/// Symptom: with a password that had been changed one went on reading and sending. Cause: a login was looked at once.
#[test]
fn a_pass_is_revoked_by_another_password_and_by_the_end_of_the_account_and_by_nothing_else() {
    let directory = directory();
    let pass =
        |name: &str| directory.login_blocking(&format!("{name}@example.org"), "correct horse").unwrap();
    let (alice, bob) = (pass("alice"), pass("bob"));
    directory.add_account(&at("carol@example.org"), "correct horse").unwrap();
    directory.add_alias("sales@example.org", &[at("bob@example.org")]).unwrap();
    assert!(!alice.is_revoked() && !bob.is_revoked());
    let known = |name: &str| directory.login_known(&format!("{name}@example.org"), "correct horse").is_some();
    assert!(known("alice") && known("bob"), "what others change is no reason to forget");
    // The same words are another password all the same: who asks for that wants the sessions gone.
    directory.set_password(&at("alice@example.org"), "correct horse").unwrap();
    assert!(alice.is_revoked() && !bob.is_revoked());
    assert!(!known("alice") && known("bob"));
    let again = pass("alice");
    directory.remove_account(&at("bob@example.org"), NOW).unwrap();
    assert!(bob.is_revoked() && !again.is_revoked());
}

#[test]
fn an_alias_that_leads_elsewhere_alone_is_nobodys_address_while_this_home_does_not_send() {
    let directory = directory();
    let mut policy = (*directory.policy()).clone();
    policy.sends = true;
    directory.adopt(policy.clone());
    directory.add_alias("abroad@example.org", &[at("ann@far.test")]).unwrap();
    directory.add_alias("both@example.org", &[at("ann@far.test"), at("bob@example.org")]).unwrap();
    directory.add_alias("*@example.org", &[at("abroad@example.org")]).unwrap();
    let known = || directory.known_addresses();
    assert!(known().0.contains(&"abroad@example.org".to_owned()) && known().1.len() == 1);
    policy.sends = false;
    directory.adopt(policy);
    assert!(!known().0.contains(&"abroad@example.org".to_owned()) && known().1.is_empty());
    assert!(known().0.contains(&"both@example.org".to_owned()));
}

/// Symptom: a user who was added later became postmaster, and got what is the operator's. Cause: the first account was the first in
/// the alphabet.
#[test]
fn the_postmaster_is_whose_account_was_made_first_until_he_goes() {
    let directory = directory();
    directory.add_account(&at("aaron@example.org"), "correct horse").unwrap();
    assert_eq!(names(directory.resolve(&at("postmaster@example.org"))), ["alice--example.org"]);
    assert_eq!(directory.first_account().unwrap().1, at("alice@example.org"));
    directory.remove_account(&at("alice@example.org"), UnixTime(1)).unwrap();
    assert_eq!(names(directory.resolve(&at("postmaster@example.org"))), ["bob--example.org"]);
}

#[test]
fn recipients_are_found_by_name_subaddress_alias_and_catch_all() {
    let directory = directory();
    directory.add_alias("sales@example.org", &[at("alice@example.org"), at("bob@example.org")]).unwrap();
    assert_eq!(names(directory.resolve(&at("ALICE+shop@example.org"))), ["alice--example.org"]);
    assert_eq!(
        names(directory.resolve(&at("sales@example.org"))),
        ["alice--example.org", "bob--example.org"]
    );
    assert_eq!(names(directory.resolve(&at("postmaster@example.org"))), ["alice--example.org"]);
    assert!(directory.resolve(&at("eve@example.org")).is_none());
    directory.add_alias("*@example.org", &[at("bob@example.org")]).unwrap();
    assert_eq!(names(directory.resolve(&at("eve@example.org"))), ["bob--example.org"]);
    assert_eq!(names(directory.resolve(&at("postmaster@example.org"))), ["alice--example.org"]);
    assert!(directory.resolve(&at("eve@example.com")).is_none());
}

#[test]
fn an_alias_leads_elsewhere_once_this_home_sends() {
    let directory = directory();
    let outside = at("Al.Ice@elsewhere.example");
    assert!(directory.add_alias("sales@example.org", std::slice::from_ref(&outside)).is_err());
    directory.adopt(Policy { sends: true, ..Policy::clone(&directory.policy()) });
    directory.add_alias("sales@example.org", &[outside.clone(), at("bob@example.org")]).unwrap();
    directory.add_alias("all@example.org", &[at("sales@example.org"), at("alice@example.org")]).unwrap();
    let found = directory.resolve(&at("all@example.org")).unwrap();
    assert_eq!(found.outside, [outside]);
    assert_eq!(names(Some(found)), ["alice--example.org", "bob--example.org"]);
    assert!(directory.resolve(&at("Al.Ice@elsewhere.example")).is_none());
    let alice = directory.login_blocking("alice@example.org", "correct horse").unwrap();
    assert!(!directory.may_send_as(alice.account(), &at("al.ice@elsewhere.example")));
}

/// Symptom: a family's list with one member abroad could not be taken over while Home only receives.
#[test]
fn an_alias_with_members_abroad_reaches_those_who_are_here_while_this_home_only_receives() {
    let directory = directory();
    let outside = at("al@elsewhere.example");
    let all = [outside.clone(), at("bob@example.org")];
    directory.add_alias("all@example.org", &all).unwrap();
    assert_eq!(directory.not_reached(&all), ["al@elsewhere.example"]);
    let found = directory.resolve(&at("all@example.org")).unwrap();
    assert!(found.outside.is_empty());
    assert_eq!(names(Some(found)), ["bob--example.org"]);
    assert_eq!(directory.abroad(&at("all@example.org")), 0);
    directory.add_alias("all@example.org", std::slice::from_ref(&outside)).unwrap();
    directory.adopt(Policy { sends: true, ..Policy::clone(&directory.policy()) });
    assert!(directory.not_reached(&all).is_empty());
    assert_eq!(directory.resolve(&at("all@example.org")).unwrap().outside, [outside]);
}

#[test]
fn an_alias_stands_for_a_hundred_addresses_and_not_for_one_more() {
    let directory = directory();
    directory.adopt(Policy { sends: true, ..Policy::clone(&directory.policy()) });
    let targets: Vec<Address> = (0..=TARGETS_MAX).map(|n| at(&format!("n{n}@elsewhere.example"))).collect();
    assert!(directory.add_alias("x@example.org", &targets).is_err());
    directory.add_alias("x@example.org", &targets[1..]).unwrap();
    assert!(directory.add_alias("x@example.org", &targets[..1]).is_err());
    directory.add_alias("y@example.org", &[at("x@example.org"), targets[0].clone()]).unwrap();
    assert_eq!(directory.resolve(&at("y@example.org")).unwrap().outside.len(), TARGETS_MAX);
}

#[test]
fn an_account_sends_as_its_own_addresses_only() {
    let directory = directory();
    directory.add_alias("sales@example.org", &[at("alice@example.org")]).unwrap();
    directory.add_alias("*@example.org", &[at("alice@example.org")]).unwrap();
    let alice = directory.login_blocking("alice@example.org", "correct horse").unwrap();
    for (address, may) in [
        ("alice@example.org", true),
        ("alice+x@example.org", true),
        ("sales@example.org", true),
        ("bob@example.org", false),
        ("ceo@example.org", false),
        ("alice@example.com", false),
    ] {
        assert_eq!(directory.may_send_as(alice.account(), &at(address)), may, "{address}");
    }
}

#[test]
fn a_policy_is_adopted_while_it_runs_and_told_to_those_who_wait() {
    let directory = directory();
    let mut changes = directory.changes();
    changes.mark_unchanged();
    let domains = vec![Domain::parse("example.net").unwrap()];
    directory.adopt(Policy { domains, ..Policy::clone(&directory.policy()) });
    assert!(changes.has_changed().unwrap());
    assert!(directory.resolve(&at("alice@example.org")).is_none());
    assert!(directory.is_local_domain(&Domain::parse("example.net").unwrap()));
}

#[test]
fn alias_loops_and_strangers_are_refused() {
    let directory = directory();
    assert!(directory.add_alias("x@example.org", &[at("x@example.org")]).is_err());
    assert!(directory.add_alias("x@example.org", &[at("someone@elsewhere.example")]).is_err());
    assert!(directory.add_alias("x@elsewhere.example", &[at("bob@example.org")]).is_err());
    assert!(directory.add_alias("bob@example.org", &[at("alice@example.org")]).is_err());
}

#[test]
fn weak_passwords_and_odd_names_are_refused() {
    let directory = directory();
    assert!(directory.add_account(&at("carol@example.org"), "1234567").is_err());
    assert!(directory.add_account(&at("carol@example.org"), "12345678").is_ok());
    assert!(directory.add_account(&at("carol@example.org"), "12345678").is_err());
    assert!(directory.add_account(&at("\"c d\"@example.org"), "12345678").is_err());
    assert!(directory.add_account(&at("dave@example.com"), "12345678").is_err());
}

/// Security lesson: maddy CVE-2026-40193.
#[test]
fn a_login_name_is_compared_and_never_interpreted() {
    // In a database: what reaches a statement is a value there.
    let dir = tempfile::tempdir().unwrap();
    let people = store_sqlite::SqlitePeople::open(&dir.path().join("directory.db")).unwrap();
    let policy = Policy::of(vec![Domain::parse("example.org").unwrap()]);
    let directory = Directory::open(policy, Arc::new(people)).unwrap();
    for name in ["alice", "bob"] {
        directory.add_account(&at(&format!("{name}@example.org")), "correct horse").unwrap();
    }
    let names = [
        "' OR '1'='1",
        "alice@example.org' --",
        "alice@example.org\" OR 1=1 --",
        "a%@example.org",
        "a_ice@example.org",
        "*@example.org",
        "*)(uid=*))(|(uid=*",
        "../alice@example.org",
        "alice@example.org/..",
        "%n@example.org",
        "{user}@example.org",
        "$(id)@example.org",
        "alice@example.org\0",
        "alice@example.org\r\n",
        "\"alice\\\"@example.org\"",
    ];
    for name in names {
        assert!(directory.login_blocking(name, "correct horse").is_none(), "{name:?}");
    }
    assert_eq!(directory.accounts().len(), 2);
    assert!(directory.login_blocking("alice@example.org", "correct horse").is_some());
}

/// Symptom: who got the name of a removed account got what was kept for it, and the aliases that had led to it.
#[test]
fn who_has_an_address_anew_has_neither_its_aliases_nor_what_was_taken_before() {
    let directory = directory();
    let bob = at("bob@example.org");
    directory.add_alias("sales@example.org", std::slice::from_ref(&bob)).unwrap();
    directory.add_alias("all@example.org", &[at("alice@example.org"), at("bob+x@example.org")]).unwrap();
    let removed = directory.remove_account(&bob, NOW).unwrap();
    assert_eq!(removed.aliases, ["all@example.org", "sales@example.org"]);
    assert!(directory.resolve(&at("sales@example.org")).is_none());
    directory.add_account(&bob, "correct horse").unwrap();
    let account = AccountId::of(&bob).unwrap();
    assert!(!directory.may_send_as(&account, &at("sales@example.org")));
    for (taken, found) in [(NOW, 0), (NOW.plus_secs(1), 1)] {
        assert_eq!(names(directory.resolve_taken(&bob, taken)).len(), found);
        assert_eq!(directory.was_anothers(account.as_str(), taken), found == 0);
    }
    assert_eq!(names(directory.resolve_taken(&at("all@example.org"), NOW)), ["alice--example.org"]);
    directory.remove_account(&bob, NOW.plus_secs(9)).unwrap();
    let new = directory.prepare_account(&bob, "correct horse").unwrap();
    directory.admit(new, Past::Own).unwrap();
    assert_eq!(names(directory.resolve_taken(&bob, NOW)), ["bob--example.org"], "it is the same one again");
}

/// What an account that was removed by an older version left: aliases that lead to nobody.
#[test]
fn an_alias_that_led_to_a_removed_account_does_not_lead_to_the_next_of_its_name() {
    let directory = directory();
    let left = ["carol@example.org".to_owned()];
    directory.change(|kept| kept.add_targets("old@example.org", &left)).unwrap();
    let new = directory.prepare_account(&at("carol@example.org"), "correct horse").unwrap();
    let (_, aliases) = directory.admit(new, Past::Anothers(Some(NOW))).unwrap();
    assert_eq!(aliases, ["old@example.org"]);
    assert!(directory.resolve(&at("old@example.org")).is_none());
    assert!(directory.was_anothers("carol--example.org", NOW));
}
