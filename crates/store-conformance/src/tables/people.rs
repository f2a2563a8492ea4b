//! Accounts and aliases.

use store::StoreError;
use store::tables::{AccountRow, AliasRow, Past};

use super::Tables;
use crate::NOW;

fn account(name: &str) -> AccountRow {
    AccountRow {
        name: format!("{name}--example.org"),
        address: format!("{name}@example.org"),
        password: format!("hash of {name}"),
    }
}

fn alias(alias: &str, target: &str) -> AliasRow {
    AliasRow { alias: alias.to_owned(), target: target.to_owned() }
}

pub fn accounts_are_admitted_once_and_removed(tables: &Tables) {
    let people = &tables.people;
    assert_eq!(people.everybody().unwrap(), store::tables::Everybody::default());
    for name in ["bob", "alice"] {
        people.admit(&account(name), &[], Past::Anothers(None)).unwrap();
    }
    assert_eq!(
        people.everybody().unwrap().accounts,
        [account("bob"), account("alice")],
        "the first comes first"
    );
    let same_address = AccountRow { name: "other".into(), ..account("bob") };
    for taken in [account("bob"), same_address] {
        let outcome = people.admit(&taken, &[], Past::Own);
        assert_eq!(outcome, Err(StoreError::AccountExists(taken.name)));
    }
    people.remove("bob--example.org", &[], NOW).unwrap();
    let everybody = people.everybody().unwrap();
    assert_eq!(everybody.accounts, [account("alice")]);
    assert_eq!(everybody.removed, [("bob--example.org".to_owned(), NOW)]);
}

pub fn who_takes_over_takes_nothing_of_the_others(tables: &Tables) {
    let people = &tables.people;
    let name = "bob--example.org".to_owned();
    people.admit(&account("bob"), &[], Past::Anothers(None)).unwrap();
    people.add_targets("sales@example.org", &["bob@example.org".into(), "eve@example.org".into()]).unwrap();
    people.remove(&name, &[alias("sales@example.org", "bob@example.org")], NOW).unwrap();
    assert_eq!(people.everybody().unwrap().aliases, [alias("sales@example.org", "eve@example.org")]);
    // What is noted of a name is the latest, whatever comes last.
    let leading = [alias("sales@example.org", "eve@example.org")];
    people.admit(&account("bob"), &leading, Past::Anothers(Some(NOW.plus_secs(9)))).unwrap();
    assert!(people.everybody().unwrap().aliases.is_empty());
    people.remove(&name, &[], NOW.plus_secs(5)).unwrap();
    assert_eq!(people.everybody().unwrap().removed, [(name, NOW.plus_secs(9))]);
    people.admit(&account("bob"), &[], Past::Own).unwrap();
    assert!(people.everybody().unwrap().removed.is_empty());
    // A refused one changes nothing else.
    people.add_targets("sales@example.org", &["eve@example.org".into()]).unwrap();
    people.admit(&account("bob"), &leading, Past::Anothers(Some(NOW))).unwrap_err();
    let everybody = people.everybody().unwrap();
    assert_eq!((everybody.aliases, everybody.removed.len()), (leading.to_vec(), 0));
}

pub fn aliases_have_each_target_once_and_go_whole(tables: &Tables) {
    let people = &tables.people;
    people.add_targets("b@example.org", &["z@x.test".into(), "a@x.test".into()]).unwrap();
    people.add_targets("b@example.org", &["a@x.test".into()]).unwrap();
    people.add_targets("*@example.org", &["a@x.test".into()]).unwrap();
    let rows = [alias("*@example.org", "a@x.test"), alias("b@example.org", "a@x.test")];
    let last = alias("b@example.org", "z@x.test");
    assert_eq!(people.everybody().unwrap().aliases, [rows[0].clone(), rows[1].clone(), last]);
    assert!(people.remove_alias("b@example.org").unwrap());
    assert!(!people.remove_alias("b@example.org").unwrap());
    assert_eq!(people.everybody().unwrap().aliases, [rows[0].clone()]);
}

pub fn a_password_is_the_accounts_of_that_address(tables: &Tables) {
    let people = &tables.people;
    people.admit(&account("bob"), &[], Past::Anothers(None)).unwrap();
    assert!(people.set_password("bob@example.org", "another").unwrap());
    assert!(!people.set_password("nobody@example.org", "another").unwrap());
    assert_eq!(people.everybody().unwrap().accounts[0].password, "another");
}
