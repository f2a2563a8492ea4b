//! `postern home setup` and `postern home pair`: keys, configuration, pairing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use link::{Accepts, Frame, PairingCode, PairingRequest, PairingResult, Proof, ServedDomains};
use mail::Domain;
use net::link_key::LinkKey;
use net::link_transport::Dialer;

use super::dkim::DomainKeys;
use super::edges::withheld_words;
use crate::config::{self, Checked as _, HomeConfig};
use crate::edge::to_hex;
use crate::problem::Problem;
use crate::sealed::{self, UnsealWith};
use crate::wire::{self, FrameReader};
use crate::{daemon, files, system};

/// How long Edge may take to answer a pairing request.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// What `postern home setup` is told.
#[derive(Debug, Clone, clap::Args)]
pub struct SetupArguments {
    /// The pairing code that the edge printed; without one the home is for edges of another kind
    pub code: Option<String>,
    /// A domain whose mail lives here; may be given several times
    #[arg(long, required = true)]
    pub domain: Vec<Domain>,
    /// The configuration file to write
    #[arg(long, default_value = "/etc/postern/home.toml")]
    pub config: PathBuf,
    /// Where mailboxes, keys and the queue go
    #[arg(long, default_value = "/var/lib/postern/home")]
    pub data: PathBuf,
    /// Address for users' outgoing mail, TLS (default: port 465 on every address)
    #[arg(long, value_name = "ADDR:PORT")]
    pub submission: Vec<SocketAddr>,
    /// Address for users' mailboxes, TLS (default: port 993 on every address)
    #[arg(long, value_name = "ADDR:PORT")]
    pub imap: Vec<SocketAddr>,
    /// Whether users may send to the world: off until the edge's address is fit for it
    #[arg(long, default_value = "off", value_parser = ["off", "on"])]
    pub outbound: String,
}

/// The secrets of a home.
pub struct Secrets {
    /// Its identity on the link.
    pub link_key: LinkKey,
    /// Opens what Edge sealed.
    pub unseal: UnsealWith,
    /// From which the keys of recipient hashes are derived.
    pub hash_secret: [u8; 32],
}

impl Secrets {
    /// Reads them from the data directory.
    pub fn load(data: &Path) -> Result<Self, Problem> {
        let advice =
            "run 'postern home setup', or restore the file from a backup: without it sealed mail is lost";
        let path = data.join("link-key.pem");
        let bad = |path: &Path, error: String| Problem::setup(format!("{}: {error}", path.display()), advice);
        let link_key = LinkKey::from_pem(&files::read_text(&path, advice)?)
            .map_err(|error| bad(&path, error.to_string()))?;
        let path = data.join("sealing-key.txt");
        let unseal =
            UnsealWith::parse(&files::read_text(&path, advice)?).map_err(|error| bad(&path, error))?;
        let path = data.join("hash-secret.json");
        let hash_secret = files::read_json(&path)?.ok_or_else(|| bad(&path, "it is missing".to_owned()))?;
        Ok(Self { link_key, unseal, hash_secret })
    }

    /// Makes those that are not there yet.
    fn ensure(data: &Path) -> Result<Self, Problem> {
        let keep = |name: &str, content: &[u8]| {
            let path = data.join(name);
            if path.exists() {
                return Ok(());
            }
            files::replace(&path, content).map_err(|error| files::write_problem(&path, &error))
        };
        let key = LinkKey::generate().map_err(|error| Problem::failed(error, ""))?;
        keep("link-key.pem", key.pem().as_bytes())?;
        keep("sealing-key.txt", format!("{}\n", sealed::generate_key().0).as_bytes())?;
        let secret: [u8; 32] = system::random();
        keep("hash-secret.json", &serde_json::to_vec(&secret).unwrap_or_default())?;
        Self::load(data)
    }
}

/// Makes keys, pairs, and writes the configuration. Nothing is written to it unless pairing succeeds.
pub fn setup(arguments: &SetupArguments) -> Result<(), Problem> {
    if arguments.config.exists() {
        return Err(Problem::setup(
            format!("{} is there already", arguments.config.display()),
            "to pair with one more edge use 'postern home pair'; to begin anew remove the file first",
        ));
    }
    let code = arguments.code.as_deref().map(parse_code).transpose()?;
    let text = config_text(arguments);
    let parsed: HomeConfig =
        toml::from_str(&text).map_err(|error| Problem::setup(error.message(), "correct the arguments"))?;
    parsed.check().map_err(|what| Problem::setup(what, "correct the arguments"))?;
    files::make_private_dir(&arguments.data)?;
    let secrets = Secrets::ensure(&arguments.data)?;
    DomainKeys::open(&arguments.data, &arguments.domain, system::now())?;
    let paired = match &code {
        Some(code) => {
            let (hostname, served) =
                daemon::block_on(pair_with(code, &secrets.link_key, &arguments.domain))??;
            let withheld = withheld_text(served.as_ref());
            Some((edge_text(&hostname, code), format!("Paired with the edge {hostname}.{withheld}")))
        }
        None => None,
    };
    let (edge, done) = paired.unwrap_or_else(|| {
        let next =
            "Paired with no edge: write [foreign_edge] for mail that comes, [smarthost] for mail that goes.";
        (String::new(), next.to_owned())
    });
    if let Some(dir) = arguments.config.parent() {
        std::fs::create_dir_all(dir).map_err(|error| files::write_problem(dir, &error))?;
    }
    let text = format!("{text}\n{edge}");
    files::replace(&arguments.config, text.as_bytes())
        .map_err(|error| files::write_problem(&arguments.config, &error))?;
    println!("{done} Configuration: {}", arguments.config.display());
    println!(
        "Add a user:  postern user add you@{} --config {}",
        first(&arguments.domain),
        arguments.config.display()
    );
    println!("DNS records: postern dns --config {}", arguments.config.display());
    println!("Start it:    postern home run --config {}", arguments.config.display());
    Ok(())
}

