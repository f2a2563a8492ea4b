//! Many who are not paired, at the link's port, from many addresses.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use net::link_key::LinkKey;
use net::link_transport::{Dialer, LinkStream, Transport};
use testkit::namespace;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long a silent connection is kept by whoever opened it.
const KEPT: Duration = Duration::from_secs(20);
/// Time between two rounds of a flood.
const TICK: Duration = Duration::from_millis(20);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Somebody who opened a pairing connection and announced a frame of 16 MiB, with as much of it as was taken.
async fn announce(mut stream: LinkStream) -> LinkStream {
    let header = [5_u8, 0, 0, 0, 1, 0, 0, 0];
    let _ = stream.writer.write_all(&header).await;
    let piece = vec![b' '; 64 << 10];
    for _ in 0..255 {
        let write = tokio::time::timeout(Duration::from_millis(300), stream.writer.write_all(&piece)).await;
        if !matches!(write, Ok(Ok(()))) {
            break;
        }
    }
    stream
}

/// Opens pairing connections from 50 addresses of loopback, announces on each a frame that never ends, and keeps them all
/// until `done`. Gives how many were opened.
pub(crate) fn announce_frames(
    edge: SocketAddr,
    pinned: [u8; 32],
    transport: Transport,
    count: u8,
    done: impl FnOnce(),
) -> usize {
    runtime().block_on(async {
        let at_one_time = Arc::new(Semaphore::new(50));
        let mut crowd = JoinSet::new();
        for source in 1..=50 {
            let dialer = Arc::new(Dialer::from(IpAddr::from([127, 0, source, 1])));
            for _ in 0..count / 50 {
                let (dialer, at_one_time) = (Arc::clone(&dialer), Arc::clone(&at_one_time));
                crowd.spawn(async move {
                    let _permit = at_one_time.acquire_owned().await;
                    let key = LinkKey::generate().unwrap();
                    let dialled = dialer.dial_by(transport, edge, &key, pinned, link::ALPN_PAIRING).await;
                    Some(announce(dialled.ok()?).await)
                });
            }
        }
        let opened: Vec<LinkStream> = crowd.join_all().await.into_iter().flatten().collect();
        done();
        opened.len()
    })
}

/// First packets of so many QUIC connections, each a whole one, as a client sent them to somebody who did not answer.
pub(crate) fn initials(count: usize) -> Vec<Vec<u8>> {
    let recorder = UdpSocket::bind("127.0.0.1:0").unwrap();
    recorder.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let to = recorder.local_addr().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let clients = std::thread::spawn(move || {
        runtime().block_on(async {
            let (dialer, key) = (Dialer::new(), LinkKey::generate().unwrap());
            while !stopped.load(Ordering::Relaxed) {
                let dial = dialer.dial_by(Transport::Quic, to, &key, [0; 32], link::ALPN);
                let _ = tokio::time::timeout(Duration::from_millis(1), dial).await;
            }
        });
    });
    let (mut seen, mut recorded) = (HashSet::new(), Vec::new());
    let mut buffer = [0; 2048];
    while recorded.len() < count {
        let Ok(octets) = recorder.recv(&mut buffer) else { continue };
        let packet = &buffer[..octets];
        // RFC 9000 section 17.2.2: a long header of type 0; the first packet of each destination id.
        let id = packet.get(6..6 + usize::from(packet[5])).unwrap().to_vec();
        if packet[0] & 0xf0 == 0xc0 && octets >= 1200 && seen.insert(id) {
            recorded.push(packet.to_vec());
        }
    }
    stop.store(true, Ordering::Relaxed);
    clients.join().unwrap();
    recorded
}

/// Silent connections and first packets of QUIC from many addresses, until it is dropped.
pub(crate) struct Flood {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// How much of it each address sends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// Silent TCP connections in a second.
    pub connections: u32,
    /// First packets of QUIC in a second.
    pub initials: u32,
    /// Whole handshakes in a second, by turns on both transports, with a key that nobody knows.
    pub handshakes: u32,
}

