//! What Home pushes to each edge: domains, hashed recipients, policy, sealing key.

use directory::Directory;
use link::{DomainPolicy, RecipientKey, Snapshot};
use mail::UnixTime;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::forward::Srs;
use super::return_path::Signer;

/// Makes snapshots of the directory as it is.
#[derive(Clone)]
pub(crate) struct SnapshotSource {
    /// The accounts, aliases and policy.
    pub directory: Directory,
    /// The signer of reverse-paths.
    pub signer: Signer,
    /// The rewriting of reverse-paths of forwarded mail.
    pub srs: Srs,
    /// From which each edge's own key for hashes is derived.
    pub hash_secret: [u8; 32],
    /// The sealing key's public half.
    pub sealing_key: String,
}

impl SnapshotSource {
    /// Told when a new snapshot has to be pushed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        let mut changes = self.directory.changes();
        changes.mark_unchanged();
        changes
    }

    /// The snapshot for the edge with this key. Its generation is the time, so that it grows.
    pub(crate) fn snapshot(&self, key: &str, now: UnixTime) -> Snapshot {
        let derived = Sha256::new().chain_update(self.hash_secret).chain_update(key).finalize();
        let recipient_key = RecipientKey::new(derived.into());
        let policy = self.directory.policy();
        let (addresses, catch_alls) = self.directory.known_addresses();
        let domains = policy
            .domains
            .iter()
            .map(|name| DomainPolicy { name: name.clone(), catch_all: catch_alls.contains(name) });
        Snapshot {
            generation: now.0,
            domains: domains.collect(),
            subaddress_separators: policy.subaddress_separators.clone(),
            return_paths: Some(self.signer.for_edge(&recipient_key)),
            srs: Some(self.srs.secrets()),
            recipients: addresses.iter().map(|address| recipient_key.hash(address)).collect(),
            recipient_key,
            sealing_key: self.sealing_key.clone(),
            away: policy.away,
            message_octets_max: policy.message_octets_max,
            outbound: policy.sends,
            long_reverse_paths: true,
        }
    }
}
