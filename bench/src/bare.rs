//! The limit: a program that reads the same octets from a socket and makes them durable with a shared
//! `fdatasync`, and does nothing else. It answers what `smtp-source` needs to go on.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use testkit::ports;

/// As many threads as sessions: none waits for another.
const THREADS: usize = 24;

/// A message to be made durable, and whom to tell.
struct Waiting {
    content: Vec<u8>,
    done: Sender<()>,
}

/// Starts it. It runs until the bench ends.
pub(crate) fn start(dir: &std::path::Path) -> SocketAddr {
    let address = ports::free();
    let listener = TcpListener::bind(address).expect("a listener");
    let file = File::create(dir.join("messages")).expect("a file");
    let (sender, receiver) = channel();
    std::thread::spawn(move || commit(file, &receiver));
    for _ in 0..THREADS {
        let (listener, sender) = (listener.try_clone().expect("a listener"), sender.clone());
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if let Err(error) = serve(stream, &sender) {
                    eprintln!("bare program: {error}");
                }
            }
        });
    }
    address
}

/// Writes all that waits, syncs once, tells all.
fn commit(mut file: File, receiver: &Receiver<Waiting>) {
    while let Ok(first) = receiver.recv() {
        let batch: Vec<Waiting> = std::iter::once(first).chain(receiver.try_iter()).collect();
        let octets: Vec<u8> = batch.iter().flat_map(|waiting| waiting.content.iter().copied()).collect();
        file.write_all(&octets).expect("room");
        file.sync_data().expect("a sync");
        for waiting in batch {
            let _ = waiting.done.send(());
        }
    }
}

fn serve(stream: TcpStream, commits: &Sender<Waiting>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::with_capacity(16 * 1024, stream);
    let (sender, receiver) = channel();
    out.write_all(b"220 bare\r\n")?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match line.first() {
            Some(b'D') => {
                out.write_all(b"354 go on\r\n")?;
                let content = content(&mut lines)?;
                let waiting = Waiting { content, done: sender.clone() };
                commits.send(waiting).map_err(io::Error::other)?;
                receiver.recv().map_err(io::Error::other)?;
                out.write_all(b"250 durable\r\n")?;
            }
            Some(b'Q') => return out.write_all(b"221 bye\r\n"),
            _ => out.write_all(b"250 ok\r\n")?,
        }
    }
}

/// All lines before the one that is a single dot.
fn content(lines: &mut BufReader<TcpStream>) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(8 * 1024);
    loop {
        let begun = content.len();
        if lines.read_until(b'\n', &mut content)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if content[begun..] == *b".\r\n" {
            content.truncate(begun);
            return Ok(content);
        }
    }
}
