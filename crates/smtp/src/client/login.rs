//! `AUTH PLAIN` from the client's side (RFC 4954, RFC 4616).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BufMut as _;
use mail::Reply;

use super::{Closed, Sent, Session};
use crate::Secret;

/// Longest command line with its CRLF; an initial response that is longer waits for 334 (RFC 4954 section 4).
const LINE_OCTETS: usize = 512;

/// A name and its password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The authentication identity. Without NUL.
    pub user: String,
    /// Its password. Without NUL.
    pub password: Secret,
}

impl Login {
    /// The one message of PLAIN, without an authorization identity, in base64.
    fn message(&self) -> String {
        STANDARD.encode(format!("\0{}\0{}", self.user, self.password.expose()))
    }
}

impl Session {
    /// EHLO is done: logs in, if that is wanted. A password is never sent without TLS, whatever is offered.
    pub(super) fn begin_login(&mut self) {
        let Some(login) = &self.settings.login else { return self.ready() };
        if !self.encrypted || !self.extensions.auth_plain {
            self.output.put_slice(b"QUIT\r\n");
            return self.close(Closed::LoginNotOffered);
        }
        let whole = format!("AUTH PLAIN {}\r\n", login.message());
        let line = if whole.len() > LINE_OCTETS { "AUTH PLAIN\r\n" } else { &whole };
        self.output.put_slice(line.as_bytes());
        self.login_waits = whole.len() > LINE_OCTETS;
        self.pending.push_back(Sent::Auth);
    }

    /// The reply to the command, or to the response behind it.
    pub(super) fn take_login(&mut self, reply: Reply) {
        let waits = std::mem::take(&mut self.login_waits);
        match (&self.settings.login, reply.code) {
            (Some(login), 334) if waits => {
                let line = login.message();
                self.output.put_slice(line.as_bytes());
                self.output.put_slice(b"\r\n");
                self.pending.push_back(Sent::Auth);
            }
            // PLAIN brings no security layer: EHLO is not said again (RFC 4954 section 4).
            (_, 235) if !waits => self.ready(),
            (_, 400..) => {
                self.output.put_slice(b"QUIT\r\n");
                self.close(Closed::LoginRefused(reply));
            }
            _ => self.close(Closed::Unexpected(reply)),
        }
    }
}
