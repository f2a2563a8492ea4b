//! What only the operator can tell of his records: under which name mail programs reach Home, who issues certificates,
//! and which one the edge has.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use daemon::config;
use daemon::control;
use daemon::problem::Problem;
use daemon::request::Request;
use home::config::HomeConfig;
use mail::Domain;
use net::dns::{Data, DataKind, Dns};
use serde_json::Value;
use tlspolicy::tlsa::Tlsa;

use crate::records::Told;

/// Arguments for records that can't be made without them.
#[derive(Debug, clap::Args)]
pub(super) struct ToldArguments {
    /// The name under which mail programs reach Home, for SRV records; it stands in public DNS then
    #[arg(long, value_name = "NAME")]
    mail_host: Option<Domain>,
    /// Who issues the edges' certificates, for CAA records, as its own manual names it: letsencrypt.org
    #[arg(long, value_name = "AUTHORITY")]
    caa: Vec<Domain>,
    /// TLSA records for the edges' certificates, which the running Home asks them for; or of a certificate in PEM that is
    /// to be an edge's: --tlsa=FILE, --tlsa=NAME=FILE. The record has to be there before the key is changed
    #[arg(long, value_name = "[NAME=]FILE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    tlsa: Vec<String>,
}

/// Takes it together. A certificate's record is made for an edge whose zone is signed: nobody looks at any other.
pub(super) async fn look_up(
    arguments: &ToldArguments,
    path: &Path,
    resolver: &[SocketAddr],
) -> Result<Told, Problem> {
    let (mail_host, authorities) = (arguments.mail_host.clone(), arguments.caa.clone());
    let mut certificates = Vec::new();
    if !arguments.tlsa.is_empty() {
        let config: HomeConfig = config::load(path)?;
        let edges: Vec<String> = config.edges.iter().map(|pin| pin.name.clone()).collect();
        let mut records = Vec::new();
        for argument in &arguments.tlsa {
            match argument.as_str() {
                "" => records.extend(told_by_edges(&config, &edges).await?),
                argument => {
                    let (edge, file) = edge_and_file(argument, &edges)?;
                    records.push((edge, record_of(&file)?));
                }
            }
        }
        let dns = Dns::validating(resolver, None)
            .map_err(|error| Problem::setup(error, "name a server with --resolver ADDR:PORT"))?;
        for (edge, record) in records {
            match is_signed(&dns, &edge).await {
                Ok(()) => certificates.push((edge, record)),
                Err(why) => eprintln!("postern: no TLSA record for {edge}: {why}"),
            }
        }
    }
    Ok(Told { mail_host, authorities, certificates })
}

/// What the edges say of their own certificates, over the link; of each edge that can't be asked it is said.
async fn told_by_edges(config: &HomeConfig, edges: &[String]) -> Result<Vec<(String, String)>, Problem> {
    let status = control::demand(&config.data, &Request::Status).await?;
    let (told, silent) = records_in(&status, edges);
    for edge in silent {
        eprintln!(
            "postern: no TLSA record for {edge}: it does not say which certificate it has (no link, or an older version); \
             copy the certificate here and name it: --tlsa={edge}=FILE"
        );
    }
    Ok(told)
}

/// The records in an answer of Home, and the edges of which there is none.
fn records_in(status: &Value, edges: &[String]) -> (Vec<(String, String)>, Vec<String>) {
    let of = |name: &String| {
        let mut known = status["edges"].as_array().into_iter().flatten();
        let edge = known.find(|edge| edge["name"].as_str() == Some(name))?;
        let record = edge["edge"]["tlsa"].as_str()?;
        // What it says goes into DNS: only what is such a record does.
        let data = Data::parse(DataKind::Tlsa, record).ok()?.text();
        data.starts_with("3 1 1 ").then(|| (name.clone(), data))
    };
    (edges.iter().filter_map(of).collect(), edges.iter().filter(|name| of(name).is_none()).cloned().collect())
}

