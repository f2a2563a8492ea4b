//! `postern check`: what Edge would say of a client or a message, and the path that leads there.

mod destination;
mod reach;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use daemon::clock::{Clock as _, SystemClock};
use daemon::print;
use daemon::problem::Problem;
use mailauth::dmarc::{DmarcResult, Flaw, Policy};
use mailauth::dns::{Asked, Journal};
use mailauth::message::{Authentication, Header};
use mailauth::spf::{self, Spf};
use net::dns::{Dns, Questions};
use serde_json::{Value, json};

pub(crate) use destination::{DestinationArguments, check_destination};
pub(crate) use reach::{EdgeArguments, check_edge};

/// Most octets of a message file that is checked.
const MESSAGE_OCTETS_MAX: u64 = 256 * 1024 * 1024;

/// The client and the envelope that a check is made for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ClientArguments {
    /// The client's address
    #[arg(long)]
    ip: IpAddr,
    /// What it says in EHLO
    #[arg(long, default_value = "")]
    helo: String,
    /// The reverse-path; empty for the null one
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    mail_from: String,
    /// Ask this name server instead of the system's
    #[arg(long, value_name = "ADDR:PORT", value_parser = daemon::network::address_and_port)]
    resolver: Vec<SocketAddr>,
    /// The name of the host that takes the mail
    #[arg(long, default_value = "unknown")]
    receiver: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Arguments of `check message`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MessageArguments {
    /// The message as a file, or - for standard input
    file: PathBuf,
    #[command(flatten)]
    client: ClientArguments,
    /// A domain whose ARC seals are trusted
    #[arg(long)]
    trusted_sealer: Vec<String>,
}

impl ClientArguments {
    fn journal(&self) -> Result<Journal<Questions>, Problem> {
        let dns = Dns::new(&self.resolver)
            .map_err(|error| Problem::setup(error, "name a server with --resolver ADDR:PORT"))?;
        Ok(Journal::new(dns.questions()))
    }

    async fn spf(&self, resolver: &Journal<Questions>) -> Spf {
        let mail_from = self.mail_from.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
        let query = spf::Query {
            ip: self.ip,
            helo: &self.helo,
            mail_from: mail_from.unwrap_or(&self.mail_from),
            receiver: &self.receiver,
            now: SystemClock.now().as_secs(),
        };
        spf::check_with_path(resolver, &query).await
    }
}

/// `postern check spf`.
pub(crate) async fn check_spf(arguments: &ClientArguments) -> Result<(), Problem> {
    let journal = arguments.journal()?;
    let spf = arguments.spf(&journal).await;
    if arguments.json {
        print_json(&json!({ "spf": spf, "dns": journal.asked() }));
    } else {
        print_rows(&spf_rows(&spf));
        print_path(&spf, &journal.asked());
    }
    Ok(())
}

/// `postern check message`.
pub(crate) async fn check_message(arguments: &MessageArguments) -> Result<(), Problem> {
    let message = read_message(arguments)?;
    let journal = arguments.client.journal()?;
    let spf = arguments.client.spf(&journal).await;
    let (header, body) = message.split_at(mail::header::body_offset(&message));
    let header = Header::parse(header.to_vec());
    let mut hashes = header.body_hashes();
    hashes.update(body);
    let hashes = hashes.finish();
    let known = header.ask(&journal).await;
    let trusted: Vec<String> =
        arguments.trusted_sealer.iter().map(|name| name.to_ascii_lowercase()).collect();
    let found = header.authenticate(&journal, &hashes, &known, spf, SystemClock.now(), &trusted).await;
    if arguments.client.json {
        let mut value = serde_json::to_value(&found).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            fields.insert("dns".to_owned(), json!(journal.asked()));
        }
        print_json(&value);
    } else {
        print_rows(&message_rows(&found));
        print_path(&found.spf, &journal.asked());
    }
    Ok(())
}

