//! A role that is being set up: its files, whose they are, and how they go away again when a step fails. What was there
//! before is never removed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::files;
use crate::owner::{self, MadeUser, Owner, SERVICE_USER};
use crate::problem::{self, Problem};

/// A directory of others' programs, like `/etc/postern`: to be read by all, as its neighbours.
const OPEN: u32 = 0o755;
const PRIVATE: u32 = 0o700;
/// The service reads its configuration by its group, and can't change it.
const FOR_THE_GROUP: u32 = 0o640;

/// A role whose configuration is not written yet. Dropped before [`NewRole::finish`], all that it made goes.
#[derive(Debug)]
pub struct NewRole {
    config: PathBuf,
    data: PathBuf,
    /// Whose the data is, when that is not whoever types the command.
    owner: Option<Owner>,
    made: Vec<Made>,
    /// What was in the data directory before.
    before: BTreeSet<OsString>,
    finished: bool,
}

#[derive(Debug)]
enum Made {
    User(MadeUser),
    Directory(PathBuf),
    File(PathBuf),
}

impl NewRole {
    /// Makes the service's user and the directories, and sees that the user gets there and that the configuration can
    /// be written. `user` is what `--user` says.
    ///
    /// # Errors
    /// When the configuration is there already (`again` says what to do then), or a step can't be done.
    pub fn begin(config: &Path, data: &Path, user: Option<&str>, again: &str) -> Result<Self, Problem> {
        if config.symlink_metadata().is_ok() {
            return Err(Problem::setup(format!("{} is there already", config.display()), again));
        }
        Self::open(config, data, user)
    }

    /// A role whose configuration is there, written by hand or imported; its data may be missing. Data that is there keeps
    /// its owner.
    ///
    /// # Errors
    /// When the data or the configuration can't be written.
    pub fn again(config: &Path, data: &Path, user: Option<&str>) -> Result<Self, Problem> {
        let there = Owner::of(data).ok().filter(|_| owner::is_root() && !names_in(data).is_empty());
        Self::open(config, data, user.or(there.as_ref().map(Owner::name)))
    }

    fn open(config: &Path, data: &Path, user: Option<&str>) -> Result<Self, Problem> {
        let mut role = Self {
            config: files::whole(config),
            data: files::whole(data),
            owner: None,
            made: Vec::new(),
            before: names_in(data),
            finished: false,
        };
        role.choose_owner(user)?;
        let (config, data) = (role.config.clone(), role.data.clone());
        role.make_directory(files::dir_of(&config), OPEN)?;
        // Before anything is spent that can't be had again, such as a pairing code.
        tempfile::NamedTempFile::new_in(files::dir_of(&config))
            .map_err(|error| files::write_problem(&config, &error))?;
        role.make_directory(&data, PRIVATE)?;
        role.see_that_the_owner_gets_there()?;
        Ok(role)
    }

    /// The data directory, as a whole path: the daemon may be started from anywhere.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The configuration file, as a whole path.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Does something with the data as its owner.
    ///
    /// # Errors
    /// As the work says, or when root can't become the owner.
    pub fn as_owner<T: Send>(&self, work: impl FnOnce() -> Result<T, Problem> + Send) -> Result<T, Problem> {
        match &self.owner {
            Some(owner) => owner.run(work)?,
            None => work(),
        }
    }

