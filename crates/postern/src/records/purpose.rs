//! What each record is good for, and whether mail needs it.

use serde::Serialize;

/// Whether mail needs a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Need {
    /// Without it mail does not come in, or what is sent counts for less.
    Required,
    /// Good to have. That it is not there is a notice.
    Optional,
    /// It can't be published yet, or does harm now; the reason says what is missing.
    Later,
}

/// The purpose of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    /// The host that takes the domain's mail.
    Mx,
    /// The edge's address.
    EdgeAddress,
    /// The name of the edge's address.
    Ptr,
    /// That the edge may send for the domain.
    Spf,
    /// That the edge may call itself by its name (RFC 7208 section 2.3).
    EdgeSpf,
    /// A DKIM key.
    Dkim,
    /// What receivers are to do with mail that nobody vouches for.
    Dmarc,
    /// Where reports on TLS go (RFC 8460).
    TlsReports,
    /// That there is a policy on TLS (RFC 8461).
    MtaSts,
    /// The host that has the policy.
    MtaStsHost,
    /// The edge's certificate (RFC 7672).
    Tlsa,
    /// Who may issue certificates for the edge (RFC 8659).
    Caa,
    /// Where mail programs find Home (RFC 6186, RFC 8314).
    Programs,
    /// The same, while it is not known under which name they do.
    ProgramsUnnamed,
    /// That a service of mail programs is not offered.
    NotOffered,
}

impl Purpose {
    /// Whether mail needs it.
    pub(crate) const fn need(self) -> Need {
        match self {
            Self::Mx | Self::EdgeAddress | Self::Ptr | Self::Spf | Self::EdgeSpf => Need::Required,
            Self::Dkim | Self::Dmarc => Need::Required,
            Self::TlsReports | Self::Tlsa | Self::Caa | Self::Programs | Self::NotOffered => Need::Optional,
            Self::MtaSts | Self::MtaStsHost | Self::ProgramsUnnamed => Need::Later,
        }
    }

    /// What it is good for, in a sentence.
    pub(crate) const fn why(self) -> &'static str {
        match self {
            Self::Mx => "senders look here for the host that takes the domain's mail",
            Self::EdgeAddress => "without an address nobody reaches the host that the MX record names",
            Self::Ptr => "most receivers refuse mail from an address whose name does not lead back to it",
            Self::Spf => "it says which hosts send for the domain, so that others can be told from them",
            Self::EdgeSpf => {
                "it covers the name that the edge greets with, and reports, which have no sender"
            }
            Self::Dkim => "receivers check the signature of what users send with this key",
            Self::Dmarc => {
                "large providers want one, and it says what becomes of mail that only claims to be yours"
            }
            Self::TlsReports => "others report here when they could not reach the edge with TLS",
            Self::MtaSts | Self::MtaStsHost => {
                "it tells senders to insist on TLS, but the edge does not serve the policy that it points to"
            }
            Self::Tlsa => {
                "senders that know DANE insist on this certificate: publish it anew before the key changes, or \
                 they send nothing"
            }
            Self::Caa => "no other authority issues a certificate for the edge's name",
            Self::Programs => "mail programs that set themselves up find Home here",
            Self::ProgramsUnnamed => {
                "mail programs would find Home here, but the record names the house in public DNS: give the name \
                 with --mail-host where that is no secret"
            }
            Self::NotOffered => {
                "mail programs do not try a service that is not there, and find it nowhere else"
            }
        }
    }
}
