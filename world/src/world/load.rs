//! Mail that comes while a story goes on.

use std::time::Duration;

use testkit::numbered::{Numbered, Numbers};
use testkit::until;

use super::{PATIENCE, World};
use crate::place::{Neighbour, at};

/// Numbered messages for bob that come while the story goes on.
pub(crate) struct Load {
    numbered: Numbered,
    count: u32,
}

impl Load {
    /// From Postfix's host to Edge, one connection, as fast as they are answered, until [`Self::stopped`].
    pub(crate) fn without_end(world: &World) -> Self {
        Self::start(world, world.host(Neighbour::Postfix.place()), world.pair.smtp, 0)
    }

    /// From Postfix's own host to Postfix, which takes them to Edge and tries again when it must.
    pub(crate) fn through_postfix(world: &World, count: u32) -> Self {
        let who = Neighbour::Postfix;
        Self::start(world, world.host(who.place()), at(who.address(), 25), count)
    }

    fn start(world: &World, namespace: &str, server: std::net::SocketAddr, count: u32) -> Self {
        let from = Neighbour::Postfix.you();
        let numbers = Numbers {
            namespace,
            server,
            login: None,
            from: &from,
            to: "bob@example.org",
            word: "load",
            count,
            pause: Duration::from_millis(10),
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
    pub(crate) fn all_taken(self) {
        let count = self.count as usize;
        assert_eq!(self.ended(), count);
    }

    /// Has it end; each was answered 250. Gives how many that were.
    pub(crate) fn stopped(mut self) -> usize {
        self.numbered.stop();
        self.ended()
    }

    fn ended(mut self) -> usize {
        let told = self.numbered.end(PATIENCE);
        assert!(told.refused.is_empty() && told.doubt.is_empty(), "{:?} {:?}", told.refused, told.doubt);
        told.taken.len()
    }
}
