//! The types of the records that a mail domain has.

use net::dns::DataKind;
use serde::Serialize;

/// For how long others may keep a record, in seconds.
pub(crate) const TTL_SECS: u32 = 3600;

/// The type of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Kind {
    /// A host's address, IPv4 or IPv6. Home does not know which: the value is empty.
    A,
    /// A host that takes mail for the domain.
    Mx,
    /// Text.
    Txt,
    /// The name of an address.
    Ptr,
    /// A host that offers a service.
    Srv,
    /// A certificate.
    Tlsa,
    /// Who may issue certificates.
    Caa,
}

impl Kind {
    /// The same for who asks.
    pub(crate) const fn data(self) -> DataKind {
        match self {
            Self::A => DataKind::A,
            Self::Mx => DataKind::Mx,
            Self::Txt => DataKind::Txt,
            Self::Ptr => DataKind::Ptr,
            Self::Srv => DataKind::Srv,
            Self::Tlsa => DataKind::Tlsa,
            Self::Caa => DataKind::Caa,
        }
    }

    /// Its name in zone files.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Mx => "MX",
            Self::Txt => "TXT",
            Self::Ptr => "PTR",
            Self::Srv => "SRV",
            Self::Tlsa => "TLSA",
            Self::Caa => "CAA",
        }
    }
}
