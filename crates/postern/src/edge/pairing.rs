//! Pairing at Edge: one code at a time, good once, for an hour, against five wrong tries.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use link::{Frame, PairingCode, PairingRequest, PairingResult, Proof};
use mail::UnixTime;
use net::link_key::LinkKey;
use net::link_transport::LinkStream;
use serde::{Deserialize, Serialize};

use super::homes::Homes;
use crate::problem::Problem;
use crate::wire::{self, FrameReader, LinkFault, PING_AFTER};
use crate::{files, system};

/// Seconds for which a code is good.
pub const CODE_SECS: u64 = 3600;
/// Wrong tries after which a code is dead.
pub const WRONG_TRIES_MAX: u32 = 5;

/// The code that is out, as it rests on disk until it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Outstanding {
    secret: [u8; 16],
    expires: UnixTime,
    wrong_tries: u32,
}

/// The pairing desk of an Edge.
pub struct Pairing {
    path: PathBuf,
    hostname: String,
    edge_spki: Vec<u8>,
    homes: Arc<Homes>,
    /// One request at a time, so that tries are counted right.
    desk: Mutex<()>,
}

fn code_path(data: &Path) -> PathBuf {
    data.join("pairing-code.json")
}

/// Makes a new code, which replaces an older one. `address` is where Home finds the link.
pub fn new_code(data: &Path, key: &LinkKey, address: &str) -> Result<PairingCode, Problem> {
    let secret = system::random();
    let expires = system::now().plus_secs(CODE_SECS);
    let path = code_path(data);
    files::replace_json(&path, &Outstanding { secret, expires, wrong_tries: 0 })
        .map_err(|error| files::write_problem(&path, &error))?;
    Ok(PairingCode { address: address.to_owned(), fingerprint: key.fingerprint(), secret })
}

impl Pairing {
    /// The desk for codes in `data`.
    pub fn new(data: &Path, hostname: &str, key: &LinkKey, homes: Arc<Homes>) -> Self {
        Self {
            path: code_path(data),
            hostname: hostname.to_owned(),
            edge_spki: key.spki().to_vec(),
            homes,
            desk: Mutex::new(()),
        }
    }

    /// Serves one pairing connection.
    pub async fn serve(&self, stream: LinkStream) -> Result<(), LinkFault> {
        let LinkStream { reader, writer, peer_spki, .. } = stream;
        let mut reader = FrameReader::new(reader);
        let Some(Frame::Pair(request)) = reader.next(PING_AFTER).await? else {
            return Err(LinkFault::Protocol("no pairing request"));
        };
        let result = tokio::task::block_in_place(|| self.judge(&request, &peer_spki, system::now()));
        match &result {
            PairingResult::Paired { .. } => {
                tracing::info!(domains = ?request.domains, "paired with a home")
            }
            PairingResult::Refused(why) => tracing::warn!(%why, "pairing refused"),
        }
        let (frames, queue) = wire::frame_queue();
        frames.send(Frame::Paired(result));
        drop(frames);
        wire::write_frames(writer, queue).await?;
        // Home closes when it has read the answer.
        let _ = reader.next(PING_AFTER).await;
        Ok(())
    }

    /// Decides on a request: pins the home's key if the proof is right.
    fn judge(&self, request: &PairingRequest, home_spki: &[u8], now: UnixTime) -> PairingResult {
        let _one_at_a_time = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |why: &str| PairingResult::Refused(why.to_owned());
        let dead = "no pairing code is out; make one at the edge with 'postern edge pair'";
        let Ok(Some(mut code)) = files::read_json::<Outstanding>(&self.path) else {
            return refused(dead);
        };
        if now >= code.expires {
            self.bury();
            return refused("the pairing code is older than an hour; make one with 'postern edge pair'");
        }
        if !request.proof.matches(&Proof::new(&code.secret, &self.edge_spki, home_spki)) {
            code.wrong_tries += 1;
            if code.wrong_tries >= WRONG_TRIES_MAX {
                self.bury();
            } else if let Err(error) = files::replace_json(&self.path, &code) {
                tracing::error!(%error, "a wrong pairing try could not be counted; the code is withdrawn");
                self.bury();
            }
            return refused("the pairing code is wrong, or another one has replaced it");
        }
        match self.homes.pair(link::key_fingerprint(home_spki), now) {
            Ok(_) => {
                self.bury();
                PairingResult::Paired { hostname: self.hostname.clone() }
            }
            Err(problem) => {
                tracing::error!(%problem, "the home's key could not be kept");
                refused("the edge could not keep the key; see its log")
            }
        }
    }

    /// The code is dead, whatever the disk says: without its file nobody can be paired.
    fn bury(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::error!(path = %self.path.display(), %error, "a dead pairing code could not be removed; remove it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Desk {
        _dir: tempfile::TempDir,
        pairing: Pairing,
        code: PairingCode,
        edge: LinkKey,
    }

    fn desk() -> Desk {
        let dir = tempfile::tempdir().unwrap();
        let edge = LinkKey::generate().unwrap();
        let homes = Arc::new(Homes::open(&dir.path().join("homes"), 1 << 20).unwrap());
        let code = new_code(dir.path(), &edge, "mx.example.org:443").unwrap();
        let pairing = Pairing::new(dir.path(), "mx.example.org", &edge, homes);
        Desk { _dir: dir, pairing, code, edge }
    }

    impl Desk {
        fn ask(&self, secret: &[u8; 16], now: UnixTime) -> bool {
            let proof = Proof::new(secret, self.edge.spki(), b"home");
            let request = PairingRequest { proof, domains: Vec::new() };
            matches!(self.pairing.judge(&request, b"home", now), PairingResult::Paired { .. })
        }
    }

    #[test]
    fn a_code_pairs_once() {
        let desk = desk();
        assert!(desk.ask(&desk.code.secret, system::now()));
        assert!(desk.pairing.homes.by_key(&link::key_fingerprint(b"home")).is_some());
        assert!(!desk.ask(&desk.code.secret, system::now()));
    }

    #[test]
    fn a_code_survives_four_wrong_tries_and_is_dead_after_five() {
        for (tries, alive) in [(WRONG_TRIES_MAX - 1, true), (WRONG_TRIES_MAX, false)] {
            let desk = desk();
            for _ in 0..tries {
                assert!(!desk.ask(&[0; 16], system::now()));
            }
            assert_eq!(desk.ask(&desk.code.secret, system::now()), alive);
        }
    }

    #[test]
    fn a_code_is_good_for_an_hour_and_not_a_second_longer() {
        let now = system::now();
        assert!(desk().ask(&[0; 16], now).eq(&false));
        let just = desk();
        assert!(just.ask(&just.code.secret, now.plus_secs(CODE_SECS - 1)));
        let late = desk();
        assert!(!late.ask(&late.code.secret, system::now().plus_secs(CODE_SECS)));
    }
}
