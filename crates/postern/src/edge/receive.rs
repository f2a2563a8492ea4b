//! Mail from the internet: what Edge answers to the clients of its port 25.

use std::sync::Arc;

use bytes::Bytes;
use link::{Open, SnapshotDelivery};
use mail::{Address, Client, Envelope, Recipient, Reply, Verdict};
use net::smtp_server::Service;
use smtp::server::{Cause, MailFrom, Secret};

use super::handoff::{HandOff, HandOffs};
use super::homes::{Home, Homes, Kept};
use crate::system;

/// `Received` fields with which a message counts as looping (RFC 5321 section 6.3).
const HOPS_MAX: u32 = 100;

/// One SMTP session's view of Edge.
pub struct Receive {
    homes: Arc<Homes>,
    hand_offs: Arc<HandOffs>,
    /// The home that the transaction's first recipient belongs to, with the snapshot it was checked by.
    home: Option<(Arc<Home>, Arc<Kept>)>,
    /// What the recipients so far take of a frame.
    recipients_octets: usize,
    message: Option<HandOff>,
    hops: HopCounter,
}

impl Receive {
    /// For a new session.
    pub fn new(homes: Arc<Homes>, hand_offs: Arc<HandOffs>) -> Self {
        Self {
            homes,
            hand_offs,
            home: None,
            recipients_octets: 0,
            message: None,
            hops: HopCounter::default(),
        }
    }

    /// Takes a recipient if it is known and its envelope will still fit a frame.
    fn take_recipient(&mut self, recipient: &Recipient) -> Reply {
        let octets = self.recipients_octets + link::recipient_octets(recipient);
        if octets > link::RECIPIENTS_OCTETS_MAX {
            return Reply::new(
                452,
                (4, 5, 3),
                "Too many long recipients; send to the rest in another transaction",
            );
        }
        let reply = self.check_recipient(&recipient.address);
        if reply.is_positive() {
            self.recipients_octets = octets;
        }
        reply
    }

    fn check_recipient(&mut self, address: &Address) -> Reply {
        let routed = match address.local().eq_ignore_ascii_case("postmaster") {
            // "postmaster" without a domain is this host's: it goes to the home that was paired first.
            true => self.homes.route(address.domain()).or_else(|| self.postmaster_home()),
            false => self.homes.route(address.domain()),
        };
        let Some((home, kept)) = routed else {
            return Reply::new(
                550,
                (5, 7, 1),
                "This host takes no mail for that domain: relaying is not offered",
            );
        };
        let at_home = Address::at(address.local(), address.domain());
        let found =
            at_home.map_or(SnapshotDelivery::UnknownRecipient, |address| kept.snapshot.find(&address));
        if found == SnapshotDelivery::UnknownRecipient {
            return Reply::new(550, (5, 1, 1), "There is no such recipient here");
        }
        match &self.home {
            Some((first, _)) if !Arc::ptr_eq(first, &home) => {
                Reply::new(452, (4, 5, 3), "Send to this recipient in a transaction of its own")
            }
            _ => {
                self.home.get_or_insert((home, kept));
                Reply::new(250, (2, 1, 5), "Recipient ok")
            }
        }
    }

    fn postmaster_home(&self) -> Option<(Arc<Home>, Arc<Kept>)> {
        self.homes.list().into_iter().find_map(|home| {
            let kept = home.kept()?;
            Some((home, kept))
        })
    }
}

impl Service for Receive {
    async fn login(&mut self, _user: &str, _password: &Secret) -> (Option<String>, Reply) {
        // The session offers no login on this port.
        (None, Reply::new(503, (5, 5, 1), "Logging in is not offered here"))
    }

    async fn mail(&mut self, _client: &Client, from: &MailFrom) -> Reply {
        self.home = None;
        self.recipients_octets = 0;
        drop(self.message.take());
        let most = self
            .homes
            .list()
            .iter()
            .filter_map(|home| home.kept())
            .map(|k| k.snapshot.message_octets_max)
            .max();
        match (most, from.size) {
            (None, _) => Reply::new(451, (4, 3, 2), "This host is not set up yet; try again later"),
            (Some(most), Some(size)) if size > most => {
                Reply::new(552, (5, 3, 4), format!("The message is larger than {most} octets"))
            }
            _ => Reply::new(250, (2, 1, 0), "Sender ok"),
        }
    }

    async fn recipient(&mut self, _client: &Client, recipient: &Recipient) -> Reply {
        self.take_recipient(recipient)
    }

    async fn data(&mut self, envelope: Envelope) -> Result<(), Reply> {
        let (home, kept) = self.home.clone().ok_or_else(|| Reply::new(503, (5, 5, 1), "No recipients"))?;
        let open = Open { item: system::new_item_id(), accepted: system::now(), envelope };
        self.hops = HopCounter::default();
        self.message = Some(self.hand_offs.begin(home, kept, open)?);
        Ok(())
    }

    async fn body(&mut self, piece: Bytes) {
        self.hops.count(&piece);
        if let Some(message) = &mut self.message {
            message.body(&piece).await;
        }
    }

