//! What a client has used up of the server's patience. Pure: how long it was waited for is passed in.
//!
//! Deadlines are for what the client has to bring, not for each read: one octet now and then brings nothing.

use std::time::Duration;

use smtp::server::Awaited;

use crate::patience::Patience;

/// Smaller chunks of a body count as lines that bring nothing.
const CHUNK_OCTETS: u64 = 512;

/// How long a session has waited for its client. Only that counts: what the server takes is not the client's fault.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Since the last whole line.
    line: Duration,
    /// Since the last octet of a body.
    silence: Duration,
    /// Since the last message that was taken.
    message: Duration,
    /// Octets of bodies since then.
    octets: u64,
    /// Lines since then.
    lines: u64,
    /// Since the beginning.
    session: Duration,
}

impl Pace {
    /// The client was waited for.
    pub(super) fn waited(&mut self, waited: Duration, awaited: Awaited) {
        match awaited {
            Awaited::Command => self.line += waited,
            Awaited::BodyBlock => self.silence += waited,
        }
        self.message += waited;
        self.session += waited;
    }

    /// Counts octets that came.
    pub(super) fn read(&mut self, octets: usize, awaited: Awaited) {
        if awaited == Awaited::BodyBlock && octets > 0 {
            self.silence = Duration::ZERO;
            self.octets = self.octets.saturating_add(octets as u64);
        }
    }

    /// So many lines were whole, whatever they said.
    pub(super) fn took_lines(&mut self, lines: u64) {
        self.line = Duration::ZERO;
        self.silence = Duration::ZERO;
        self.lines = self.lines.saturating_add(lines);
    }

    /// A message was taken: the client may begin another one.
    pub(super) fn took_message(&mut self) {
        (self.line, self.silence, self.message) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        (self.octets, self.lines) = (0, 0);
    }

