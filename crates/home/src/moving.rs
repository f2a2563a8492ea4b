//! `postern home move`: Home goes to another machine, whole. What is packed is everything; from then on the old one does not start
//! any more, so that old and new never both take mail.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use daemon::clock::{Clock as _, SystemClock};
use daemon::config;
use daemon::control::{self, DataLock};
use daemon::edited::Edited;
use daemon::files;
use daemon::moved;
use daemon::new_role::NewRole;
use daemon::owner;
use daemon::problem::{self, Problem};
use daemon::process;
use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, EntryType, Header};

use crate::config::HomeConfig;

/// What the archive has for the configuration, and for what lies in the data directory.
const CONFIG: &str = "home.toml";
const DATA: &str = "data";
/// The last of it: how many files and octets there are. An archive without it was cut short.
const WHOLE: &str = "whole.json";
/// What is of this run of the daemon alone.
const LEFT: [&str; 4] = ["control.sock", "daemon.lock", "drafts", moved::MARK];
/// Octets of the configuration that are read.
const CONFIG_OCTETS_MAX: u64 = 1 << 20;

/// Arguments of `postern home move out`.
#[derive(Debug, Clone, clap::Args)]
pub struct OutArguments {
    /// The file to pack Home into; - for standard output, as into ssh
    pub file: PathBuf,
    /// The configuration file of Home
    #[arg(long, default_value = "/etc/postern/home.toml")]
    pub config: PathBuf,
}

/// Arguments of `postern home move in`.
#[derive(Debug, Clone, clap::Args)]
pub struct InArguments {
    /// The file that Home was packed into; - for standard input
    pub file: PathBuf,
    /// The configuration file to write
    #[arg(long, default_value = "/etc/postern/home.toml")]
    pub config: PathBuf,
    /// Where the data goes
    #[arg(long, default_value = "/var/lib/postern/home")]
    pub data: PathBuf,
    /// The user that the daemon runs as; made if he is not there (default for root: postern)
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

/// What is in an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    files: u64,
    octets: u64,
}

/// Packs Home, and says in its data that it has left.
///
/// # Errors
/// When Home runs, was moved already, or something can't be read or written: then it stays where it is.
pub fn out(arguments: &OutArguments) -> Result<(), Problem> {
    let config: HomeConfig = config::load(&arguments.config)?;
    let text = files::read_text(&arguments.config, "")?;
    let _lock = alone(&config.data)?;
    moved::still_here(&config.data)?;
    let problem = |error: io::Error| files::write_problem(&arguments.file, &error);
    let packed = if arguments.file.as_os_str() == "-" {
        pack(io::stdout().lock(), &text, &config.data)?
    } else {
        // It has keys: nobody else reads it.
        let file = File::options().write(true).create_new(true).mode(0o600).open(&arguments.file);
        let file = file.map_err(problem)?;
        let packed = pack(&file, &text, &config.data);
        if packed.is_err() {
            let _ = std::fs::remove_file(&arguments.file);
        }
        let packed = packed?;
        file.sync_all().map_err(problem)?;
        packed
    };
    owner::as_owner_of(&config.data, || moved::mark(&config.data, SystemClock.now()))?;
    eprintln!(
        "Packed: {} files, {} octets. Home does not start here any more.\nOn the new machine:  postern home move in {}\n\
         It has the keys of the house: move it over ssh, and remove it afterwards. Was it a mistake? postern home move back",
        packed.files,
        packed.octets,
        arguments.file.display()
    );
    for path in config.files_elsewhere() {
        eprintln!(
            "Not packed, since it lies outside of {}; take it along: {}",
            config.data.display(),
            path.display()
        );
    }
    Ok(())
}

/// Unpacks Home. Nothing is left of it when a step fails.
///
/// # Errors
/// When there is a Home here already, the archive was cut short or is none, or something can't be written.
pub fn arrive(arguments: &InArguments) -> Result<(), Problem> {
    let opened: Box<dyn Read + Send> = if arguments.file.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        let file = File::open(&arguments.file);
        Box::new(file.map_err(|error| files::read_problem(&arguments.file, &error, "name the file"))?)
    };
    if arguments.data.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Problem::setup(
            format!("{} is not empty: there is a home already", arguments.data.display()),
            "name another directory with --data, or move what is there away",
        ));
    }
    let again = "there is a home already; to take its place remove the file and its data first";
    let role = NewRole::begin(&arguments.config, &arguments.data, arguments.user.as_deref(), again)?;
    let data = role.data().to_owned();
    let text = role.as_owner(|| unpack(opened, &data))?;
    let text = with_data(&text, &arguments.config, &data)?;
    config::parse::<HomeConfig>(&arguments.config, &text)?;
    let config_path = role.config().to_owned();
    role.finish(&text)?;
    println!("Home is here: {}", config_path.display());
    println!("Start it:    {}", process::how_to_start("home", &config_path));
    Ok(())
}

