//! APPEND: the message goes to the account in pieces as it comes in, so its size costs no memory.

use bytes::{Buf, BytesMut};
use memchr::memchr;

use crate::command::{Append, Form, Literal};
use crate::frame::{Waits, line};
use crate::session::view::Expunges;
use crate::session::{Mode, Session};
use mailbox::{Account, AccountError, NewMessage};

/// Longest rest of the line after a message: a parenthesis and the line end, as a rule.
const REST_MAX: usize = 64;
/// How many times the largest message is read and thrown away, for a client that did not wait for an answer.
const SKIP_FACTOR: u64 = 4;

/// A message that is coming in.
pub(super) struct Appending {
    tag: String,
    form: Form,
    literal: Literal,
    left: u64,
    /// What went wrong already; the octets are thrown away then.
    failed: Option<AccountError>,
}

impl<B: Account> Session<B> {
    /// The literal of an APPEND is announced.
    pub(super) fn begin_append(&mut self, tag: String, append: Append, octets: u64, waits: Waits) {
        let (form, literal) = (append.form, append.literal);
        let message = NewMessage {
            mailbox: append.mailbox,
            octets,
            flags: append.flags,
            internal_date: append.internal_date,
        };
        let most = self.options.append_octets_max;
        let begun = if octets > most {
            Err(AccountError::Limit(format!("a message has up to {most} octets")))
        } else {
            self.account.append_begin(&message)
        };
        match (begun, waits) {
            (Err(error), Waits::Yes) => self.refuse_append(&tag, &error),
            (Err(_), Waits::No) if octets > most.saturating_mul(SKIP_FACTOR) => {
                self.bye("[TOOBIG] the message is far too large");
            }
            (begun, waits) => {
                if waits == Waits::Yes {
                    self.say("+ go ahead");
                }
                self.mode = Mode::Append(Appending { tag, form, literal, left: octets, failed: begun.err() });
            }
        }
    }

    /// Takes octets of the message, then the end of the command; false when more are needed.
    pub(super) fn read_append(&mut self, input: &mut BytesMut) -> bool {
        let Mode::Append(appending) = &mut self.mode else { return true };
        let available = usize::try_from(appending.left).unwrap_or(usize::MAX).min(input.len());
        if available > 0 {
            let piece = &input[..available];
            if appending.failed.is_none()
                && let Err(error) =
                    fits(appending.literal, piece).and_then(|()| self.account.append_piece(piece))
            {
                self.account.append_abort();
                appending.failed = Some(error);
            }
            input.advance(available);
            appending.left -= available as u64;
        }
        if appending.left > 0 {
            return false;
        }
        match line(input, REST_MAX) {
            Ok(None) => return false,
            Err(_) => self.bye("the line after the message is too long"),
            Ok(Some(rest)) => {
                if let Mode::Append(appending) = std::mem::replace(&mut self.mode, Mode::Command) {
                    self.end_append(appending, &rest);
                }
            }
        }
        true
    }

    fn end_append(&mut self, appending: Appending, rest: &[u8]) {
        let Appending { tag, form, failed, .. } = appending;
        let expected: &[u8] = if form == Form::Utf8 { b")" } else { b"" };
        if let Some(error) = failed {
            return self.refuse_append(&tag, &error);
        }
        if rest != expected {
            self.account.append_abort();
            return self.bad(&tag, "there is something after the message");
        }
        match self.account.append_finish() {
            Ok(appended) => {
                let text = format!("[APPENDUID {} {}] appended", appended.uidvalidity, appended.uid);
                self.finish(&tag, Expunges::Send, &text);
            }
            Err(error) => self.refuse_append(&tag, &error),
        }
    }

    fn refuse_append(&mut self, tag: &str, error: &AccountError) {
        match error {
            AccountError::Limit(text) => self.no(tag, &format!("[TOOBIG] {text}")),
            other => self.refuse_target(tag, other),
        }
    }
}

/// Whether a literal of this kind may have these octets.
fn fits(literal: Literal, piece: &[u8]) -> Result<(), AccountError> {
    if literal == Literal::Char8 && memchr(0, piece).is_some() {
        return Err(AccountError::Refused("the message has a NUL octet, which a literal can't have".into()));
    }
    Ok(())
}
