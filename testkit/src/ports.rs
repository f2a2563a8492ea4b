//! Ports on loopback that nobody listens on.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;

/// Below the ports that the system gives to connections that go out: one of those can't take a port before
/// its daemon listens.
const PORTS: std::ops::Range<u64> = 10_000..32_000;

/// Says which part of them this process looks in, when others look for ports beside it.
const PLACE: &str = "POSTERN_TEST_PLACE";
/// How many parts there are.
const PLACES: u64 = 8;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// An address on loopback that is free for TCP and UDP, another one each time.
#[must_use]
pub fn free() -> SocketAddr {
    let place = std::env::var(PLACE).ok().map(|place| place.parse().expect("the number of a place"));
    let ports = part(place);
    let mut given = GIVEN.lock().unwrap();
    for _ in 0..1000 {
        let random = RandomState::new().build_hasher().finish();
        let port = ports.start + random % (ports.end - ports.start);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()));
        let free = TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok();
        if free && given.insert(address.port()) {
            return address;
        }
    }
    panic!("no free port on loopback");
}

/// All of them, or one of the parts.
fn part(place: Option<u64>) -> std::ops::Range<u64> {
    let Some(place) = place else { return PORTS };
    assert!(place < PLACES, "{PLACE} is below {PLACES}");
    let size = (PORTS.end - PORTS.start) / PLACES;
    PORTS.start + place * size..PORTS.start + (place + 1) * size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_overlap_and_are_within_the_whole() {
        let parts: Vec<_> = (0..PLACES).map(|place| part(Some(place))).collect();
        assert!(parts.windows(2).all(|two| two[0].end <= two[1].start && !two[1].is_empty()));
        assert_eq!((parts[0].start, part(None)), (PORTS.start, PORTS));
        assert!(parts[parts.len() - 1].end <= PORTS.end);
    }
}
