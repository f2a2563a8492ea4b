//! Set-up as a conversation: it asks for what was not given, looks at the host before anything is written, makes the role,
//! starts it, and says whether it works. Typed again, it goes on where it ended.
//!
//! Where standard input or output is no terminal nothing is asked: what is missing then is an error. What belongs to a host as a whole
//! (its ports, its clock, its service) is looked at and done only for a configuration in the usual place; a file elsewhere
//! is a try-out or a test.

mod ask;
mod edge;
mod home;
mod host;
mod program;

pub(super) use edge::{EdgeSetup, run as edge};
pub(super) use home::{HomeSetup, run as home};
