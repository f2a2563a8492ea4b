//! What all figures share: how much work, the name server, the systems.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use testkit::dns::{NameServer, Record};

use crate::load::{Load, Sink};
use crate::many;
use crate::meter;
use crate::postern_pair::PosternPair;
use crate::postfix_pair::{Equipment, PostfixPair};
use crate::signed::SignedMessage;
use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(600);

/// A run of the bench.
pub(crate) struct Bench {
    quick: bool,
    pub(crate) rounds: u32,
    name_server: NameServer,
    /// What honest senders send.
    pub(crate) signed: SignedMessage,
}

impl Bench {
    /// The resolver of the bench's network: it knows the two domains that mail goes to.
    pub(crate) fn new(quick: bool, rounds: u32) -> Self {
        let zone = [
            ("remote.test", Record::Mx(10, "mx.remote.test".to_owned())),
            ("mx.remote.test", Record::A(Ipv4Addr::LOCALHOST)),
            ("dead.test", Record::Mx(10, "mx.dead.test".to_owned())),
            // The sink listens on 127.0.0.1 only.
            ("mx.dead.test", Record::A(Ipv4Addr::new(127, 0, 0, 9))),
        ];
        let signed = SignedMessage::make();
        let domains = many::records();
        let domains = domains.iter().map(|(name, record)| (name.as_str(), record.clone()));
        let zone: Vec<(&str, Record)> = zone.into_iter().chain(signed.records()).chain(domains).collect();
        let name_server = NameServer::start_at(([127, 0, 0, 1], 53).into(), &zone);
        Self { quick, rounds, name_server, signed }
    }

    /// How much work: much for figures to be believed, little to see that it works.
    pub(crate) const fn work(&self, full: u32, quick: u32) -> u32 {
        if self.quick { quick } else { full }
    }

    pub(crate) fn postern(&self, sink: Option<&Sink>) -> PosternPair {
        PosternPair::start(self.name_server.address(), sink)
    }

    pub(crate) fn postfix(&self, equipment: Equipment, sink: Option<&Sink>) -> PostfixPair {
        PostfixPair::start(equipment, sink)
    }
}

/// What one run of a load gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Messages a second until the last was answered.
    pub(crate) accepted: f64,
    /// Messages a second until the last could be read.
    pub(crate) delivered: f64,
    /// Processor time of the whole machine for each message, in milliseconds; the load generator's included.
    pub(crate) processor: f64,
}

/// Sends the load to the system's edge and waits until all of it can be read at its home.
pub(crate) fn inbound_pace(system: &mut dyn System, load: &Load<'_>) -> Pace {
    let before = system.delivered();
    let server = system.inbound();
    pace(load.messages, || load.send(server), || system.delivered() - before)
}

/// Times sending, and arriving: `arrived` says how many have come so far.
pub(crate) fn pace(messages: u32, send: impl FnOnce(), mut arrived: impl FnMut() -> usize) -> Pace {
    let busy = meter::machine_busy();
    let begun = Instant::now();
    send();
    let accepted = begun.elapsed();
    wait_for(messages as usize, &mut arrived);
    let delivered = begun.elapsed();
    let busy = meter::machine_busy() - busy;
    let messages = f64::from(messages);
    Pace {
        accepted: messages / accepted.as_secs_f64(),
        delivered: messages / delivered.as_secs_f64(),
        processor: busy.as_secs_f64() * 1000.0 / messages,
    }
}

/// Waits until so many have arrived.
pub(crate) fn wait_for(messages: usize, arrived: &mut impl FnMut() -> usize) {
    let begun = Instant::now();
    loop {
        let now = arrived();
        if now >= messages {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{now} of {messages} messages arrived in {} s",
            PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