/// Home stays after all: what was packed must not be started.
///
/// # Errors
/// When it was not moved, or the mark can't be removed.
pub fn back(config_path: &Path) -> Result<(), Problem> {
    let config: HomeConfig = config::load(config_path)?;
    if !moved::unmark(&config.data)? {
        return Err(Problem::setup("this home was not moved away", "start it"));
    }
    println!("Home may start here again. Never start what was packed: both would take the same mail.");
    Ok(())
}

/// Nobody else changes the data meanwhile.
fn alone(data: &Path) -> Result<DataLock, Problem> {
    owner::as_owner_of(data, || control::try_lock(data))?.ok_or_else(|| {
        Problem::setup(
            "Home runs: what came in while it is packed would stay here",
            "stop it first: systemctl stop postern-home",
        )
    })
}

/// The configuration, with the data where it is now.
fn with_data(text: &str, config: &Path, data: &Path) -> Result<String, Problem> {
    let mut file = Edited::of(config, text)?;
    file.set("data", &data.display().to_string());
    Ok(file.text())
}

fn pack(to: impl Write, text: &str, data: &Path) -> Result<Count, Problem> {
    let mut archive = Builder::new(to);
    let mut count = Count::default();
    let failed = |error: io::Error| {
        Problem::failed(format!("Home can't be packed: {}", problem::io_words(&error)), "it stays as it was")
    };
    add(&mut archive, CONFIG, text.as_bytes()).map_err(failed)?;
    let mut waiting = vec![PathBuf::new()];
    while let Some(inside) = waiting.pop() {
        let mut entries: Vec<_> =
            data.join(&inside).read_dir().and_then(Iterator::collect::<io::Result<_>>).map_err(failed)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            if inside.as_os_str().is_empty() && LEFT.iter().any(|left| *left == name) {
                continue;
            }
            let (path, at) = (entry.path(), inside.join(&name));
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                archive.append_dir(Path::new(DATA).join(&at), &path).map_err(failed)?;
                waiting.push(at);
            } else if kind.is_file() {
                archive.append_path_with_name(&path, Path::new(DATA).join(&at)).map_err(failed)?;
                count.files += 1;
                count.octets += entry.metadata().map_err(failed)?.len();
            }
        }
    }
    let whole = serde_json::to_vec(&count).unwrap_or_default();
    add(&mut archive, WHOLE, &whole).map_err(failed)?;
    archive.into_inner().and_then(|mut to| to.flush()).map_err(failed)?;
    Ok(count)
}

fn add(archive: &mut Builder<impl Write>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o600);
    header.set_entry_type(EntryType::Regular);
    archive.append_data(&mut header, name, content)
}

