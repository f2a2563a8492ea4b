//! One question to DNS, and what its answer or the lack of one means.

use hickory_resolver::net::{DnsError as Said, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};

use super::{Dns, DnsError, absolute};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Records of the type asked for; none when there is none.
    pub(super) records: Vec<RData>,
    /// Whether the name has any records at all.
    pub(super) name_exists: bool,
    /// Whether DNSSEC vouches for the answer, or for that there is none.
    pub(super) secure: bool,
}

impl Dns {
    /// Asks. Names are asked as they are; aliases are followed.
    pub(super) async fn look_up(&self, name: &str, kind: RecordType) -> Result<Found, DnsError> {
        let failed = |cause: String| DnsError { name: format!("{name} ({kind})"), cause };
        let validates = self.resolver.options().validate;
        match self.resolver.lookup(absolute(name), kind).await {
            Ok(answer) => {
                let relevant =
                    |of: RecordType| of == kind || of == RecordType::CNAME || of == RecordType::DNAME;
                let answers = answer.answers().iter().filter(|record| relevant(record.record_type()));
                // All but the worst would do for those before it on a chain of aliases.
                let proof = answers.clone().map(|record| record.proof).min().unwrap_or_default();
                if validates && matches!(proof, Proof::Bogus | Proof::Indeterminate) {
                    return Err(failed(format!("the answer can't be validated ({proof})")));
                }
                let records = answers.filter(|record| record.record_type() == kind);
                let records = records.map(|record| record.data.clone()).collect();
                Ok(Found { records, name_exists: true, secure: proof == Proof::Secure })
            }
            Err(NetError::Dns(Said::NoRecordsFound(nothing))) => {
                let name_exists = nothing.response_code != ResponseCode::NXDomain;
                let denial = nothing.authorities.iter().flat_map(|records| records.iter());
                let secure = denial.map(|record| record.proof).any(|proof| proof == Proof::Secure);
                Ok(Found { records: Vec::new(), name_exists, secure })
            }
            Err(NetError::Dns(Said::Nsec { response, proof: Proof::Insecure, .. })) => {
                let name_exists = response.metadata.response_code != ResponseCode::NXDomain;
                Ok(Found { records: Vec::new(), name_exists, secure: false })
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }
}
