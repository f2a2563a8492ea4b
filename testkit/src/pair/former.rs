//! A pair whose files were made before, by another version of the program maybe: moved to where there is room for it.

use std::net::SocketAddr;
use std::path::Path;

use super::{COMMAND_PATIENCE, Pair, Role};
use crate::{ports, process};

impl Pair {
    /// Packs the files of both roles, which do not run, into an archive (tar, gzip).
    ///
    /// # Panics
    /// When that can't be done.
    pub fn pack(&self, archive: &Path) {
        let mut tar = process::command(None, "tar");
        // The same octets for the same files.
        tar.args([
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--exclude=log",
            "--exclude=trace",
        ]);
        tar.args(["--exclude=*.sock", "-C"])
            .arg(self.dir.path())
            .arg("-czf")
            .arg(archive)
            .args(["edge", "home"]);
        process::run_ok(tar, b"", COMMAND_PATIENCE);
    }

    /// Unpacks such an archive and starts the program on it, edge first: with other ports, in another directory, and with
    /// this name server; `edge_config` is merged into `edge.toml`.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn of_former(archive: &Path, name_server: SocketAddr, edge_config: &str) -> Self {
        let dir = crate::leavings::dir("former");
        let (mut edge, mut home) = (
            Role::new("edge", &dir.path().join("edge"), None),
            Role::new("home", &dir.path().join("home"), None),
        );
        let mut tar = process::command(None, "tar");
        tar.arg("-C").arg(dir.path()).arg("--no-same-owner").arg("-xzf").arg(archive);
        process::run_ok(tar, b"", COMMAND_PATIENCE);
        let (smtp, link) = (ports::free(), ports::free());
        let (submission, imap) = (ports::free(), ports::free());
        edge.rewrite(|table| {
            set(table, &["listen", "smtp"], vec![smtp.to_string()]);
            set(table, &["listen", "link"], vec![link.to_string()]);
            set(table, &["dns", "servers"], vec![name_server.to_string()]);
        });
        edge.configure(edge_config);
        home.rewrite(|table| {
            set(table, &["listen", "submission"], vec![submission.to_string()]);
            set(table, &["listen", "imap"], vec![imap.to_string()]);
            let edges = table.get_mut("edge").and_then(toml::Value::as_array_mut).expect("edges");
            let first = edges[0].as_table_mut().expect("an edge");
            first.insert("address".to_owned(), link.to_string().into());
        });
        edge.start();
        home.start();
        Self { edge, home, smtp, submission, imap, name_server: None, no_names: None, dir }
    }
}

impl Role {
    /// Changes the configuration, in which the data directory is this role's.
    fn rewrite(&mut self, change: impl FnOnce(&mut toml::Table)) {
        let text = std::fs::read_to_string(&self.config).expect("the configuration");
        let mut table: toml::Table = text.parse().expect("TOML");
        table.insert("data".to_owned(), self.data.display().to_string().into());
        change(&mut table);
        std::fs::write(&self.config, table.to_string()).expect("the configuration");
    }
}

fn set(table: &mut toml::Table, path: &[&str], value: Vec<String>) {
    let [section, key] = path else { panic!("a section and a key") };
    let section = table.entry((*section).to_owned()).or_insert_with(|| toml::Table::new().into());
    section.as_table_mut().expect("a section").insert((*key).to_owned(), value.into());
}
