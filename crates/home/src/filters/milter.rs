//! A message as a milter is told of it, and its verdict in Postern's words.

use std::time::Duration;

use ::milter::{Client, Disposition, HeaderChange, HeaderField, Login, Tls, Transaction, Verdict};
use mail::ReversePath;
use net::contents::Source;
use net::endpoint::Endpoint;
use net::milter_client;

use super::edit::Which;
use super::verdict::{Action, Finding};
use super::{Failure, Subject, header_of};

/// Shows the message to a milter. Each of its answers may take `patience`.
pub(super) async fn check(
    endpoint: &Endpoint,
    subject: &Subject,
    patience: Duration,
) -> Result<Finding, Failure> {
    let content = subject.content.clone();
    let header = tokio::task::spawn_blocking(move || header_of(&content)).await;
    let header = header.map_err(std::io::Error::other).and_then(|header| header).map_err(Failure::Message)?;
    let mut body = Source::new(subject.content.clone(), header.len() as u64);
    let transaction = transaction(subject, &header);
    let verdict = milter_client::ask(endpoint, transaction, &mut body, patience).await?;
    Ok(finding(&verdict))
}

fn transaction(subject: &Subject, header: &[u8]) -> Transaction {
    let envelope = &subject.envelope;
    let client = envelope.client.as_ref();
    let tls = client.and_then(|client| client.tls.as_deref()).map(|tls| {
        let (version, cipher) = tls.split_once(' ').unwrap_or((tls, ""));
        Tls { version: version.to_owned(), cipher: cipher.to_owned() }
    });
    Transaction {
        hostname: subject.edge.clone(),
        daemon: "inbound".to_owned(),
        item: subject.item.to_string(),
        client: Client {
            name: client.map_or_else(|| "unknown".to_owned(), |client| format!("[{}]", client.ip)),
            address: client.map(|client| client.ip),
            port: 0,
        },
        helo: client.map_or_else(String::new, |client| client.helo.clone()),
        tls,
        login: client.and_then(|client| client.login.clone()).map(|name| Login { name }),
        reverse_path: path(&envelope.reverse_path),
        recipients: envelope.recipients.iter().map(|recipient| recipient.address.to_string()).collect(),
        header: mail::header::fields(header).map(|field| HeaderField::new(field.name, field.value)).collect(),
    }
}

/// The address without its brackets; nothing for the null path.
fn path(path: &ReversePath) -> String {
    path.address().map_or_else(String::new, ToString::to_string)
}

fn finding(verdict: &Verdict) -> Finding {
    let quarantine = verdict.quarantine.as_ref();
    let action = match &verdict.disposition {
        Disposition::Reject(None) => Action::reject(None),
        Disposition::TempFail(None) => Action::defer(None),
        Disposition::Reject(Some(reply)) | Disposition::TempFail(Some(reply)) => Action::from_reply(reply),
        // Nothing that was taken is thrown away unseen.
        Disposition::Discard => Action::Quarantine,
        Disposition::Accept if quarantine.is_some() => Action::Quarantine,
        Disposition::Accept => Action::Accept,
    };
    let mut finding = Finding { action, ..Finding::default() };
    finding.detail = match (&verdict.disposition, quarantine) {
        (Disposition::Discard, _) => "it would discard it".to_owned(),
        (_, Some(reason)) => reason.clone(),
        _ => String::new(),
    };
    if verdict.not_offered > 0 {
        tracing::warn!(
            "a milter asked for changes of recipients, sender or body, which were not offered to it"
        );
    }
    for change in &verdict.changes {
        match change {
            HeaderChange::Add { name, value } => finding.add(None, name, value),
            HeaderChange::Insert { index, name, value } => {
                finding.add(usize::try_from(*index).ok(), name, value);
            }
            HeaderChange::Change { index, name, value } => {
                let which = Which::Nth(usize::try_from(*index).unwrap_or(usize::MAX).max(1));
                finding.rewrite(name, which, Some(value.as_slice()).filter(|value| !value.is_empty()));
            }
        }
    }
    finding
}
