//! A small HTTP/1.1 client (RFC 9112): one request on one connection, and a bounded answer.
//!
//! POST is for services beside Home that speak HTTP, such as rspamd, without TLS; GET fetches a small file from
//! a stranger over TLS, and `submit` posts one to him. No redirects, no cookies, no reuse. A request's body is streamed; the answer's is kept
//! in memory up to a limit.

mod answer;
mod get;
mod submit;

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

pub use answer::{Answer, HEAD_OCTETS_MAX, HttpError};

pub use get::{Get, get};
pub use submit::{Submission, submit};

use crate::endpoint::Endpoint;
use crate::smtp_client::{BodyLost, BodySource};
use answer::Reading;

const READ_OCTETS: usize = 8 * 1024;

/// A request, but for its body.
#[derive(Debug, Clone, Default)]
pub struct Post {
    /// The path, with its leading slash.
    pub path: String,
    /// Fields of the request. Octets that can't stand in a field are written as `?`.
    pub fields: Vec<(&'static str, String)>,
    /// Octets of the body; exactly so many have to come.
    pub octets: u64,
    /// Octets of the answer's body that are taken.
    pub answer_octets_max: usize,
}

/// Sends the request and reads the answer. An answer that comes while the body is still being sent ends the
/// sending. The caller bounds the time.
///
/// # Errors
/// [`HttpError`]: there is no answer. An answer that says no (such as 403) is one.
pub async fn post(
    endpoint: &Endpoint,
    request: &Post,
    body: &mut impl BodySource,
) -> Result<Answer, HttpError> {
    let stream = endpoint.connect().await.map_err(HttpError::Connect)?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let head = head(endpoint, request);
    let sending = async {
        writer.write_all(head.as_bytes()).await.map_err(HttpError::Broken)?;
        let mut left = request.octets;
        loop {
            let piece = match body.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) if left == 0 => break,
                Ok(None) | Err(BodyLost) => return Err(HttpError::Body),
            };
            left = left.checked_sub(piece.len() as u64).ok_or(HttpError::Body)?;
            writer.write_all(&piece).await.map_err(HttpError::Broken)?;
        }
        writer.flush().await.map_err(HttpError::Broken)
    };
    exchange(sending, read_answer(&mut reader, request.answer_octets_max)).await
}

/// Reads an answer whose body has at most so many octets.
async fn read_answer(
    reader: &mut (impl AsyncRead + Unpin),
    body_octets_max: usize,
) -> Result<Answer, HttpError> {
    let mut reading = Reading::new(body_octets_max);
    let mut input = BytesMut::new();
    loop {
        input.reserve(READ_OCTETS);
        let octets = reader.read_buf(&mut input).await.map_err(HttpError::Broken)?;
        if let Some(answer) = reading.advance(&mut input, octets == 0)? {
            return Ok(answer);
        }
        if octets == 0 {
            return Err(HttpError::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Runs both until the answer is there. A server that refuses closes its side while the request is still being
/// written: then the answer counts and not the broken write.
async fn exchange(
    sending: impl Future<Output = Result<(), HttpError>>,
    reading: impl Future<Output = Result<Answer, HttpError>>,
) -> Result<Answer, HttpError> {
    tokio::pin!(sending, reading);
    let sent = tokio::select! {
        biased;
        answer = &mut reading => return answer,
        sent = &mut sending => sent,
    };
    match sent {
        Ok(()) => reading.await,
        // What could not be read here will never be complete there.
        Err(HttpError::Body) => Err(HttpError::Body),
        Err(broken) => reading.await.map_err(|_| broken),
    }
}

fn head(endpoint: &Endpoint, request: &Post) -> String {
    let host = match endpoint {
        Endpoint::Tcp(..) => endpoint.to_string(),
        Endpoint::Unix(_) => "localhost".to_owned(),
    };
    let mut head = format!(
        "POST {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n",
        request.path, request.octets
    );
    for (name, value) in &request.fields {
        head.push_str(name);
        head.push_str(": ");
        head.extend(value.chars().map(|c| if c.is_control() { '?' } else { c }));
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head
}

#[cfg(test)]
mod tests;
