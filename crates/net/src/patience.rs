//! How long a server waits for a client, and how that shrinks as its places fill. Pure: no clock, no socket.
//!
//! With places free a client has at least the times of RFC 5321 section 4.5.3.2. When half of them are taken every
//! wait is halved, and halved again with each further sixteenth: who does nothing has to go before who does something
//! finds no place.

use std::time::Duration;

/// Steps from no pressure to the most; each halves the patience.
const STEPS_MAX: u32 = 8;
/// Thousandths of the places up to which nobody is hurried.
const FREE: u32 = 500;
/// Thousandths from which on there is no more patience than [`Patience::LEAST`].
const TIGHT: u32 = 950;

/// How full the places are, as how often something is to be halved: 0 (half are free) to 8 (nearly none is).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Pressure(u32);

impl Pressure {
    /// At least half of the places are free.
    pub const NONE: Self = Self(0);

    /// Of so many places that are taken, of so many in all. Without any place it is the most there is.
    #[must_use]
    pub fn of(taken: usize, all: usize) -> Self {
        let thousandths = taken.saturating_mul(1000).checked_div(all).unwrap_or(1000);
        let thousandths = u32::try_from(thousandths).unwrap_or(u32::MAX).min(TIGHT);
        let over = thousandths.saturating_sub(FREE);
        Self((over * STEPS_MAX).div_ceil(TIGHT - FREE))
    }

    /// How often something is to be halved: 0 to 8.
    #[must_use]
    pub const fn steps(self) -> u32 {
        self.0
    }
}

/// The time that a client has for each step; it shrinks as the places fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a whole command line, from the reply before it to its CRLF.
    pub command: Duration,
    /// For any octet of a body.
    pub silence: Duration,
    /// For everything between two messages, beside what their octets may take.
    pub message: Duration,
    /// Octets in a second that a body has to come with, on the average.
    pub body_rate: u32,
    /// Lines from one message to the next: who talks without a pause is never waited for.
    pub lines: u32,
    /// For the client to take what it was answered.
    pub write: Duration,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the client to say who it is, in all, where it has to.
    pub login: Option<Duration>,
}

impl Patience {
    /// With places free. RFC 5321 section 4.5.3.2 asks for 5 minutes for a command; a client has 3 minutes for a
    /// block of a body, and a line of it may have 1,000 octets: some 5 octets in a second are honest. A message has
    /// 1,000 recipients at most.
    pub const FULL: Self = Self {
        command: Duration::from_secs(5 * 60),
        silence: Duration::from_secs(10 * 60),
        message: Duration::from_secs(30 * 60),
        body_rate: 5,
        lines: 2000,
        write: Duration::from_secs(5 * 60),
        handshake: Duration::from_secs(30),
        login: None,
    };
    /// When there is hardly a place left.
    pub const LEAST: Self = Self {
        command: Duration::from_secs(10),
        silence: Duration::from_secs(10),
        message: Duration::from_secs(30),
        body_rate: 1024,
        lines: 200,
        write: Duration::from_secs(10),
        handshake: Duration::from_secs(10),
        login: Some(Duration::from_secs(10)),
    };
    /// How long a client may take to log in, with places free.
    pub const LOGIN: Duration = Duration::from_secs(60);

    /// The same patience, with a limit for the login.
    #[must_use]
    pub const fn until_login(self) -> Self {
        Self { login: Some(Self::LOGIN), ..self }
    }

    /// What is left of it under pressure.
    #[must_use]
    pub fn under(self, pressure: Pressure) -> Self {
        let steps = pressure.steps();
        let less = |full: Duration, least: Duration| (full / (1 << steps)).max(least.min(full));
        Self {
            command: less(self.command, Self::LEAST.command),
            silence: less(self.silence, Self::LEAST.silence),
            message: less(self.message, Self::LEAST.message),
            body_rate: (self.body_rate << steps).min(Self::LEAST.body_rate.max(self.body_rate)),
            lines: (self.lines >> steps).max(Self::LEAST.lines.min(self.lines)),
            write: less(self.write, Self::LEAST.write),
            handshake: less(self.handshake, Self::LEAST.handshake),
            login: self.login.map(|login| less(login, Self::LEAST.login.unwrap_or(login))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_hurried_while_half_of_the_places_are_free() {
        assert_eq!(Pressure::of(0, 1000).steps(), 0);
        assert_eq!(Pressure::of(500, 1000).steps(), 0);
        assert_eq!(Pressure::of(501, 1000).steps(), 1);
        assert_eq!(Patience::FULL.under(Pressure::of(500, 1000)), Patience::FULL);
        assert_eq!(Patience::FULL.under(Pressure::of(501, 1000)).command, Duration::from_secs(150));
    }

    #[test]
    fn the_last_places_are_for_the_quick() {
        assert_eq!(Pressure::of(949, 1000).steps(), 8);
        assert_eq!(Pressure::of(5000, 1000).steps(), 8);
        assert_eq!(Pressure::of(0, 0).steps(), 8);
        let tight = Patience::FULL.until_login().under(Pressure::of(1000, 1000));
        assert_eq!(tight, Patience::LEAST);
    }

    #[test]
    fn patience_only_shrinks_as_places_fill() {
        let mut before = Patience::FULL.until_login();
        for taken in 0..=1000 {
            let now = Patience::FULL.until_login().under(Pressure::of(taken, 1000));
            assert!(now.command <= before.command && now.silence <= before.silence, "{taken}");
            assert!(now.message <= before.message && now.body_rate >= before.body_rate, "{taken}");
            assert!(now.write <= before.write && now.login <= before.login, "{taken}");
            assert!(now.lines <= before.lines && now.lines > 100, "{taken}: a hundred recipients and more");
            before = now;
        }
    }
}
