//! A report as it leaves: the document, compressed, and the message that carries it (RFC 8460 section 5.3).

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use mail::{Domain, UnixTime};
use tlspolicy::report::{DateRange, Report};

use super::ledger::Entry;

/// Characters of a line of base64 (RFC 2045 section 6.8).
const LINE_CHARACTERS: usize = 76;

/// The organization that reports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Submitter<'a> {
    /// The domain whose users sent the mail.
    pub(super) domain: &'a Domain,
    /// The organization's name.
    pub(super) organization: &'a str,
    /// The address for questions.
    pub(super) contact: &'a str,
}

/// The report as a document (RFC 8460 section 4).
pub(super) fn report(entry: &Entry, submitter: &Submitter<'_>) -> Report {
    let time = |secs| UnixTime::from_secs(secs).rfc3339();
    Report {
        organization_name: submitter.organization.to_owned(),
        date_range: DateRange { start_datetime: time(entry.begun), end_datetime: time(entry.ended) },
        contact_info: submitter.contact.to_owned(),
        report_id: report_id(entry, submitter),
        policies: entry.results.policies().to_vec(),
    }
}

fn report_id(entry: &Entry, submitter: &Submitter<'_>) -> String {
    format!("{}@{}", entry.id, submitter.domain)
}

/// The document in JSON, compressed by gzip.
///
/// # Errors
/// When it can't be written, which a buffer in memory does not do.
pub(super) fn compressed(report: &Report) -> Result<Vec<u8>, String> {
    let json = serde_json::to_vec(report).map_err(|error| error.to_string())?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&json).and_then(|()| gzip.finish()).map_err(|error| error.to_string())
}

/// A message, cut where its header section ends.
pub(super) struct Letter {
    /// The header section with its empty line.
    pub(super) header: Vec<u8>,
    pub(super) body: Vec<u8>,
}

/// The message that carries a compressed report to `to`. It is to arrive even where TLS fails: that is what it is
/// about (RFC 8460 section 3, RFC 8689 section 5).
pub(super) fn letter(
    entry: &Entry,
    submitter: &Submitter<'_>,
    to: &str,
    report: &[u8],
    now: UnixTime,
) -> Letter {
    let (id, own, of) = (report_id(entry, submitter), submitter.domain, &entry.domain);
    let boundary = format!("report-{}", entry.id);
    let file = format!("{own}!{of}!{}!{}!{}.json.gz", entry.begun, entry.ended, entry.id);
    let header = format!(
        "Date: {date}\r\nFrom: <postmaster@{own}>\r\nTo: <{to}>\r\n\
         Subject: Report Domain: {of}\r\n Submitter: {own}\r\n Report-ID: <{id}>\r\nMessage-ID: <{id}>\r\n\
         TLS-Report-Domain: {of}\r\nTLS-Report-Submitter: {own}\r\nTLS-Required: No\r\n\
         Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n\tboundary=\"{boundary}\"\r\n\r\n",
        date = now.rfc5322()
    );
    let start = UnixTime::from_secs(entry.begun).rfc5322();
    let end = UnixTime::from_secs(entry.ended).rfc5322();
    let mut body = format!(
        "--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
         This is a report on TLS with the mail hosts of\r\n{of}\r\nfrom {start} to {end}.\r\n\r\n\
         --{boundary}\r\nContent-Type: application/tlsrpt+gzip\r\n\
         Content-Disposition: attachment;\r\n\tfilename=\"{file}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n",
    );
    let encoded = STANDARD.encode(report);
    for line in encoded.as_bytes().chunks(LINE_CHARACTERS) {
        body.push_str(&String::from_utf8_lossy(line));
        body.push_str("\r\n");
    }
    body.push_str(&format!("\r\n--{boundary}--\r\n"));
    Letter { header: header.into_bytes(), body: body.into_bytes() }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use mail::ItemId;
    use tlspolicy::report::{AppliedPolicy, PolicyType, Results};

    use super::*;
    use crate::tls_reports::ledger::State;

    #[test]
    fn the_message_has_the_fields_and_the_file_name_of_the_rfc_and_the_report_inside() {
        let mut results = Results::default();
        results.success(AppliedPolicy::without_content(PolicyType::NoPolicyFound, "b.example"));
        let domain = |text| Domain::parse(text).unwrap();
        let entry = Entry {
            id: ItemId::from_bytes([1; 16]),
            day: 1,
            domain: domain("b.example"),
            begun: 86_400,
            ended: 172_799,
            results,
            state: State::Open,
            targets: None,
            tries: 0,
        };
        let own = domain("a.example");
        let submitter = Submitter { domain: &own, organization: "A", contact: "postmaster@a.example" };
        let document = report(&entry, &submitter);
        assert_eq!(document.date_range.start_datetime, "1970-01-02T00:00:00.000Z");
        let report = compressed(&document).unwrap();
        let Letter { header, body } = letter(&entry, &submitter, "r@b.example", &report, UnixTime(0));
        let field = |name| mail::header::find(&header, name).map(|field| field.unfolded());
        let id = entry.id;
        assert_eq!(field("TLS-Report-Domain").as_deref(), Some("b.example"));
        assert_eq!(field("TLS-Required").as_deref(), Some("No"));
        assert_eq!(field("Date").as_deref(), Some("Thu, 01 Jan 1970 00:00:00 +0000"), "in UTC");
        let subject = format!("Report Domain: b.example Submitter: a.example Report-ID: <{id}@a.example>");
        assert_eq!(field("Subject"), Some(subject));
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains(&format!("\"a.example!b.example!86400!172799!{id}.json.gz\"")), "{body}");
        assert!(body.lines().all(|line| line.len() <= 998) && header.is_ascii());
        let encoded = body.split("base64\r\n\r\n").nth(1).unwrap().split("\r\n\r\n").next().unwrap();
        let octets = STANDARD.decode(encoded.replace("\r\n", "")).unwrap();
        let mut json = String::new();
        flate2::read::GzDecoder::new(&octets[..]).read_to_string(&mut json).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), document);
    }
}
