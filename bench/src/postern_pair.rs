//! Postern in both roles, set up and paired as an operator does it.

use std::net::SocketAddr;
use std::time::Duration;

use testkit::pair::{PASSWORD, Pair, PairOptions};

use crate::load::Sink;
use crate::mailbox::Mailbox;
use crate::system::System;

const BOB: &str = "bob@example.org";

/// An edge and a home, running. They stop when it is dropped.
pub(crate) struct PosternPair {
    pair: Pair,
    mailbox: Option<Mailbox>,
}

impl PosternPair {
    /// Starts them. What users send goes to the sink; a deferred message is not tried again while the bench runs.
    pub(crate) fn start(name_server: SocketAddr, sink: Option<&Sink>) -> Self {
        let edge_config = sink.map(|sink| format!("[outbound]\nport = {}", sink.address().port()));
        let pair = Pair::with(&PairOptions {
            // More places than the figures need sessions: nobody is hurried because they fill.
            edge_config: format!("[limits]\nsessions = 8000\n{}", edge_config.unwrap_or_default()),
            home_config: "[queue]\nretry = [\"24h\"]\n[sending]\nrecipients_per_hour = 100000000\nrecipients_per_day = 100000000".to_owned(),
            outbound: sink.is_some(),
            name_server: Some(name_server),
            ..PairOptions::default()
        });
        Self { pair, mailbox: None }
    }

    /// Where users submit, TLS from the start.
    pub(crate) const fn submission(&self) -> SocketAddr {
        self.pair.submission
    }

    /// The two roles.
    pub(crate) const fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Starts Home again; the link follows.
    pub(crate) fn start_home(&mut self) {
        self.pair.home.start();
    }

    /// Messages that wait in Home's outbound queue.
    pub(crate) fn queued(&self) -> u64 {
        let status = self.pair.home.status().expect("Home answers");
        status["queue"].as_u64().unwrap_or_else(|| panic!("no queue in {status}"))
    }
}

impl System for PosternPair {
    fn inbound(&self) -> SocketAddr {
        self.pair.smtp
    }

    fn delivered(&mut self) -> usize {
        let imap = self.pair.imap;
        self.mailbox.get_or_insert_with(|| Mailbox::open(imap, BOB, PASSWORD)).count()
    }

    fn processes(&self) -> Vec<u32> {
        [&self.pair.edge, &self.pair.home].into_iter().filter_map(testkit::pair::Role::process_id).collect()
    }

    fn send_home_away(&mut self) {
        self.mailbox = None;
        self.pair.home.terminate(Duration::from_secs(30));
        self.pair.wait_for_no_link();
    }
}
