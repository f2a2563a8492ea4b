//! Ports on loopback that nobody listens on.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;

/// Below the ports that the system gives to connections that go out: one of those can't take a port before
/// its daemon listens.
const PORTS: std::ops::Range<u64> = 10_000..32_000;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// An address on loopback that is free for TCP and UDP, another one each time.
#[must_use]
pub fn free() -> SocketAddr {
    let mut given = GIVEN.lock().unwrap();
    for _ in 0..1000 {
        let random = RandomState::new().build_hasher().finish();
        let port = PORTS.start + random % (PORTS.end - PORTS.start);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).unwrap()));
        let free = TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok();
        if free && given.insert(address.port()) {
            return address;
        }
    }
    panic!("no free port on loopback");
}
