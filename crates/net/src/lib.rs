//! Sockets: listeners, TLS, DNS, the link's transports, and the drivers that pump protocol sessions.
//!
//! This crate moves bytes and keeps time. It decides nothing about mail: what a session asks goes to the
//! role's service, and what a role wants to send goes out as it is.
//!
//! What only Home speaks is behind the features `imap` and `milter`: Edge's program has no parser that it does not need.

pub mod contents;
pub mod dns;
pub mod endpoint;
pub mod happy_eyeballs;
pub mod home_tls;
pub mod http_client;
#[cfg(feature = "imap")]
pub mod imap_server;
pub mod link_key;
pub mod link_session;
pub mod link_transport;
pub mod listen;
#[cfg(feature = "milter")]
pub mod milter_client;
pub mod mta_tls;
pub mod patience;
pub mod places;
pub mod port_places;
pub mod probe;
pub mod smtp_client;
pub mod smtp_server;
pub mod tls;

mod duplex;
mod handshake;
mod link_tls;
mod verifier;

/// Waits until the token is cancelled: for ever, without one.
pub(crate) async fn cancelled(token: Option<tokio_util::sync::CancellationToken>) {
    match token {
        Some(token) => token.cancelled_owned().await,
        None => std::future::pending().await,
    }
}
