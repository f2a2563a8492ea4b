//! A service beside Home, by its address: TCP or a Unix socket. It is trusted to be where the operator says
//! it is; nothing is encrypted, so it belongs on this host or this network.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use crate::duplex::Duplex;

/// How long a connection may take to come about: the service is near.
pub const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Where a service listens: `inet:HOST:PORT` (or `HOST:PORT` alone), or `unix:/PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A host and its port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// The text is neither `HOST:PORT` nor `unix:/PATH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write an address as inet:HOST:PORT or unix:/PATH")]
pub struct NoEndpoint;

impl FromStr for Endpoint {
    type Err = NoEndpoint;

    fn from_str(text: &str) -> Result<Self, NoEndpoint> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(NoEndpoint) };
        }
        let text = text.strip_prefix("inet:").unwrap_or(text);
        let (host, port) = text.rsplit_once(':').ok_or(NoEndpoint)?;
        let bare = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or(NoEndpoint)?,
            None if host.contains(':') => return Err(NoEndpoint),
            None => host,
        };
        let port: u16 = port.parse().map_err(|_| NoEndpoint)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
        if bare.is_empty() || port == 0 || !bare.chars().all(plain) {
            return Err(NoEndpoint);
        }
        Ok(Self::Tcp(bare.to_owned(), port))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Endpoint {
    /// Whether somebody takes connections there.
    ///
    /// # Errors
    /// The system's error, after [`CONNECT_PATIENCE`] at the latest.
    pub async fn answers(&self) -> io::Result<()> {
        self.connect().await.map(drop)
    }

    pub(crate) async fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let connecting = async {
            match self {
                Self::Tcp(host, port) => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    Ok(Box::new(stream) as Box<dyn Duplex>)
                }
                Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?) as Box<dyn Duplex>),
            }
        };
        tokio::time::timeout(CONNECT_PATIENCE, connecting)
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_people_write_them() {
        for (text, shown) in [
            ("inet:127.0.0.1:11332", "127.0.0.1:11332"),
            ("localhost:8891", "localhost:8891"),
            ("inet:[::1]:11333", "[::1]:11333"),
            ("unix:/run/opendkim/opendkim.sock", "unix:/run/opendkim/opendkim.sock"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), shown);
        }
        for text in ["", "localhost", "inet:8891@localhost", "unix:run/x", "h:0", "h:99999", "::1:25", ":25"]
        {
            assert_eq!(text.parse::<Endpoint>(), Err(NoEndpoint), "{text}");
        }
    }
}
