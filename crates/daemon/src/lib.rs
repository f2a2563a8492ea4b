//! A role as a process: what both daemons, and the commands that speak to them, have in common.
//!
//! How it starts, becomes its data's owner, listens, is told things and stops ([`process`], [`owner`], [`data_dir`],
//! [`descriptors`], [`new_role`]); how its configuration is read ([`config`]); its files ([`files`]), its journal
//! ([`trace`]), its control socket and what may be asked there ([`control`], [`request`]); the clock and the machine's randomness ([`clock`], [`system`]), which nobody else
//! asks; the log's line for each message ([`mail_line`]); and how a failure is told and an answer printed ([`problem`], [`mod@print`]). Nothing here knows mail, or which role it serves.

pub mod clock;
pub mod config;
pub mod control;
pub mod data_dir;
pub mod descriptors;
pub mod edited;
pub mod files;
mod journal;
pub mod json_file;
pub mod mail_line;
pub mod moved;
pub mod network;
pub mod new_role;
pub mod owner;
pub mod print;
pub mod problem;
pub mod process;
pub mod request;
pub mod system;
pub mod trace;
