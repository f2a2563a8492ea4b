//! The driver of a milter session: one connection to a filter, one message.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use milter::{Session, Step, Transaction, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::duplex::{self, Duplex};
use crate::endpoint::Endpoint;
use crate::smtp_client::{BodyLost, BodySource};

const READ_OCTETS: usize = 4 * 1024;

/// The reasons why a milter gave no verdict.
#[derive(Debug, thiserror::Error)]
pub enum MilterError {
    /// No connection came about.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("the connection broke off: {0}")]
    Broken(io::Error),
    /// The filter said nothing for too long.
    #[error("no answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// The filter does not keep to the milter protocol.
    #[error("it sent {0}")]
    Protocol(#[from] milter::Error),
    /// The message could not be read.
    #[error("the message could not be read")]
    Body,
}

/// Shows a message to the filter at `endpoint`. `patience` is how long each answer may take; a filter that says
/// that it is still at work gets it anew. The caller bounds the whole.
///
/// # Errors
/// [`MilterError`]: there is no verdict.
pub async fn ask(
    endpoint: &Endpoint,
    transaction: Transaction,
    body: &mut impl BodySource,
    patience: Duration,
) -> Result<Verdict, MilterError> {
    let stream = endpoint.connect().await.map_err(MilterError::Connect)?;
    let mut connection = Connection { stream, input: BytesMut::new(), patience };
    let mut session = Session::new(transaction);
    loop {
        let step = session.advance(&mut connection.input)?;
        match step {
            Step::Flush => connection.flush(session.output()).await?,
            Step::Read => {
                connection.flush(session.output()).await?;
                connection.read().await?;
            }
            Step::Body => match body.next().await {
                Ok(Some(piece)) => session.body(piece),
                Ok(None) => session.body_end(),
                Err(BodyLost) => return Err(MilterError::Body),
            },
            Step::Finished(verdict) => {
                // The verdict is there; whether the filter hears the goodbye is its own affair.
                let _ = connection.flush(session.output()).await;
                let _ = connection.stream.shutdown().await;
                return Ok(verdict);
            }
        }
    }
}

struct Connection {
    stream: Box<dyn Duplex>,
    input: BytesMut,
    patience: Duration,
}

impl Connection {
    async fn flush(&mut self, output: &mut BytesMut) -> Result<(), MilterError> {
        match tokio::time::timeout(self.patience, duplex::flush(&mut *self.stream, output)).await {
            Ok(written) => written.map_err(MilterError::Broken),
            Err(_) => Err(MilterError::Silent(self.patience)),
        }
    }

    async fn read(&mut self) -> Result<(), MilterError> {
        self.input.reserve(READ_OCTETS);
        match tokio::time::timeout(self.patience, self.stream.read_buf(&mut self.input)).await {
            Ok(Ok(0)) => Err(MilterError::Broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(MilterError::Broken(error)),
            Err(_) => Err(MilterError::Silent(self.patience)),
        }
    }
}
