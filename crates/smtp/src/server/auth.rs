//! `AUTH PLAIN` and `AUTH LOGIN`, the exchange only (RFC 4954, RFC 4616). Who may log in is the role's word.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail::Reply;

use crate::Secret;

/// Longest line of the exchange, CRLF not counted (RFC 4954 section 4.3: 12,288 octets of base64).
pub(super) const RESPONSE_OCTETS: usize = 12_288;
/// Longest `AUTH` command line: an initial response and what stands before it.
pub(super) const COMMAND_OCTETS: usize = RESPONSE_OCTETS + 64;
/// Longest user name or password in octets (RFC 4616 section 2 asks for at least 255).
pub(super) const CREDENTIAL_OCTETS: usize = 1024;

/// The response that the exchange waits for.
#[derive(Debug)]
pub(super) enum Exchange {
    PlainMessage,
    LoginUser,
    LoginPassword { user: String },
}

/// The next state of the exchange after one response.
pub(super) enum Progress {
    /// Ask the client for more.
    Challenge(Exchange, Reply),
    /// The exchange is complete.
    Credentials { user: String, password: Secret },
    /// The exchange is over.
    Refused(Reply),
}

impl Exchange {
    /// The exchange of a mechanism that is offered.
    pub(super) fn of(mechanism: &str) -> Option<Self> {
        match mechanism {
            name if name.eq_ignore_ascii_case("PLAIN") => Some(Self::PlainMessage),
            name if name.eq_ignore_ascii_case("LOGIN") => Some(Self::LoginUser),
            _ => None,
        }
    }

    /// Starts with the initial response that came with the command, if one did.
    pub(super) fn start(self, initial: Option<&str>) -> Progress {
        match initial {
            None => {
                let challenge = self.challenge();
                Progress::Challenge(self, challenge)
            }
            Some("=") => self.take(Vec::new()),
            Some(base64) => self.respond(base64.as_bytes()),
        }
    }

    /// Goes on with one line of the client.
    pub(super) fn respond(self, line: &[u8]) -> Progress {
        if line == b"*" {
            return Progress::Refused(Reply::new(501, (5, 7, 0), "Login cancelled"));
        }
        match STANDARD.decode(line) {
            Ok(response) => self.take(response),
            Err(_) => Progress::Refused(Reply::new(501, (5, 5, 2), "Responses are base64")),
        }
    }

    /// `Username:` and `Password:` in base64 are what LOGIN clients look for.
    fn challenge(&self) -> Reply {
        Reply::bare(
            334,
            match self {
                Self::PlainMessage => "",
                Self::LoginUser => "VXNlcm5hbWU6",
                Self::LoginPassword { .. } => "UGFzc3dvcmQ6",
            },
        )
    }

    fn take(self, response: Vec<u8>) -> Progress {
        let malformed = || Progress::Refused(Reply::new(501, (5, 5, 2), "Login data not understood"));
        let Ok(text) = String::from_utf8(response) else { return malformed() };
        match self {
            Self::PlainMessage => plain(&text).unwrap_or_else(malformed),
            Self::LoginUser if is_credential(&text) => {
                let next = Self::LoginPassword { user: text };
                let challenge = next.challenge();
                Progress::Challenge(next, challenge)
            }
            Self::LoginPassword { user } if is_credential(&text) => {
                Progress::Credentials { user, password: Secret::new(text) }
            }
            Self::LoginUser | Self::LoginPassword { .. } => malformed(),
        }
    }
}

/// `[authzid] NUL authcid NUL passwd` (RFC 4616 section 2). Acting for another account is not offered.
fn plain(text: &str) -> Option<Progress> {
    let mut parts = text.split('\0');
    let (acting_for, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_credential(user) || !is_credential(password) {
        return None;
    }
    if !acting_for.is_empty() && acting_for != user {
        return Some(Progress::Refused(Reply::new(535, (5, 7, 8), "Log in as yourself")));
    }
    Some(Progress::Credentials { user: user.to_owned(), password: Secret::new(password.to_owned()) })
}

fn is_credential(text: &str) -> bool {
    (1..=CREDENTIAL_OCTETS).contains(&text.len()) && !text.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(exchange: Exchange, response: &[u8]) -> Option<(String, String)> {
        match exchange.respond(STANDARD.encode(response).as_bytes()) {
            Progress::Credentials { user, password } => Some((user, password.expose().to_owned())),
            Progress::Challenge(..) | Progress::Refused(_) => None,
        }
    }

    #[test]
    fn plain_has_three_parts_and_acts_for_nobody_else() {
        let both = Some(("bob".to_owned(), "pa ss".to_owned()));
        assert_eq!(credentials(Exchange::PlainMessage, b"\0bob\0pa ss"), both);
        assert_eq!(credentials(Exchange::PlainMessage, b"bob\0bob\0pa ss"), both);
        for bad in [&b"eve\0bob\0x"[..], b"bob\0x", b"\0bob\0x\0y", b"\0\0x", b"\0bob\0", b"\0b\xffb\0x", b""]
        {
            assert_eq!(credentials(Exchange::PlainMessage, bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_name_at_the_limit_is_taken_and_a_longer_one_is_not() {
        let at_limit = "a".repeat(CREDENTIAL_OCTETS);
        assert!(credentials(Exchange::PlainMessage, format!("\0{at_limit}\0x").as_bytes()).is_some());
        assert!(credentials(Exchange::PlainMessage, format!("\0{at_limit}a\0x").as_bytes()).is_none());
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "Secret");
    }
}
