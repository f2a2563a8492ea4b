//! Mailboxes of accounts that were removed: set aside with their date, and brought back.
//!
//! `set-aside/<account>.<date>/` has the database, its log and the large bodies. They are several files, so a move is
//! named before it begins, by the end of the directory's name, and is gone on with by the next start or the next who
//! asks for the account: at no moment is a database opened without its log or its bodies, and none is under a name
//! that somebody else may get.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use mail::UnixTime;
use store::{SetAside, StoreError, date_after, name};

use crate::files::{account_file, beside, file_names, remove_if_there, sync_parent};

/// The directory of all of them, beside the accounts.
const DIRECTORY: &str = "set-aside";
/// Ends the name of one that is being moved here.
const GOING: &str = ".going";
/// Ends the name of one that is being moved back.
const COMING: &str = ".coming";

/// The one whose directory has this name.
fn parse(name: &str) -> Option<SetAside> {
    let (account, date) = name.rsplit_once('.')?;
    name::account(account).ok().filter(|_| date.ends_with('Z'))?;
    Some(SetAside { account: account.to_owned(), date: date.to_owned() })
}

/// Its directory, in the store's.
pub(crate) fn path(aside: &SetAside, store: &Path) -> PathBuf {
    path_with(aside, store, "")
}

fn path_with(aside: &SetAside, store: &Path, end: &str) -> PathBuf {
    store.join(DIRECTORY).join(format!("{}.{}{end}", aside.account, aside.date))
}

/// Its files: where each lies as an account's, and where in `place`. The database is last, since it is what makes
/// the account one.
fn files(aside: &SetAside, store: &Path, place: &Path) -> [(PathBuf, PathBuf); 3] {
    let (from, to) = (account_file(store, &aside.account), place.join("mailbox.db"));
    [
        (from.with_extension("large"), to.with_extension("large")),
        (beside(&from, "-wal"), beside(&to, "-wal")),
        (from, to),
    ]
}

/// All mailboxes that were set aside, by account and date.
pub(crate) fn list(store: &Path) -> Result<Vec<SetAside>, StoreError> {
    let mut found: Vec<SetAside> = names(store)?.iter().filter_map(|name| parse(name)).collect();
    found.sort_unstable();
    Ok(found)
}

fn names(store: &Path) -> Result<Vec<String>, StoreError> {
    let directory = store.join(DIRECTORY);
    if directory.exists() { file_names(&directory) } else { Ok(Vec::new()) }
}

/// Sets the account's files aside. Nobody has them open.
pub(crate) fn put(store: &Path, account: &str, now: UnixTime) -> Result<SetAside, StoreError> {
    finish(store, Some(account))?;
    if !account_file(store, account).exists() {
        return Err(StoreError::NoAccount(account.to_owned()));
    }
    make_directory(&store.join(DIRECTORY))?;
    let date = date_after(list(store)?.iter().filter(|aside| aside.account == account), now);
    let aside = SetAside { account: account.to_owned(), date };
    make_directory(&path_with(&aside, store, GOING))?;
    go(store, &aside)?;
    Ok(aside)
}

/// Brings the files back. There is no such account.
pub(crate) fn bring_back(store: &Path, aside: &SetAside) -> Result<(), StoreError> {
    finish(store, Some(&aside.account))?;
    if account_file(store, &aside.account).exists() {
        return Err(StoreError::AccountExists(aside.account.clone()));
    }
    let (from, to) = (path(aside, store), path_with(aside, store, COMING));
    if !from.exists() {
        return Err(StoreError::NoAccount(format!("{} that was set aside on {}", aside.account, aside.date)));
    }
    rename(&from, &to)?;
    sync_parent(&to)?;
    come(store, aside)
}

/// Goes on with what was broken off, of one account or of all.
pub(crate) fn finish(store: &Path, account: Option<&str>) -> Result<(), StoreError> {
    for name in names(store)? {
        let meant =
            |name: &str| parse(name).filter(|aside| account.is_none_or(|account| account == aside.account));
        if let Some(aside) = name.strip_suffix(GOING).and_then(meant) {
            go(store, &aside)?;
        } else if let Some(aside) = name.strip_suffix(COMING).and_then(meant) {
            come(store, &aside)?;
        }
    }
    Ok(())
}

fn go(store: &Path, aside: &SetAside) -> Result<(), StoreError> {
    let place = path_with(aside, store, GOING);
    // It is made anew from the log.
    remove_if_there(&beside(&account_file(store, &aside.account), "-shm"))?;
    for (from, to) in files(aside, store, &place) {
        move_if_there(&from, &to)?;
    }
    sync_parent(&place.join("mailbox.db"))?;
    sync_parent(&account_file(store, &aside.account))?;
    rename(&place, &path(aside, store))?;
    sync_parent(&place)
}

fn come(store: &Path, aside: &SetAside) -> Result<(), StoreError> {
    let place = path_with(aside, store, COMING);
    remove_if_there(&beside(&account_file(store, &aside.account), "-shm"))?;
    remove_if_there(&beside(&place.join("mailbox.db"), "-shm"))?;
    for (to, from) in files(aside, store, &place) {
        move_if_there(&from, &to)?;
    }
    sync_parent(&account_file(store, &aside.account))?;
    sync_parent(&place.join("mailbox.db"))?;
    // What else somebody put there stays, and the name says whose it is.
    match fs::remove_dir(&place) {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        Err(error) => Err(StoreError::from_io(&place, &error)),
        Ok(()) => sync_parent(&place),
    }
}

fn move_if_there(from: &Path, to: &Path) -> Result<(), StoreError> {
    if !from.exists() {
        return Ok(());
    }
    if to.exists() {
        // Never over another's.
        return Err(StoreError::from_io(to, &ErrorKind::AlreadyExists.into()));
    }
    rename(from, to)
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|error| StoreError::from_io(from, &error))
}

fn make_directory(path: &Path) -> Result<(), StoreError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(StoreError::from_io(path, &error)),
        _ => sync_parent(path),
    }
}