    /// For how long the client may still be waited for; zero when it has been too slow.
    pub(super) fn left(&self, awaited: Awaited, patience: &Patience) -> Duration {
        // A large message in chunks (RFC 3030) has a line for each of them.
        if self.lines > u64::from(patience.lines) + self.octets / CHUNK_OCTETS {
            return Duration::ZERO;
        }
        let now = match awaited {
            Awaited::Command => patience.command.saturating_sub(self.line),
            Awaited::BodyBlock => patience.silence.saturating_sub(self.silence),
        };
        let body = Duration::from_secs(self.octets.checked_div(u64::from(patience.body_rate)).unwrap_or(0));
        let message = patience.message.saturating_add(body).saturating_sub(self.message);
        let login = patience.login.map_or(Duration::MAX, |login| login.saturating_sub(self.session));
        now.min(message).min(login)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Patience = Patience::FULL;
    const SECOND: Duration = Duration::from_secs(1);

    /// Symptom: one octet in each 100 seconds held a place for ever. Cause: the deadline was for a read.
    /// Security lesson: Slowloris (CVE-2007-6750).
    #[test]
    fn a_command_has_a_deadline_that_its_octets_do_not_move() {
        let mut pace = Pace::default();
        for _ in 0..299 {
            pace.waited(SECOND, Awaited::Command);
            pace.read(1, Awaited::Command);
        }
        assert_eq!(pace.left(Awaited::Command, &FULL), SECOND);
        pace.waited(SECOND, Awaited::Command);
        assert_eq!(pace.left(Awaited::Command, &FULL), Duration::ZERO);
        pace.took_lines(1);
        assert_eq!(pace.left(Awaited::Command, &FULL), FULL.command);
    }

    /// RFC 5321 section 4.5.3.2.5: three minutes for a block. The slowest that is honest sends a line in that time.
    #[test]
    fn a_line_of_a_thousand_octets_every_three_minutes_is_honest_while_places_are_free() {
        let mut pace = Pace::default();
        for line in 0..50_000 {
            pace.waited(Duration::from_secs(180), Awaited::BodyBlock);
            pace.read(1000, Awaited::BodyBlock);
            assert!(pace.left(Awaited::BodyBlock, &FULL) >= Duration::from_secs(180), "line {line}");
        }
    }

    #[test]
    fn a_body_of_one_octet_now_and_then_comes_to_its_end() {
        let mut pace = Pace::default();
        let mut octets = 0;
        while !pace.left(Awaited::BodyBlock, &FULL).is_zero() {
            pace.waited(Duration::from_secs(100), Awaited::BodyBlock);
            pace.read(1, Awaited::BodyBlock);
            octets += 1;
        }
        assert_eq!(octets, 19, "half an hour, and what the octets are worth");
    }

    #[test]
    fn a_body_has_its_silence_and_not_a_second_more() {
        let mut pace = Pace::default();
        pace.waited(FULL.silence - SECOND, Awaited::BodyBlock);
        assert_eq!(pace.left(Awaited::BodyBlock, &FULL), SECOND);
        pace.waited(SECOND, Awaited::BodyBlock);
        assert!(pace.left(Awaited::BodyBlock, &FULL).is_zero());
    }

    /// RFC 5321 section 4.5.3.2: 5 minutes each for the greeting's answer, MAIL and RCPT, two for DATA.
    #[test]
    fn a_client_that_takes_all_its_time_for_each_command_sends_its_message() {
        let mut pace = Pace::default();
        for wait in [299, 299, 299, 299, 119] {
            pace.waited(Duration::from_secs(wait), Awaited::Command);
            assert!(!pace.left(Awaited::Command, &FULL).is_zero());
            pace.took_lines(1);
        }
        pace.took_message();
        assert_eq!(pace.left(Awaited::Command, &FULL), FULL.command);
    }

    #[test]
    fn commands_that_bring_no_message_come_to_their_end() {
        let mut pace = Pace::default();
        for _ in 0..FULL.message.as_secs() / 100 - 1 {
            pace.waited(Duration::from_secs(100), Awaited::Command);
            pace.took_lines(1);
        }
        assert_eq!(pace.left(Awaited::Command, &FULL), Duration::from_secs(100));
        pace.waited(Duration::from_secs(100), Awaited::Command);
        pace.took_lines(1);
        assert!(pace.left(Awaited::Command, &FULL).is_zero());
    }

    /// Symptom: whoever said NOOP without a pause was never waited for, and so stayed for ever.
    #[test]
    fn two_thousand_lines_without_a_message_are_taken_and_one_more_is_the_end() {
        let mut pace = Pace::default();
        pace.took_lines(2000);
        assert_eq!(pace.left(Awaited::Command, &FULL), FULL.command);
        pace.took_lines(1);
        assert_eq!(pace.left(Awaited::Command, &FULL), Duration::ZERO);
        pace.took_message();
        assert_eq!(pace.left(Awaited::Command, &FULL), FULL.command);
    }

    #[test]
    fn a_large_message_in_small_chunks_is_no_talk() {
        let mut pace = Pace::default();
        for chunk in 0..100_000 {
            pace.took_lines(1);
            pace.read(512, Awaited::BodyBlock);
            assert!(!pace.left(Awaited::BodyBlock, &FULL).is_zero(), "{chunk}");
        }
    }

    #[test]
    fn who_has_to_log_in_has_a_minute_in_all() {
        let (mut pace, patience) = (Pace::default(), FULL.until_login());
        for _ in 0..59 {
            pace.waited(SECOND, Awaited::Command);
            pace.took_lines(1);
        }
        assert_eq!(pace.left(Awaited::Command, &patience), SECOND);
        pace.waited(SECOND, Awaited::Command);
        pace.took_lines(1);
        assert!(pace.left(Awaited::Command, &patience).is_zero());
        assert_eq!(pace.left(Awaited::Command, &FULL), FULL.command, "it has logged in");
    }
}