    /// Writes the configuration, which the owner of the data may read; from now on all stays.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn finish(mut self, text: &str) -> Result<(), Problem> {
        let is_new = !self.config.exists();
        let problem = |error: std::io::Error| files::write_problem(&self.config, &error);
        files::replace(&self.config, text.as_bytes()).map_err(problem)?;
        if is_new {
            self.made.push(Made::File(self.config.clone()));
        }
        if let Some(owner) = &self.owner {
            self.let_read(owner)?;
        }
        self.finished = true;
        Ok(())
    }

    /// A role whose configuration is written already, by somebody who was stopped before its owner could read it.
    ///
    /// # Errors
    /// When the owner can't be let read it.
    pub fn go_on(mut self) -> Result<(), Problem> {
        if let Some(owner) = &self.owner {
            self.let_read(owner)?;
        }
        self.finished = true;
        Ok(())
    }

    /// The service reads its configuration by its group.
    fn let_read(&self, owner: &Owner) -> Result<(), Problem> {
        let read = || owner.run(|| std::fs::read(&self.config));
        if read()?.is_ok() {
            return Ok(());
        }
        std::os::unix::fs::chown(&self.config, None, Some(owner.group()))
            .and_then(|()| std::fs::set_permissions(&self.config, Permissions::from_mode(FOR_THE_GROUP)))
            .map_err(|error| files::write_problem(&self.config, &error))?;
        read()?.map(drop).map_err(|error| {
            let what = format!("can't read {}: {}", self.config.display(), problem::io_words(&error));
            self.out_of_reach(Problem::setup(what, ""))
        })
    }

    /// Root sets up for the service's user, or for whom he names; whose data is there already stays its owner.
    fn choose_owner(&mut self, user: Option<&str>) -> Result<(), Problem> {
        if !owner::is_root() {
            return match user {
                Some(name) => Err(Problem::setup(
                    format!("only root can set up for the user {name}"),
                    "run this as root, or leave --user away: then the files are yours",
                )),
                None => Ok(()),
            };
        }
        let there = Owner::of(&self.data).ok().filter(|_| !self.before.is_empty());
        let name = user.unwrap_or_else(|| there.as_ref().map_or(SERVICE_USER, Owner::name));
        // What an older version set up as root is taken for a mistake, not for a wish.
        let name = if user.is_none() && name == "root" { SERVICE_USER } else { name }.to_owned();
        if there.is_some_and(|owner| owner.name() != name) {
            return Err(Problem::setup(
                format!("{} is there already and is not the user {name}'s", self.data.display()),
                format!("as root: chown -R {name}: {}; or name its owner with --user", self.data.display()),
            ));
        }
        if name == "root" {
            return Ok(());
        }
        let owner = match Owner::named(&name)? {
            Some(owner) => owner,
            None => {
                self.made.push(Made::User(owner::make_service_user(&name)?));
                let none = || Problem::failed(format!("the user {name} was made and is not there"), "");
                Owner::named(&name)?.ok_or_else(none)?
            }
        };
        self.owner = Some(owner);
        Ok(())
    }

    /// Makes a directory and those above it that are missing; the last one is the owner's when it is private.
    fn make_directory(&mut self, dir: &Path, mode: u32) -> Result<(), Problem> {
        let missing: Vec<&Path> = dir.ancestors().take_while(|place| !place.exists()).collect();
        for place in missing.iter().rev() {
            let mode = if *place == dir { mode } else { OPEN };
            make_as_it_is_to_be(place, mode).map_err(|error| files::write_problem(place, &error))?;
            self.made.push(Made::Directory((*place).to_owned()));
        }
        if mode != PRIVATE {
            return Ok(());
        }
        let given = self.owner.as_ref().map_or(Ok(()), |owner| owner.take(dir));
        given
            .and_then(|()| std::fs::set_permissions(dir, Permissions::from_mode(PRIVATE)))
            .map_err(|error| files::write_problem(dir, &error))
    }

    fn see_that_the_owner_gets_there(&mut self) -> Result<(), Problem> {
        let data = self.data.clone();
        let (data, config_dir) = (&data, files::dir_of(&self.config));
        let reached = self.as_owner(|| {
            tempfile::NamedTempFile::new_in(data).map_err(|error| files::write_problem(data, &error))?;
            std::fs::metadata(config_dir.join("."))
                .map_err(|error| files::read_problem(config_dir, &error, ""))
        });
        reached.map(drop).map_err(|problem| self.out_of_reach(problem))
    }

    fn out_of_reach(&self, problem: Problem) -> Problem {
        match &self.owner {
            None => problem,
            Some(owner) => Problem::setup(
                format!("the daemon is to run as the user {}, who can't: {}", owner.name(), problem.what()),
                "choose places that he gets to, as /etc/postern and /var/lib/postern, with --config and --data; \
                 or let the daemon run as root with --user root",
            ),
        }
    }
}

impl Drop for NewRole {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for name in names_in(&self.data).difference(&self.before) {
            let path = self.data.join(name);
            let _ = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        }
        for made in self.made.iter().rev() {
            let _ = match made {
                Made::User(user) => {
                    user.remove();
                    Ok(())
                }
                // Only an empty one: what somebody else put there meanwhile is his.
                Made::Directory(dir) => std::fs::remove_dir(dir),
                Made::File(path) => std::fs::remove_file(path),
            };
        }
    }
}

/// Makes a directory that has these rights from the moment it is there under its name: who is stopped in between, and types the
/// same again, would else find one that the service's user does not get into. Set by itself, the umask does not count.
fn make_as_it_is_to_be(place: &Path, mode: u32) -> std::io::Result<()> {
    let mut name = OsString::from(".");
    name.push(place.file_name().unwrap_or_default());
    name.push(".new");
    let unready = place.with_file_name(name);
    // What an earlier try left; one with something in it is not ours.
    let _ = std::fs::remove_dir(&unready);
    std::fs::create_dir(&unready)?;
    std::fs::set_permissions(&unready, Permissions::from_mode(mode))?;
    std::fs::rename(&unready, place)
}

