//! Posting a small file over HTTPS.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

use super::get::connect;
use super::{Answer, HttpError, exchange, read_answer};

/// A body to be posted.
#[derive(Debug, Clone)]
pub struct Submission<'a> {
    /// The host's name, for its certificate. A domain, nothing else.
    pub host: &'a str,
    /// Its port, for the `Host` field.
    pub port: u16,
    /// The host's addresses, in the order of trying.
    pub addresses: &'a [SocketAddr],
    /// The path, with its slash; printable ASCII only.
    pub path: &'a str,
    /// The media type of the content.
    pub content_type: &'static str,
    /// The body to post.
    pub content: &'a [u8],
    /// Octets of the answer's body that are taken.
    pub answer_octets_max: usize,
}

/// Posts it. `connector` checks the certificate. A redirect is an answer like any other and is not followed: the
/// content is for nobody else. The caller bounds the time.
///
/// # Errors
/// [`HttpError`]: there is no answer. An answer that says no (such as 403) is one.
pub async fn submit(connector: &TlsConnector, submission: &Submission<'_>) -> Result<Answer, HttpError> {
    let stream = connect(connector, submission.host, submission.addresses).await?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let head = head(submission);
    let sending = async {
        writer.write_all(head.as_bytes()).await.map_err(HttpError::Broken)?;
        writer.write_all(submission.content).await.map_err(HttpError::Broken)?;
        writer.flush().await.map_err(HttpError::Broken)
    };
    exchange(sending, read_answer(&mut reader, submission.answer_octets_max)).await
}

fn head(submission: &Submission<'_>) -> String {
    let Submission { host, port, path, content_type, content, .. } = submission;
    let port = if *port == 443 { String::new() } else { format!(":{port}") };
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}{port}\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\n\r\n",
        content.len()
    )
}
