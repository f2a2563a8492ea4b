//! What the resolver library says of a failure, in words for an operator: what the name server did, without the
//! library's own structures.

use hickory_resolver::net::{DnsError, NetError};

/// An error of the resolver as one line of text.
pub(super) fn of(error: &NetError) -> String {
    match error {
        NetError::Timeout => "the name servers did not answer in time".to_owned(),
        NetError::NoConnections => "no name server can be reached".to_owned(),
        NetError::Busy => "the resolver is busy".to_owned(),
        NetError::Io(error) => {
            let words = error.to_string();
            let words = words.split(" (os error ").next().unwrap_or_default();
            format!("no name server can be reached: {}", words.to_lowercase())
        }
        NetError::Dns(DnsError::ResponseCode(code)) => format!("the name server answered {}", code.to_str()),
        NetError::Dns(DnsError::NoRecordsFound(nothing)) => {
            format!("the name server has no records ({})", nothing.response_code.to_str())
        }
        NetError::Dns(DnsError::Nsec { .. }) => {
            "the proof that there are no records can't be validated".to_owned()
        }
        NetError::Proto(_) => "the name server's answer can't be read".to_owned(),
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::net::NoRecords;
    use hickory_resolver::proto::op::{Query, ResponseCode};

    /// Symptom: a mail that waited said `no records found for Query { name: Name("…"), query_type: …`. Cause: the
    /// library prints its structures.
    #[test]
    fn no_structure_of_the_library_reaches_an_operator() {
        let io = std::io::Error::from_raw_os_error(111);
        for (error, words) in [
            (NetError::Timeout, "the name servers did not answer in time"),
            (NetError::from(io), "no name server can be reached: connection refused"),
            (
                DnsError::ResponseCode(ResponseCode::ServFail).into(),
                "the name server answered Server Failure",
            ),
            (
                DnsError::NoRecordsFound(NoRecords::new(Query::new(), ResponseCode::NoError)).into(),
                "the name server has no records (No Error)",
            ),
            (DnsError::DnssecBogus.into(), "DNS error: DNSSEC validation failed"),
        ] {
            assert_eq!(of(&error), words);
        }
    }
}