    async fn end(&mut self) -> Reply {
        let Some(mut message) = self.message.take() else {
            return Reply::new(451, (4, 3, 0), "The message was lost here; send it again");
        };
        let limit = self.home.as_ref().map_or(u64::MAX, |(_, kept)| kept.snapshot.message_octets_max);
        if self.hops.found > HOPS_MAX {
            message.abort();
            return Reply::new(554, (5, 4, 6), "The message has passed too many hosts: it loops");
        }
        if message.octets() > limit {
            message.abort();
            return Reply::new(552, (5, 3, 4), format!("The message is larger than {limit} octets"));
        }
        message.finish(Verdict { hops: self.hops.found }).await
    }

    async fn aborted(&mut self, _cause: Cause) {
        if let Some(mut message) = self.message.take() {
            message.abort();
        }
    }
}

impl Drop for Receive {
    fn drop(&mut self) {
        if let Some(mut message) = self.message.take() {
            message.abort();
        }
    }
}

/// Counts `Received` fields while the header section streams by, in pieces cut anywhere.
#[derive(Debug, Default)]
struct HopCounter {
    found: u32,
    /// The beginning of the line that is going on, as far as it matters.
    line: Vec<u8>,
    /// The line that is going on is too long to be the name.
    skip: bool,
    done: bool,
}

const RECEIVED: &[u8] = b"received:";

impl HopCounter {
    fn count(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !self.done && !rest.is_empty() {
            if self.skip {
                match memchr::memchr(b'\n', rest) {
                    Some(at) => rest = rest.get(at + 1..).unwrap_or_default(),
                    None => return,
                }
                self.skip = false;
                self.line.clear();
                continue;
            }
            let (octet, later) = match rest.split_first() {
                Some((octet, later)) => (*octet, later),
                None => return,
            };
            rest = later;
            self.take(octet);
        }
    }

    fn take(&mut self, octet: u8) {
        if octet == b'\n' {
            self.done = self.line.is_empty() || self.line == b"\r";
            self.line.clear();
            return;
        }
        self.line.push(octet.to_ascii_lowercase());
        if self.line == RECEIVED {
            self.found += 1;
            self.skip = true;
        } else if !RECEIVED.starts_with(&self.line) && self.line != b"\r" {
            self.skip = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(message: &[u8], step: usize) -> u32 {
        let mut counter = HopCounter::default();
        message.chunks(step).for_each(|piece| counter.count(piece));
        counter.found
    }

    fn receive(dir: &std::path::Path) -> Receive {
        let homes = Arc::new(Homes::open(&dir.join("homes"), 1 << 20).unwrap());
        let home = homes.pair([7; 32], mail::UnixTime(1)).unwrap();
        let name = mail::Domain::parse("example.org").unwrap();
        home.keep(link::Snapshot {
            generation: 1,
            domains: vec![link::DomainPolicy { name, catch_all: true }],
            subaddress_separators: String::new(),
            recipient_key: link::RecipientKey::new([1; 32]),
            recipients: std::collections::HashSet::new(),
            sealing_key: crate::sealed::generate_key().1,
            away: link::Away::Seal,
            message_octets_max: 1 << 20,
            outbound: false,
        })
        .unwrap();
        let trace = crate::trace::Trace::open(&dir.join("trace"), link::Role::Edge).unwrap();
        let hand_offs = HandOffs::new(4 << 20, std::time::Duration::from_secs(60), trace);
        Receive::new(homes, Arc::new(hand_offs))
    }

    #[test]
    fn recipients_are_taken_as_long_as_their_envelope_fits_a_frame() {
        let dir = tempfile::tempdir().unwrap();
        let mut receive = receive(dir.path());
        let recipient = Recipient {
            orcpt: Some(mail::Orcpt { kind: "rfc822".to_owned(), address: "\"".repeat(490) }),
            ..Address::parse("bob@example.org").unwrap().into()
        };
        let most = link::RECIPIENTS_OCTETS_MAX / link::recipient_octets(&recipient);
        assert!(most < 1000);
        for _ in 0..most {
            assert_eq!(receive.take_recipient(&recipient).code, 250);
        }
        assert_eq!(receive.take_recipient(&recipient).code, 452);
        let envelope = Envelope {
            reverse_path: mail::ReversePath::Null,
            recipients: vec![recipient; most],
            body: mail::BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
            client: None,
        };
        let open = Open { item: system::new_item_id(), accepted: system::now(), envelope };
        link::Frame::Open(Box::new(open)).encode(&mut bytes::BytesMut::new()).unwrap();
    }

    #[test]
    fn received_fields_are_counted_in_the_header_only_however_it_is_cut() {
        let message = b"Received: a\r\n\tReceived: folded\r\nX: 1\r\nRECEIVED:b\r\nReceived-SPF: no\r\n\r\nReceived: body\r\n";
        for step in 1..message.len() {
            assert_eq!(hops(message, step), 2, "cut every {step}");
        }
        assert_eq!(hops(b"\r\nReceived: body\r\n", 3), 0);
    }
}
