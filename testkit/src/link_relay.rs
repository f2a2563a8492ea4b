//! What is between Home and Edge, as a process of the test: it passes the link on, over UDP and TCP, until it is told
//! to lose it. It sees no more than octets and datagrams.

use std::collections::{BinaryHeap, HashMap};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::{namespace, ports};

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
    /// Nothing gets to Edge, or to Home.
    deaf: [AtomicBool; 2],
    /// The longest time that something takes, in milliseconds.
    delay: AtomicU64,
    random: Mutex<Random>,
    no_udp: AtomicBool,
    /// What began in an older generation has been cut.
    generation: AtomicUsize,
}

impl Way {
    fn ended(&self, generation: usize) -> bool {
        self.stop.load(Ordering::Relaxed) || self.generation.load(Ordering::Relaxed) != generation
    }

    fn is_silent(&self, to: End) -> bool {
        self.silent.load(Ordering::Relaxed) || self.deaf[to as usize].load(Ordering::Relaxed)
    }

    fn carries_udp(&self, to: End) -> bool {
        !self.is_silent(to) && !self.no_udp.load(Ordering::Relaxed)
    }

    /// How long what comes now is to take.
    fn delay(&self) -> Duration {
        let longest = self.delay.load(Ordering::Relaxed);
        if longest == 0 {
            return Duration::ZERO;
        }
        Duration::from_millis(self.random.lock().expect("the numbers").below(longest))
    }
}

/// An end of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Edge.
    Edge,
    /// Home.
    Home,
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
        Self::between(None, ports::free(), ports::free())
    }

    /// Starts one at an address in a network namespace, before an edge that takes links at another.
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn between(namespace: Option<&str>, address: SocketAddr, edge: SocketAddr) -> Self {
        namespace::within(namespace, || Self::listen(address, edge))
    }

    /// In the namespace of this thread, which its threads inherit.
    fn listen(address: SocketAddr, edge: SocketAddr) -> Self {
        let way = Arc::new(Way {
            edge,
            stop: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            deaf: [AtomicBool::new(false), AtomicBool::new(false)],
            delay: AtomicU64::new(0),
            random: Mutex::new(Random::new(1)),
            no_udp: AtomicBool::new(false),
            generation: AtomicUsize::new(0),
        });
        let tcp = TcpListener::bind(address).expect("TCP");
        tcp.set_nonblocking(true).expect("non-blocking");
        let udp = UdpSocket::bind(address).expect("UDP");
        udp.set_read_timeout(Some(TICK)).expect("a time limit");
        let (for_tcp, for_udp, for_late) = (Arc::clone(&way), Arc::clone(&way), Arc::clone(&way));
        let (late, posted) = channel();
        let threads = vec![
            std::thread::spawn(move || accept(&tcp, &for_tcp)),
            std::thread::spawn(move || carry_datagrams(&Arc::new(udp), &for_udp, &late)),
            std::thread::spawn(move || send_late(&posted, &for_late)),
        ];
        Self { address, way, threads }
    }

    /// The address that Home dials.
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

    /// Whether nothing gets through to one end, while that end is heard.
    pub fn deafen(&self, end: End, on: bool) {
        self.way.deaf[end as usize].store(on, Ordering::Relaxed);
    }

    /// Has everything take up to so long, each datagram another time, so that they overtake each other.
    pub fn delay(&self, longest: Duration) {
        let milliseconds = u64::try_from(longest.as_millis()).expect("a short time");
        self.way.delay.store(milliseconds, Ordering::Relaxed);
    }

    /// Sets whether UDP datagrams get lost.
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
        for (from, to, end) in [(&home, &edge, End::Edge), (&edge, &home, End::Home)] {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
            let way = Arc::clone(way);
            carriers.push(std::thread::spawn(move || carry_stream(from, (to, end), &way, generation)));
        }
    }
    for carrier in carriers {
        let _ = carrier.join();
    }
}

/// Passes on what comes, one way. In silence it keeps it, as a sender's retransmissions would; a cut loses it.
fn carry_stream(mut from: TcpStream, (mut to, end): (TcpStream, End), way: &Way, generation: usize) {
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
        std::thread::sleep(way.delay());
        while way.is_silent(end) && !way.ended(generation) {
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
fn carry_datagrams(udp: &Arc<UdpSocket>, way: &Arc<Way>, late: &Sender<Late>) {
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
        if !way.carries_udp(End::Edge) {
            continue;
        }
        let flow = flows.entry(home).or_insert_with(|| {
            let own = udp.local_addr().expect("an address").ip();
            let flow = Arc::new(UdpSocket::bind((own, 0)).expect("UDP"));
            flow.connect(way.edge).expect("a peer");
            flow.set_read_timeout(Some(TICK)).expect("a time limit");
            let (udp, way, back, late) = (Arc::clone(udp), Arc::clone(way), Arc::clone(&flow), late.clone());
            carriers
                .push(std::thread::spawn(move || carry_back(&back, (&udp, home), &way, (generation, &late))));
            flow
        });
        pass_on(flow, None, &octets[..count], (way, late));
    }
    for carrier in carriers {
        let _ = carrier.join();
    }
}

fn carry_back(
    flow: &UdpSocket,
    (udp, home): (&Arc<UdpSocket>, SocketAddr),
    way: &Way,
    (generation, late): (usize, &Sender<Late>),
) {
    let mut octets = vec![0; DATAGRAM_OCTETS];
    while !way.ended(generation) {
        let Ok(count) = flow.recv(&mut octets) else { continue };
        if way.carries_udp(End::Home) {
            pass_on(udp, Some(home), &octets[..count], (way, late));
        }
    }
}

/// A datagram that is sent later than it came.
struct Late {
    due: Instant,
    socket: Arc<UdpSocket>,
    to: Option<SocketAddr>,
    octets: Vec<u8>,
}

impl PartialEq for Late {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Late {}

impl PartialOrd for Late {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The greatest is the one that is due first.
impl Ord for Late {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.due.cmp(&self.due)
    }
}

/// Sends a datagram, to the socket's peer or to that address, now or later. Nobody being there is a loss like any other.
fn pass_on(
    socket: &Arc<UdpSocket>,
    to: Option<SocketAddr>,
    octets: &[u8],
    (way, late): (&Way, &Sender<Late>),
) {
    let delay = way.delay();
    if delay.is_zero() {
        let _ = to.map_or_else(|| socket.send(octets), |to| socket.send_to(octets, to));
    } else {
        let (due, socket, octets) = (Instant::now() + delay, Arc::clone(socket), octets.to_vec());
        let _ = late.send(Late { due, socket, to, octets });
    }
}

fn send_late(posted: &Receiver<Late>, way: &Way) {
    let mut waiting: BinaryHeap<Late> = BinaryHeap::new();
    while !way.stop.load(Ordering::Relaxed) {
        let wait = waiting
            .peek()
            .map_or(TICK, |first| first.due.saturating_duration_since(Instant::now()).min(TICK));
        match posted.recv_timeout(wait) {
            Ok(late) => waiting.push(late),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while waiting.peek().is_some_and(|first| first.due <= Instant::now()) {
            let Some(Late { socket, to, octets, .. }) = waiting.pop() else { break };
            let _ = to.map_or_else(|| socket.send(&octets), |to| socket.send_to(&octets, to));
        }
    }
}
