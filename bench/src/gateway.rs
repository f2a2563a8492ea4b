//! `smtp-source` knows no TLS and no login. The gateway takes its connections, makes a TLS connection with a login
//! to the submission port for each, and passes the octets on. All systems are loaded through it alike.

use std::io;
use std::net::SocketAddr;

use base64::Engine as _;
use net::tls;
use testkit::ports;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// The login that is used for every connection.
const USER: &str = "bob@example.org";

/// A listener on loopback. It ends when it is dropped.
pub(crate) struct Gateway {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Gateway {
    /// Passes connections on to this submission port.
    pub(crate) fn start(submission: SocketAddr, password: &str) -> Self {
        let address = ports::free();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(address)).expect("a listener");
        let login = base64::engine::general_purpose::STANDARD.encode(format!("\0{USER}\0{password}"));
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let login = login.clone();
                tokio::spawn(async move {
                    if let Err(error) = pass_on(client, submission, &login).await {
                        eprintln!("gateway: {error}");
                    }
                });
            }
        });
        Self { address, _runtime: runtime }
    }

    /// Where `smtp-source` connects.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn pass_on(mut client: TcpStream, submission: SocketAddr, login: &str) -> io::Result<()> {
    client.set_nodelay(true)?;
    let tcp = TcpStream::connect(submission).await?;
    tcp.set_nodelay(true)?;
    let connector = tls::opportunistic_connector().map_err(io::Error::other)?;
    let mut server = BufReader::new(tls::connect(&connector, submission, tcp).await?);
    expect(&mut server, "220").await?;
    server.write_all(b"EHLO gateway.test\r\n").await?;
    expect(&mut server, "250").await?;
    server.write_all(format!("AUTH PLAIN {login}\r\n").as_bytes()).await?;
    expect(&mut server, "235").await?;
    client.write_all(b"220 gateway.test ESMTP\r\n").await?;
    match tokio::io::copy_bidirectional(&mut client, &mut server).await {
        // smtp-source does not wait for the reply to QUIT, and a server may close without TLS's close_notify.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
        {
            Ok(())
        }
        done => done.map(|_| ()),
    }
}

/// Takes a whole reply, which must have this code.
async fn expect(server: &mut (impl AsyncBufRead + Unpin), code: &str) -> io::Result<()> {
    loop {
        let mut line = String::new();
        server.read_line(&mut line).await?;
        if !line.starts_with(code) {
            return Err(io::Error::other(format!("{code} expected: {}", line.trim_end())));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}
