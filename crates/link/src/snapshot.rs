//! What Home pushes to Edge, and what Edge works from while Home is away.

use std::collections::HashSet;

use mail::{Address, Domain, ReversePath, UnixTime};
use serde::{Deserialize, Serialize};

use crate::recipient_hash::{RecipientHash, RecipientKey, hash_text};
use crate::return_path::{self, ReturnPaths, TagError};
use crate::srs::{SrsError, SrsSecrets};

/// What to do with mail while Home is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Away {
    /// Take it and seal it.
    #[default]
    Seal,
    /// Answer 451 and let the sender keep it.
    Defer,
}

/// One domain of a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainPolicy {
    /// The domain.
    pub name: Domain,
    /// Whether unknown local parts are taken as well.
    #[serde(default)]
    pub catch_all: bool,
}

/// Everything that Edge needs to know of one home. Edge keeps the last one on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The number of the push: it grows with each one, and Edge answers with it.
    pub generation: u64,
    /// The home's domains.
    pub domains: Vec<DomainPolicy>,
    /// Characters that start a sub-address (`bob+lists`).
    #[serde(default)]
    pub subaddress_separators: String,
    /// The key of the hashes.
    pub recipient_key: RecipientKey,
    /// Hashes of every address that is known, sorted.
    #[serde(with = "hash_text")]
    pub recipients: HashSet<RecipientHash>,
    /// `age` recipient to which mail is sealed.
    pub sealing_key: String,
    /// What Edge does with mail while Home is away.
    #[serde(default)]
    pub away: Away,
    /// Most octets of one message.
    pub message_octets_max: u64,
    /// Whether this home sends through Edge.
    #[serde(default)]
    pub outbound: bool,
    /// How reverse-paths of the home's mail are signed; `None` from a home that knows of no such thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_paths: Option<ReturnPaths>,
    /// With which rewritten reverse-paths of forwarded mail are checked; `None` from a home that forwards nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srs: Option<SrsSecrets>,
    /// Whether the home reads reverse-paths whose local part is longer than [`mail::LOCAL_PART_MAX`]; one that does not
    /// would end the link over them.
    #[serde(default)]
    pub long_reverse_paths: bool,
}

/// How an address is known to a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotDelivery {
    /// By its own name, by its sub-address, as postmaster, or by a catch-all.
    Known,
    /// The domain is ours, the local part is not.
    UnknownRecipient,
    /// The domain is not this home's.
    ForeignDomain,
}

impl Snapshot {
    /// Whether the home can read an envelope with this reverse-path.
    #[must_use]
    pub fn reads(&self, path: &ReversePath) -> bool {
        self.long_reverse_paths || !path.is_long()
    }

    /// Looks a recipient up as RCPT does. `postmaster` is always known (RFC 5321 section 4.5.1).
    #[must_use]
    pub fn find(&self, address: &Address) -> SnapshotDelivery {
        let Some(domain) = self.domains.iter().find(|domain| &domain.name == address.domain()) else {
            return SnapshotDelivery::ForeignDomain;
        };
        let local = address.canonical_local();
        let knows = |local: &str| {
            self.recipients.contains(&self.recipient_key.hash(&format!("{local}@{}", domain.name)))
        };
        let known = domain.catch_all
            || local == "postmaster"
            || knows(&local)
            || return_path::base_of(&local, &self.subaddress_separators).is_some_and(knows);
        if known { SnapshotDelivery::Known } else { SnapshotDelivery::UnknownRecipient }
    }

    /// The address without the tag of a signed reverse-path; `None` when it has none.
    ///
    /// # Errors
    /// [`TagError`].
    #[must_use]
    pub fn open_tag(&self, address: &Address, now: UnixTime) -> Option<Result<Address, TagError>> {
        self.return_paths.as_ref()?.open(address, now)
    }

    /// The address without its tag, for one that [`Snapshot::open_tag`] found good when it came; any other as
    /// it is.
    #[must_use]
    pub fn without_tag(&self, address: &Address) -> Address {
        let stripped = self.return_paths.as_ref().and_then(|paths| paths.strip(address));
        stripped.unwrap_or_else(|| address.clone())
    }

    /// Whether this is the rewritten reverse-path of a message that the home forwarded; `None` when it does not
    /// have that form.
    ///
    /// # Errors
    /// [`SrsError`].
    #[must_use]
    pub fn open_srs(&self, address: &Address, now: UnixTime) -> Option<Result<Address, SrsError>> {
        self.srs.as_ref()?.open(address, now)
    }

