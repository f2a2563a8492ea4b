//! Errands: what Home has Edge do: in the world for a report, since Home's own address must not be seen there; or to say how it is
//! doing.
//!
//! Sent only to an edge that names [`TLS_REPORTS`] in its hello, [`Errand::Status`] to one that names [`STATUS`](crate::STATUS). Nothing of an errand rests anywhere: one that got
//! lost with its link is begun again by Home.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mail::Domain;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::edge_status::EdgeStatus;

/// The ability to run errands for reports on TLS.
pub const TLS_REPORTS: &str = "tls-reports";
/// Most octets of a report that is posted, compressed.
pub const REPORT_OCTETS_MAX: usize = 256 * 1024;

/// What Edge is to do for a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Errand {
    /// To ask DNS where a domain wants reports (RFC 8460 section 3).
    FindReporting(Domain),
    /// To post a report (RFC 8460 section 5.4).
    PostReport {
        /// The `https` URI of the receiver.
        uri: String,
        /// The report in JSON, compressed by gzip.
        #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
        report: Vec<u8>,
    },
    /// To say how the edge is doing.
    Status,
}

/// What came of an errand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrandResult {
    /// The TLSRPT records of the domain: none if it does not want reports.
    Reporting(Vec<String>),
    /// The server took the report.
    Posted,
    /// How the edge is doing.
    Status(Box<EdgeStatus>),
    /// The errand failed for now, for this reason.
    Failed(String),
}

fn to_base64<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64.encode(octets))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    use serde::de::Error as _;
    let octets = BASE64.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
    if octets.len() > REPORT_OCTETS_MAX {
        return Err(D::Error::custom("the report is too long"));
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_taken_at_its_limit_and_refused_past_it() {
        let read = |octets: usize| {
            let errand = Errand::PostReport { uri: "https://a.example/".to_owned(), report: vec![7; octets] };
            let written = serde_json::to_string(&errand).unwrap();
            serde_json::from_str::<Errand>(&written).map(|read| assert_eq!(read, errand))
        };
        assert!(read(REPORT_OCTETS_MAX).is_ok());
        assert!(read(REPORT_OCTETS_MAX + 1).is_err());
    }
}
