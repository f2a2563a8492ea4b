//! `postern home setup` and `postern home pair`: keys, configuration, pairing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::clock::{Clock as _, SystemClock};
use daemon::config::{self, Checked as _};
use daemon::control;
use daemon::edited::Edited;
use daemon::files;
use daemon::json_file;
use daemon::new_role::NewRole;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::Request;
use daemon::system;
use link::fingerprint::to_hex;
use link::{Accepts, Frame, PairingCode, PairingRequest, PairingResult, Proof, ServedDomains};
use mail::Domain;
use net::link_key::LinkKey;
use net::link_session::{self, FrameReader};
use net::link_transport::{Dialer, LinkTransportError};
use seal::{self, UnsealWith};

use super::dkim::DomainKeys;
use super::edges::withheld_words;
use crate::config::HomeConfig;

/// How long Edge may take to answer a pairing request.
const ANSWER_PATIENCE: Duration = Duration::from_secs(20);

/// What a new Home is to be like.
#[derive(Debug, Clone)]
pub struct SetupArguments {
    /// The pairing code that the edge printed; without one the home is for edges of another kind.
    pub code: Option<String>,
    /// The domains whose mail lives here, at least one.
    pub domain: Vec<Domain>,
    /// The configuration file to write.
    pub config: PathBuf,
    /// Where mailboxes, keys and the queue go.
    pub data: PathBuf,
    /// Addresses for users' outgoing mail, TLS; none for port 465 on every address.
    pub submission: Vec<SocketAddr>,
    /// Addresses for users' mailboxes, TLS; none for port 993 on every address.
    pub imap: Vec<SocketAddr>,
    /// Whether users may send to the world: `"off"` or `"on"`.
    pub outbound: String,
    /// The user that the daemon runs as; made if he is not there.
    pub user: Option<String>,
}

impl SetupArguments {
    /// The configuration that they come to, without an edge.
    ///
    /// # Errors
    /// When they can't be.
    pub fn parsed(&self) -> Result<HomeConfig, Problem> {
        let parsed: HomeConfig = toml::from_str(&config_text(self))
            .map_err(|error| Problem::setup(error.message(), "correct the arguments"))?;
        parsed.check().map_err(|what| Problem::setup(what, "correct the arguments"))?;
        Ok(parsed)
    }
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
    ///
    /// # Errors
    /// When a key is not there, can't be read, or is none.
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
        let hash_secret = json_file::read(&path)?.ok_or_else(|| bad(&path, "it is missing".to_owned()))?;
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
        keep("sealing-key.txt", format!("{}\n", seal::generate_key().0).as_bytes())?;
        let secret: [u8; 32] = system::random();
        keep("hash-secret.json", &serde_json::to_vec(&secret).unwrap_or_default())?;
        Self::load(data)
    }
}

/// Makes keys, pairs, and writes the configuration; gives what was done, in a sentence. Nothing is left of it when a step fails, and all that can fail
/// here is tried before the pairing code is spent.
///
/// # Errors
/// When there is a configuration already, the arguments can't be, the edge can't be reached or refuses, or a file can't be
/// written.
pub fn setup(arguments: &SetupArguments) -> Result<String, Problem> {
    let code = arguments.code.as_deref().map(parse_code).transpose()?;
    let text = config_text(arguments);
    arguments.parsed()?;
    let again = "to pair with one more edge use 'postern home pair'; to begin anew remove the file first";
    let role = NewRole::begin(&arguments.config, &arguments.data, arguments.user.as_deref(), again)?;
    let config = role.config().to_owned();
    let secrets = role.as_owner(|| {
        let secrets = Secrets::ensure(role.data())?;
        DomainKeys::open(role.data(), &arguments.domain, SystemClock.now())?;
        Ok(secrets)
    })?;
    let paired = match &code {
        Some(code) => {
            let (hostname, served) = pair_until_interrupted(code, &secrets.link_key, &arguments.domain)?;
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
    role.finish(&format!("{text}\n{edge}"))?;
    Ok(format!("{done} Configuration: {}", config.display()))
}

/// Ctrl-C ends it like any failure: what was made goes.
fn pair_until_interrupted(
    code: &PairingCode,
    key: &LinkKey,
    domains: &[Domain],
) -> Result<(String, Option<ServedDomains>), Problem> {
    process::block_on(async {
        tokio::select! {
            paired = pair_with(code, key, domains) => paired,
            _ = tokio::signal::ctrl_c() => Err(Problem::failed("stopped before the edge had answered", "")),
        }
    })?
}

/// Pairs with one more edge and adds it to the configuration, and tells a running Home; gives what was done, in a sentence.
///
/// # Errors
/// When the configuration or the code can't be read, the edge can't be reached or refuses, or a file can't be written.
pub fn pair(config_path: &Path, code: &str, user: Option<&str>) -> Result<String, Problem> {
    let config: HomeConfig = config::load(config_path)?;
    let name = |hostname: &str| Ok(Some(hostname.to_owned()));
    let paired = pair_once_more(config_path, &config, (code, user), name)?;
    let told = process::block_on(control::ask(&config.data, &Request::Reload))??.is_some();
    let now = if told { "Home links to it now." } else { "Start Home to use it." };
    Ok(format!("Paired with the edge {}.{} {now}", paired.hostname, withheld_text(paired.served.as_ref())))
}

/// An edge that the configuration has now.
pub(crate) struct PairedOnceMore {
    /// Its name.
    pub hostname: String,
    /// What it says of this home's domains, if it says anything.
    pub served: Option<ServedDomains>,
}

/// Pairs with one more edge and writes it into the configuration. `goes` is told its name, and says which edge is taken out of
/// the configuration for it, or why it must not be.
///
/// # Errors
/// As [`pair`], and what `goes` says. The configuration stays as it was then.
pub(crate) fn pair_once_more(
    config_path: &Path,
    config: &HomeConfig,
    (code, user): (&str, Option<&str>),
    goes: impl FnOnce(&str) -> Result<Option<String>, Problem>,
) -> Result<PairedOnceMore, Problem> {
    let code = parse_code(code)?;
    let mut file = Edited::open::<HomeConfig>(config_path)?;
    let role = NewRole::again(config_path, &config.data, user)?;
    // A configuration that was written by hand or imported has no keys yet; one with edges has lost them.
    let secrets = role.as_owner(|| {
        if config.edges.is_empty() { Secrets::ensure(&config.data) } else { Secrets::load(&config.data) }
    })?;
    let (hostname, served) = pair_until_interrupted(&code, &secrets.link_key, &config.domains)?;
    if let Some(old) = goes(&hostname)? {
        file.remove_tables("edge", "name", &old);
    }
    let key = to_hex(&code.fingerprint);
    file.add_table("edge", &[("name", &hostname), ("address", &code.address), ("key", &key)]);
    role.finish(&file.text())?;
    Ok(PairedOnceMore { hostname, served })
}

/// The edge among those of the configuration that a pairing code is of.
///
/// # Errors
/// When it is no code.
pub fn edge_of<'c>(config: &'c HomeConfig, code: &str) -> Result<Option<&'c str>, Problem> {
    let code = parse_code(code)?;
    let pin = config.edges.iter().find(|pin| pin.fingerprint() == Some(code.fingerprint));
    Ok(pin.map(|pin| pin.name.as_str()))
}

