//! Whatever an HTTP server answers, in whatever pieces: the answer is the same, its body within its limit, and no more is held
//! back than a line may have.
//!
//! The first octet is the size of the pieces, the second whether the server closes the connection in the end.
#![no_main]

// The reader does no I/O, and its crate would bring all of TLS, QUIC and DNS.
#[path = "../../crates/net/src/http_client/answer.rs"]
mod answer;

use answer::{Answer, HEAD_OCTETS_MAX, HttpError, Reading};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

const BODY_OCTETS_MAX: usize = 600;

fuzz_target!(|data: &[u8]| {
    let [piece, closes, data @ ..] = data else { return };
    let closed = closes & 1 == 1;
    let whole = read(&[data], closed);
    let pieces: Vec<&[u8]> = data.chunks(usize::from(*piece).max(1)).collect();
    let again = read(&pieces, closed);
    match (&whole, &again) {
        (Ok(one), Ok(other)) => assert_eq!(one, other),
        // How soon it is seen that something is wrong depends on the pieces; that it is does not.
        (Err(one), Err(other)) => assert_eq!(one.is_some(), other.is_some(), "{whole:?} {again:?}"),
        _ => panic!("{whole:?} in one piece, {again:?} in {}", pieces.len()),
    }
});

/// The answer; else what is wrong, or nothing when it is not whole.
fn read(pieces: &[&[u8]], closed: bool) -> Result<Answer, Option<HttpError>> {
    let mut reading = Reading::new(BODY_OCTETS_MAX);
    let mut input = BytesMut::new();
    let last = [&[][..]];
    let all = pieces.iter().copied().map(|piece| (piece, false));
    for (piece, closed) in all.chain(last.iter().take(usize::from(closed)).map(|piece| (*piece, true))) {
        input.extend_from_slice(piece);
        if let Some(answer) = reading.advance(&mut input, closed).map_err(Some)? {
            assert!(answer.body.len() <= BODY_OCTETS_MAX && (100..600).contains(&answer.status));
            return Ok(answer);
        }
        assert!(input.len() <= HEAD_OCTETS_MAX, "{} octets are held back", input.len());
    }
    Err(None)
}
