//! Numbered mail both ways: a sender on each side, and the MTA that takes what goes out.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use testkit::imap::split;
use testkit::numbered::{Numbered, Numbers, Told};
use testkit::pair::PASSWORD;
use testkit::process::{self, Process};
use testkit::until;

use super::PATIENCE;
use crate::place::{self, Neighbour};
use crate::world::{MARKER, World};

/// What subjects begin with, and reverse-paths, of both directions.
pub(super) const INBOUND: &str = "in";
pub(super) const OUTBOUND: &str = "out";
pub(super) const ALICE: &str = "alice@example.org";
/// After so many messages comes a large one: some under way at each fault, and not too many for the disks.
pub(super) const LARGE_EVERY: u32 = 97;
/// How often a message whose reply got lost is sent again, a second between two tries.
const SENT_AGAIN_MAX: u32 = 20;
/// Between two messages of one direction.
const PAUSE: Duration = Duration::from_millis(30);
/// Messages each way that show that mail goes on.
const GOES_ON: usize = 20;
const SINK: &str = include_str!("sink.py");

/// The sender on each side, and the MTA.
pub(super) struct Traffic {
    inbound: Numbered,
    outbound: Numbered,
    _sink: Process,
}

impl Traffic {
    pub(super) fn begin(world: &mut World) -> Self {
        let namespace = world.add_public_host("sink", place::SINK);
        let dir = world.dir().to_owned();
        for book in [numbers_file(world), messages_file(world)] {
            fs::write(book, "").expect("a book");
        }
        hang_at(world, "");
        let mut python = process::command(Some(&namespace), "/usr/bin/python3");
        python.args(["-c", SINK, &place::SINK.to_string()]);
        python.arg(numbers_file(world)).arg(messages_file(world)).arg(dir.join("stage"));
        let sink = Process::start(python, &dir.join("sink.log"));
        until("the sink listens", PATIENCE, || sink.log().contains("ready").then_some(()));
        let from = Neighbour::Postfix.you();
        let inbound = Numbers {
            namespace: world.host(Neighbour::Postfix.place()),
            server: world.pair.smtp,
            login: None,
            from: &from,
            to: "bob@example.org",
            word: INBOUND,
            count: 0,
            pause: PAUSE,
            line: MARKER,
            large_every: LARGE_EVERY,
            again: SENT_AGAIN_MAX,
        };
        let outbound = Numbers {
            namespace: world.host("mua"),
            server: world.pair.submission,
            login: Some((ALICE, PASSWORD)),
            from: ALICE,
            to: "you@sink.test",
            word: OUTBOUND,
            ..inbound
        };
        Self {
            inbound: Numbered::start(&inbound, &dir),
            outbound: Numbered::start(&outbound, &dir),
            _sink: sink,
        }
    }

    /// Waits until both senders have heard 250 so many times more, and the sink has said it as often: the link is up.
    pub(super) fn goes_on(&self, world: &World, after: &str) {
        let count =
            || [self.inbound.told().taken.len(), self.outbound.told().taken.len(), sink_numbers(world).len()];
        let before = count();
        let mut now = before;
        let what = format!("{GOES_ON} more messages each way after '{after}'");
        until(&what, PATIENCE, || {
            now = count();
            now.iter().zip(before).all(|(now, before)| *now >= before + GOES_ON).then_some(())
        });
    }

    /// Has the senders end; what each was told. The MTA goes on: the queue may not be empty yet.
    pub(super) fn end(&mut self) -> [Told; 2] {
        self.inbound.stop();
        self.outbound.stop();
        [self.inbound.end(PATIENCE), self.outbound.end(PATIENCE)]
    }
}

/// Where the sink hangs: nowhere, when this is empty.
pub(super) fn hang_at(world: &World, stage: &str) {
    fs::write(world.dir().join("stage"), stage).expect("the stage");
}

fn numbers_file(world: &World) -> PathBuf {
    world.dir().join("numbers")
}

fn messages_file(world: &World) -> PathBuf {
    world.dir().join("messages")
}

/// The numbers that the sink wrote down so far.
fn sink_numbers(world: &World) -> Vec<String> {
    let text = fs::read_to_string(numbers_file(world)).expect("the book");
    text.lines().map(str::to_owned).collect()
}

/// Messages that the sink took.
pub(super) fn sink_messages(world: &World) -> Vec<Vec<u8>> {
    split(&fs::read(messages_file(world)).expect("the book"))
}
