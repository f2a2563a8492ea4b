//! Ports on loopback that nobody listens on.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Mutex;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// An address on loopback that is free for TCP and UDP, another one each time.
#[must_use]
pub fn free() -> SocketAddr {
    let mut given = GIVEN.lock().unwrap();
    for _ in 0..1000 {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = tcp.local_addr().expect("its address");
        if UdpSocket::bind(address).is_ok() && given.insert(address.port()) {
            return address;
        }
    }
    panic!("no free port on loopback");
}
