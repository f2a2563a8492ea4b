//! Mail that comes while a story goes on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use testkit::numbered::{Arrived, Numbered, Numbers, message_id};
use testkit::pair::LINK_PATIENCE;
use testkit::until;

use super::{MARKER, PATIENCE, World};
use crate::place::{Neighbour, at};

/// What their subjects begin with.
const WORD: &str = "load";

/// Numbered messages for bob that come while the story goes on.
pub(crate) struct Load {
    numbered: Numbered,
    count: u32,
}

impl Load {
    /// From Postfix's host to Edge, one connection, as fast as they are answered, until [`Self::stopped`].
    pub(crate) fn without_end(world: &mut World) -> Self {
        let server = world.pair.smtp;
        Self::start(world, server, 0)
    }

    /// From Postfix's own host to Postfix, which takes them to Edge and tries again when it must.
    pub(crate) fn through_postfix(world: &mut World, count: u32) -> Self {
        Self::start(world, at(Neighbour::Postfix.address(), 25), count)
    }

    fn start(world: &mut World, server: std::net::SocketAddr, count: u32) -> Self {
        world.written_to.push("bob@example.org".to_owned());
        let from = Neighbour::Postfix.you();
        let numbers = Numbers {
            namespace: world.host(Neighbour::Postfix.place()),
            server,
            login: None,
            from: &from,
            to: "bob@example.org",
            word: WORD,
            count,
            pause: Duration::from_millis(10),
            line: MARKER,
            large_every: 0,
            again: 0,
        };
        Self { numbered: Numbered::start(&numbers, world.dir.path()), count }
    }

    /// How many were answered 250 so far.
    pub(crate) fn taken(&self) -> usize {
        self.numbered.told().taken.len()
    }

    /// Waits until so many more were answered 250.
    pub(crate) fn goes_on(&self, messages: usize) {
        let before = self.taken();
        until("mail is coming", PATIENCE, || (self.taken() >= before + messages).then_some(()));
    }

    /// Waits for the end; each was answered 250.
    pub(crate) fn all_taken(self, world: &World) {
        let count = self.count as usize;
        assert_eq!(self.ended(world).len(), count);
    }

    /// Has it end; each was answered 250. Gives their numbers.
    pub(crate) fn stopped(mut self, world: &World) -> BTreeSet<u32> {
        self.numbered.stop();
        self.ended(world)
    }

    fn ended(mut self, world: &World) -> BTreeSet<u32> {
        let told = self.numbered.end(PATIENCE);
        if let Some(number) = told.refused.keys().chain(&told.doubt).next() {
            print_trace(world, *number);
        }
        assert!(told.refused.is_empty() && told.doubt.is_empty(), "{:?} {:?}", told.refused, told.doubt);
        told.taken
    }
}

fn print_trace(world: &World, number: u32) {
    world.print_trace(&message_id(WORD, number, &Neighbour::Postfix.you()));
}

impl World {
    /// Waits until bob has as many messages as were taken and nothing waits at Edge; then looks that each is there, whole,
    /// and not more than `times`. Gives how often each is.
    pub(crate) fn bob_has_load(&self, taken: &BTreeSet<u32>, times: u32) -> Arrived {
        let look = || Arrived::among(&self.mailbox("bob").messages("INBOX"), WORD, MARKER, 0);
        let lost = |arrived: &Arrived| -> Vec<u32> {
            taken.iter().filter(|number| !arrived.times.contains_key(number)).copied().collect()
        };
        let begun = Instant::now();
        while !lost(&look()).is_empty() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(500));
        }
        self.pair.wait_until_drained(LINK_PATIENCE);
        let arrived = look();
        let lost = lost(&arrived);
        let too_often = |(number, copies): &(&u32, &u32)| **copies > times || !taken.contains(number);
        let too_often: Vec<u32> = arrived.times.iter().filter(too_often).map(|(number, _)| *number).collect();
        let broken: Vec<u32> = arrived.broken.iter().copied().collect();
        for number in [&lost, &too_often, &broken].into_iter().filter_map(|numbers| numbers.first()) {
            print_trace(self, *number);
        }
        assert!(
            lost.is_empty() && too_often.is_empty() && broken.is_empty(),
            "lost {lost:?}, too often {too_often:?}, not whole {broken:?}"
        );
        arrived
    }
}
