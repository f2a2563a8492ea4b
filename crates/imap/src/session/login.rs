//! LOGIN, AUTHENTICATE PLAIN (RFC 4616, RFC 4959) and ENABLE. The driver only ever runs a session over TLS.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;

use crate::frame::line;
use crate::name::Names;
use crate::session::{FAILED_LOGINS_MAX, Mode, Session, State};
use mailbox::{Account, AccountError};

/// Longest response to AUTHENTICATE.
const RESPONSE_MAX: usize = 4 * 1024;

/// A name and a password that a client gave.
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl<B: Account> Session<B> {
    pub(super) fn authenticate(&mut self, tag: String, mechanism: &str, initial: Option<&[u8]>) {
        match (mechanism, initial) {
            ("PLAIN", Some(response)) => self.plain(&tag, response),
            ("PLAIN", None) => {
                self.say("+ ");
                self.mode = Mode::Sasl(tag);
            }
            _ => self.no(&tag, "[CANNOT] the mechanism is not offered"),
        }
    }

    /// Reads the response to AUTHENTICATE; false when more octets are needed.
    pub(super) fn read_sasl(&mut self, input: &mut BytesMut) -> bool {
        match line(input, RESPONSE_MAX) {
            Ok(None) => return false,
            Err(_) => self.bye("the response is too long"),
            Ok(Some(response)) => {
                let Mode::Sasl(tag) = std::mem::replace(&mut self.mode, Mode::Command) else { return true };
                if response == "*" {
                    self.bad(&tag, "the login is cancelled");
                } else {
                    self.plain(&tag, &response);
                }
            }
        }
        true
    }

    fn plain(&mut self, tag: &str, response: &[u8]) {
        let decoded = STANDARD.decode(response).unwrap_or_default();
        let mut fields = decoded.split(|octet| *octet == 0);
        let (authorization, user, password, end) =
            (fields.next(), fields.next(), fields.next(), fields.next());
        let (Some(authorization), Some(user), Some(password), None) = (authorization, user, password, end)
        else {
            return self.bad(tag, "the response is malformed");
        };
        if !authorization.is_empty() && authorization != user {
            return self.fail_login(tag, &AccountError::Denied);
        }
        self.login(tag, user, password);
    }

    pub(super) fn login(&mut self, tag: &str, user: &[u8], password: &[u8]) {
        let (Ok(user), Ok(password)) = (std::str::from_utf8(user), std::str::from_utf8(password)) else {
            return self.fail_login(tag, &AccountError::Denied);
        };
        let credentials = Credentials { user: user.to_owned(), password: password.to_owned() };
        self.mode = Mode::Login(tag.to_owned(), Some(credentials));
    }

    /// What is to be checked after [`crate::Step::Login`]; `None` when it was taken already.
    pub fn credentials(&mut self) -> Option<Credentials> {
        match &mut self.mode {
            Mode::Login(_, credentials) => credentials.take(),
            _ => None,
        }
    }

    /// What came of the check: the account that is opened, or why not. Without a login that waits it does nothing.
    pub fn answer_login(&mut self, outcome: Result<&str, AccountError>) {
        let Mode::Login(tag, _) = &mut self.mode else { return };
        let tag = std::mem::take(tag);
        self.mode = Mode::Command;
        match outcome.and_then(|account| self.account.open(account)) {
            Ok(()) => {
                self.state = State::Authenticated;
                let capabilities = self.capabilities();
                self.ok(&tag, &format!("[CAPABILITY {capabilities}] logged in"));
            }
            Err(error) => self.fail_login(&tag, &error),
        }
    }

    fn fail_login(&mut self, tag: &str, error: &AccountError) {
        self.refuse(tag, error);
        self.failed_logins += 1;
        if self.failed_logins >= FAILED_LOGINS_MAX {
            self.bye("too many failed logins");
        }
    }

    pub(super) fn enable(&mut self, tag: &str, wanted: &[String]) {
        if wanted.iter().any(|name| name == "UTF8=ACCEPT") {
            self.names = Names::Utf8;
            self.say("* ENABLED UTF8=ACCEPT");
        } else {
            self.say("* ENABLED");
        }
        self.ok(tag, "enabled what there is");
    }
}
