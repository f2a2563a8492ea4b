//! A message is judged while it comes in: its header section is held until it is whole, then its body is
//! hashed as it passes, and at its end everything that was found becomes one verdict (`decision`).

mod decision;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use link::notification;
use mail::header_section::{self, Gathered};
use mail::{Envelope, Reply, Sign, Verdict};
use mailauth::dkim::BodyHashes;
use mailauth::message::{Header, Known};
use mailauth::results;
use mailauth::spf::{Query, Spf, SpfResult, check as check_spf};

use self::decision::Rules;
use super::begun::Begun;
use super::score::Table;
use super::visitor::{Visitor, Visitors};
use crate::config::PolicyConfig;

/// How long all questions of one message may take together; what is not answered by then counts as no answer
/// (RFC 7208 section 4.6.4 asks for at least 20 s).
const PATIENCE: Duration = Duration::from_secs(20);

/// What judging needs, shared by all sessions.
pub(crate) struct Judges {
    /// DNS, points, this host's name.
    pub visitors: Arc<Visitors>,
    /// The policy that the operator has set.
    pub policy: PolicyConfig,
}

/// One message being judged.
pub(crate) struct Examination {
    held: Vec<u8>,
    header: Option<Arc<Header>>,
    hashes: BodyHashes,
    asking: Option<Begun<Known>>,
}

/// What becomes of a piece of a message.
pub(crate) enum Taken {
    /// It is held back: the header section is not whole yet.
    Held,
    /// These pieces are to be handed on.
    Pass(Vec<Bytes>),
    /// The header section is too large.
    TooLarge,
}

/// What is known of a message beside itself.
pub(crate) struct Circumstances<'a> {
    /// The client that hands it in.
    pub visitor: &'a Visitor,
    /// Signs found on the client: its behaviour, its names, SPF.
    pub signs: Vec<Sign>,
    /// The envelope: reverse-path and recipients.
    pub envelope: &'a Envelope,
    /// How the recipient of a notification is known.
    pub known: notification::Known,
}

/// What is to be done with a message.
#[derive(Debug)]
pub(crate) enum Ruling {
    /// It is delivered with this verdict.
    Deliver(Verdict),
    /// It is refused, because of these.
    Refuse(Reply, Vec<Sign>),
}

impl Judges {
    fn table(&self) -> &Table {
        &self.visitors.table
    }

    /// Begins to check who may send for the reverse-path; dropped, it asks no further.
    pub(crate) fn begin_spf(&self, client: &mail::Client, mail_from: String) -> Begun<Spf> {
        let (questions, receiver) = (self.visitors.questions.clone(), self.visitors.hostname.clone());
        let now = self.visitors.clock.now().as_secs();
        let (ip, helo) = (client.ip, client.helo.clone());
        Begun::begin(async move {
            let query = Query { ip, helo: &helo, mail_from: &mail_from, receiver: &receiver, now };
            match tokio::time::timeout(PATIENCE, check_spf(&questions, &query)).await {
                Ok(spf) => spf,
                Err(_) => Spf::unanswered(&query),
            }
        })
    }

    /// Signs of an SPF result.
    pub(crate) fn spf_signs(&self, spf: &Spf) -> Vec<Sign> {
        let row = match spf.result {
            SpfResult::Fail => "spf-fail",
            SpfResult::SoftFail => "spf-softfail",
            SpfResult::TempError | SpfResult::PermError => "spf-error",
            SpfResult::None | SpfResult::Neutral | SpfResult::Pass => return Vec::new(),
        };
        self.table().sign(row, format!("{}: {}", spf.domain, spf.reason)).into_iter().collect()
    }
}

impl Examination {
    /// The examination of a new message.
    pub(crate) fn new() -> Self {
        Self { held: Vec::new(), header: None, hashes: BodyHashes::default(), asking: None }
    }

    /// Octets that are held back or kept.
    pub(crate) fn held(&self) -> usize {
        self.held.len().max(self.header.as_ref().map_or(0, |header| header.raw().len()))
    }

    /// Takes a piece of the message.
    pub(crate) fn take(&mut self, judges: &Judges, piece: Bytes) -> Taken {
        if self.header.is_some() {
            self.hashes.update(&piece);
            return Taken::Pass(vec![piece]);
        }
        match header_section::gather(&mut self.held, &piece) {
            Gathered::Whole(body) => {
                let mut pieces = vec![self.close_header(judges)];
                if !body.is_empty() {
                    self.hashes.update(&body);
                    pieces.push(body);
                }
                Taken::Pass(pieces)
            }
            Gathered::Part => Taken::Held,
            Gathered::TooLarge => Taken::TooLarge,
        }
    }

    /// The header section is whole: it is read, DNS is asked for the keys, and it is given on without the
    /// results that claim to be ours.
    fn close_header(&mut self, judges: &Judges) -> Bytes {
        let raw = std::mem::take(&mut self.held);
        let passed_on = Bytes::from(header_section::without_results(&raw, |results| {
            results::claims(results, &judges.visitors.hostname)
        }));
        let header = Arc::new(Header::parse(raw));
        self.hashes = header.body_hashes();
        let (asking, questions) = (Arc::clone(&header), judges.visitors.questions.clone());
        self.asking = Some(Begun::begin(async move { asking.ask(&questions).await }));
        self.header = Some(header);
        passed_on
    }