/// The file's octets; a file with bare line feeds is taken as it would have come over SMTP.
fn read_message(arguments: &MessageArguments) -> Result<Vec<u8>, Problem> {
    use std::io::Read as _;
    let name = arguments.file.display();
    let failed = |error: std::io::Error| {
        Problem::setup(
            format!("can't read {name}: {}", daemon::problem::io_words(&error)),
            "name a file that holds one message, or - for standard input",
        )
    };
    let mut octets = Vec::new();
    let input: Box<dyn std::io::Read> = if arguments.file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(&arguments.file).map_err(failed)?)
    };
    input.take(MESSAGE_OCTETS_MAX + 1).read_to_end(&mut octets).map_err(failed)?;
    if octets.len() as u64 > MESSAGE_OCTETS_MAX {
        return Err(Problem::setup(
            format!("{name} has more than {MESSAGE_OCTETS_MAX} octets"),
            "no mail is that large",
        ));
    }
    Ok(with_smtp_line_ends(octets))
}

fn with_smtp_line_ends(octets: Vec<u8>) -> Vec<u8> {
    let bare = octets
        .iter()
        .enumerate()
        .any(|(at, octet)| *octet == b'\n' && (at == 0 || octets.get(at - 1) != Some(&b'\r')));
    if !bare {
        return octets;
    }
    let mut with = Vec::with_capacity(octets.len() + octets.len() / 32);
    for octet in octets {
        if octet == b'\n' && with.last() != Some(&b'\r') {
            with.push(b'\r');
        }
        with.push(octet);
    }
    with
}

type Row = (String, String);

fn row(name: &str, value: impl Into<String>) -> Row {
    (name.to_owned(), value.into())
}

fn spf_rows(spf: &Spf) -> Vec<Row> {
    let identity = if spf.identity == spf::Identity::Helo { "helo" } else { "mail from" };
    let mut rows = vec![
        row("spf", format!("{} for {} ({identity})", spf.result, spf.domain)),
        row("", spf.reason.clone()),
    ];
    rows.extend(spf.explanation.iter().map(|text| row("", format!("its owner says: {text}"))));
    rows
}

fn message_rows(found: &Authentication) -> Vec<Row> {
    let mut rows = spf_rows(&found.spf);
    if found.dkim.is_empty() {
        rows.push(row("dkim", "none: no signature"));
    }
    for signature in &found.dkim {
        let said = format!(
            "{} for {} (selector {})",
            signature.result.as_str(),
            signature.domain,
            signature.selector
        );
        rows.push(row("dkim", said));
        if !signature.reason.is_empty() {
            rows.push(row("", signature.reason.clone()));
        }
    }
    let dmarc = &found.dmarc;
    rows.push(row("dmarc", format!("{} for {} (policy {})", dmarc.result, dmarc.domain, dmarc.policy)));
    rows.push(row("", dmarc.reason.clone()));
    rows.extend(what_dmarc_means(found).map(|text| row("", text)));
    rows.push(row("arc", format!("{} {}", found.arc.result.as_str(), found.arc.reason).trim_end()));
    rows.extend(
        found.vouched_by.iter().map(|sealer| row("", format!("{sealer} is trusted: DMARC is let pass"))),
    );
    rows
}

/// What Edge does because of it, where the configuration has its defaults.
fn what_dmarc_means(found: &Authentication) -> Option<&'static str> {
    match (&found.dmarc.flaw, found.dmarc.result, found.dmarc.applied) {
        (Some(Flaw::Several | Flaw::Alike), ..) => {
            Some("goes to Junk, as nobody knows which author is shown; with other evidence it is refused")
        }
        (_, DmarcResult::Fail, _) if found.vouched_by.is_some() => None,
        (_, DmarcResult::Fail, Policy::Reject) => {
            Some("goes to Junk; with other evidence it is refused ([policy] dmarc = \"strict\": without)")
        }
        (_, DmarcResult::Fail, Policy::Quarantine) => Some("goes to Junk"),
        _ => None,
    }
}

fn print_rows(rows: &[Row]) {
    for (name, value) in rows {
        print::text(&format!("{name:<8}{}", printable(value)));
    }
}

fn print_path(spf: &Spf, asked: &[Asked]) {
    print::text("\nthe way of SPF:");
    spf.path.iter().for_each(|line| print::text(&format!("  {}", printable(line))));
    print::text("\nasked of DNS:");
    for question in asked {
        print::text(&format!("  {:<5} {}", question.kind.to_string(), printable(&question.name)));
        question.answer.iter().for_each(|line| print::text(&format!("        {}", printable(line))));
    }
}

/// Strangers' words must not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn print_json(value: &Value) {
    print::text(&format!("{value:#}"));
}
