//! `postern edge setup` and `postern edge pair`.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use daemon::config::{self, Checked as _};
use daemon::files;
use daemon::json_file;
use daemon::new_role::NewRole;
use daemon::owner;
use daemon::print;
use daemon::problem::Problem;
use mail::Domain;
use mail::UnixTime;
use net::link_key::LinkKey;
use serde_json::json;

use super::{homes, pairing};
use crate::config::EdgeConfig;

/// What a new Edge is to be like.
#[derive(Debug, Clone)]
pub struct SetupArguments {
    /// This host's name, as MX records will name it.
    pub hostname: String,
    /// The configuration file to write.
    pub config: PathBuf,
    /// Where keys and sealed mail go.
    pub data: PathBuf,
    /// Addresses for SMTP; none for port 25 on every address.
    pub smtp: Vec<SocketAddr>,
    /// Addresses for the link, UDP and TCP; none for port 443 on every address.
    pub link: Vec<SocketAddr>,
    /// Where Home finds the link; without one the host name and the link's port.
    pub link_address: Option<String>,
    /// Name servers to ask; none for those of the system.
    pub dns: Vec<SocketAddr>,
    /// The user that the daemon runs as; made if he is not there.
    pub user: Option<String>,
}

impl SetupArguments {
    /// The configuration that they come to.
    ///
    /// # Errors
    /// When they can't be.
    pub fn parsed(&self) -> Result<EdgeConfig, Problem> {
        let parsed: EdgeConfig = toml::from_str(&config_text(self))
            .map_err(|error| Problem::setup(error.message(), "correct the arguments"))?;
        parsed.check().map_err(|what| Problem::setup(what, "correct the arguments"))?;
        Ok(parsed)
    }
}

fn key_path(data: &Path) -> PathBuf {
    data.join("link-key.pem")
}

fn address_path(data: &Path) -> PathBuf {
    data.join("link-address.json")
}

/// Reads the link key.
///
/// # Errors
/// When it is not there, can't be read, or is no key.
pub fn load_key(data: &Path) -> Result<LinkKey, Problem> {
    let path = key_path(data);
    let pem = files::read_text(&path, "run 'postern edge setup', or restore the key file from a backup")?;
    LinkKey::from_pem(&pem).map_err(|error| {
        Problem::setup(
            format!("{}: {error}", path.display()),
            "restore the file, or remove it and set up and pair anew",
        )
    })
}

/// Makes keys and configuration, and gives the first pairing code. Nothing is left of it when a step fails.
///
/// # Errors
/// When there is a configuration already, the arguments can't be, or a file can't be written.
pub fn setup(arguments: &SetupArguments, now: UnixTime) -> Result<String, Problem> {
    let role = prepare(arguments)?;
    let code = role.as_owner(|| code_of(role.data(), &arguments.hostname, &[], now))?;
    role.finish(&config_text(arguments))?;
    Ok(code)
}

/// As [`setup`] without a pairing code.
///
/// # Errors
/// As [`setup`].
pub fn setup_quietly(arguments: &SetupArguments) -> Result<(), Problem> {
    prepare(arguments)?.finish(&config_text(arguments))
}

/// Checks the configuration, and makes the data directory with the link key and the address that homes dial.
fn prepare(arguments: &SetupArguments) -> Result<NewRole, Problem> {
    let parsed = arguments.parsed()?;
    let again = "for a new pairing code use 'postern edge pair'; to begin anew remove the file first";
    let role = NewRole::begin(&arguments.config, &arguments.data, arguments.user.as_deref(), again)?;
    let link_port = parsed.listen.link.first().map_or(443, SocketAddr::port);
    let address =
        arguments.link_address.clone().unwrap_or_else(|| format!("{}:{link_port}", arguments.hostname));
    role.as_owner(|| {
        let path = key_path(role.data());
        if !path.exists() {
            let key = LinkKey::generate().map_err(|error| Problem::failed(error, ""))?;
            files::replace(&path, key.pem().as_bytes())
                .map_err(|error| files::write_problem(&path, &error))?;
        }
        let path = address_path(role.data());
        json_file::replace_plain(&path, &address).map_err(|error| files::write_problem(&path, &error))
    })?;
    Ok(role)
}

