//! What a queue may rely on, whatever it lies in. Whoever keeps one elsewhere runs it with the feature `testing`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::missing_panics_doc, reason = "these are tests")]

use std::io::Write as _;

use mail::UnixTime;

use super::*;

fn id(second: u64) -> ItemId {
    ItemId::new(UnixTime::from_secs(second), [1; 10])
}

fn octets(items: &dyn Items, item: ItemId) -> Vec<u8> {
    items.content(item).unwrap().read_at(0, usize::MAX).unwrap().to_vec()
}

/// Runs all of it over items that have room for some hundred KiB and no more than a MiB.
pub async fn holds(items: &dyn Items) {
    an_item_is_there_with_its_record_and_octets_until_it_is_removed(items).await;
    what_is_added_twice_stays_as_it_was(items).await;
    a_file_is_taken_from_an_octet_on(items).await;
    ids_come_by_age_and_in_pages(items).await;
    what_is_not_there_is_said_so(items).await;
    what_does_not_fit_is_refused_and_nothing_of_it_stays(items).await;
}

async fn an_item_is_there_with_its_record_and_octets_until_it_is_removed(items: &dyn Items) {
    let pieces = vec![Bytes::from_static(b"From: a\r\n\r\n"), Bytes::from_static(b"body\r\n")];
    items.append(id(1), b"one".to_vec(), pieces).await.unwrap();
    assert_eq!(items.record(id(1)).unwrap(), b"one");
    items.update(id(1), b"two".to_vec()).await.unwrap();
    assert_eq!(items.record(id(1)).unwrap(), b"two");
    assert_eq!(octets(items, id(1)), b"From: a\r\n\r\nbody\r\n");
    assert!(items.has(id(1)) && items.count() == 1);
    let held = items.content(id(1)).unwrap();
    items.remove(id(1)).await.unwrap();
    assert!(!items.has(id(1)) && items.count() == 0);
    assert_eq!(&held.read_at(6, 3).unwrap()[..], b"a\r\n", "it stays readable while it is held");
}

async fn what_is_added_twice_stays_as_it_was(items: &dyn Items) {
    items.append(id(2), b"one".to_vec(), vec![Bytes::from_static(b"a")]).await.unwrap();
    items.append(id(2), b"two".to_vec(), vec![Bytes::from_static(b"b")]).await.unwrap();
    assert_eq!((items.record(id(2)).unwrap(), octets(items, id(2))), (b"one".to_vec(), b"a".to_vec()));
    items.remove(id(2)).await.unwrap();
}

async fn a_file_is_taken_from_an_octet_on(items: &dyn Items) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"skipped|").unwrap();
    file.write_all(&[b'x'; 100_000]).unwrap();
    let content = Content::file(file, 8, 100_000);
    items.append_long(id(3), b"record".to_vec(), b"A: b\r\n\r\n", &content).unwrap().await.unwrap();
    assert_eq!(items.record(id(3)).unwrap(), b"record");
    assert_eq!(octets(items, id(3)), [b"A: b\r\n\r\n".to_vec(), vec![b'x'; 100_000]].concat());
    let too_short = Content::file(tempfile::tempfile().unwrap(), 0, 1);
    assert!(matches!(items.append_long(id(4), Vec::new(), b"", &too_short), Err(ItemsError::Disk(_))));
    assert!(!items.has(id(4)));
    items.remove(id(3)).await.unwrap();
}

async fn ids_come_by_age_and_in_pages(items: &dyn Items) {
    for second in [30, 10, 20] {
        items.append(id(second), Vec::new(), vec![Bytes::from_static(b"x")]).await.unwrap();
    }
    assert_eq!(items.ids(None, 2), [id(10), id(20)]);
    assert_eq!(items.ids(Some(id(20)), 2), [id(30)]);
    assert!(items.ids(Some(id(30)), 2).is_empty());
    for second in [10, 20, 30] {
        items.remove(id(second)).await.unwrap();
    }
}

async fn what_is_not_there_is_said_so(items: &dyn Items) {
    let none = ItemsError::NoItem(id(99));
    assert_eq!(items.record(id(99)).err(), Some(none.clone()));
    assert_eq!(items.content(id(99)).err(), Some(none.clone()));
    assert_eq!(items.update(id(99), Vec::new()).await.err(), Some(none));
    assert!(items.remove(id(99)).await.is_ok(), "it is gone, which is all that was asked");
}

async fn what_does_not_fit_is_refused_and_nothing_of_it_stays(items: &dyn Items) {
    assert!(items.has_room_for(100_000) && !items.has_room_for(2 << 20));
    let large = vec![Bytes::from(vec![b'x'; 2 << 20])];
    let refused = items.append(id(5), Vec::new(), large).await;
    assert!(matches!(refused, Err(ItemsError::Full { .. })), "{refused:?}");
    assert!(!items.has(id(5)) && items.count() == 0);
}

#[cfg(test)]
mod run {
    use std::sync::Arc;

    use spool::{Options, RealDisk, Spool};

    use super::super::memory::MemoryItems;

    #[tokio::test]
    async fn a_spool_keeps_what_a_queue_relies_on() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { octets_max: 1 << 20, segment_octets: 256 << 10, ..Options::default() };
        let spool = Spool::open(&dir.path().join("queue"), options, Arc::new(RealDisk)).unwrap();
        super::holds(&spool).await;
    }

    #[tokio::test]
    async fn memory_keeps_what_a_queue_relies_on() {
        super::holds(&MemoryItems::new(1 << 20)).await;
    }
}
