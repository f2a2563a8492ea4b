//! SMTP as two state machines: the server session and the client session (RFC 5321 and its extensions).
//!
//! Bytes go in, steps and bytes come out. Nothing here opens a socket, starts TLS, reads a clock or knows
//! policy: a driver pumps the bytes and the role answers the session's questions. What a peer sent is
//! parsed once, in [`command`] and [`reply`], and bounded everywhere. A message body is read by [`body`],
//! which is where SMTP smuggling ends: a body ends at CRLF, dot, CRLF and nowhere else.

pub mod body;
pub mod client;
pub mod command;
mod parameter;
pub mod reply;
mod secret;
pub mod server;

pub use secret::Secret;

/// Replies and commands pile up in a session's output to this many octets; then it asks to be flushed.
pub const OUTPUT_OCTETS: usize = 64 * 1024;
