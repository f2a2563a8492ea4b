//! Whose a role's data is. What rests in a data directory is its owner's alone, whoever types the command: root, who
//! sets up, adds users or starts a daemon by hand, becomes that owner first, so that the service finds nothing that it
//! can't write. Not a sandbox: a process that is not root stays who it is.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::problem::Problem;

/// The user that the systemd units name.
pub const SERVICE_USER: &str = "postern";

/// A user of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    name: String,
    user: Uid,
    group: Gid,
}

impl Owner {
    /// The owner of a file or directory.
    ///
    /// # Errors
    /// When there is none such, or it can't be looked at.
    pub fn of(path: &Path) -> io::Result<Self> {
        let about = std::fs::metadata(path)?;
        Ok(Self::known(Uid::from_raw(about.uid()), Gid::from_raw(about.gid())))
    }

    /// The effective user and group of this thread.
    pub fn me() -> Self {
        Self::known(rustix::process::geteuid(), rustix::process::getegid())
    }

    fn known(user: Uid, group: Gid) -> Self {
        let known = unistd::User::from_uid(user.as_raw().into()).ok().flatten();
        Self { name: known.map_or_else(|| user.as_raw().to_string(), |user| user.name), user, group }
    }

    /// A user by name; `None` when this machine has no such user.
    ///
    /// # Errors
    /// When the machine's users can't be looked up.
    pub fn named(name: &str) -> Result<Option<Self>, Problem> {
        let found = unistd::User::from_name(name).map_err(|error| {
            Problem::failed(format!("can't look up the user {name}: {error}"), "see /etc/nsswitch.conf")
        })?;
        Ok(found.map(|user| Self {
            name: user.name,
            user: Uid::from_raw(user.uid.as_raw()),
            group: Gid::from_raw(user.gid.as_raw()),
        }))
    }

    /// The name, or the number of a user without one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of the group, for `chown`.
    pub fn group(&self) -> u32 {
        self.group.as_raw()
    }

    /// Gives this user a file or directory.
    ///
    /// # Errors
    /// When the caller is not root.
    pub fn take(&self, path: &Path) -> io::Result<()> {
        std::os::unix::fs::lchown(path, Some(self.user.as_raw()), Some(self.group.as_raw()))
    }

    /// Whether this process works as this user already, or is not root and so can't become him.
    fn is_as_good_as_us(&self) -> bool {
        !is_root() || self.user == Uid::ROOT
    }

    /// Does something as this user. Only the thread that does it changes; what it makes is this user's.
    ///
    /// # Errors
    /// When root can't become him; never for others, who stay themselves.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Problem> {
        if self.is_as_good_as_us() {
            return Ok(work());
        }
        let done = std::thread::scope(|scope| {
            let inside = scope.spawn(|| self.become_in_this_thread().map(|()| work()));
            inside.join()
        });
        let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        done.map_err(|error| self.problem(&error))
    }

    /// Makes the whole process this user, which may still open ports below 1024. To be called before there is a
    /// second thread. Gives whether anything changed.
    ///
    /// # Errors
    /// When root can't become him.
    pub fn stay(&self) -> Result<bool, Problem> {
        if self.is_as_good_as_us() {
            return Ok(false);
        }
        self.become_with_ports().map_err(|error| self.problem(&error))?;
        Ok(true)
    }

    fn become_with_ports(&self) -> io::Result<()> {
        rustix::thread::set_keep_capabilities(true)?;
        self.become_in_this_thread()?;
        let ports = CapabilitySet::NET_BIND_SERVICE;
        rustix::thread::set_capabilities(
            None,
            CapabilitySets { effective: ports, permitted: ports, inheritable: ports },
        )?;
        // So that the ports survive the program's beginning anew.
        rustix::thread::configure_capability_in_ambient_set(ports, true)?;
        Ok(())
    }

    fn become_in_this_thread(&self) -> io::Result<()> {
        rustix::thread::set_thread_groups(&self.groups())?;
        rustix::thread::set_thread_res_gid(self.group, self.group, self.group)?;
        rustix::thread::set_thread_res_uid(self.user, self.user, self.user)?;
        Ok(())
    }

    /// All groups that the user is in; a user without a name is in his own only.
    fn groups(&self) -> Vec<Gid> {
        let group = unistd::Gid::from_raw(self.group.as_raw());
        let listed = std::ffi::CString::new(self.name.as_str())
            .ok()
            .filter(|_| unistd::User::from_name(&self.name).is_ok_and(|user| user.is_some()))
            .and_then(|name| unistd::getgrouplist(&name, group).ok());
        listed.map_or_else(
            || vec![self.group],
            |groups| groups.iter().map(|group| Gid::from_raw(group.as_raw())).collect(),
        )
    }

    fn problem(&self, error: &io::Error) -> Problem {
        Problem::failed(
            format!("can't become the user {}, whose the data is: {error}", self.name),
            format!("run it as that user: sudo -u {} postern …", self.name),
        )
    }
}

