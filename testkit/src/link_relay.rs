//! What is between Home and Edge, as a process of the test: it passes the link on, over UDP and TCP, until it is told
//! to lose it. It sees no more than octets and datagrams.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ports;

/// How often somebody who waits for the network looks up.
const TICK: Duration = Duration::from_millis(20);
/// No datagram is larger.
const DATAGRAM_OCTETS: usize = 65_536;

/// A relay on loopback. It ends when it is dropped.
#[derive(Debug)]
pub struct LinkRelay {
    address: SocketAddr,
    way: Arc<Way>,
    threads: Vec<JoinHandle<()>>,
}

/// What its threads know of the way.
#[derive(Debug)]
struct Way {
    edge: SocketAddr,
    stop: AtomicBool,
    silent: AtomicBool,
    no_udp: AtomicBool,
    /// What began in an older generation has been cut.
    generation: AtomicUsize,
}

impl Way {
    fn ended(&self, generation: usize) -> bool {
        self.stop.load(Ordering::Relaxed) || self.generation.load(Ordering::Relaxed) != generation
    }

    fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    fn carries_udp(&self) -> bool {
        !self.is_silent() && !self.no_udp.load(Ordering::Relaxed)
    }
}

impl Default for LinkRelay {
    fn default() -> Self {
        Self::start()
    }
}

impl LinkRelay {
    /// Starts one before an edge that is not there yet.
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn start() -> Self {
        let address = ports::free();
        let way = Arc::new(Way {
            edge: ports::free(),
            stop: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            no_udp: AtomicBool::new(false),
            generation: AtomicUsize::new(0),
        });
        let tcp = TcpListener::bind(address).expect("TCP");
        tcp.set_nonblocking(true).expect("non-blocking");
        let udp = UdpSocket::bind(address).expect("UDP");
        udp.set_read_timeout(Some(TICK)).expect("a time limit");
        let (for_tcp, for_udp) = (Arc::clone(&way), Arc::clone(&way));
        let threads = vec![
            std::thread::spawn(move || accept(&tcp, &for_tcp)),
            std::thread::spawn(move || carry_datagrams(&Arc::new(udp), &for_udp)),
        ];
        Self { address, way, threads }
    }

    /// Where Home finds it.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where Edge has to take links.
    #[must_use]
    pub fn edge(&self) -> SocketAddr {
        self.way.edge
    }

    /// Resets every TCP connection, with what was under way in it, and has UDP come from other ports, as a NAT does
    /// that was started again.
    pub fn cut(&self) {
        self.way.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether nothing gets through, and nobody is told.
    pub fn silence(&self, on: bool) {
        self.way.silent.store(on, Ordering::Relaxed);
    }

    /// Whether UDP gets lost.
    pub fn block_udp(&self, on: bool) {
        self.way.no_udp.store(on, Ordering::Relaxed);
    }
}

impl Drop for LinkRelay {
    fn drop(&mut self) {
        self.way.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, way: &Arc<Way>) {
    let mut carriers = Vec::new();
    while !way.stop.load(Ordering::Relaxed) {
        let Ok((home, _)) = listener.accept() else {
            std::thread::sleep(TICK);
            continue;
        };
        let Ok(edge) = TcpStream::connect(way.edge) else { continue };
        let generation = way.generation.load(Ordering::Relaxed);
        for (from, to) in [(&home, &edge), (&edge, &home)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
            let way = Arc::clone(way);
            carriers.push(std::thread::spawn(move || carry_stream(from, to, &way, generation)));
        }
    }
    for carrier in carriers {
        let _ = carrier.join();
    }
}

/// Passes on what comes, one way. In silence it keeps it, as a sender's retransmissions would; a cut loses it.
fn carry_stream(mut from: TcpStream, mut to: TcpStream, way: &Way, generation: usize) {
    let _ = (from.set_nonblocking(false), from.set_read_timeout(Some(TICK)), to.set_nodelay(true));
    let mut octets = vec![0; 16_384];
    while !way.ended(generation) {
        let count = match from.read(&mut octets) {
            Ok(0) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => break,
        };
        while way.is_silent() && !way.ended(generation) {
            std::thread::sleep(TICK);
        }
        if way.ended(generation) || to.write_all(&octets[..count]).is_err() {
            break;
        }
    }
    reset(&from);
    reset(&to);
}

/// Ends a connection with RST when its last holder lets go of it.
fn reset(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
}

/// Home's datagrams go to Edge from a port for each of Home's, until the next cut.
fn carry_datagrams(udp: &Arc<UdpSocket>, way: &Arc<Way>) {
    let mut flows: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut carriers = Vec::new();
    let mut generation = way.generation.load(Ordering::Relaxed);
    let mut octets = vec![0; DATAGRAM_OCTETS];
    while !way.stop.load(Ordering::Relaxed) {
        let received = udp.recv_from(&mut octets);
        if way.ended(generation) {
            flows.clear();
            generation = way.generation.load(Ordering::Relaxed);
        }
        let Ok((count, home)) = received else { continue };
        if !way.carries_udp() {
            continue;
        }
        let flow = flows.entry(home).or_insert_with(|| {
            let flow = Arc::new(UdpSocket::bind((way.edge.ip(), 0)).expect("UDP"));
            flow.connect(way.edge).expect("a peer");
            flow.set_read_timeout(Some(TICK)).expect("a time limit");
            let (udp, way, back) = (Arc::clone(udp), Arc::clone(way), Arc::clone(&flow));
            carriers.push(std::thread::spawn(move || carry_back(&back, &udp, home, &way, generation)));
            flow
        });
        // An edge that is not there is a loss like any other.
        let _ = flow.send(&octets[..count]);
    }
    for carrier in carriers {
        let _ = carrier.join();
    }
}

fn carry_back(flow: &UdpSocket, udp: &UdpSocket, home: SocketAddr, way: &Way, generation: usize) {
    let mut octets = vec![0; DATAGRAM_OCTETS];
    while !way.ended(generation) {
        let Ok(count) = flow.recv(&mut octets) else { continue };
        if way.carries_udp() {
            let _ = udp.send_to(&octets[..count], home);
        }
    }
}
