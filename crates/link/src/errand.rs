//! Errands: what Home has Edge do in the world for a report, since Home's own address must not be seen there; and what the
//! two halves tell each other of how they are.
//!
//! Sent only to an edge that names [`TLS_REPORTS`], or for the latter [`DOCTOR`] or [`STATUS`](crate::STATUS), in its hello. Nothing of an errand rests anywhere: one that got
//! lost with its link is begun again by Home.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use mail::{Domain, UnixTime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::edge_status::EdgeStatus;

/// The ability to run errands for reports on TLS.
pub const TLS_REPORTS: &str = "tls-reports";
/// The ability to examine itself when asked, and to hear what Home found.
pub const DOCTOR: &str = "doctor";
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
    /// To look at itself. Under [`DOCTOR`] only.
    Examine {
        /// The host whose port 25 is to be tried; without one the host of Edge's configuration is, if it names one.
        probe: Option<String>,
    },
    /// To hear what Home found of itself: names of checks and verdicts, nothing else. Under [`DOCTOR`] only.
    Hear(Vec<(String, String)>),
    /// To say how the edge is doing. Under [`STATUS`](crate::STATUS) only.
    Status,
}

/// What an edge found of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// Its program and version.
    pub software: String,
    /// Its clock when it was asked.
    pub now: UnixTime,
    /// What it found.
    pub findings: Vec<ExaminedFinding>,
}

/// One finding. Checks and verdicts are names, so that one which is not known here can be passed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExaminedFinding {
    /// The name of the check.
    pub check: String,
    /// The name of the verdict.
    pub verdict: String,
    /// What was seen.
    pub what: String,
    /// What to do.
    pub advice: String,
}

/// What came of an errand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrandResult {
    /// The TLSRPT records of the domain: none if it does not want reports.
    Reporting(Vec<String>),
    /// The server took the report.
    Posted,
    /// What Edge found of itself.
    Examined(Examined),
    /// Edge has heard what Home found.
    Heard,
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
    fn what_an_edge_found_is_read_as_it_was_written_and_fields_of_tomorrow_are_passed_over() {
        let examine = r#"{"examine":{"probe":"mx.example.net","deeper":true}}"#;
        assert_eq!(
            serde_json::from_str::<Errand>(examine).unwrap(),
            Errand::Examine { probe: Some("mx.example.net".to_owned()) }
        );
        let text = |what: &str| what.to_owned();
        let finding = ExaminedFinding {
            check: text("ptr"),
            verdict: text("fault"),
            what: text("none"),
            advice: text("set it"),
        };
        let examined =
            Examined { software: text("postern 0.1"), now: UnixTime::from_secs(7), findings: vec![finding] };
        let result = ErrandResult::Examined(examined);
        let written = serde_json::to_string(&result).unwrap();
        assert_eq!(serde_json::from_str::<ErrandResult>(&written).unwrap(), result);
    }

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
