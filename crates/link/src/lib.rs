//! The link between Home and Edge: what is said on it, sans I/O.
//!
//! One ordered byte stream carries frames both ways; QUIC or TLS over TCP makes no difference here. This
//! crate knows the frames and their limits, the hello, the pairing code, Home's snapshot and the window that
//! bounds a body in flight. It opens no socket and reads no clock: the program feeds bytes in and writes
//! bytes out. Every frame is hostile input to the side that reads it.

mod attempt;
mod code;
mod edge_status;
mod errand;
pub mod fingerprint;
mod frame;
mod hello;
pub mod notification;
mod recipient_hash;
mod return_path;
mod served;
mod snapshot;
mod srs;
mod trace;
mod window;

pub use attempt::{Attempt, AttemptState, Outcomes};
pub use code::{CodeError, PairingCode, PairingRequest, PairingResult, Proof, key_fingerprint};
pub use edge_status::{EdgeStatus, Passed, STATUS};
pub use errand::{DOCTOR, Errand, ErrandResult, Examined, ExaminedFinding, REPORT_OCTETS_MAX, TLS_REPORTS};
pub use frame::{
    Accepts, Answer, BODY_FRAME_MAX, CONTROL_FRAME_MAX, Decoder, Frame, FrameError, Open, OpenSealed,
    RECIPIENTS_OCTETS_MAX, SNAPSHOT_FRAME_MAX, recipient_octets,
};
pub use hello::{Agreed, Hello, HelloError, RESERVED, SEEN_AT, UNHEARD, VERSION};
pub use recipient_hash::{RecipientHash, RecipientKey};
pub use return_path::{GRACE_DAYS, ReturnPathKey, ReturnPaths, TAG_DAYS, TagError, names_of};
pub use served::{
    SERVED_AT_PAIRING_MAX, SERVED_DOMAINS, SERVED_DOMAINS_MAX, Served, ServedDomain, ServedDomains,
};
pub use snapshot::{Away, DomainPolicy, Snapshot, SnapshotDelivery};
pub use srs::{SRS_DAYS, SecretsError, SrsError, SrsSecrets};
pub use trace::{Event, Role, STEPS, TraceStep, TraceStepHelp};
pub use window::{ReceiveWindow, SendWindow, WINDOW_OCTETS, WindowError};

/// ALPN protocol (RFC 7301) of the link proper.
pub const ALPN: &[u8] = b"postern/1";
/// ALPN protocol of the pairing exchange, the only thing an unknown key may speak, and only while a code is out.
pub const ALPN_PAIRING: &[u8] = b"postern-pair/1";
