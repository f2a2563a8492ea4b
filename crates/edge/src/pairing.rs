//! Pairing at Edge: one code at a time, good once, for an hour, for domains that Edge's operator names.
//!
//! Anybody may open a pairing connection, with any key. While no code is out it hears that and no more; while one is,
//! it is one of a few, shared fairly among where they come from, and is read one small frame from.

mod tries;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::clock::Clock;
use daemon::files;
use daemon::json_file;
use daemon::problem::Problem;
use daemon::system;
use link::{
    Accepts, Frame, PairingCode, PairingRequest, PairingResult, Proof, SERVED_AT_PAIRING_MAX, Served,
    ServedDomains,
};
use mail::{Domain, UnixTime};
use net::link_key::LinkKey;
use net::link_session::{self, FrameReader, LinkFault};
use net::link_transport::LinkStream;
use net::places::{Places, source_of};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use self::tries::Tries;
use super::homes::{Grant, Homes};
use super::session::key_name;

/// Seconds for which a code is good.
pub(crate) const CODE_SECS: u64 = 3600;
/// Pairing connections at one time, and of one source.
const CONNECTIONS_MAX: usize = 16;
const PER_SOURCE_MAX: usize = 2;
/// How long a pairing connection may take in all.
const EXCHANGE_MAX: Duration = Duration::from_secs(10);
/// How long Home may take to read an answer and close.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// The code that is out, as it rests on disk until it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Outstanding {
    secret: [u8; 16],
    expires: UnixTime,
    /// What its home may serve. A code of an older version is for any domain that is free.
    #[serde(default)]
    grant: Grant,
}

/// The pairing desk of an Edge.
pub(crate) struct Pairing {
    path: PathBuf,
    hostname: String,
    edge_spki: Vec<u8>,
    homes: Arc<Homes>,
    /// One request at a time, so that a code pairs once.
    desk: Mutex<Tries>,
    clock: Arc<dyn Clock>,
    connections: Mutex<Places<CancellationToken>>,
}

/// The peer that asks to be paired: its key and its address.
#[derive(Debug, Clone, Copy)]
struct Visitor<'a> {
    spki: &'a [u8],
    ip: IpAddr,
}

fn code_path(data: &Path) -> PathBuf {
    data.join("pairing-code.json")
}

/// Makes a new code, which replaces an older one. `address` is where Home finds the link; it expires some time
/// after `now`.
pub(crate) fn new_code(
    data: &Path,
    key: &LinkKey,
    address: &str,
    domains: &[Domain],
    now: UnixTime,
) -> Result<PairingCode, Problem> {
    let secret = system::random();
    let expires = now.plus_secs(CODE_SECS);
    let path = code_path(data);
    json_file::replace(&path, &Outstanding { secret, expires, grant: Grant::of(domains) })
        .map_err(|error| files::write_problem(&path, &error))?;
    Ok(PairingCode { address: address.to_owned(), fingerprint: key.fingerprint(), secret })
}