/// Whether a text is a pairing code.
///
/// # Errors
/// When it is none, with what to do.
pub fn check_code(text: &str) -> Result<(), Problem> {
    parse_code(text).map(drop)
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
    let stream = dialled.map_err(|error| not_reached(&error, code))?;
    let proof = Proof::new(&code.secret, &stream.peer_spki, key.spki());
    let request = PairingRequest { proof, domains: domains.to_vec() };
    let (frames, queue) = link_session::frame_queue();
    frames.send(Frame::Pair(request));
    let writing = tokio::spawn(link_session::write_frames(stream.writer, queue));
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

/// What a newcomer has forgotten most likely, by how the edge was not reached.
fn not_reached(error: &LinkTransportError, code: &PairingCode) -> Problem {
    match error {
        LinkTransportError::Resolve { address, .. } => {
            let (host, _) = address.rsplit_once(':').unwrap_or((address, ""));
            Problem::failed(
                format!("the name of the edge, {host}, has no address in DNS, or DNS does not answer here"),
                format!(
                    "give {host} an A or AAAA record with the edge's address and try again in some minutes; or set the \
                     edge up with --link-address ADDRESS:PORT; 'getent hosts {host}' shows what this host finds"
                ),
            )
        }
        LinkTransportError::AnotherKey { .. } => Problem::failed(
            format!("can't pair: {error}"),
            "the code is of another edge, or of one that was set up anew since: make one on that host with \
             'postern edge pair', and see that the name leads to it",
        ),
        _ => Problem::failed(
            format!("can't reach the edge: {error}"),
            format!(
                "check that 'postern edge run' is running and that {0} (UDP or TCP) is open there; if this host has \
                 the rules of 'postern firewall home', load them once more with '--edge {0}'",
                code.address
            ),
        ),
    }
}

fn edge_text(hostname: &str, code: &PairingCode) -> String {
    format!(
        "[[edge]]\nname = {}\naddress = {}\nkey = \"{}\"\n",
        config::quoted(hostname),
        config::quoted(&code.address),
        to_hex(&code.fingerprint)
    )
}

fn config_text(arguments: &SetupArguments) -> String {
    use std::fmt::Write as _;
    let quoted =
        |items: Vec<String>| items.iter().map(|item| config::quoted(item)).collect::<Vec<_>>().join(", ");
    let addresses = |list: &[SocketAddr]| quoted(list.iter().map(ToString::to_string).collect());
    let mut text = format!(
        "# Postern, role Home. Every key and its default: configuration.md, with the package in /usr/share/doc/postern/book\n\
         domains = [{}]\ndata = {}\noutbound = {}\n",
        quoted(arguments.domain.iter().map(ToString::to_string).collect()),
        config::quoted(&files::whole(&arguments.data).display().to_string()),
        config::quoted(&arguments.outbound),
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
