//! Whatever lies sealed on Edge: what was sealed comes out as it went in; what was changed since, or was never one, is an error, and no
//! more comes out of it than went in.
//!
//! The first octet says what is done: the rest is a message that is sealed and opened, or one that is changed on the way, or
//! what is inside, or the sealed item itself.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use link::Open;
use mail::{ItemId, UnixTime, Verdict};
use seal::{SealTo, Sealing, UnsealWith};

/// One pair for all runs: to draw one costs more than all else.
fn keys() -> &'static (SealTo, UnsealWith) {
    static KEYS: OnceLock<(SealTo, UnsealWith)> = OnceLock::new();
    KEYS.get_or_init(|| {
        let (private, public) = seal::generate_key();
        (SealTo::parse(&public).expect("a key"), UnsealWith::parse(&private).expect("a key"))
    })
}

fuzz_target!(|data: &[u8]| {
    let [what, at, data @ ..] = data else { return };
    let (to, with) = keys();
    let mut message = Vec::new();
    match what {
        b'm' => {
            let (opened, verdict) = with.unseal_item(&item(data)[..], &mut message).expect("it was sealed");
            assert_eq!((opened, verdict.hops), (open(), 4));
            assert_eq!(message, data);
        }
        b'c' => {
            let mut sealed = item(data);
            let place = sealed.len() * usize::from(*at) / 256;
            sealed[place] ^= 1;
            // A letter of a base64 text may change and mean the same octets, or the header may name its bits otherwise.
            if with.unseal_item(&sealed[..], &mut message).is_ok() {
                assert_eq!(message, data, "a change was not noticed");
            }
        }
        // By the right key, with something else in it: an Edge that was taken over can do that.
        b'i' => {
            let sealed = to.seal(data).expect("memory takes all");
            assert_eq!(with.unseal(&sealed).expect("it was sealed"), data);
            if with.unseal_item(&sealed[..], &mut message).is_ok() {
                assert!(message.len() < data.len());
            }
        }
        _ => {
            assert!(with.unseal(data).is_err() && with.unseal_item(data, &mut message).is_err());
            let text = String::from_utf8_lossy(data);
            let _ = (SealTo::parse(&text), UnsealWith::parse(&text).map(|key| key.public()));
        }
    }
});

fn item(message: &[u8]) -> Vec<u8> {
    let mut sealing = Sealing::begin(&keys().0, Vec::new(), &open()).expect("memory takes all");
    message.chunks(100).for_each(|piece| sealing.write(piece).expect("memory takes all"));
    sealing.finish(&Verdict { hops: 4, ..Verdict::default() }).expect("memory takes all")
}

fn open() -> Open {
    let envelope = r#"{"reverse_path":"","recipients":[{"address":"bob@example.org"}]}"#;
    let envelope = serde_json::from_str(envelope).expect("an envelope");
    Open { item: ItemId::from_bytes([1; 16]), accepted: UnixTime(7), envelope }
}