    /// Whether a notification of a failure to this plain address is about mail that was not sent from here.
    #[must_use]
    pub fn expects_tag(&self, address: &Address, now: UnixTime) -> bool {
        let Some(paths) = &self.return_paths else { return false };
        let names = return_path::names_of(address, &self.subaddress_separators);
        let is_unsigned =
            names.iter().flatten().any(|name| paths.unsigned.contains(&self.recipient_key.hash(name)));
        paths.expects_tag(address, now, is_unsigned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(catch_all: bool) -> Snapshot {
        let recipient_key = RecipientKey::new([3; 32]);
        Snapshot {
            generation: 1,
            domains: vec![DomainPolicy { name: Domain::parse("example.org").unwrap(), catch_all }],
            subaddress_separators: "+".to_owned(),
            recipients: HashSet::from([recipient_key.hash("bob@example.org")]),
            recipient_key,
            sealing_key: "age1".to_owned(),
            away: Away::Seal,
            message_octets_max: 1,
            outbound: false,
            return_paths: None,
            srs: None,
            long_reverse_paths: false,
        }
    }

    /// After the grace; only `list@example.org` is not signed.
    fn signing() -> Snapshot {
        let plain = snapshot(false);
        let unsigned = HashSet::from([plain.recipient_key.hash("list@example.org")]);
        let key = crate::ReturnPathKey::new(0, [5; 32]);
        let return_paths = Some(ReturnPaths { key, signing_since: Some(UnixTime(0)), unsigned });
        Snapshot { return_paths, ..plain }
    }

    fn find(snapshot: &Snapshot, address: &str) -> SnapshotDelivery {
        snapshot.find(&Address::parse(address).unwrap())
    }

    #[test]
    fn recipients_are_known_by_name_subaddress_and_as_postmaster() {
        let snapshot = snapshot(false);
        for known in ["bob@example.org", "BOB@Example.org", "bob+x@example.org", "\"bob\"@example.org"] {
            assert_eq!(find(&snapshot, known), SnapshotDelivery::Known, "{known}");
        }
        assert_eq!(find(&snapshot, "Postmaster@example.org"), SnapshotDelivery::Known);
        assert_eq!(find(&snapshot, "eve@example.org"), SnapshotDelivery::UnknownRecipient);
        assert_eq!(find(&snapshot, "eve+bob@example.org"), SnapshotDelivery::UnknownRecipient);
        assert_eq!(find(&snapshot, "+bob@example.org"), SnapshotDelivery::UnknownRecipient);
        assert_eq!(find(&snapshot, "bob@example.com"), SnapshotDelivery::ForeignDomain);
    }

    #[test]
    fn a_catch_all_takes_everybody_of_its_domain_only() {
        let snapshot = snapshot(true);
        assert_eq!(find(&snapshot, "eve@example.org"), SnapshotDelivery::Known);
        assert_eq!(find(&snapshot, "eve@sub.example.org"), SnapshotDelivery::ForeignDomain);
    }

    #[test]
    fn a_snapshot_survives_json_and_shows_no_address() {
        let snapshot = snapshot(false);
        let json = serde_json::to_string(&snapshot).unwrap();
        assert!(!json.contains("bob"));
        assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), snapshot);
    }

    #[test]
    fn a_snapshot_that_signs_survives_json_and_an_older_one_is_read() {
        let json = serde_json::to_string(&signing()).unwrap();
        assert!(!json.contains("list"));
        assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), signing());
        let older = serde_json::to_string(&snapshot(false)).unwrap();
        assert!(!older.contains("return_paths"));
        assert_eq!(serde_json::from_str::<Snapshot>(&older).unwrap().return_paths, None);
    }

    #[test]
    fn addresses_that_are_never_signed_are_exempt_with_their_sub_addresses() {
        let (snapshot, now) = (signing(), UnixTime::from_secs(90 * 86_400));
        let expects = |address: &str| snapshot.expects_tag(&Address::parse(address).unwrap(), now);
        assert!(expects("bob@example.org") && expects("bob+list@example.org"));
        assert!(!expects("List@example.org") && !expects("list+x@example.org"));
    }

    #[test]
    fn without_a_key_a_tag_is_part_of_the_name() {
        let now = UnixTime::from_secs(90 * 86_400);
        let bob = Address::parse("bob@example.org").unwrap();
        let signed = signing().return_paths.unwrap().key.sign(&bob, now).unwrap();
        assert_eq!(signing().open_tag(&signed, now), Some(Ok(bob.clone())));
        assert_eq!(signing().without_tag(&signed), bob);
        assert_eq!(snapshot(false).open_tag(&signed, now), None);
        assert_eq!(snapshot(false).without_tag(&signed), signed);
    }

    #[test]
    fn hashes_differ_by_key() {
        assert_ne!(RecipientKey::new([1; 32]).hash("a@b"), RecipientKey::new([2; 32]).hash("a@b"));
    }
}