impl Flood {
    /// Begins one from these addresses of a network namespace.
    pub(crate) fn begin(
        namespace: &str,
        sources: &[Ipv4Addr],
        (edge, pinned): (SocketAddr, [u8; 32]),
        rate: Rate,
        initials: Vec<Vec<u8>>,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = |work: Box<dyn FnOnce(&AtomicBool) + Send>| {
            let (namespace, stop) = (namespace.to_owned(), Arc::clone(&stop));
            std::thread::spawn(move || {
                namespace::enter(&namespace);
                work(&stop);
            })
        };
        let [one, other, third] = [(); 3].map(|()| sources.to_vec());
        let threads = vec![
            thread(Box::new(move |stop| connect(stop, &one, edge, rate.connections))),
            thread(Box::new(move |stop| send_initials(stop, &other, edge, rate.initials, &initials))),
            thread(Box::new(move |stop| shake_hands(stop, &third, (edge, pinned), rate.handshakes))),
        ];
        Self { stop, threads }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// How many are due in this tick when there are so many in a second.
fn due(tick: u32, per_second: u32) -> u32 {
    let ticks = u32::try_from(Duration::from_secs(1).as_millis() / TICK.as_millis()).unwrap();
    (tick + 1) * per_second / ticks - tick * per_second / ticks
}

fn connect(stop: &AtomicBool, sources: &[Ipv4Addr], edge: SocketAddr, rate: u32) {
    runtime().block_on(async {
        let mut crowd = JoinSet::new();
        let mut ticks = tokio::time::interval(TICK);
        let all = rate * u32::try_from(sources.len()).unwrap();
        let mut next = sources.iter().cycle();
        for tick in (0..5000).cycle() {
            ticks.tick().await;
            if stop.load(Ordering::Relaxed) {
                return;
            }
            while crowd.try_join_next().is_some() {}
            for source in next.by_ref().take(due(tick, all) as usize) {
                crowd.spawn(tokio::time::timeout(KEPT, stay_silent(*source, edge)));
            }
        }
    });
}

/// Opens a connection, says nothing, and waits until it is closed.
async fn stay_silent(source: Ipv4Addr, edge: SocketAddr) -> io::Result<usize> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(edge).await?.read(&mut [0]).await
}

fn send_initials(stop: &AtomicBool, sources: &[Ipv4Addr], edge: SocketAddr, rate: u32, initials: &[Vec<u8>]) {
    let sockets: Vec<_> = sources.iter().map(|source| UdpSocket::bind((*source, 0)).unwrap()).collect();
    let mut next = sockets.iter().cycle().zip(initials.iter().cycle());
    let all = rate * u32::try_from(sources.len()).unwrap();
    for tick in (0..5000).cycle() {
        std::thread::sleep(TICK);
        if stop.load(Ordering::Relaxed) {
            return;
        }
        for (socket, packet) in next.by_ref().take(due(tick, all) as usize) {
            let _ = socket.send_to(packet, edge);
        }
    }
}

fn shake_hands(stop: &AtomicBool, sources: &[Ipv4Addr], (edge, pinned): (SocketAddr, [u8; 32]), rate: u32) {
    runtime().block_on(async {
        let dialers: Vec<_> = sources.iter().map(|source| Arc::new(Dialer::from((*source).into()))).collect();
        let by_turns = [Transport::Quic, Transport::Tcp].into_iter().cycle();
        let mut next = dialers.iter().cycle().zip(by_turns);
        let key = LinkKey::generate().unwrap();
        let mut crowd = JoinSet::new();
        let mut ticks = tokio::time::interval(TICK);
        let all = rate * u32::try_from(sources.len()).unwrap();
        for tick in (0..5000).cycle() {
            ticks.tick().await;
            if stop.load(Ordering::Relaxed) {
                return;
            }
            while crowd.try_join_next().is_some() {}
            for (dialer, transport) in next.by_ref().take(due(tick, all) as usize) {
                let (dialer, key) = (Arc::clone(dialer), key.clone());
                crowd.spawn(async move {
                    let mut stream = dialer.dial_by(transport, edge, &key, pinned, link::ALPN).await.ok()?;
                    stream.writer.write_all(&[1]).await.ok()?;
                    tokio::time::timeout(KEPT, stream.reader.read(&mut [0])).await.ok()?.ok()
                });
            }
        }
    });
}

/// What somebody hears on a pairing connection who says nothing of his own but one octet, which opens the stream.
pub(crate) fn heard_without_asking(edge: SocketAddr, pinned: [u8; 32], transport: Transport) -> String {
    runtime().block_on(async {
        let key = LinkKey::generate().unwrap();
        let dialler = Dialer::new();
        let dialled = dialler.dial_by(transport, edge, &key, pinned, link::ALPN_PAIRING).await;
        let mut stream = dialled.unwrap();
        stream.writer.write_all(&[64]).await.unwrap();
        stream.writer.flush().await.unwrap();
        let mut heard = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(30), stream.reader.read_to_end(&mut heard)).await;
        String::from_utf8_lossy(&heard).into_owned()
    })
}
