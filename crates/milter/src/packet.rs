//! Packets to the filter: four octets of length, one for the kind, and content.

use std::net::IpAddr;

use bytes::{BufMut as _, BytesMut};

use crate::CHUNK_OCTETS_MAX;
use crate::flags::{Actions, Steps};

/// The version that is offered.
pub(crate) const VERSION: u32 = 6;

/// The kind of a packet to the filter.
pub(crate) mod kind {
    pub(crate) const ABORT: u8 = b'A';
    pub(crate) const BODY: u8 = b'B';
    pub(crate) const CONNECT: u8 = b'C';
    pub(crate) const MACROS: u8 = b'D';
    pub(crate) const END: u8 = b'E';
    pub(crate) const HELO: u8 = b'H';
    pub(crate) const HEADER: u8 = b'L';
    pub(crate) const MAIL: u8 = b'M';
    pub(crate) const EOH: u8 = b'N';
    pub(crate) const OPTIONS: u8 = b'O';
    pub(crate) const QUIT: u8 = b'Q';
    pub(crate) const RCPT: u8 = b'R';
    pub(crate) const DATA: u8 = b'T';
}

/// Writes a packet of this content.
fn packet(out: &mut BytesMut, kind: u8, fill: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u32(0);
    out.put_u8(kind);
    fill(out);
    let octets = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(length) = out.get_mut(start..start + 4) {
        length.copy_from_slice(&octets.to_be_bytes());
    }
}

/// A text and the NUL after it. NULs inside would end it early, and so are left out; what is longer than a
/// packet may be is cut.
fn put_text(out: &mut BytesMut, text: &[u8]) {
    let kept = text.iter().copied().filter(|octet| *octet != 0);
    out.extend(kept.take(CHUNK_OCTETS_MAX / 2));
    out.put_u8(0);
}

pub(crate) fn bare(out: &mut BytesMut, kind: u8) {
    packet(out, kind, |_| {});
}

pub(crate) fn options(out: &mut BytesMut) {
    packet(out, kind::OPTIONS, |out| {
        out.put_u32(VERSION);
        out.put_u32(Actions::OFFERED.0);
        out.put_u32(Steps::OFFERED.0);
    });
}

/// The macros that go before a packet of the kind `of`.
pub(crate) fn macros(out: &mut BytesMut, of: u8, values: &[(&str, String)]) {
    packet(out, kind::MACROS, |out| {
        out.put_u8(of);
        for (name, value) in values {
            put_text(out, name.as_bytes());
            put_text(out, value.as_bytes());
        }
    });
}

pub(crate) fn connect(out: &mut BytesMut, name: &str, address: Option<IpAddr>, port: u16) {
    packet(out, kind::CONNECT, |out| {
        put_text(out, name.as_bytes());
        let Some(address) = address.map(|address| address.to_canonical()) else {
            return out.put_u8(b'U');
        };
        let text = match address {
            IpAddr::V4(address) => {
                out.put_u8(b'4');
                address.to_string()
            }
            // The prefix is how libmilter's peers write it, and what it takes off again.
            IpAddr::V6(address) => {
                out.put_u8(b'6');
                format!("IPv6:{address}")
            }
        };
        out.put_u16(port);
        put_text(out, text.as_bytes());
    });
}

pub(crate) fn text(out: &mut BytesMut, kind: u8, text: &str) {
    packet(out, kind, |out| put_text(out, text.as_bytes()));
}

pub(crate) fn header(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    packet(out, kind::HEADER, |out| {
        put_text(out, name);
        put_text(out, value);
    });
}

/// A piece of the body, at most [`CHUNK_OCTETS_MAX`].
pub(crate) fn body(out: &mut BytesMut, piece: &[u8]) {
    packet(out, kind::BODY, |out| out.put_slice(piece));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    #[test]
    fn every_packet_has_the_octets_that_the_protocol_says() {
        assert_eq!(written(|out| bare(out, kind::QUIT)), b"\0\0\0\x01Q");
        assert_eq!(written(|out| bare(out, kind::ABORT)), b"\0\0\0\x01A");
        assert_eq!(written(options), b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\x31\0\x1f\xf7\xff");
        let pairs = [("j", "mx".to_owned()), ("{x}", String::new())];
        assert_eq!(written(|out| macros(out, b'C', &pairs)), b"\0\0\0\x0cDCj\0mx\0{x}\0\0"[..].to_vec());
        assert_eq!(written(|out| text(out, kind::HELO, "h")), b"\0\0\0\x03Hh\0");
        assert_eq!(written(|out| text(out, kind::MAIL, "<>")), b"\0\0\0\x04M<>\0");
        assert_eq!(written(|out| text(out, kind::RCPT, "<a@b>")), b"\0\0\0\x07R<a@b>\0");
        assert_eq!(written(|out| bare(out, kind::DATA)), b"\0\0\0\x01T");
        assert_eq!(written(|out| header(out, b"A", b"b\n c")), b"\0\0\0\x08LA\0b\n c\0");
        assert_eq!(written(|out| bare(out, kind::EOH)), b"\0\0\0\x01N");
        assert_eq!(written(|out| body(out, b"x\r\n")), b"\0\0\0\x04Bx\r\n");
        assert_eq!(written(|out| bare(out, kind::END)), b"\0\0\0\x01E");
    }

    #[test]
    fn a_client_is_told_by_its_family() {
        let to = |address: Option<&str>| {
            written(|out| connect(out, "n", address.map(|text| text.parse().unwrap()), 25))
        };
        assert_eq!(to(None), b"\0\0\0\x04Cn\0U");
        assert_eq!(to(Some("192.0.2.1")), b"\0\0\0\x10Cn\x004\0\x19192.0.2.1\0");
        assert_eq!(to(Some("2001:db8::1")), b"\0\0\0\x17Cn\x006\0\x19IPv6:2001:db8::1\0");
        assert_eq!(to(Some("::ffff:192.0.2.1")), to(Some("192.0.2.1")));
    }

    #[test]
    fn a_nul_in_a_text_does_not_end_it_early() {
        assert_eq!(written(|out| header(out, b"A", b"b\0c")), b"\0\0\0\x06LA\0bc\0");
    }
}
