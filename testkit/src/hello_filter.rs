//! A way to a host on which the first message of a TLS handshake is lost if it is long, as in some networks.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Octets of a hello that still gets through.
pub const OCTETS_MAX: usize = 1400;

/// What becomes of a connection with a longer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The connection falls silent.
    Silence,
    /// The connection ends.
    End,
}

/// The way. It ends when it is dropped.
#[derive(Debug)]
pub struct HelloFilter {
    stop: Arc<AtomicBool>,
    lost: Arc<AtomicUsize>,
    passed: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Way {
    host: SocketAddr,
    loss: Loss,
    lost: Arc<AtomicUsize>,
    passed: Arc<AtomicUsize>,
}

impl HelloFilter {
    /// From an address to a host.
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn start(address: SocketAddr, host: SocketAddr, loss: Loss) -> Self {
        let listener = TcpListener::bind(address).expect("TCP");
        listener.set_nonblocking(true).expect("non-blocking");
        let stop = Arc::new(AtomicBool::new(false));
        let (lost, passed) = (Arc::default(), Arc::default());
        let way = Way { host, loss, lost: Arc::clone(&lost), passed: Arc::clone(&passed) };
        let ended = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((client, _)) => way.clone().carry(client),
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            }
        });
        Self { stop, lost, passed, thread: Some(thread) }
    }

    /// Hellos that were lost, and that got through.
    #[must_use]
    pub fn hellos(&self) -> (usize, usize) {
        (self.lost.load(Ordering::Relaxed), self.passed.load(Ordering::Relaxed))
    }
}

impl Drop for HelloFilter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Way {
    /// Both directions, each in a thread that ends with its connection.
    fn carry(self, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.host) else { return };
        client.set_nonblocking(false).expect("blocking");
        let (mut back, mut to) =
            (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut to);
            let _ = to.shutdown(Shutdown::Both);
        });
        std::thread::spawn(move || self.carry_to(client, server));
    }

    fn carry_to(&self, mut client: TcpStream, mut server: TcpStream) {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(octets @ 1..) = client.read(&mut piece) {
            let said = &piece[..octets];
            // A record of a handshake whose message is a ClientHello.
            let is_hello = said.starts_with(&[22, 3]) && said.get(5) == Some(&1);
            if is_hello && octets > OCTETS_MAX {
                self.lost.fetch_add(1, Ordering::Relaxed);
                if self.loss == Loss::End {
                    break;
                }
                // What follows is lost as well, until the client gives up.
                while matches!(client.read(&mut piece), Ok(1..)) {}
                break;
            }
            self.passed.fetch_add(usize::from(is_hello), Ordering::Relaxed);
            if server.write_all(said).is_err() {
                break;
            }
        }
        let _ = server.shutdown(Shutdown::Both);
        let _ = client.shutdown(Shutdown::Both);
    }
}
