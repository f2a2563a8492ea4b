//! A port looked at as a stranger sees it: what it says, which certificate it shows, whether it still takes what nobody
//! should offer. For whoever examines hosts of his own; nothing here carries mail.
//!
//! All that is read is bounded; the caller bounds the time.

mod dialogue;
mod old;
mod shown;

pub use dialogue::{Dialogue, Reply};
pub use old::{Offer, takes};
pub use shown::{ShownCertificate, show};
