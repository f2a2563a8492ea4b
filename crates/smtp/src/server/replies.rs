//! Every reply that the server session gives by itself. Texts say what to do and nothing of our insides.

use mail::Reply;

use super::{Mode, Settings};
use crate::body::Defect;

pub(super) fn greeting(hostname: &str) -> Reply {
    Reply::bare(220, format!("{hostname} ESMTP"))
}

pub(super) fn helo(hostname: &str) -> Reply {
    Reply::bare(250, hostname)
}

/// The EHLO reply. STARTTLS and AUTH are offered only where they would be accepted. DSN is offered to users only: an MX
/// that offers it owes reports of success to whoever the reverse-path names (RFC 3461 section 5.2.3), and we write to
/// nobody we don't know. The MTA before us reports then that the message was handed on. LIMITS (RFC 9422) spares clients
/// with many recipients the 452s.
pub(super) fn ehlo(settings: &Settings, encrypted: bool) -> Reply {
    let mut text = format!(
        "{}\nPIPELINING\nSIZE {}\n8BITMIME\nSMTPUTF8\nCHUNKING\nENHANCEDSTATUSCODES\nLIMITS RCPTMAX={}",
        settings.hostname, settings.limits.message_octets, settings.limits.recipients
    );
    text.push_str(match settings.mode {
        Mode::Mx | Mode::Relay(_) => "\nPRDR",
        Mode::Submission => "\nDSN",
    });
    if settings.starttls && !encrypted {
        text.push_str("\nSTARTTLS");
    }
    if settings.mode.offers_login() && encrypted {
        text.push_str("\nAUTH PLAIN LOGIN");
    }
    // Behind Edge is the link, then a mailbox or one more hop that asks for it as well.
    if encrypted {
        text.push_str("\nREQUIRETLS");
    }
    Reply::bare(250, text)
}

pub(super) fn ok() -> Reply {
    Reply::new(250, (2, 0, 0), "OK")
}

pub(super) fn chunk_taken(octets: u64) -> Reply {
    Reply::new(250, (2, 0, 0), format!("{octets} octets received"))
}

pub(super) fn go_ahead() -> Reply {
    Reply::bare(354, "End with <CRLF>.<CRLF>")
}

/// What stands before one reply per recipient (draft-hall-prdr-00 section 4.5).
pub(super) fn replies_follow() -> Reply {
    Reply::bare(353, "One reply per recipient, then one to the message")
}

pub(super) fn start_tls() -> Reply {
    Reply::new(220, (2, 0, 0), "Start TLS now")
}

pub(super) fn bye() -> Reply {
    Reply::new(221, (2, 0, 0), "Bye")
}

/// The same for every address: RFC 5321 section 3.5.3 wants the verb, nobody gets to try out addresses.
pub(super) fn cannot_verify() -> Reply {
    Reply::new(252, (2, 5, 2), "Send mail and see")
}

pub(super) fn line_too_long() -> Reply {
    Reply::new(500, (5, 5, 2), "Command line too long")
}

pub(super) fn bare_line_end() -> Reply {
    Reply::new(500, (5, 5, 2), "End command lines with CRLF")
}

pub(super) fn response_too_long() -> Reply {
    Reply::new(500, (5, 5, 6), "Login data too long")
}

pub(super) fn not_offered() -> Reply {
    Reply::new(502, (5, 5, 1), "Command not offered here")
}

pub(super) fn out_of_order(first: &str) -> Reply {
    Reply::new(503, (5, 5, 1), first)
}

pub(super) fn unknown_mechanism() -> Reply {
    Reply::new(504, (5, 5, 4), "Use AUTH PLAIN or AUTH LOGIN")
}

pub(super) fn tls_first() -> Reply {
    Reply::new(530, (5, 7, 0), "Start TLS first")
}

pub(super) fn tls_before_login() -> Reply {
    Reply::new(538, (5, 7, 11), "Start TLS first, then log in")
}

pub(super) fn login_first() -> Reply {
    Reply::new(530, (5, 7, 0), "Log in first")
}

pub(super) fn too_many_recipients() -> Reply {
    Reply::new(452, (4, 5, 3), "Too many recipients, send to the rest in another transaction")
}

pub(super) fn no_recipients() -> Reply {
    Reply::new(554, (5, 5, 1), "No valid recipients")
}

pub(super) fn needs_smtputf8() -> Reply {
    Reply::new(553, (5, 6, 7), "Addresses beyond ASCII need the SMTPUTF8 parameter of MAIL")
}

pub(super) fn too_large() -> Reply {
    Reply::new(552, (5, 3, 4), "Message larger than the SIZE offered")
}

pub(super) fn defect(defect: Defect) -> Reply {
    match defect {
        Defect::BareCr | Defect::BareLf => {
            Reply::new(550, (5, 6, 11), "End all lines with CRLF and send again")
        }
        Defect::LineTooLong => Reply::new(550, (5, 6, 0), "A line of the message is too long"),
        Defect::TooLarge => too_large(),
    }
}

/// A refusal is negative, whatever the role says.
pub(super) fn refusal(reply: Reply) -> Reply {
    if reply.code >= 400 { reply } else { Reply::new(451, (4, 3, 0), "Try again later") }
}

pub(super) fn login_refusal(reply: &Reply) -> Reply {
    if reply.code >= 400 { reply.clone() } else { Reply::new(535, (5, 7, 8), "Check user name and password") }
}

pub(super) fn timed_out(hostname: &str) -> Reply {
    Reply::new(421, (4, 4, 2), format!("{hostname} waited too long, closing"))
}

pub(super) fn shutting_down(hostname: &str) -> Reply {
    Reply::new(421, (4, 3, 2), format!("{hostname} is shutting down, try again later"))
}

pub(super) fn revoked(hostname: &str) -> Reply {
    Reply::new(421, (4, 7, 0), format!("{hostname} closes: log in again"))
}

pub(super) fn too_many_errors(hostname: &str) -> Reply {
    Reply::new(421, (4, 7, 0), format!("{hostname} has seen too many errors, closing"))
}
