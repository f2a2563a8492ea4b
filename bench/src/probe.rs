//! Single messages with a watch on them, which `smtp-source` does not have, and the disk's own pace.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use testkit::smtp::SmtpClient;

const FROM: &str = "probe@remote.test";
/// Messages so far. One that is the same as another, whose sender may not have heard its 250, waits for word of that (ADR 25).
static SENT: AtomicUsize = AtomicUsize::new(0);

/// A connection that sends one message after another.
pub(crate) struct Probe {
    client: SmtpClient,
    to: &'static str,
    /// What follows the header.
    body: Vec<u8>,
}

impl Probe {
    pub(crate) fn connect(server: SocketAddr, to: &'static str) -> Self {
        let client = SmtpClient::ready(server).expect("the edge");
        let mut body = b"\r\n".to_vec();
        let line = [b'x'; 70];
        while body.len() < 4000 {
            body.extend_from_slice(&line);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b".\r\n");
        Self { client, to, body }
    }

    /// Sends a 4 KiB message; the time from writing its content to the reply.
    pub(crate) fn send(&mut self) -> Duration {
        for (line, code) in [
            (format!("MAIL FROM:<{FROM}>"), "250"),
            (format!("RCPT TO:<{}>", self.to), "250"),
            ("DATA".to_owned(), "354"),
        ] {
            let reply = self.client.command(&line).expect("a connection");
            assert!(reply.starts_with(code), "{line}: {reply}");
        }
        let number = SENT.fetch_add(1, Ordering::Relaxed);
        let header =
            format!("From: <probe@remote.test>\r\nSubject: probe\r\nMessage-ID: <{number}@remote.test>\r\n");
        let content = [header.as_bytes(), &self.body].concat();
        let begun = Instant::now();
        self.client.send(&content).expect("a connection");
        let reply = self.client.reply().expect("a connection");
        let took = begun.elapsed();
        assert!(reply.starts_with("250"), "{reply}");
        took
    }
}

/// Live mail at a steady pace, on several connections, until it is told to stop.
pub(crate) struct SteadyMail {
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<Vec<Duration>>>,
}

impl SteadyMail {
    /// Sends so many messages a second. A message whose turn has come and that finds no free connection is late,
    /// and its lateness counts.
    pub(crate) fn start(server: SocketAddr, to: &'static str, per_second: u32) -> Self {
        const CONNECTIONS: usize = 8;
        let stop = Arc::new(AtomicBool::new(false));
        let turn = Arc::new(AtomicUsize::new(0));
        let begun = Instant::now();
        let worker = |_| {
            let (stop, turn) = (Arc::clone(&stop), Arc::clone(&turn));
            std::thread::spawn(move || {
                let mut probe = Probe::connect(server, to);
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = u32::try_from(turn.fetch_add(1, Ordering::Relaxed)).expect("few messages");
                    let due = begun + Duration::from_secs(1) * number / per_second;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let late = Instant::now().saturating_duration_since(due);
                    latencies.push(late + probe.send());
                }
                latencies
            })
        };
        Self { workers: (0..CONNECTIONS).map(worker).collect(), stop }
    }

    /// Stops; the latencies.
    pub(crate) fn end(self) -> Vec<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        self.workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    }
}

/// How long appending 4 KiB and `fdatasync` take, again and again, in this directory.
pub(crate) fn disk(dir: &Path, times: usize) -> Vec<Duration> {
    let path = dir.join("postern-bench-disk");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("a file");
    let block = [b'x'; 4096];
    let once = || {
        let begun = Instant::now();
        file.write_all(&block).expect("room");
        file.sync_data().expect("a sync");
        begun.elapsed()
    };
    let times = std::iter::repeat_with(once).take(times).collect();
    std::fs::remove_file(&path).expect("to remove it");
    times
}

/// The value that this share of the values does not pass, in milliseconds.
pub(crate) fn percentile(values: &[Duration], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).map_or(0.0, |value| value.as_secs_f64() * 1000.0)
}