/// Whether this process works as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Does something with a role's data as its owner; without data, or not as root, as whoever we are.
///
/// # Errors
/// When root can't become the owner, or as the work says.
pub fn as_owner_of<T: Send>(
    data: &Path,
    work: impl FnOnce() -> Result<T, Problem> + Send,
) -> Result<T, Problem> {
    match Owner::of(data) {
        Ok(owner) => owner.run(work)?,
        Err(_) => work(),
    }
}

/// A user that was made just now.
#[derive(Debug)]
pub struct MadeUser {
    name: String,
    with_his_group: bool,
}

impl MadeUser {
    /// Takes him away again, after a set-up that failed.
    pub fn remove(&self) {
        let _ = quiet("userdel").arg(&self.name).status();
        // Some machines' userdel does it, some do not.
        if self.with_his_group {
            let _ = quiet("groupdel").arg(&self.name).status();
        }
    }
}

/// Makes a user for a service: without a home, a password or a shell.
///
/// # Errors
/// When the machine has no `useradd`, or it refuses.
pub fn make_service_user(name: &str) -> Result<MadeUser, Problem> {
    let advice = format!(
        "make it yourself ('useradd --system {name}'), or name another with --user; '--user root' runs the \
         daemon as root"
    );
    let with_his_group = !unistd::Group::from_name(name).is_ok_and(|group| group.is_some());
    let group = if with_his_group { &["--user-group"][..] } else { &["--gid", name] };
    let output = quiet("useradd")
        .args(["--system", "--no-create-home", "--home-dir", "/var/lib/postern"])
        .args(group)
        .args(["--shell", "/usr/sbin/nologin", name])
        .stderr(Stdio::piped())
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(MadeUser { name: name.to_owned(), with_his_group }),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Err(Problem::setup(format!("can't make the user {name}: {said}"), advice))
        }
        Err(error) => Err(Problem::setup(format!("can't make the user {name}: useradd: {error}"), advice)),
    }
}

/// Where Debian keeps it is not in everybody's path.
fn quiet(program: &str) -> Command {
    let whole = Path::new("/usr/sbin").join(program);
    let mut command = if whole.exists() { Command::new(whole) } else { Command::new(program) };
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody() -> Owner {
        Owner::named("nobody").unwrap().expect("every machine has it")
    }

    #[test]
    fn a_user_is_found_by_name_and_by_what_he_owns() {
        assert_eq!(Owner::named("no-such-user-here").unwrap(), None);
        let root = Owner::of(Path::new("/")).unwrap();
        assert_eq!((root.name(), root.group()), ("root", 0));
        assert!(Owner::of(Path::new("/no/such/place")).is_err());
    }

    /// Symptom: mail was answered 250 and could not be written. Cause: `user add`, typed by root, had made the mailbox.
    #[test]
    fn what_root_makes_for_another_user_is_his_and_root_stays_root() {
        if !is_root() {
            // Nobody else can become another: then everything is done as whoever we are.
            assert_eq!(nobody().run(rustix::process::geteuid).unwrap(), rustix::process::geteuid());
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("place");
        std::fs::create_dir(&place).unwrap();
        let nobody = nobody();
        nobody.take(&place).unwrap();
        std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
        let made = place.join("made");
        as_owner_of(&place, || {
            std::fs::write(&made, "x").map_err(|error| Problem::failed(error, ""))?;
            Ok(())
        })
        .unwrap_or_else(|problem| panic!("{problem}"));
        assert_eq!(Owner::of(&made).unwrap(), nobody);
        assert!(is_root());
        // And he gets nothing that is root's.
        std::fs::write(dir.path().join("roots"), "x").unwrap();
        std::fs::set_permissions(
            dir.path().join("roots"),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
        let read = nobody.run(|| std::fs::read(dir.path().join("roots")).map_err(|error| error.kind()));
        assert_eq!(read.unwrap_or_else(|p| panic!("{p}")), Err(io::ErrorKind::PermissionDenied));
    }
}
