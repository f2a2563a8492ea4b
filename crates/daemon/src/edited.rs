//! A configuration file that a command changes: what the operator wrote, its order and its comments stay as they are.

use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Table, value};

use crate::config::{self, Checked};
use crate::files;
use crate::problem::Problem;

/// The file with changes that are not written yet.
#[derive(Debug)]
pub struct Edited {
    path: PathBuf,
    document: DocumentMut,
}

impl Edited {
    /// Reads a file, which has to be a configuration of this role already.
    ///
    /// # Errors
    /// As [`config::load`].
    pub fn open<C: Checked>(path: &Path) -> Result<Self, Problem> {
        config::load::<C>(path)?;
        Self::of(path, &config::read(path, C::ROLE)?)
    }

    /// The text of a file that will be written at this path.
    ///
    /// # Errors
    /// When it is no TOML.
    pub fn of(path: &Path, text: &str) -> Result<Self, Problem> {
        let document = text.parse().map_err(|error: toml_edit::TomlError| {
            Problem::setup(format!("{}: {}", path.display(), error.message()), "correct the file")
        })?;
        Ok(Self { path: path.to_owned(), document })
    }

    /// Sets a key that stands before the first table. One that is there keeps its place and the comments around it.
    pub fn set(&mut self, key: &str, text: &str) {
        let decor = self.document.get(key).and_then(Item::as_value).map(|old| old.decor().clone());
        self.document[key] = value(text);
        if let (Some(decor), Some(new)) = (decor, self.document[key].as_value_mut()) {
            *new.decor_mut() = decor;
        }
    }

    /// Removes the tables of the list `[[name]]` of which `key` has this text; gives how many.
    pub fn remove_tables(&mut self, name: &str, key: &str, text: &str) -> usize {
        let Some(list) = self.document.get_mut(name).and_then(Item::as_array_of_tables_mut) else {
            return 0;
        };
        let before = list.len();
        list.retain(|table| table.get(key).and_then(Item::as_str) != Some(text));
        let removed = before - list.len();
        if list.is_empty() {
            self.document.remove(name);
        }
        removed
    }

    /// Adds a table to the list `[[name]]`, behind all that is there.
    pub fn add_table(&mut self, name: &str, keys: &[(&str, &str)]) {
        let mut table = Table::new();
        for (key, text) in keys {
            table.insert(key, value(*text));
        }
        let list = self.document.entry(name).or_insert(toml_edit::array());
        if let Some(list) = list.as_array_of_tables_mut() {
            list.push(table);
        }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    /// Checks the whole and replaces the file by it; owner and mode stay.
    ///
    /// # Errors
    /// When it would be no configuration of the role any more, or can't be written: then nothing has changed.
    pub fn write<C: Checked>(&self) -> Result<C, Problem> {
        let text = self.text();
        let config = config::parse::<C>(&self.path, &text)?;
        files::replace(&self.path, text.as_bytes())
            .map_err(|error| files::write_problem(&self.path, &error))?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# mine\ndomains = [\"example.org\"]   # one\noutbound = \"off\" # not yet\n\n[queue]\n# long\nlifetime = \"5d\"\n\n\
        [[edge]]\nname = \"a.example\"\nkey = \"1\"\n\n[[edge]]\nname = \"b.example\"\nkey = \"2\"\n";

    fn edited(text: &str) -> Edited {
        Edited { path: PathBuf::from("home.toml"), document: text.parse().unwrap() }
    }

    #[test]
    fn a_key_is_set_where_it_stands_and_all_else_stays() {
        let mut file = edited(TEXT);
        file.set("outbound", "on");
        assert_eq!(file.text(), TEXT.replace("\"off\"", "\"on\""));
    }

    #[test]
    fn a_key_that_is_new_comes_before_the_first_table() {
        let mut file = edited("domains = [\"example.org\"]\n\n[queue]\nlifetime = \"5d\"\n");
        file.set("outbound", "on");
        assert_eq!(
            file.text(),
            "domains = [\"example.org\"]\noutbound = \"on\"\n\n[queue]\nlifetime = \"5d\"\n"
        );
    }

    #[test]
    fn a_table_of_a_list_is_taken_out_and_another_put_in() {
        let mut file = edited(TEXT);
        assert_eq!(file.remove_tables("edge", "name", "a.example"), 1);
        assert_eq!(file.remove_tables("edge", "name", "a.example"), 0);
        assert_eq!(file.remove_tables("smarthost", "name", "x"), 0);
        file.add_table("edge", &[("name", "c.example"), ("key", "3")]);
        let text = file.text();
        assert!(!text.contains("a.example") && text.contains("# long"), "{text}");
        let end =
            "[[edge]]\nname = \"b.example\"\nkey = \"2\"\n\n[[edge]]\nname = \"c.example\"\nkey = \"3\"\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn the_last_table_of_a_list_leaves_no_list_behind() {
        let mut file = edited("domains = []\n\n[[edge]]\nname = \"a.example\"\n");
        assert_eq!(file.remove_tables("edge", "name", "a.example"), 1);
        assert_eq!(file.text(), "domains = []\n");
        file.add_table("edge", &[("name", "b.example")]);
        assert_eq!(file.text(), "domains = []\n\n[[edge]]\nname = \"b.example\"\n");
    }
}
