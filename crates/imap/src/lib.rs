//! imap
mod backend;
mod cursor;
mod date;
mod envelope;
mod mime;
mod name;
mod set;
mod write;
pub use backend::*;
