//! Whatever other domains publish on TLS, and whatever an edge tells of sessions: it is read within its bounds, and
//! what was read is read the same when it is written again.
//!
//! The input is taken as TXT records, one a line; as an MTA-STS policy; as a certificate; as results in JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlspolicy::certificate::subject_public_key_info;
use tlspolicy::mta_sts::{Policy, record_id};
use tlspolicy::report::{FAILURE_DETAILS_MAX, POLICIES_MAX, Results};
use tlspolicy::reporting::{ReportUri, URIS_MAX, report_uris};

fn records(data: &[u8]) {
    let records: Vec<Vec<u8>> = data.split(|octet| *octet == b'\n').map(<[u8]>::to_vec).collect();
    if let Some(id) = record_id(&records) {
        assert!((1..=32).contains(&id.len()));
    }
    let uris = report_uris(&records);
    assert!(uris.len() <= URIS_MAX);
    for uri in uris {
        let written = uri.to_string();
        assert!(written.bytes().all(|octet| octet.is_ascii_graphic()), "{written}");
        assert_eq!(ReportUri::parse(&written), Some(uri));
    }
}

fn policy(data: &[u8]) {
    if let Ok(policy) = Policy::parse(data) {
        let written = policy.lines().collect::<Vec<_>>().join("\r\n");
        assert_eq!(Policy::parse(written.as_bytes()), Ok(policy));
    }
}

fn results(data: &[u8]) {
    let Ok(read) = serde_json::from_slice::<Results>(data) else { return };
    let mut results = Results::default();
    results.add(read.clone());
    results.add(read);
    assert!(results.policies().len() <= POLICIES_MAX);
    assert!(results.policies().iter().all(|of| of.failure_details.len() <= FAILURE_DETAILS_MAX));
    results.belong_to("a.example");
    let written = serde_json::to_vec(&results).unwrap();
    assert_eq!(serde_json::from_slice::<Results>(&written).unwrap(), results);
}

fuzz_target!(|data: &[u8]| {
    records(data);
    policy(data);
    results(data);
    let _ = subject_public_key_info(data);
});
