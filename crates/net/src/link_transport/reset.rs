//! Stateless resets that outlive the process (RFC 9000 section 10.3).
//!
//! An Edge that was killed and is back does not know its old connections. With a reset key that depends on
//! its link key alone it can still tell Home so at once, instead of letting it wait for the idle timeout.

use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::link_key::LinkKey;

const ID_OCTETS: usize = 8;
const SIGNATURE_OCTETS: usize = 32;

/// The endpoint configuration of an Edge with this link key.
pub(super) fn endpoint_config(key: &LinkKey) -> EndpointConfig {
    let seed = Sha256::new().chain_update(b"postern reset 1").chain_update(key.pem()).finalize().into();
    let mut config = EndpointConfig::new(Arc::new(ResetKey(seed)));
    config.cid_generator(|| Box::new(RandomIds));
    config
}

struct ResetKey([u8; 32]);

impl ResetKey {
    fn signature(&self, data: &[u8]) -> [u8; SIGNATURE_OCTETS] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return [0; SIGNATURE_OCTETS] };
        mac.update(data);
        mac.finalize().into_bytes().into()
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        for (out, octet) in signature_out.iter_mut().zip(self.signature(data)) {
            *out = octet;
        }
    }

    fn signature_len(&self) -> usize {
        SIGNATURE_OCTETS
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let right: bool = self.signature(data).ct_eq(signature).into();
        if right { Ok(()) } else { Err(CryptoError) }
    }
}

/// Ids without a checksum of this process: an unknown one has to be answered by a reset.
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; ID_OCTETS];
        // Without randomness the handshake has failed long before.
        let _ = getrandom::fill(&mut id);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        ID_OCTETS
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}