/// Whose certificate an argument names.
fn edge_and_file(argument: &str, edges: &[String]) -> Result<(String, PathBuf), Problem> {
    match (argument.split_once('='), edges) {
        (Some((name, file)), _) => match edges.iter().find(|edge| edge.eq_ignore_ascii_case(name)) {
            Some(edge) => Ok((edge.clone(), PathBuf::from(file))),
            None => Err(Problem::setup(
                format!("{name} is no edge of this home"),
                format!("name one of: {}", edges.join(", ")),
            )),
        },
        (None, [edge]) => Ok((edge.clone(), PathBuf::from(argument))),
        (None, _) => Err(Problem::setup(
            format!("whose certificate is {argument}? This home has {} edges", edges.len()),
            "say it as --tlsa=NAME=FILE",
        )),
    }
}

/// What the record for a certificate's key says.
fn record_of(file: &Path) -> Result<String, Problem> {
    let advice =
        "copy the edge's certificate here: the file that edge.toml names in [tls], or edge.crt in its data";
    let certificate = net::tls::first_certificate(file).map_err(|error| Problem::setup(error, advice))?;
    let tlsa = Tlsa::of_own_key(&certificate)
        .ok_or_else(|| Problem::setup(format!("{} is no certificate", file.display()), advice))?;
    Ok(tlsa.text())
}

/// Whether DNSSEC vouches for the edge's address: senders look at TLSA records only then (RFC 7672 section 2.2).
async fn is_signed(dns: &Dns, edge: &str) -> Result<(), String> {
    match dns.addresses(edge).await {
        Ok(found) if found.secure => Ok(()),
        Ok(found) if found.value.is_empty() => Err("it has no address yet".to_owned()),
        Ok(_) => Err("its zone is not signed, or this name server keeps the signatures back".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_belongs_to_the_only_edge_or_to_the_one_that_is_named() {
        let one = ["mx.test".to_owned()];
        let two = ["mx.test".to_owned(), "mx2.test".to_owned()];
        let of = |argument: &str, edges: &[String]| {
            edge_and_file(argument, edges).map(|(edge, file)| format!("{edge} {}", file.display())).ok()
        };
        assert_eq!(of("a.pem", &one).as_deref(), Some("mx.test a.pem"));
        assert_eq!(of("MX2.test=a.pem", &two).as_deref(), Some("mx2.test a.pem"));
        assert_eq!((of("a.pem", &two), of("other.test=a.pem", &two), of("a.pem", &[])), (None, None, None));
    }

    #[test]
    fn an_edge_is_believed_a_record_of_its_own_key_and_nothing_else() {
        let said = |tlsa: Value| {
            let status = serde_json::json!({ "edges": [{ "name": "mx.test", "edge": { "tlsa": tlsa } }] });
            records_in(&status, &["mx.test".to_owned(), "mx2.test".to_owned()])
        };
        let (told, silent) = said("3 1 1 00FF".into());
        assert_eq!(told, [("mx.test".to_owned(), "3 1 1 00ff".to_owned())]);
        assert_eq!(silent, ["mx2.test"]);
        for other in
            [Value::Null, "2 1 1 00".into(), "3 1 1 0".into(), "\" ; rm".into(), "3 1 1 00 00".into()]
        {
            assert_eq!(said(other.clone()).1.len(), 2, "{other}");
        }
    }

    #[test]
    fn the_record_is_that_of_the_key_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("edge.crt"), dir.path().join("edge.key"));
        let files = net::tls::CertificateFiles { certificate: certificate.clone(), key };
        net::tls::ensure_self_signed(&files, "mx.test").unwrap();
        let record = record_of(&certificate).unwrap_or_else(|problem| panic!("{problem}"));
        let der = net::tls::first_certificate(&certificate).unwrap();
        let data = Data::parse(DataKind::Tlsa, &record).unwrap();
        assert_eq!(data.text(), record);
        assert!(record.starts_with("3 1 1 ") && record.len() == 6 + 64, "{record}");
        assert!(Tlsa::of_own_key(&der).unwrap().matches(&der));
        std::fs::write(&certificate, "no certificate").unwrap();
        assert!(record_of(&certificate).is_err() && record_of(Path::new("/nonexistent")).is_err());
    }
}