fn first(domains: &[Domain]) -> &str {
    domains.first().map_or("example.org", Domain::as_str)
}

/// Pairs with one more edge and adds it to the configuration.
pub fn pair(config_path: &Path, code: &str) -> Result<(), Problem> {
    let config: HomeConfig = config::load(config_path)?;
    let code = parse_code(code)?;
    // A configuration that was written by hand or imported has no keys yet; one with edges has lost them.
    let secrets = if config.edges.is_empty() {
        files::make_private_dir(&config.data)?;
        Secrets::ensure(&config.data)?
    } else {
        Secrets::load(&config.data)?
    };
    let (hostname, served) = daemon::block_on(pair_with(&code, &secrets.link_key, &config.domains))??;
    let text = files::read_text(config_path, "")?;
    let text = if config.edges.iter().any(|pin| pin.name == hostname) {
        without_edge(&text, &hostname)
    } else {
        text
    };
    let text = format!("{}\n\n{}", text.trim_end(), edge_text(&hostname, &code));
    files::replace(config_path, text.as_bytes())
        .map_err(|error| files::write_problem(config_path, &error))?;
    println!("Paired with the edge {hostname}.{} Restart Home to use it.", withheld_text(served.as_ref()));
    Ok(())
}

/// The configuration without the section of an edge that is paired anew.
fn without_edge(text: &str, hostname: &str) -> String {
    let name = format!("name = {hostname:?}");
    let mut sections = text.split("[[edge]]");
    let mut kept = sections.next().unwrap_or_default().to_owned();
    for section in sections.filter(|section| !section.contains(&name)) {
        kept.push_str("[[edge]]");
        kept.push_str(section);
    }
    kept
}

fn parse_code(text: &str) -> Result<PairingCode, Problem> {
    text.parse().map_err(|error| Problem::setup(error, "copy the whole code as the edge printed it"))
}

/// What the operator has to know of domains that the edge does not let this home serve; nothing when it has all.
fn withheld_text(served: Option<&ServedDomains>) -> String {
    let lines = served.into_iter().flat_map(|served| {
        served.withheld().map(|domain| format!("\n\nNOTE: {}.", withheld_words(domain, &served.home)))
    });
    let text: String = lines.collect();
    if text.is_empty() { text } else { format!("{text}\n\n") }
}

async fn pair_with(
    code: &PairingCode,
    key: &LinkKey,
    domains: &[Domain],
) -> Result<(String, Option<ServedDomains>), Problem> {
    let dialled = Dialer::new().dial(&code.address, key, code.fingerprint, link::ALPN_PAIRING).await;
    let stream = dialled.map_err(|error| {
        Problem::failed(
            format!("can't reach the edge: {error}"),
            format!(
                "check that 'postern edge run' is running and that {0} (UDP or TCP) is open there; if this host has \
                 the rules of 'postern firewall home', load them once more with '--edge {0}'",
                code.address
            ),
        )
    })?;
    let proof = Proof::new(&code.secret, &stream.peer_spki, key.spki());
    let request = PairingRequest { proof, domains: domains.to_vec() };
    let (frames, queue) = wire::frame_queue();
    frames.send(Frame::Pair(request));
    let writing = tokio::spawn(wire::write_frames(stream.writer, queue));
    let mut reader = FrameReader::for_pairing(stream.reader, Accepts::Paired);
    let answer = reader.next(ANSWER_PATIENCE).await;
    drop(frames);
    let _ = writing.await;
    match answer {
        Ok(Some(Frame::Paired(PairingResult::Paired { hostname, served }))) => Ok((hostname, served)),
        Ok(Some(Frame::Paired(PairingResult::Refused(why)))) => Err(Problem::failed(
            format!("the edge refused: {why}"),
            "make a new code at the edge with 'postern edge pair'",
        )),
        Ok(_) => Err(Problem::failed("the edge did not answer the pairing request", "see its log")),
        Err(fault) => {
            Err(Problem::failed(format!("pairing broke off: {fault}"), "try again; see the edge's log"))
        }
    }
}

fn edge_text(hostname: &str, code: &PairingCode) -> String {
    format!(
        "[[edge]]\nname = {hostname:?}\naddress = {:?}\nkey = \"{}\"\n",
        code.address,
        to_hex(&code.fingerprint)
    )
}

fn config_text(arguments: &SetupArguments) -> String {
    use std::fmt::Write as _;
    let quoted =
        |items: Vec<String>| items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(", ");
    let addresses = |list: &[SocketAddr]| quoted(list.iter().map(ToString::to_string).collect());
    let mut text = format!(
        "# Postern, role Home. Every key and its default: docs/configuration.md\n\
         domains = [{}]\ndata = {:?}\noutbound = {:?}\n",
        quoted(arguments.domain.iter().map(ToString::to_string).collect()),
        arguments.data.display().to_string(),
        arguments.outbound,
    );
    if !(arguments.submission.is_empty() && arguments.imap.is_empty()) {
        text.push_str("\n[listen]\n");
    }
    for (key, list) in [("submission", &arguments.submission), ("imap", &arguments.imap)] {
        if !list.is_empty() {
            let _ = writeln!(text, "{key} = [{}]", addresses(list));
        }
    }
    text
}
