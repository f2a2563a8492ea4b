//! The octets of a message, wherever they lie: in memory, in a file, or in whatever keeps them.
//!
//! Reading may have to wait for a disk, so it is for threads that may block; whoever may not asks for what is there
//! without waiting, and has the rest read elsewhere (`net::contents`).

mod budget;
mod gathering;
mod octets;

pub use budget::{Budget, Room};
pub use gathering::{Gathering, MEMORY_OCTETS_MAX, gather};
pub use octets::{Content, ReadAt, Reader, read_now};
