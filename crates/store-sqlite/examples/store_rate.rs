//! How many deliveries a second one account takes: `store_rate DIR COUNT OCTETS`, 64 waiting at a time or more.

use std::error::Error;
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use content::Content;
use mail::{ItemId, UnixTime};
use mailbox::FlagList;
use store::{Delivery, Mailboxes as _};
use store_sqlite::{Options, SqliteMailboxes};

/// Deliveries that wait for their receipt at any time.
const WINDOW: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, count, octets] = &arguments[..] else {
        return Err("usage: store_rate DIR COUNT OCTETS".into());
    };
    let (count, octets): (u64, usize) = (count.parse()?, octets.parse()?);
    let store = SqliteMailboxes::open(Path::new(directory), Options::default())?;
    if !store.has_account("rate") {
        store.create_account("rate", UnixTime::from_secs(1_795_500_000))?;
    }
    let (sender, receiver) = mpsc::channel();
    let (started, mut waiting) = (Instant::now(), 0);
    let mut lap = Instant::now();
    let base = UnixTime(u64::from(std::process::id()) << 32);
    for number in 0..count {
        if waiting == WINDOW {
            receiver.recv()??;
            waiting -= 1;
        }
        let mut random = [0; 10];
        random[..8].copy_from_slice(&number.to_be_bytes());
        let delivery = Delivery {
            item: Some(ItemId::new(base, random)),
            mailbox: "INBOX".into(),
            head: vec![b'h'; 300].into(),
            body: Content::from(vec![b'x'; octets]),
            flags: FlagList::default(),
            internal_date: base,
        };
        let sender = sender.clone();
        let done = move |receipt| {
            let _ = sender.send(receipt);
        };
        store.deliver("rate", delivery, Box::new(done));
        waiting += 1;
        if number % 50_000 == 49_999 {
            println!("{} delivered, {:.0}/s", number + 1, 50_000.0 / lap.elapsed().as_secs_f64());
            lap = Instant::now();
        }
    }
    for _ in 0..waiting {
        receiver.recv()??;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{count} deliveries of {octets} octets in {seconds:.2} s: {:.0}/s", count as f64 / seconds);
    let reader = store.reader("rate")?;
    let inbox = reader.mailbox("INBOX")?.ok_or("no INBOX")?;
    let started = Instant::now();
    let mut messages = 0_u64;
    reader.each_message(inbox.id, 1..=u32::MAX, &mut |_| messages += 1)?;
    println!("{messages} listed in {:.3} s", started.elapsed().as_secs_f64());
    Ok(())
}