impl Pairing {
    /// The desk for codes in `data`.
    pub(crate) fn new(
        data: &Path,
        hostname: &str,
        key: &LinkKey,
        homes: Arc<Homes>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            path: code_path(data),
            hostname: hostname.to_owned(),
            edge_spki: key.spki().to_vec(),
            homes,
            desk: Mutex::default(),
            clock,
            connections: Mutex::new(Places::new(CONNECTIONS_MAX, PER_SOURCE_MAX)),
        }
    }

    fn connections(&self) -> MutexGuard<'_, Places<CancellationToken>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one pairing connection, as long as it may take and nobody else needs its place.
    pub(crate) async fn serve(&self, stream: LinkStream) -> Result<(), LinkFault> {
        let told = CancellationToken::new();
        let (place, leaving) = self.connections().enter(source_of(stream.remote.ip()), told.clone());
        if let Some(leaving) = leaving {
            leaving.cancel();
        }
        let ended = tokio::select! {
            ended = tokio::time::timeout(EXCHANGE_MAX, self.exchange(stream)) => ended.unwrap_or(Err(LinkFault::Silent)),
            () = told.cancelled() => Err(LinkFault::Protocol("its place was needed")),
        };
        self.connections().leave(place);
        ended
    }

    async fn exchange(&self, stream: LinkStream) -> Result<(), LinkFault> {
        let LinkStream { ref peer_spki, remote, .. } = stream;
        let visitor = Visitor { spki: peer_spki, ip: remote.ip() };
        let mut reader = FrameReader::for_pairing(stream.reader, Accepts::Pair);
        // A file of a few octets is read here and now: to announce that to the runtime would start a thread, with memory
        // of its own, for each of many strangers.
        let refused = self.refuse_at_once(visitor, self.clock.now());
        let result = match refused {
            Some(why) => PairingResult::Refused(why),
            None => self.hear(&mut reader, visitor).await?,
        };
        let (frames, queue) = link_session::frame_queue();
        frames.send(Frame::Paired(result));
        drop(frames);
        link_session::write_frames(stream.writer, queue).await?;
        // Home closes when it has read the answer. Who was refused at once has his request on the way still: to close on that
        // would take the answer from him.
        while let Ok(Some(_)) = reader.next(CLOSE_PATIENCE).await {}
        Ok(())
    }

    async fn hear(
        &self,
        reader: &mut FrameReader<Box<dyn AsyncRead + Send + Unpin>>,
        visitor: Visitor<'_>,
    ) -> Result<PairingResult, LinkFault> {
        let Some(Frame::Pair(request)) = reader.next(EXCHANGE_MAX).await? else {
            return Err(LinkFault::Protocol("no pairing request"));
        };
        let result = self.judge(&request, visitor, self.clock.now());
        match &result {
            PairingResult::Paired { .. } => {
                tracing::info!(home = %key_name(&link::key_fingerprint(visitor.spki)), domains = ?request.domains, "paired with a home");
            }
            PairingResult::Refused(why) => tracing::warn!(%why, "pairing refused"),
        }
        Ok(result)
    }

    /// Why nobody, or not this one, can be paired now.
    fn refuse_at_once(&self, visitor: Visitor<'_>, now: UnixTime) -> Option<String> {
        if let Err(dead) = self.code(now) {
            return Some(dead.to_owned());
        }
        let tries = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let may = tries.may(source_of(visitor.ip), now);
        (!may).then(|| {
            format!(
                "too many wrong pairing codes from your address; wait {} minutes",
                tries::WINDOW_SECS / 60
            )
        })
    }

    /// The code that is out, or why there is none.
    fn code(&self, now: UnixTime) -> Result<Outstanding, &'static str> {
        let code = match json_file::read::<Outstanding>(&self.path) {
            Ok(Some(code)) => code,
            Ok(None) => return Err("no pairing code is out; make one at the edge with 'postern edge pair'"),
            // Said to who pairs and not in the log, which strangers could fill with it.
            Err(_) => {
                return Err(
                    "the edge can't read the file of its pairing code; make a new one with 'postern edge \
                            pair', as the user that runs the edge",
                );
            }
        };
        if now >= code.expires {
            return Err("the pairing code is older than an hour; make one with 'postern edge pair'");
        }
        Ok(code)
    }

    /// Decides on a request: pins the home's key if the proof is right.
    fn judge(&self, request: &PairingRequest, visitor: Visitor<'_>, now: UnixTime) -> PairingResult {
        let mut tries = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |why: String| PairingResult::Refused(why);
        let code = match self.code(now) {
            Ok(code) => code,
            Err(dead) => return refused(dead.to_owned()),
        };
        if !request.proof.matches(&Proof::new(&code.secret, &self.edge_spki, visitor.spki)) {
            let wrong = tries.wrong(source_of(visitor.ip), now);
            let key = key_name(&link::key_fingerprint(visitor.spki));
            tracing::warn!(from = %visitor.ip, %key, wrong, "somebody tried to pair with a wrong code; the code stays good");
            return refused("the pairing code is wrong, or another one has replaced it".to_owned());
        }
        if let Some(why) = is_for_others(&code.grant, &request.domains) {
            return refused(why);
        }
        let key = link::key_fingerprint(visitor.spki);
        match tokio::task::block_in_place(|| self.homes.pair(key, &code.grant, &request.domains, now)) {
            Ok(home) => {
                self.bury();
                let served = self.homes.served(&home, &request.domains, now);
                PairingResult::Paired { hostname: self.hostname.clone(), served: Some(withheld_of(served)) }
            }
            Err(problem) => {
                tracing::error!(%problem, "the home's key could not be kept");
                refused("the edge could not keep the key; see its log".to_owned())
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

/// What to say when a code is for none of a home's domains. It stays good for whom it was made for.
fn is_for_others(grant: &Grant, domains: &[Domain]) -> Option<String> {
    let Grant::Only(granted) = grant else { return None };
    if domains.is_empty() || domains.iter().any(|domain| grant.covers(domain)) {
        return None;
    }
    let list = |domains: &[Domain]| domains.iter().take(5).map(Domain::as_str).collect::<Vec<_>>().join(", ");
    Some(format!("this code is for {}, and this home is for {}", list(granted), list(domains)))
}

/// Home has to know what it does not get, in one small frame.
fn withheld_of(served: ServedDomains) -> ServedDomains {
    let withheld = served.domains.into_iter().filter(|domain| domain.served != Served::Here);
    ServedDomains { home: served.home, domains: withheld.take(SERVED_AT_PAIRING_MAX).collect() }
}

#[cfg(test)]
mod tests {
    use daemon::clock::SystemClock;

    use super::*;

    struct Desk {
        dir: tempfile::TempDir,
        pairing: Pairing,
        code: PairingCode,
        edge: LinkKey,
    }

    fn domains(names: &[&str]) -> Vec<Domain> {
        names.iter().map(|name| Domain::parse(name).unwrap()).collect()
    }

    fn desk_for(names: &[&str]) -> Desk {
        let dir = tempfile::tempdir().unwrap();
        let edge = LinkKey::generate().unwrap();
        let homes = Arc::new(Homes::open(&dir.path().join("homes"), 1 << 20, system::now()).unwrap());
        let code = new_code(dir.path(), &edge, "mx.example.org:443", &domains(names), system::now()).unwrap();
        let pairing = Pairing::new(dir.path(), "mx.example.org", &edge, homes, SystemClock::shared());
        Desk { dir, pairing, code, edge }
    }

    fn desk() -> Desk {
        desk_for(&[])
    }

    const SOMEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    impl Desk {
        fn ask_as(&self, home: &[u8], secret: &[u8; 16], names: &[&str], now: UnixTime) -> PairingResult {
            let request =
                PairingRequest { proof: Proof::new(secret, self.edge.spki(), home), domains: domains(names) };
            self.pairing.judge(&request, Visitor { spki: home, ip: SOMEWHERE }, now)
        }

        fn ask(&self, secret: &[u8; 16], now: UnixTime) -> bool {
            matches!(self.ask_as(b"home", secret, &[], now), PairingResult::Paired { .. })
        }

        fn another_code(&mut self, names: &[&str]) {
            self.code =
                new_code(self.dir.path(), &self.edge, "mx.example.org:443", &domains(names), system::now())
                    .unwrap();
        }
    }

    #[test]
    fn a_code_pairs_once() {
        let desk = desk();
        assert!(desk.ask(&desk.code.secret, system::now()));
        assert!(desk.pairing.homes.by_key(&link::key_fingerprint(b"home")).is_some());
        assert!(!desk.ask(&desk.code.secret, system::now()));
    }

    /// Symptom: a stranger could kill any pairing code, by five wrong proofs. Cause: they were counted against the code.
    /// Analysis: 128 bits need no count; who is wrong is counted, and by where he is.
    #[test]
    fn no_number_of_wrong_proofs_kills_a_code_and_who_sends_them_is_not_listened_to_any_more() {
        let desk = desk();
        let visitor = |ip| Visitor { spki: b"home", ip };
        for n in 0..100 {
            let heard = desk.pairing.refuse_at_once(visitor(SOMEWHERE), system::now()).is_none();
            assert_eq!(heard, n < tries::WRONG_MAX);
            assert!(!desk.ask(&[0; 16], system::now()));
        }
        let elsewhere = IpAddr::from([203, 0, 113, 9]);
        assert_eq!(desk.pairing.refuse_at_once(visitor(elsewhere), system::now()), None);
        assert!(desk.ask(&desk.code.secret, system::now()));
        let none = desk.pairing.refuse_at_once(visitor(elsewhere), system::now()).unwrap();
        assert!(none.starts_with("no pairing code is out"), "{none}");
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

    #[test]
    fn a_second_home_for_a_domain_is_told_who_has_it_and_does_not_get_it() {
        let mut desk = desk();
        let first = desk.ask_as(b"old", &desk.code.secret, &["example.org"], system::now());
        let PairingResult::Paired { served: Some(served), .. } = first else { panic!("{first:?}") };
        assert_eq!(served.domains, []);
        desk.another_code(&[]);
        let names = ["example.org", "example.net"];
        let second = desk.ask_as(b"new", &desk.code.secret, &names, system::now());
        let PairingResult::Paired { served: Some(served), .. } = second else { panic!("{second:?}") };
        let old = key_name(&link::key_fingerprint(b"old"));
        assert_eq!(served.domains.len(), 1);
        assert_eq!(served.domains[0].domain.as_str(), "example.org");
        assert_eq!(served.domains[0].served, Served::Elsewhere { home: old, last_here: None });
        assert_eq!(served.home, key_name(&link::key_fingerprint(b"new")));
    }

    #[test]
    fn a_code_for_one_domain_is_refused_to_a_home_of_others_and_stays_good() {
        let desk = desk_for(&["example.org"]);
        let wrong = desk.ask_as(b"home", &desk.code.secret, &["example.net"], system::now());
        let PairingResult::Refused(why) = wrong else { panic!("{wrong:?}") };
        assert_eq!(why, "this code is for example.org, and this home is for example.net");
        let right = desk.ask_as(b"home", &desk.code.secret, &["example.net", "example.org"], system::now());
        let PairingResult::Paired { served: Some(served), .. } = right else { panic!("{right:?}") };
        assert_eq!(served.domains.len(), 1);
        assert_eq!(
            (served.domains[0].domain.as_str(), &served.domains[0].served),
            ("example.net", &Served::NotGranted)
        );
    }

    #[test]
    fn a_code_that_can_not_be_read_is_not_taken_for_none() {
        let desk = desk();
        std::fs::write(&desk.pairing.path, "{").unwrap();
        let visitor = Visitor { spki: b"home", ip: SOMEWHERE };
        let why = desk.pairing.refuse_at_once(visitor, system::now()).unwrap();
        assert!(why.contains("as the user that runs the edge"), "{why}");
    }

    #[test]
    fn a_code_that_an_older_version_left_is_good_for_any_free_domain() {
        let old = r#"{"secret":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"expires":5,"wrong_tries":3}"#;
        assert_eq!(serde_json::from_str::<Outstanding>(old).unwrap().grant, Grant::Free);
    }
}
