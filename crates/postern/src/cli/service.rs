//! The role as a service: its unit is enabled and started, where systemd runs; a unit is written where no package brought one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use daemon::files;
use daemon::owner;
use daemon::problem::{self, Problem};

/// Where units are, first those of the operator.
const PLACES: [&str; 4] =
    ["etc/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"];
/// There while systemd runs the host (sd_booted(3)).
const RUNS: &str = "run/systemd/system";
const EDGE_UNIT: &str = include_str!("../../../../docs/systemd/postern-edge.service");
const HOME_UNIT: &str = include_str!("../../../../docs/systemd/postern-home.service");
const FIREWALL_UNIT: &str = include_str!("../../../../docs/systemd/postern-firewall.service");
/// How long a daemon may take until it answers.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(20);

/// The services of a host.
pub(super) struct Services<'a> {
    /// Its file system.
    root: &'a Path,
    /// Who is told what to do.
    systemctl: &'a Path,
    /// The program that a unit starts.
    program: PathBuf,
}

/// What became of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Started {
    /// It runs, and will after a restart of the host.
    Yes,
    /// systemd does not run here, or this is not root.
    NotHere,
}

impl Services<'_> {
    /// Those of this host.
    pub(super) fn here() -> Services<'static> {
        let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/local/bin/postern"));
        Services { root: Path::new("/"), systemctl: Path::new("systemctl"), program }
    }

    /// Enables and starts a role's service, as this user, who has this data; one that runs already is started anew, since its
    /// configuration may have changed.
    ///
    /// # Errors
    /// When systemd refuses, with where to read why. What was set up stays.
    pub(super) fn start(&self, role: &str, user: &str, data: &Path) -> Result<Started, Problem> {
        if !self.root.join(RUNS).is_dir() || !owner::is_root() {
            return Ok(Started::NotHere);
        }
        let unit = format!("postern-{role}.service");
        if !self.has(&unit) {
            self.write(role, &unit, (user, data))?;
        }
        self.tell(&["enable", &unit], &unit)?;
        self.tell(&["restart", &unit], &unit)?;
        Ok(Started::Yes)
    }

    /// Has the rules of `postern firewall` loaded at boot. `false`: systemd does not run here.
    ///
    /// # Errors
    /// When the unit can't be written, or systemd refuses it.
    pub(super) fn enable_firewall(&self) -> Result<bool, Problem> {
        const UNIT: &str = "postern-firewall.service";
        if !self.root.join(RUNS).is_dir() || !owner::is_root() {
            return Ok(false);
        }
        if !self.has(UNIT) {
            self.put(UNIT, FIREWALL_UNIT)?;
        }
        self.tell(&["enable", UNIT], UNIT)?;
        Ok(true)
    }

    fn has(&self, unit: &str) -> bool {
        PLACES.iter().any(|place| self.root.join(place).join(unit).exists())
    }

    fn write(&self, role: &str, unit: &str, (user, data): (&str, &Path)) -> Result<(), Problem> {
        let template = if role == "edge" { EDGE_UNIT } else { HOME_UNIT };
        let program = self.program.display();
        let text = template
            .replace("ExecStart=/usr/local/bin/postern", &format!("ExecStart={program}"))
            .replace("User=postern\n", &format!("User={user}\n"));
        // The rest of the system is read-only to it.
        let own = format!("ReadWritePaths={}\n\n[Install]", data.display());
        let text = if data == Path::new("/var/lib/postern").join(role) {
            text
        } else {
            text.replace("\n[Install]", &own)
        };
        self.put(unit, &text)
    }

    fn put(&self, unit: &str, text: &str) -> Result<(), Problem> {
        let path = self.root.join("etc/systemd/system").join(unit);
        files::replace(&path, text.as_bytes()).map_err(|error| files::write_problem(&path, &error))?;
        // Private files are the rule for what is written here; a unit is read by everybody.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&path, open).map_err(|error| files::write_problem(&path, &error))?;
        self.tell(&["daemon-reload"], unit)
    }

    fn tell(&self, words: &[&str], unit: &str) -> Result<(), Problem> {
        let advice = format!("see why: journalctl -u {unit} -n 20; then type this again, which goes on here");
        let ran = Command::new(self.systemctl).args(words).output();
        let ran = ran.map_err(|error| {
            Problem::setup(
                format!("systemctl can't be run: {}", problem::io_words(&error)),
                "start the service by hand, or give --no-start",
            )
        })?;
        if ran.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&ran.stderr);
        let said = said.lines().next().unwrap_or("it did not say why");
        Err(Problem::failed(format!("systemctl {}: {said}", words.join(" ")), advice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    /// A host with a systemctl that writes down what it is told, and refuses what `refuses` says.
    fn host(dir: &Path, refuses: &str) -> PathBuf {
        std::fs::create_dir_all(dir.join(RUNS)).unwrap();
        std::fs::create_dir_all(dir.join("etc/systemd/system")).unwrap();
        let script = dir.join("systemctl");
        let text = format!(
            "#!/bin/sh\necho \"$*\" >> {0}/told\nif [ \"$1\" = \"{refuses}\" ]; then echo 'Job failed.' >&2; exit 1; fi\n",
            dir.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        script
    }

    #[test]
    fn a_unit_is_written_where_there_is_none_and_left_alone_where_a_package_brought_one() {
        if !owner::is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let systemctl = host(dir.path(), "nothing");
        let services =
            Services { root: dir.path(), systemctl: &systemctl, program: PathBuf::from("/opt/postern") };
        assert_eq!(
            services
                .start("edge", "mail", Path::new("/srv/mail"))
                .unwrap_or_else(|problem| panic!("{problem}")),
            Started::Yes
        );
        let path = dir.path().join("etc/systemd/system/postern-edge.service");
        let unit = std::fs::read_to_string(&path).unwrap();
        assert!(unit.contains("ExecStart=/opt/postern edge run\n") && unit.contains("User=mail\n"), "{unit}");
        assert!(unit.contains("\nReadWritePaths=/srv/mail\n\n[Install]\n"), "{unit}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        let told = || std::fs::read_to_string(dir.path().join("told")).unwrap();
        assert_eq!(told(), "daemon-reload\nenable postern-edge.service\nrestart postern-edge.service\n");
        assert!(services.enable_firewall().unwrap_or_else(|problem| panic!("{problem}")));
        assert!(dir.path().join("etc/systemd/system/postern-firewall.service").exists());
        assert!(told().ends_with("daemon-reload\nenable postern-firewall.service\n"));
        std::fs::write(&path, "of a package").unwrap();
        assert!(services.start("edge", "mail", Path::new("/srv/mail")).is_ok());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "of a package");
        assert_eq!(told().matches("daemon-reload").count(), 2);
    }

    #[test]
    fn a_service_that_does_not_start_is_told_with_where_to_read_why_and_no_systemd_is_no_fault() {
        if !owner::is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let systemctl = host(dir.path(), "restart");
        let services =
            Services { root: dir.path(), systemctl: &systemctl, program: PathBuf::from("/opt/postern") };
        let data = Path::new("/var/lib/postern/home");
        let said = services.start("home", "postern", data).unwrap_err().to_string();
        assert!(said.starts_with("systemctl restart postern-home.service: Job failed."), "{said}");
        assert!(
            said.contains("journalctl -u postern-home.service") && said.contains("goes on here"),
            "{said}"
        );
        std::fs::remove_dir(dir.path().join(RUNS)).unwrap();
        assert_eq!(services.start("home", "postern", data).ok(), Some(Started::NotHere));
        assert_eq!(services.enable_firewall().ok(), Some(false));
    }
}
