//! Sends a message round, as a user's mail program would, to the test address of an edge, which sends back what it saw.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use daemon::clock::Clock;
use daemon::system;
use directory::{AccountId, Directory};
use doctor::facts::{House, RoundTrip};
use mail::{Address, BodyType, Client, Envelope, ItemId, Notify, Recipient, ReversePath, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::edges::Edges;
use super::own_host::OwnHost;
use super::round_trips::{ECHO, RoundTrips, SUBJECT};
use super::submit::Submit;

/// What a message is sent round with.
#[derive(Clone)]
pub(crate) struct Traveller {
    /// The way of users' mail.
    pub submit: Arc<Submit>,
    /// The people.
    pub directory: Directory,
    /// The edges.
    pub edges: Edges,
    /// Where answers are taken out.
    pub trips: RoundTrips,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// A message that is on its way, or was.
pub(crate) struct Travelled {
    /// Its id in the queue and the trace.
    pub item: ItemId,
    /// Where it was sent.
    to: Address,
    /// From when it was sent until its answer was here, or nobody waited any longer.
    milliseconds: u64,
    /// What came of it.
    pub trip: RoundTrip,
}

impl Travelled {
    /// For who sent it: whether it came back, how long that took, and what a receiver would have found.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "item": self.item,
            "to": self.to,
            "came_back": self.trip.returned.is_some(),
            "milliseconds": self.milliseconds,
            "results": self.trip.authentication_results,
        })
    }
}

impl Traveller {
    /// Sends a message to the test address of the first edge that is up, as of the first account, and waits so long for the
    /// answer.
    ///
    /// # Errors
    /// Why no message could be sent.
    pub(crate) async fn go(&self, patience: Duration) -> Result<Travelled, String> {
        let (account, from) =
            self.directory.first_account().ok_or("there is no user yet: postern user add")?;
        let edge = self.edges.with_echo().ok_or("no edge is up that has a test address")?;
        let to = Address::parse(&format!("{ECHO}@{edge}")).map_err(|error| error.to_string())?;
        let token = format!("{:032x}", u128::from_le_bytes(system::random()));
        let expected = self.trips.expect(&token).ok_or("enough messages are on their way round")?;
        let now = self.clock.now();
        let own = self.submit.own_host();
        let message = letter(&own, &from, &to, &token);
        let begun = Instant::now();
        let item = self.send(account, from, to.clone(), message.clone()).await?;
        let answer = tokio::time::timeout(patience, expected.came()).await.ok().flatten();
        let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (returned, authentication_results) = match answer {
            Some(answer) => (inner_message(&answer), results(&answer)),
            None => (None, None),
        };
        let addresses = own.addresses.iter().copied().chain(self.edges.seen_at().addresses()).collect();
        let house = House { host_names: own.names.clone(), addresses, logins: Vec::new() };
        let trip =
            RoundTrip { sent_at: now, sent: message.to_vec(), returned, authentication_results, house };
        Ok(Travelled { item, to, milliseconds, trip })
    }

    /// Sends a message of the first account's to an address anywhere, for an operator who reads it there. Gives its id in the
    /// queue, and whom it is from. What becomes of it is in the trace.
    ///
    /// # Errors
    /// Why it could not be sent.
    pub(crate) async fn send_to(&self, to: &str) -> Result<Value, String> {
        let (account, from) =
            self.directory.first_account().ok_or("there is no user yet: postern user add")?;
        let to = Address::parse(to).map_err(|error| format!("{to}: {error}"))?;
        let message = greeting(&from, &to, &self.clock.now().rfc5322());
        let item = self.send(account, from.clone(), to, message).await?;
        Ok(json!({ "item": item, "from": from }))
    }

    async fn send(
        &self,
        account: AccountId,
        from: Address,
        to: Address,
        message: Bytes,
    ) -> Result<ItemId, String> {
        let own = self.submit.own_host();
        let ip = own.addresses.first().copied().unwrap_or_else(|| std::net::Ipv4Addr::LOCALHOST.into());
        let helo = own.names.first().cloned().unwrap_or_else(|| "localhost".to_owned());
        let envelope = Envelope {
            reverse_path: ReversePath::Address(from),
            // Whatever becomes of it, no user hears of a message that he did not write.
            recipients: vec![Recipient { notify: Some(Notify::NEVER), ..Recipient::from(to) }],
            body: BodyType::SevenBit,
            smtputf8: false,
            require_tls: false,
            ret: None,
            envid: None,
            client: Some(Client { ip, helo, esmtp: true, tls: None, login: None }),
        };
        self.submit.send_as(account, envelope, message).await.map_err(|reply| reply.to_string())
    }
}

/// A message as a mail program writes it that knows no discretion: what names the house has to be gone when it leaves.
fn letter(own: &OwnHost, from: &Address, to: &Address, token: &str) -> Bytes {
    let name = own.names.first().map_or("localhost", String::as_str);
    let ip = own.addresses.first().map_or_else(|| "127.0.0.1".to_owned(), ToString::to_string);
    Bytes::from(format!(
        "Received: from {name} ([{ip}]) by {name} with ESMTP; Thu, 01 Jan 2026 00:00:00 +0000\r\n\
         Message-ID: <{token}@{name}>\r\nUser-Agent: Postern on {name}\r\n\
         From: <{from}>\r\nTo: <{to}>\r\nSubject: {SUBJECT} {token}\r\nAuto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
         This message goes out through an edge and comes back, to see what the world would see.\r\n"
    ))
}

/// A message for who looks how mail from here arrives.
fn greeting(from: &Address, to: &Address, date: &str) -> Bytes {
    Bytes::from(format!(
        "From: <{from}>\r\nTo: <{to}>\r\nDate: {date}\r\nSubject: A first message\r\nAuto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
         This message was sent to see whether mail from here arrives, and where: among other mail, or among\r\n\
         what is suspected. Its header field Authentication-Results, where there is one, says what its receiver\r\n\
         thought of it.\r\n"
    ))
}

/// The message that an answer brings back: the second part of two.
fn inner_message(answer: &[u8]) -> Option<Vec<u8>> {
    const MARK: &[u8] = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n";
    const END: &[u8] = b"\r\n--echo-";
    let begin = answer.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let rest = answer.get(begin..)?;
    let end = rest.windows(END.len()).rposition(|window| window == END)?;
    rest.get(..end).map(<[u8]>::to_vec)
}

/// What the edge found, as `Authentication-Results` says it.
fn results(answer: &[u8]) -> Option<String> {
    let head = answer.get(..header::body_offset(answer))?;
    header::find(head, "Postern-Echo-Results").map(|field| field.unfolded().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_brings_back_is_read() {
        let answer = b"From: <echo@mx.example.org>\r\nPostern-Echo-Results: mx.example.org; spf=pass;\r\n\tdkim=pass\r\n\r\n\
            --echo-1\r\nContent-Type: text/plain\r\n\r\nwords\r\n\
            --echo-1\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
            From: a\r\n\r\nbody\r\n\r\n--echo-1--\r\n";
        assert_eq!(inner_message(answer).unwrap(), b"From: a\r\n\r\nbody\r\n");
        assert_eq!(results(answer).unwrap(), "mx.example.org; spf=pass;\tdkim=pass");
        assert!(inner_message(b"From: a\r\n\r\nx").is_none());
    }
}
