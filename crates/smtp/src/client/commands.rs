//! The command lines a client writes. Nothing that is put into one may end it early.

use std::fmt::Write as _;

use bytes::{BufMut as _, BytesMut};
use mail::{BodyType, Envelope, Recipient, Ret};

use super::Extensions;
use crate::parameter;

/// `EHLO` or `HELO`. The name is the operator's; what could end the line is left out.
pub(super) fn hello(verb: &str, name: &str, out: &mut BytesMut) {
    let name: String = name.chars().filter(char::is_ascii_graphic).collect();
    put(out, format_args!("{verb} {name}\r\n"));
}

/// `MAIL` with the parameters that the server understands.
pub(super) fn mail(envelope: &Envelope, facts: &Facts, offered: &Extensions, out: &mut BytesMut) {
    put(out, format_args!("MAIL FROM:<{}>", envelope.reverse_path));
    if offered.size {
        put(out, format_args!(" SIZE={}", facts.octets));
    }
    if offered.eight_bit_mime && (facts.has_8bit || envelope.body == BodyType::EightBitMime) {
        out.put_slice(b" BODY=8BITMIME");
    }
    if facts.smtputf8 {
        out.put_slice(b" SMTPUTF8");
    }
    if envelope.require_tls && offered.require_tls {
        out.put_slice(b" REQUIRETLS");
    }
    if offered.dsn {
        match envelope.ret {
            Some(Ret::Full) => out.put_slice(b" RET=FULL"),
            Some(Ret::Hdrs) => out.put_slice(b" RET=HDRS"),
            None => {}
        }
        if let Some(envid) = envelope.envid.as_ref().filter(|envid| parameter::is_envid(envid)) {
            put(out, format_args!(" ENVID={envid}"));
        }
    }
    out.put_slice(b"\r\n");
}

/// What the parameters of MAIL say about the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) octets: u64,
    pub(super) has_8bit: bool,
    /// Whether SMTPUTF8 is needed and, since the transaction goes on, offered.
    pub(super) smtputf8: bool,
}

/// `RCPT` with the parameters that the server understands.
pub(super) fn rcpt(recipient: &Recipient, facts: &Facts, offered: &Extensions, out: &mut BytesMut) {
    put(out, format_args!("RCPT TO:<{}>", recipient.address));
    if offered.dsn {
        if let Some(notify) = recipient.notify {
            put(out, format_args!(" NOTIFY={}", notify.to_smtp()));
        }
        let sendable =
            |orcpt: &&mail::Orcpt| parameter::is_orcpt(orcpt) && (facts.smtputf8 || orcpt.address.is_ascii());
        if let Some(orcpt) = recipient.orcpt.as_ref().filter(sendable) {
            put(out, format_args!(" ORCPT={};{}", orcpt.kind, orcpt.address));
        }
    }
    out.put_slice(b"\r\n");
}

fn put(out: &mut BytesMut, text: std::fmt::Arguments<'_>) {
    // Writing to a BytesMut can't fail.
    let _ = out.write_fmt(text);
}
