//! For a harness that kills this program at every system call and then looks what is left.
//!
//! `store_crash DIR COUNT` delivers COUNT messages from four threads and prints `ok ITEM` after each receipt.
//! `store_crash verify DIR` prints `ITEM TIMES` for every item found, and fails when a file is damaged.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use content::Content;
use mail::{ItemId, UnixTime};
use mailbox::FlagList;
use store::{Delivery, Mailboxes as _, StoreError};
use store_sqlite::{Options, SqliteMailboxes};

const ACCOUNT: &str = "crash";
const THREADS: u16 = 4;
/// From this size on the store keeps the file.
const LARGE_OCTETS: usize = 1024 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["verify", directory] => verify(Path::new(directory)),
        [directory, count] => deliver(Path::new(directory), count.parse()?),
        _ => Err("usage: store_crash DIR COUNT | store_crash verify DIR".into()),
    }
}

fn deliver(directory: &Path, count: u16) -> Result<(), Box<dyn Error>> {
    let store = Arc::new(SqliteMailboxes::open(directory, Options::default())?);
    match store.create_account(ACCOUNT, now()) {
        Ok(()) | Err(StoreError::AccountExists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let store = Arc::clone(&store);
            let directory = directory.to_owned();
            std::thread::spawn(move || {
                (thread..count).step_by(THREADS.into()).try_for_each(|n| one(&store, &directory, n))
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread died")??;
    }
    Ok(())
}

fn one(store: &SqliteMailboxes, directory: &Path, number: u16) -> Result<(), StoreError> {
    let now = now();
    let mut random = [0; 10];
    random[..2].copy_from_slice(&number.to_be_bytes());
    random[2..6].copy_from_slice(&std::process::id().to_be_bytes());
    let item = ItemId::new(now, random);
    let body = format!("X-Item: {item}\r\n\r\n{}\r\n", "x".repeat(usize::from(number) * 97 % 20_000));
    let body =
        if number.is_multiple_of(6) { large(directory, body)? } else { Content::from(body.into_bytes()) };
    let delivery = Delivery {
        item: Some(item),
        mailbox: "INBOX".into(),
        head: store::Head::default(),
        body,
        flags: FlagList::default(),
        internal_date: now,
    };
    store.deliver_and_wait(ACCOUNT, delivery)?;
    // In one piece: another thread's failure may end the program at any moment, and a line cut in two by that
    // would name an item that never was.
    let line = format!("ok {item}\n");
    let mut out = std::io::stdout().lock();
    let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| StoreError::Source(error.to_string()))
}

/// As a message that came in a file and keeps it.
fn large(directory: &Path, mut body: String) -> Result<Content, StoreError> {
    body.push_str(&"x".repeat(LARGE_OCTETS));
    let octets = body.len() as u64;
    let written = tempfile::tempfile_in(directory).and_then(|mut file| {
        file.write_all(body.as_bytes())?;
        Ok(Content::file(file, 0, octets))
    });
    written.map_err(|error| StoreError::Source(error.to_string()))
}

fn verify(directory: &Path) -> Result<(), Box<dyn Error>> {
    let store = SqliteMailboxes::open(directory, Options::default())?;
    let mut items: BTreeMap<String, u32> = BTreeMap::new();
    for account in store.list_accounts()? {
        store.check_account(&account)?;
        let reader = store.reader(&account)?;
        for mailbox in reader.mailboxes()? {
            let mut uids = Vec::new();
            reader.each_message(mailbox.id, 1..=u32::MAX, &mut |message| {
                uids.push((message.uid, message.octets))
            })?;
            for (uid, octets) in uids {
                let mut body = Vec::new();
                reader.read_body(mailbox.id, uid, 0, usize::MAX, &mut body)?;
                if body.len() as u64 != octets {
                    return Err(format!("message {uid} has {} octets of {octets}", body.len()).into());
                }
                let head = String::from_utf8_lossy(&body[..34]).into_owned();
                *items.entry(head.trim_start_matches("X-Item: ").to_owned()).or_default() += 1;
            }
        }
    }
    for (item, times) in items {
        println!("{item} {times}");
    }
    Ok(())
}

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