/// Arguments of `postern edge pair`.
#[derive(Debug, Clone, clap::Args)]
pub struct PairArguments {
    /// A domain that the home may serve; may be given several times (default: any that no other home has)
    #[arg(long)]
    pub domain: Vec<Domain>,
    /// The configuration file
    #[arg(long, default_value = "/etc/postern/edge.toml")]
    pub config: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints a new pairing code, as text and, on a terminal, as a QR code.
///
/// # Errors
/// When the configuration can't be read, or the code can't be made; see [`new_code`].
pub fn pair(arguments: &PairArguments, now: UnixTime) -> Result<(), Problem> {
    let config: EdgeConfig = config::load(&arguments.config)?;
    let code = new_code(&config, &arguments.domain, now)?;
    let held = |domain: &Domain| homes::holder_on_disk(&config.data.join("homes"), domain);
    let held: Vec<_> = arguments.domain.iter().filter_map(|domain| Some((domain, held(domain)?))).collect();
    if arguments.json {
        let held: Vec<_> =
            held.iter().map(|(domain, home)| json!({ "domain": domain, "home": home })).collect();
        let (domains, secs) = (&arguments.domain, pairing::CODE_SECS);
        let told = json!({ "code": code, "good_for_seconds": secs, "domains": domains, "held": held });
        print::value(&told, true);
        return Ok(());
    }
    print_code(&code, &arguments.domain);
    for (domain, home) in held {
        println!(
            "{domain} is served by home {home}, which keeps it until you type: postern edge homes replace"
        );
    }
    Ok(())
}

/// Prints a pairing code, as text and, on a terminal, as a QR code.
pub fn print_code(code: &str, domains: &[Domain]) {
    println!("Pairing code, good once and for one hour; an older one is dead now:");
    println!();
    println!("{code}");
    println!();
    let own = domains.iter().map(|domain| format!("--domain {domain}")).collect::<Vec<_>>().join(" ");
    let own = if own.is_empty() { "--domain YOUR.DOMAIN" } else { &own };
    println!("At home:  postern home setup {own} CODE");
    if std::io::stdout().is_terminal()
        && let Ok(qr) = qrcode::QrCode::new(code.as_bytes())
    {
        println!("{}", qr.render::<qrcode::render::unicode::Dense1x2>().quiet_zone(true).build());
    }
}

/// Makes a new pairing code for these domains, or for any that is free; an older one is dead then.
///
/// # Errors
/// When the link key can't be read, or the code can't be written where the daemon finds it.
pub fn new_code(config: &EdgeConfig, domains: &[Domain], now: UnixTime) -> Result<String, Problem> {
    owner::as_owner_of(&config.data, || code_of(&config.data, &config.hostname, domains, now))
}

fn code_of(data: &Path, hostname: &str, domains: &[Domain], now: UnixTime) -> Result<String, Problem> {
    let key = load_key(data)?;
    let address =
        json_file::read::<String>(&address_path(data))?.unwrap_or_else(|| format!("{hostname}:443"));
    Ok(pairing::new_code(data, &key, &address, domains, now)?.to_string())
}

fn config_text(arguments: &SetupArguments) -> String {
    use std::fmt::Write as _;
    let list = |addresses: &[SocketAddr]| {
        addresses.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!(
        "# Postern, role Edge. Every key and its default: configuration.md, with the package in /usr/share/doc/postern/book\n\
         hostname = {}\ndata = {}\n",
        config::quoted(&arguments.hostname),
        config::quoted(&files::whole(&arguments.data).display().to_string())
    );
    if !(arguments.smtp.is_empty() && arguments.link.is_empty()) {
        text.push_str("\n[listen]\n");
    }
    for (key, addresses) in [("smtp", &arguments.smtp), ("link", &arguments.link)] {
        if !addresses.is_empty() {
            let _ = writeln!(text, "{key} = [{}]", list(addresses));
        }
    }
    if !arguments.dns.is_empty() {
        let _ = write!(text, "\n[dns]\nservers = [{}]\n", list(&arguments.dns));
    }
    text
}
