//! Whatever another server replies: the reader never panics and never keeps more than its limits allow.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use smtp::reply::{ReplyLimits, ReplyReader};

fuzz_target!(|data: &[u8]| {
    let mut reader = ReplyReader::new(ReplyLimits::default());
    let mut buffer = BytesMut::new();
    for piece in data.chunks(7) {
        buffer.extend_from_slice(piece);
        while let Ok(Some(reply)) = reader.read(&mut buffer) {
            assert!((200..600).contains(&reply.code));
            assert!(!reply.text.contains('\r'));
        }
    }
});
