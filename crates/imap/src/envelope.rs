//! ENVELOPE and BODYSTRUCTURE as they are written (RFC 9051 section 7.5.2).

use mail::address_list::{self, Entry, Mailbox};
use mail::header;

use crate::fields::{Parameter, unfold};
use crate::part::{Content, Part};
use crate::write::{nstring, string};

/// The ENVELOPE of a message with this header section, as FETCH gives it: whom and what mail programs show in their lists.
#[must_use]
pub fn envelope_of(section: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, section);
    out
}

/// Writes the ENVELOPE of a message with this header section.
pub(crate) fn write(out: &mut Vec<u8>, section: &[u8]) {
    const NAMES: [&str; 10] =
        ["Date", "Subject", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "In-Reply-To", "Message-ID"];
    let mut values: [Option<&[u8]>; 10] = [None; 10];
    for field in header::fields(section) {
        if let Some(place) = NAMES.iter().position(|name| field.is(name)) {
            values[place].get_or_insert(field.value);
        }
    }
    let [date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id] = values;
    let text = |out: &mut Vec<u8>, value: Option<&[u8]>| {
        nstring(out, value.map(unfold).as_deref());
        out.push(b' ');
    };
    out.push(b'(');
    text(out, date);
    text(out, subject);
    let from = from.map(address_list::parse).unwrap_or_default();
    addresses(out, &from);
    for value in [sender, reply_to] {
        // Absent or empty they are the same as From.
        let list = value.map(address_list::parse).filter(|list| !list.is_empty());
        addresses(out, list.as_ref().unwrap_or(&from));
    }
    for value in [to, cc, bcc] {
        addresses(out, &value.map(address_list::parse).unwrap_or_default());
    }
    text(out, in_reply_to);
    nstring(out, message_id.map(unfold).as_deref());
    out.push(b')');
}

fn addresses(out: &mut Vec<u8>, list: &[Entry]) {
    if list.is_empty() {
        out.extend_from_slice(b"NIL ");
        return;
    }
    out.push(b'(');
    for entry in list {
        match entry {
            Entry::Mailbox(mailbox) => address(out, mailbox),
            Entry::Group(group) => {
                out.extend_from_slice(b"(NIL NIL ");
                string(out, group.name.as_bytes());
                out.extend_from_slice(b" NIL)");
                for member in &group.members {
                    address(out, member);
                }
                out.extend_from_slice(b"(NIL NIL NIL NIL)");
            }
        }
    }
    out.extend_from_slice(b") ");
}

fn address(out: &mut Vec<u8>, mailbox: &Mailbox) {
    out.push(b'(');
    nstring(out, mailbox.name.as_deref().map(str::as_bytes));
    out.push(b' ');
    nstring(out, mailbox.route.as_deref().map(str::as_bytes));
    out.push(b' ');
    string(out, mailbox.local.as_bytes());
    out.push(b' ');
    // A mailbox without a domain must not look like the start of a group.
    string(out, if mailbox.domain.is_empty() { b".MISSING-HOST-NAME." } else { mailbox.domain.as_bytes() });
    out.push(b')');
}

/// Which form of a structure is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// BODY.
    Basic,
    /// BODYSTRUCTURE, with extension data.
    Extended,
}

/// Writes the structure of a part.
pub(crate) fn write_structure(out: &mut Vec<u8>, part: &Part, form: Form) {
    let fields = &part.fields;
    out.push(b'(');
    if let Content::Multipart(parts) = &part.content {
        for part in parts {
            write_structure(out, part, form);
        }
        out.push(b' ');
        string(out, &fields.subtype);
        if form == Form::Extended {
            out.push(b' ');
            parameters(out, &fields.parameters);
            extension(out, part);
        }
        out.push(b')');
        return;
    }
    string(out, &fields.media_type);
    out.push(b' ');
    string(out, &fields.subtype);
    out.push(b' ');
    parameters(out, &fields.parameters);
    for text in [&fields.id, &fields.description] {
        out.push(b' ');
        nstring(out, text.as_deref());
    }
    out.push(b' ');
    string(out, &fields.encoding);
    out.extend_from_slice(format!(" {}", part.body.end - part.body.start).as_bytes());
    if let Content::Message(message, envelope) = &part.content {
        out.push(b' ');
        out.extend_from_slice(envelope);
        out.push(b' ');
        write_structure(out, message, form);
    }
    if fields.is_text() || matches!(part.content, Content::Message(..)) {
        out.extend_from_slice(format!(" {}", part.lines).as_bytes());
    }
    if form == Form::Extended {
        out.push(b' ');
        nstring(out, fields.md5.as_deref());
        extension(out, part);
    }
    out.push(b')');
}

/// Disposition, languages and location.
fn extension(out: &mut Vec<u8>, part: &Part) {
    match &part.fields.disposition {
        Some((kind, values)) => {
            out.extend_from_slice(b" (");
            string(out, kind);
            out.push(b' ');
            parameters(out, values);
            out.push(b')');
        }
        None => out.extend_from_slice(b" NIL"),
    }
    match &part.fields.languages[..] {
        [] => out.extend_from_slice(b" NIL"),
        [language] => {
            out.push(b' ');
            string(out, language);
        }
        languages => {
            for (place, language) in languages.iter().enumerate() {
                out.extend_from_slice(if place == 0 { b" (" } else { b" " });
                string(out, language);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, part.fields.location.as_deref());
}

fn parameters(out: &mut Vec<u8>, values: &[Parameter]) {
    if values.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    for (place, (name, value)) in values.iter().enumerate() {
        out.push(if place == 0 { b'(' } else { b' ' });
        string(out, name);
        out.push(b' ');
        string(out, value);
    }
    out.push(b')');
}
