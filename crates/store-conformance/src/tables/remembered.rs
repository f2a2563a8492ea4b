//! Ids of messages that are gone.

use mail::ItemId;

use super::Tables;
use crate::NOW;

fn id(number: u8) -> ItemId {
    ItemId::from_bytes([number; 16])
}

pub fn an_id_is_known_until_it_is_older_than_the_oldest(tables: &Tables) {
    let remembered = &tables.remembered;
    assert!(!remembered.has(id(1)).unwrap());
    remembered.insert(id(1), NOW, NOW).unwrap();
    remembered.insert(id(2), NOW.plus_secs(10), NOW).unwrap();
    assert!(remembered.has(id(1)).unwrap() && remembered.has(id(2)).unwrap());
    remembered.insert(id(3), NOW.plus_secs(11), NOW.plus_secs(1)).unwrap();
    assert!(!remembered.has(id(1)).unwrap() && remembered.has(id(2)).unwrap());
}

pub fn an_id_that_is_noted_again_is_as_young_as_that(tables: &Tables) {
    let remembered = &tables.remembered;
    remembered.insert(id(1), NOW, NOW).unwrap();
    remembered.insert(id(1), NOW.plus_secs(5), NOW).unwrap();
    remembered.insert(id(2), NOW.plus_secs(6), NOW.plus_secs(5)).unwrap();
    assert!(remembered.has(id(1)).unwrap());
}