/// Gives the configuration. What is not a file or a directory below the data is refused.
fn unpack(from: impl Read, data: &Path) -> Result<String, Problem> {
    let failed = |error: io::Error| {
        Problem::failed(
            format!("what was packed can't be read or written: {}", problem::io_words(&error)),
            "pack it again with 'postern home move out', or make room",
        )
    };
    let cut = || Problem::setup("the archive is not whole", "pack it again with 'postern home move out'");
    let mut archive = Archive::new(from);
    archive.set_preserve_permissions(true);
    let (mut text, mut count, mut whole) = (None, Count::default(), None);
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let path = entry.path().map_err(failed)?.into_owned();
        if path == Path::new(CONFIG) {
            let mut read = String::new();
            (&mut entry).take(CONFIG_OCTETS_MAX).read_to_string(&mut read).map_err(failed)?;
            text = Some(read);
        } else if path == Path::new(WHOLE) {
            whole = serde_json::from_reader::<_, Count>(entry).ok();
        } else if let Ok(inside) = path.strip_prefix(DATA) {
            let kind = entry.header().entry_type();
            let plain = inside.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            if !plain || !(kind.is_file() || kind.is_dir()) {
                return Err(Problem::setup(
                    format!("{} is nothing that a home has", path.display()),
                    "take only what 'postern home move out' has packed",
                ));
            }
            if kind.is_file() {
                count.files += 1;
                count.octets += entry.size();
            }
            entry.unpack(data.join(inside)).map_err(failed)?;
        }
    }
    if whole != Some(count) {
        return Err(cut());
    }
    files::sync_below(data).map_err(failed)?;
    text.ok_or_else(cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path();
        std::fs::create_dir_all(data.join("mail/a")).unwrap();
        std::fs::create_dir(data.join("drafts")).unwrap();
        for (name, content) in
            [("link-key.pem", "key"), ("mail/a/box.db", "mail"), ("drafts/x", "gone"), ("daemon.lock", "")]
        {
            std::fs::write(data.join(name), content).unwrap();
        }
        dir
    }

    fn unpacked(archive: &[u8]) -> (tempfile::TempDir, Result<String, Problem>) {
        let to = tempfile::tempdir().unwrap();
        let text = unpack(archive, to.path());
        (to, text)
    }

    #[test]
    fn what_is_packed_comes_out_whole_without_what_is_of_the_daemon_alone() {
        let from = home();
        let mut archive = Vec::new();
        let count =
            pack(&mut archive, "domains = []\n", from.path()).unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(count, Count { files: 2, octets: 7 });
        let (to, text) = unpacked(&archive);
        assert_eq!(text.unwrap_or_else(|problem| panic!("{problem}")), "domains = []\n");
        assert_eq!(std::fs::read_to_string(to.path().join("mail/a/box.db")).unwrap(), "mail");
        assert!(!to.path().join("drafts").exists() && !to.path().join("daemon.lock").exists());
    }

    #[test]
    fn what_the_configuration_names_outside_of_the_data_is_known() {
        let text = "domains = [\"a.example\"]\ndata = \"/d\"\n[tls]\ncertificate = \"/etc/c\"\nkey = \"/d/k\"\n\
            [smarthost]\naddress = \"mx.example.net:465\"\nuser = \"u\"\npassword_file = \"/etc/s\"\n\
            [foreign_edge]\nlisten = [\"127.0.0.1:4465\"]\nuser = \"u\"\npassword_file = \"/etc/f\"\n\
            [[filter]]\nkind = \"rspamd\"\naddress = \"h:1\"\npassword_file = \"/etc/r\"\n";
        let config: HomeConfig = toml::from_str(text).unwrap();
        assert_eq!(config.files_elsewhere(), ["/etc/c", "/etc/s", "/etc/r", "/etc/f"].map(Path::new));
    }

    #[test]
    fn what_was_cut_short_is_not_taken_wherever_it_was_cut() {
        let from = home();
        let mut archive = Vec::new();
        pack(&mut archive, "domains = []\n", from.path()).unwrap_or_else(|problem| panic!("{problem}"));
        let end = archive.len() - 1024;
        for cut in (0..end).step_by(512) {
            assert!(unpacked(&archive[..cut]).1.is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn nothing_is_written_outside_and_no_link_is_made() {
        for (name, kind) in [("data/../../x", EntryType::Regular), ("data/x", EntryType::Symlink)] {
            let mut archive = Builder::new(Vec::new());
            let mut header = Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_size(0);
            if kind == EntryType::Symlink {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            archive.append(&header, &b""[..]).unwrap();
            let (to, text) = unpacked(&archive.into_inner().unwrap());
            assert!(text.unwrap_err().to_string().contains("nothing that a home has"), "{name}");
            assert_eq!(to.path().read_dir().unwrap().count(), 0);
        }
    }

    #[test]
    fn the_configuration_names_the_data_where_it_is_now() {
        let moved = |text: &str| {
            let text = with_data(text, Path::new("home.toml"), Path::new("/new"));
            text.unwrap_or_else(|problem| panic!("{problem}"))
        };
        let there = "domains = [\"a.example\"]\ndata = \"/old\" # here\n\n[queue]\nlifetime = \"5d\"\n";
        assert_eq!(moved(there), there.replace("/old", "/new"));
        assert!(moved("domains = []\n").contains("data = \"/new\"\n"));
    }
}
