//! What only the operator can tell of his records: under which name mail programs reach Home, who issues certificates,
//! and which one the edge has.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use daemon::config;
use daemon::problem::Problem;
use home::config::HomeConfig;
use mail::Domain;
use net::dns::Dns;
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
    /// The edge's certificate in PEM, for a TLSA record: FILE, or NAME=FILE where there are several edges. The record
    /// has to be changed before the certificate's key is
    #[arg(long, value_name = "[NAME=]FILE")]
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
        let dns = Dns::validating(resolver, None)
            .map_err(|error| Problem::setup(error, "name a server with --resolver ADDR:PORT"))?;
        for argument in &arguments.tlsa {
            let (edge, file) = edge_and_file(argument, &edges)?;
            let record = record_of(&file)?;
            match is_signed(&dns, &edge).await {
                Ok(()) => certificates.push((edge, record)),
                Err(why) => eprintln!("postern: no TLSA record for {edge}: {why}"),
            }
        }
    }
    Ok(Told { mail_host, authorities, certificates })
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
            "say it as --tlsa NAME=FILE",
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
    let hex: String = tlsa.data.iter().map(|octet| format!("{octet:02x}")).collect();
    Ok(format!("{} {} {} {hex}", tlsa.usage, tlsa.selector, tlsa.matching))
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
    fn the_record_is_that_of_the_key_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("edge.crt"), dir.path().join("edge.key"));
        let files = net::tls::CertificateFiles { certificate: certificate.clone(), key };
        net::tls::ensure_self_signed(&files, "mx.test").unwrap();
        let record = record_of(&certificate).unwrap_or_else(|problem| panic!("{problem}"));
        let der = net::tls::first_certificate(&certificate).unwrap();
        let data = net::dns::Data::parse(net::dns::DataKind::Tlsa, &record).unwrap();
        assert_eq!(data.text(), record);
        assert!(record.starts_with("3 1 1 ") && record.len() == 6 + 64, "{record}");
        assert!(Tlsa::of_own_key(&der).unwrap().matches(&der));
        std::fs::write(&certificate, "no certificate").unwrap();
        assert!(record_of(&certificate).is_err() && record_of(Path::new("/nonexistent")).is_err());
    }
}