fn names_in(dir: &Path) -> BTreeSet<OsString> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whom tests set up for: whoever runs them.
    fn me() -> Option<&'static str> {
        owner::is_root().then_some("root")
    }

    /// Symptom: a set-up that was killed left /etc/postern closed to the service's user, and each later one said that he can't
    /// get there. Cause: the directory was made under the umask first and opened afterwards.
    #[test]
    fn a_directory_has_its_rights_from_the_moment_it_is_there_and_what_a_killed_run_left_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let unready = dir.path().join(".postern.new");
        std::fs::create_dir(&unready).unwrap();
        let place = dir.path().join("postern");
        make_as_it_is_to_be(&place, OPEN).unwrap();
        assert_eq!(std::fs::metadata(&place).unwrap().permissions().mode() & 0o777, OPEN);
        assert!(!unready.exists());
        // Something that is there under the name is never taken away.
        std::fs::write(&unready, "somebody's").unwrap();
        assert!(make_as_it_is_to_be(&dir.path().join("postern/x"), OPEN).is_ok());
        assert!(unready.exists());
    }

    fn begin(config: &Path, data: &Path, user: Option<&str>) -> Result<NewRole, String> {
        NewRole::begin(config, data, user, "take another").map_err(|problem| problem.to_string())
    }

    #[test]
    fn what_a_set_up_made_goes_when_it_fails_and_stays_when_it_is_through() {
        let dir = tempfile::tempdir().unwrap();
        let (config, data) = (dir.path().join("etc/x/edge.toml"), dir.path().join("var/x/edge"));
        let role = begin(&config, &data, me()).unwrap();
        std::fs::write(role.data().join("key"), "x").unwrap();
        std::fs::create_dir(role.data().join("dkim")).unwrap();
        drop(role);
        assert_eq!(names_in(dir.path()), BTreeSet::new());

        let role = begin(&config, &data, me()).unwrap();
        std::fs::write(role.data().join("key"), "x").unwrap();
        role.finish("hostname = \"x\"").unwrap_or_else(|problem| panic!("{problem}"));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&data), mode(&config)), (0o700, 0o600));
        assert!(data.join("key").exists());
        let again = begin(&config, &data, me()).unwrap_err();
        assert!(again.contains("is there already") && again.contains("take another"), "{again}");
    }

    #[test]
    fn what_was_there_before_stays_whatever_fails() {
        let dir = tempfile::tempdir().unwrap();
        let (config, data) = (dir.path().join("edge.toml"), dir.path().join("data"));
        std::fs::create_dir(&data).unwrap();
        std::fs::write(data.join("old"), "x").unwrap();
        let role = begin(&config, &data, me()).unwrap();
        std::fs::write(role.data().join("new"), "x").unwrap();
        drop(role);
        assert_eq!(names_in(&data), BTreeSet::from(["old".into()]));
    }

    #[test]
    fn root_sets_up_for_a_user_who_gets_there_or_not_at_all() {
        if !owner::is_root() {
            let dir = tempfile::tempdir().unwrap();
            let said = begin(&dir.path().join("c"), &dir.path().join("d"), Some("nobody")).unwrap_err();
            return assert!(said.contains("only root can"), "{said}");
        }
        let dir = tempfile::tempdir().unwrap();
        let (config, data) = (dir.path().join("etc/edge.toml"), dir.path().join("data"));
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let said = begin(&config, &data, Some("nobody")).unwrap_err();
        assert!(said.contains("the user nobody, who can't") && said.contains("--user root"), "{said}");
        assert_eq!(names_in(dir.path()), BTreeSet::new());

        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let role = begin(&config, &data, Some("nobody")).unwrap();
        role.as_owner(|| {
            std::fs::write(data.join("key"), "x").map_err(|error| files::write_problem(&data, &error))
        })
        .unwrap_or_else(|problem| panic!("{problem}"));
        role.finish("x = 1").unwrap_or_else(|problem| panic!("{problem}"));
        let nobody = Owner::named("nobody").unwrap().unwrap();
        assert_eq!(Owner::of(&data).unwrap(), nobody);
        assert_eq!(Owner::of(&data.join("key")).unwrap(), nobody);
        let about = std::fs::metadata(&config).unwrap();
        let owner = Owner::of(&config).unwrap();
        assert_eq!((owner.name(), owner.group()), ("root", nobody.group()));
        assert_eq!(about.permissions().mode() & 0o777, 0o640);

        // Data of another user is not taken from him.
        let other = dir.path().join("other.toml");
        let said = begin(&other, &data, Some("root")).unwrap_err();
        assert!(said.contains("is there already and is not the user root's"), "{said}");
        // Without --user it goes on as whose it is.
        let role = begin(&other, &data, None).unwrap();
        assert_eq!(role.owner, Some(nobody));
    }
}
