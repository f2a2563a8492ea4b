//! Whatever the other side of the link sends: frames are decoded or refused, and what was decoded encodes again.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use link::Decoder;

fuzz_target!(|data: &[u8]| {
    let mut input = BytesMut::from(data);
    while let Ok(Some(frame)) = Decoder::next(&mut input) {
        let mut again = BytesMut::new();
        if frame.encode(&mut again).is_ok() {
            assert_eq!(Decoder::next(&mut again).unwrap(), Some(frame));
        }
    }
});
