//! The octets of a message: DATA decoded and its dots undone, BDAT checked, and on the client's side dots
//! added or line ends checked. Input comes in reads of 64 KiB, whose copying is part of what is measured.
//! Unit: octets of the message a second.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a body that is refused is not what is measured")]

use bytes::BytesMut;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use smtp::body::{BodyDecoder, BodyLimits, ChunkChecker, Decoded, DotStuffer, LineEnds};

const SMALL: usize = 4 * 1024;
const LARGE: usize = 25 * 1024 * 1024;
/// Octets of one read, as the driver of a session reads a body.
const READ_OCTETS: usize = 64 * 1024;
const LIMITS: BodyLimits =
    BodyLimits { message_octets: 1 << 30, line_octets: 1 << 20, swallow_octets: 1 << 30 };

fn main() {
    divan::main();
}

/// The body after DATA, read at once.
#[divan::bench(args = [SMALL, LARGE])]
fn decode(bencher: Bencher<'_, '_>, octets: usize) {
    decode_all(bencher, &text(octets));
}

/// The same, when every line is a dot: the smallest pieces a sender can make us hand out.
#[divan::bench(args = [SMALL, LARGE])]
fn decode_dots(bencher: Bencher<'_, '_>, octets: usize) {
    decode_all(bencher, &b".\r\n".repeat(octets / 3));
}

fn decode_all(bencher: Bencher<'_, '_>, message: &[u8]) {
    let mut wire = BytesMut::new();
    let mut stuffer = DotStuffer::new();
    stuffer.stuff(message, &mut wire).unwrap();
    stuffer.finish(&mut wire).unwrap();
    let decode = || {
        let mut decoder = BodyDecoder::new(LIMITS);
        assert!(pump(&wire, |input| decoder.decode(input)), "the end was not found");
        decoder.octets()
    };
    assert_eq!(decode(), message.len() as u64);
    bencher.counter(BytesCount::new(message.len())).bench_local(decode);
}

/// One chunk of BDAT, checked.
#[divan::bench(args = [SMALL, LARGE])]
fn check(bencher: Bencher<'_, '_>, octets: usize) {
    let message = text(octets);
    let check = || {
        let mut checker = ChunkChecker::new(LIMITS);
        checker.begin(message.len() as u64);
        assert!(pump(&message, |input| checker.decode(input)), "the chunk has no end");
        assert_eq!(checker.finish(), Ok(()));
        checker.octets()
    };
    assert_eq!(check(), octets as u64);
    bencher.counter(BytesCount::new(octets)).bench_local(check);
}

/// Dots added by the client, output let go of after each piece.
#[divan::bench(args = [SMALL, LARGE])]
fn stuff(bencher: Bencher<'_, '_>, octets: usize) {
    let message = text(octets);
    let dots = message.windows(3).filter(|window| *window == b"\r\n.").count();
    let mut out = BytesMut::new();
    let mut stuff = || {
        let mut stuffer = DotStuffer::new();
        let mut written = 0;
        for piece in black_box(&message).chunks(READ_OCTETS) {
            stuffer.stuff(piece, &mut out).unwrap();
            written += out.len();
            out.clear();
        }
        written
    };
    assert_eq!(stuff(), octets + dots);
    bencher.counter(BytesCount::new(octets)).bench_local(stuff);
}

/// Line ends checked by the client, for BDAT.
#[divan::bench(args = [SMALL, LARGE])]
fn line_ends(bencher: Bencher<'_, '_>, octets: usize) {
    let message = text(octets);
    let check = || {
        let mut ends = LineEnds::default();
        for piece in black_box(&message).chunks(READ_OCTETS) {
            ends.check(piece).unwrap();
        }
        ends.finish()
    };
    assert_eq!(check(), Ok(()));
    bencher.counter(BytesCount::new(octets)).bench_local(check);
}

/// Feeds `wire` read by read; true when its end was found. Pieces are let go of.
fn pump(wire: &[u8], mut decode: impl FnMut(&mut BytesMut) -> Decoded) -> bool {
    let mut input = BytesMut::new();
    for read in black_box(wire).chunks(READ_OCTETS) {
        input.reserve(READ_OCTETS);
        input.extend_from_slice(read);
        loop {
            match decode(&mut input) {
                Decoded::NeedInput => break,
                Decoded::Piece(piece) => drop(black_box(piece)),
                Decoded::End => return true,
                Decoded::Bad(_) | Decoded::Endless => panic!("the message is good"),
            }
        }
    }
    false
}

/// So many octets of CRLF lines up to 80 long, as most mail has them; one of forty starts with a dot.
fn text(octets: usize) -> Vec<u8> {
    let mut message = Vec::with_capacity(octets);
    for line in 0.. {
        if message.len() + 80 > octets {
            break;
        }
        if line % 40 == 7 {
            message.push(b'.');
        }
        message.extend((0..40 + line * 7 % 36).map(|at| b"the quick brown fox "[at % 20]));
        message.extend_from_slice(b"\r\n");
    }
    message.resize(octets - 2, b'x');
    message.extend_from_slice(b"\r\n");
    message
}
