//! The entries of the quarantine.

use mail::{ItemId, UnixTime};
use store::tables::QuarantineEntry;

use super::Tables;
use crate::NOW;

fn entry(number: u8, at: UnixTime) -> QuarantineEntry {
    QuarantineEntry {
        item: ItemId::from_bytes([number; 16]),
        at,
        account: "alice--example.org".into(),
        uidvalidity: u32::MAX,
        uid: 7,
        reverse_path: "a@sender.test".into(),
        recipients: vec!["bob@example.org".into(), "\"odd, one\"@example.org".into()],
        reason: "a 'reason'".into(),
        score: Some(15.5),
    }
}

pub fn an_entry_is_kept_whole_and_as_it_was_first(tables: &Tables) {
    let first = entry(1, NOW);
    let other = QuarantineEntry { score: None, recipients: Vec::new(), ..entry(2, NOW) };
    for entry in [&first, &other] {
        tables.quarantine.insert(entry).unwrap();
        assert_eq!(tables.quarantine.entry(entry.item).unwrap().as_ref(), Some(entry));
    }
    assert_eq!(tables.quarantine.count().unwrap(), 2);
    tables.quarantine.insert(&QuarantineEntry { uid: 99, ..first.clone() }).unwrap();
    assert_eq!(tables.quarantine.entry(first.item).unwrap(), Some(first.clone()));
    tables.quarantine.remove(first.item).unwrap();
    tables.quarantine.remove(first.item).unwrap();
    assert_eq!(tables.quarantine.entry(first.item).unwrap(), None);
    assert_eq!(tables.quarantine.entries().unwrap(), [other]);
    assert_eq!(tables.quarantine.count().unwrap(), 1);
}

pub fn entries_are_listed_by_their_time(tables: &Tables) {
    let entries = [entry(9, NOW), entry(1, NOW.plus_secs(1)), entry(2, NOW.plus_secs(1))];
    for entry in entries.iter().rev() {
        tables.quarantine.insert(entry).unwrap();
    }
    assert_eq!(tables.quarantine.entries().unwrap(), entries);
}
