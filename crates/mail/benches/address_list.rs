//! The values of From, To and Cc, read into mailboxes: one with a name, a list of fifty, folded, in all the
//! forms that mail programs write, and a list of as many as are read at all.
//! Unit: mailboxes a second.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mail::address_list::{MAILBOXES_MAX, mailboxes, parse};

fn main() {
    divan::main();
}

#[divan::bench(args = [1, 50, MAILBOXES_MAX])]
fn read(bencher: Bencher<'_, '_>, count: usize) {
    let value = list(count);
    let entries = parse(value.as_bytes());
    assert_eq!(mailboxes(&entries).count(), count);
    assert!(mailboxes(&entries).all(|mailbox| mailbox.domain == "example.org"));
    bencher.counter(ItemsCount::new(count)).bench_local(|| parse(black_box(value.as_bytes())));
}

/// A list of so many mailboxes, two on a line.
fn list(count: usize) -> String {
    let mailbox = |number: usize| match number % 5 {
        0 => format!("Bob Smith {number} <bob.smith.{number}@example.org>"),
        1 => format!("\"Smith, Alice ({number})\" <alice{number}@example.org>"),
        2 => format!("carol{number}@example.org"),
        3 => format!("=?utf-8?q?D=C3=A9d=C3=A9_{number}?= <dede+{number}@example.org>"),
        _ => format!("dave{number}@example.org (Dave, at work)"),
    };
    let mut list = String::new();
    for number in 0..count {
        match number {
            0 => {}
            _ if number % 2 == 0 => list.push_str(",\r\n\t"),
            _ => list.push_str(", "),
        }
        list.push_str(&mailbox(number));
    }
    list
}