    /// The message is whole. Gives what is still to be handed on, if it had no body.
    pub(crate) fn end(&mut self, judges: &Judges) -> Option<Bytes> {
        if self.header.is_some() { None } else { Some(self.close_header(judges)) }
    }

    /// The number of `Received` fields; 0 before the header section is whole.
    pub(crate) fn hops(&self) -> u32 {
        self.header.as_ref().map_or(0, |header| header.hops())
    }

    /// The header section, after [`Examination::end`].
    pub(crate) fn header(&self) -> &[u8] {
        self.header.as_ref().map_or(&[], |header| header.raw())
    }

    /// The verdict, after [`Examination::end`].
    pub(crate) async fn judge(self, judges: &Judges, spf: Spf, around: Circumstances<'_>) -> Ruling {
        let hops = self.hops();
        let Some(header) = self.header else {
            return Ruling::Deliver(Verdict { hops, ..Verdict::default() });
        };
        let known = match self.asking {
            Some(asking) => asking.await.unwrap_or_default(),
            None => Known::default(),
        };
        let hashes = self.hashes.finish();
        let trusted = &judges.policy.trusted_sealers;
        let questions = &judges.visitors.questions;
        let now = judges.visitors.clock.now();
        let found = header.authenticate(questions, &hashes, &known, spf, now, trusted).await;
        let rules =
            Rules { table: judges.table(), policy: &judges.policy, authserv_id: &judges.visitors.hostname };
        rules.decide(&found, header.raw(), hops, around)
    }
}

/// The text of a refusal, and what the owner of the reverse-path's domain says to those who may not send for it.
/// Whose words they are is told with them (RFC 7208 section 8.4).
pub(crate) fn with_explanation(text: String, spf: &Spf) -> String {
    match &spf.explanation {
        Some(said) => format!("{text}\n{} explains: {said}", spf.domain),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_whose_explanation_it_passes_on() {
        let query =
            Query { ip: [192, 0, 2, 1].into(), helo: "", mail_from: "a@b.example", receiver: "", now: 0 };
        let silent = Spf { domain: "b.example".to_owned(), ..Spf::unanswered(&query) };
        assert_eq!(with_explanation("Refused".to_owned(), &silent), "Refused");
        let explained = Spf { explanation: Some("Ask us".to_owned()), ..silent };
        assert_eq!(with_explanation("Refused".to_owned(), &explained), "Refused\nb.example explains: Ask us");
    }

    /// The domains of the authors that ENVELOPE shows: the last of each group of four; where a group of addresses begins
    /// and ends it is NIL. The header section has neither date nor subject, and no quotes in its addresses.
    fn shown(section: &[u8]) -> std::collections::BTreeSet<String> {
        let envelope = String::from_utf8(imap::envelope_of(section)).unwrap();
        let Some(list) = envelope.strip_prefix("(NIL NIL ((") else { return Default::default() };
        let (list, _) = list.split_once("))").unwrap();
        let domain = |address: &str| {
            let domain =
                address.rsplit(' ').next().unwrap().trim_matches('"').trim_end_matches('.').to_owned();
            mail::Domain::parse(&domain).map_or(domain, |domain| domain.as_str().to_owned())
        };
        list.split(")(").map(domain).filter(|domain| domain != "nil" && domain != "NIL").collect()
    }

    /// Whoever is judged is whom a mail program shows, or it is known that they may differ. All sequences of a few of the
    /// pieces that header sections are made of, with what makes programs disagree among them.
    /// Security lesson: Composition Kills (USENIX Security 2020).
    #[test]
    fn the_author_who_is_judged_is_the_author_who_is_shown() {
        const PIECES: [&str; 16] = [
            "From: a@one.example",
            "From : b@two.example",
            "From\r\n : c@three.example",
            "from:\r\n\td@Four.example",
            " From: e@five.example",
            "From\t:f@six.example, g@seven.example",
            "FROM: all: a@one.example, h@eight.example;",
            "From: nobody",
            "From: MAILER-DAEMON <>",
            "From:",
            "From: a@one.example@two.example",
            "From: <@relay.example:i@nine.example>",
            "Sender: j@ten.example",
            "Resent-From: k@eleven.example",
            "X: y",
            "nonsense",
        ];
        let (mut told, mut unclear) = (0, 0);
        for number in 0..PIECES.len().pow(3) {
            let place = |power: u32| number / PIECES.len().pow(power) % PIECES.len();
            let pieces = [0, 1, 2].map(|power| PIECES[place(power)]);
            let section = format!("{}\r\n\r\n", pieces.join("\r\n"));
            let authors = mailauth::dmarc::Authors::of(section.as_bytes());
            if authors.flaw.is_some() {
                unclear += 1;
                continue;
            }
            told += 1;
            assert_eq!(
                authors.domains.into_iter().collect::<std::collections::BTreeSet<_>>(),
                shown(section.as_bytes()),
                "{section}"
            );
        }
        assert!(told > 100 && unclear > 100, "{told} and {unclear}");
    }
}
