//! The signatures of a message that leaves. They take a quarter of a millisecond, less than the TLS handshake of the
//! session: another thread would cost more than it saves.

use mail::{Domain, Reply, UnixTime};
use mailauth::dkim::FinishedHashes;
use mailauth::dkim::sign::{self, SignError};

use super::try_later;
use crate::dkim::DomainKeys;

/// The header section with a signature of each of the domain's keys above it. The domain is that of the author,
/// as DMARC wants it (RFC 9989 section 4.4). A domain that can have no keys signs nothing.
///
/// # Errors
/// The reply that refuses the message.
pub(super) fn signed(
    keys: &DomainKeys,
    domain: &Domain,
    header: Vec<u8>,
    body: &FinishedHashes,
    now: UnixTime,
) -> Result<Vec<u8>, Reply> {
    if !sign::can_sign_for(domain.as_str()) {
        return Ok(header);
    }
    let Some(keys) = keys.signing(domain) else {
        tracing::error!(%domain, "a message is not signed and not sent: the domain has no DKIM keys; restart Home");
        return Err(try_later());
    };
    match sign::sign(&header, body, keys.iter(), now) {
        Ok(mut signed) => {
            signed.extend_from_slice(&header);
            Ok(signed)
        }
        Err(error @ SignError::TooManyFields(_)) => {
            Err(Reply::new(550, (5, 6, 0), format!("{error} (RFC 5322)")))
        }
        Err(error) => {
            tracing::error!(%domain, %error, "a message could not be signed; its sender was asked to try again");
            Err(try_later())
        }
    }
}
