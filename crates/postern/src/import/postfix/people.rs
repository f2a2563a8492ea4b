//! Domains, accounts and aliases of a Postfix (ADDRESS_CLASS_README, virtual(5), aliases(5)).
//!
//! `alias_maps` is about users of the system, who have an address in each domain of `mydestination` and in no other;
//! `virtual_alias_maps` is about addresses of all domains.

use std::collections::BTreeSet;

use mail::{Address, Domain};

use super::super::main_cf::MainCf;
use super::super::maps::{Entry, Files, Format};
use super::super::members::{Member, members};
use super::Translation;

/// The user or address that mail for a name goes to.
#[derive(Debug, PartialEq, Eq)]
enum Meant {
    /// To a user of the system, by the name.
    User(String),
    /// To this address.
    At(Address),
}

impl Translation {
    pub(super) fn domains(&mut self, main: &MainCf, files: &Files) {
        let hostname = main.value("myhostname").to_ascii_lowercase();
        let parameters =
            ["mydestination", "virtual_mailbox_domains", "virtual_alias_domains", "relay_domains"];
        for parameter in parameters {
            for element in main.list(parameter) {
                for name in self.elements(parameter, &element, files) {
                    self.domain(parameter, &name, &hostname);
                }
            }
        }
        self.origin = self.origin_of(main, files);
        if self.domains.is_empty() {
            self.look
                .push("no domain was found: write domains = [\"example.org\"] into home.toml".to_owned());
        }
    }

    /// A list element is a name, a file of names, or a table whose keys count.
    pub(super) fn elements(&mut self, parameter: &str, element: &str, files: &Files) -> Vec<String> {
        if let Some(left_out) = element.strip_prefix('!') {
            self.look.push(format!("{parameter}: !{left_out} takes names out of the list; see that domains in home.toml has none of them"));
            return Vec::new();
        }
        let found = if element.starts_with('/') {
            files.words(element)
        } else if element.contains(':') && !element.starts_with('[') {
            files.table(element, Format::Blank).map(|(entries, bad)| {
                self.not_entries(parameter, element, bad);
                entries.into_iter().map(|(key, _)| key).collect()
            })
        } else {
            Ok(vec![element.to_owned()])
        };
        found.unwrap_or_else(|why| {
            self.look.push(format!("{parameter}: {why}"));
            Vec::new()
        })
    }

    fn not_entries(&mut self, parameter: &str, table: &str, lines: Vec<String>) {
        for line in lines {
            self.look.push(format!(
                "{parameter}: {table}: {line}: this is no entry, and Postfix does not take it for one"
            ));
        }
    }

    fn domain(&mut self, parameter: &str, name: &str, hostname: &str) {
        let name = name.to_ascii_lowercase();
        let is_local = name == "localhost" || name.starts_with("localhost.");
        // Keys of virtual_alias_maps and virtual_mailbox_maps are addresses as well as domains; relay_domains repeats
        // mydestination where compatibility_level is old.
        if name.contains('@') || name.is_empty() || self.host_names.contains(&name) {
            return;
        }
        if is_local || (name == hostname && parameter == "mydestination") {
            if !is_local {
                self.look.push(format!(
                    "mydestination: {name} is the host's own name; add it to domains if people write to it"
                ));
            }
            self.host_names.insert(name);
            return;
        }
        match Domain::parse(&name) {
            Ok(domain) if !domain.is_literal() && name.contains('.') && !name.starts_with('.') => {
                let domain = domain.to_string();
                if self.domains.insert(domain.clone()) {
                    self.taken.push(format!("{parameter}: domain {domain}"));
                    if parameter == "mydestination" {
                        self.local.push(domain);
                    }
                }
            }
            _ => self.look.push(format!("{parameter}: {name} can't be a domain here")),
        }
    }

    /// What a name without a domain gets: the first word of a file, or the value itself.
    fn origin_of(&mut self, main: &MainCf, files: &Files) -> String {
        let written = main.value("myorigin");
        if !written.starts_with('/') {
            return written.to_ascii_lowercase();
        }
        match files.words(&written) {
            Ok(words) => words.first().map(|word| word.to_ascii_lowercase()).unwrap_or_default(),
            Err(why) => {
                self.look.push(format!(
                    "myorigin: {why}; names without a domain are taken for users of the system"
                ));
                String::new()
            }
        }
    }

    pub(super) fn recipients(&mut self, main: &MainCf, files: &Files) {
        for parameter in ["virtual_mailbox_maps", "relay_recipient_maps", "local_recipient_maps"] {
            let listed = main.written(parameter).map(|_| main.list(parameter)).unwrap_or_default();
            for (name, _) in self.tables(parameter, listed, files) {
                self.account(parameter, &name);
            }
        }
        if !self.local.is_empty() && main.written("local_recipient_maps").is_none() {
            self.look.push(
                "mydestination: the system's users are its recipients, which only the host itself knows: add those who \
                 read mail with 'postern user add'"
                    .to_owned(),
            );
        }
        for parameter in ["virtual_alias_maps", "virtual_maps"] {
            let listed = main.written(parameter).map(|_| main.list(parameter)).unwrap_or_default();
            for (name, value) in self.tables(parameter, listed, files) {
                self.virtual_alias(parameter, &name, &value);
            }
        }
        let wanted = !self.local.is_empty() || main.written("alias_maps").is_some();
        let mut listed = if wanted { main.list("alias_maps") } else { Vec::new() };
        // NIS is in what Postfix has without a word, and on no host any more.
        listed.retain(|table| main.written("alias_maps").is_some() || !table.starts_with("nis:"));
        for (name, value) in self.tables("alias_maps", listed, files) {
            self.user_alias(&name, &value);
        }
    }

    pub(super) fn tables(&mut self, parameter: &str, names: Vec<String>, files: &Files) -> Vec<Entry> {
        let mut entries = Vec::new();
        for name in names {
            match files.table(&name, Format::of(parameter)) {
                Ok((found, bad)) => {
                    self.taken.push(format!("{parameter}: {} entries of {name}", found.len()));
                    self.not_entries(parameter, &name, bad);
                    entries.extend(found);
                }
                Err(why) => self.look.push(format!("{parameter}: {why}")),
            }
        }
        entries
    }

    /// Whether a name is one of the domains that were taken.
    pub(super) fn is_domain(&self, name: &str) -> bool {
        Domain::parse(name).is_ok_and(|domain| self.domains.contains(domain.as_str()))
    }

    /// What a name or an address is, by the rules of trivial-rewrite(8).
    fn meant(&self, text: &str) -> Option<Meant> {
        match text.rsplit_once('@') {
            Some((user, host)) if self.host_names.contains(&host.to_ascii_lowercase()) => {
                Some(Meant::User(user.to_ascii_lowercase()))
            }
            Some(_) => Address::parse(text).ok().map(Meant::At),
            None if self.is_domain(&self.origin) && !self.local.contains(&self.origin) => {
                Address::parse(&format!("{text}@{}", self.origin)).ok().map(Meant::At)
            }
            None => Some(Meant::User(text.to_ascii_lowercase())),
        }
    }

    /// Its address here. A user of the system has one in the first domain of `mydestination`, to which those in the
    /// others lead.
    fn address(&self, meant: Meant) -> Option<String> {
        match meant {
            Meant::User(user) => {
                let address = Address::parse(&format!("{user}@{}", self.local.first()?)).ok()?;
                Some(address.canonical())
            }
            Meant::At(address) if self.is_domain(address.domain().as_str()) => Some(address.canonical()),
            // What the case of a local part means is for its own host to say.
            Meant::At(address) => Some(address.to_string()),
        }
    }

    fn account(&mut self, parameter: &str, name: &str) {
        if let Some(domain) = name.strip_prefix('@') {
            self.look.push(format!("{parameter}: every name of {domain} is taken; name an account with 'postern alias add *@{domain} …'"));
            return;
        }
        if parameter == "virtual_mailbox_maps" && self.is_domain(name) {
            // A domain of virtual_mailbox_domains, told by an entry.
            return self.taken.push(format!("{parameter}: domain {name}, by an entry"));
        }
        let meant = self.meant(name);
        let is_user = matches!(meant, Some(Meant::User(_)));
        let address = meant.and_then(|meant| self.address(meant));
        match address.filter(|address| self.is_ours(address)) {
            Some(address) => {
                if is_user {
                    self.people.users.insert(address.clone());
                }
                self.people.accounts.insert(address);
            }
            None => self
                .look
                .push(format!("{parameter}: {name} can't be an account: it is in none of the domains")),
        }
    }

    fn is_ours(&self, address: &str) -> bool {
        address.rsplit_once('@').is_some_and(|(_, domain)| self.is_domain(domain))
    }

    fn virtual_alias(&mut self, parameter: &str, name: &str, value: &str) {
        if self.domains.is_empty() {
            return self
                .look
                .push(format!("{parameter}: its names need a domain: import again when main.cf names one"));
        }
        let alias = match name.strip_prefix('@') {
            Some(domain) if self.is_domain(domain) => Some(format!("*@{domain}")),
            Some(_) => None,
            None if !name.contains('@') && self.is_domain(name) => {
                // A domain of virtual_alias_domains, told by an entry.
                return self.taken.push(format!("{parameter}: domain {name}, by an entry"));
            }
            None => self.meant(name).and_then(|meant| self.address(meant)).filter(|name| self.is_ours(name)),
        };
        match alias {
            Some(alias) => self.lead(parameter, name, alias, value),
            None => {
                self.look.push(format!("{parameter}: {name} can't be an alias: it is in none of the domains"))
            }
        }
    }

    /// An entry of aliases(5): a user of the system, in all domains of `mydestination`.
    fn user_alias(&mut self, name: &str, value: &str) {
        let Some(alias) = self.address(Meant::User(name.to_owned())) else {
            return self.look.push(format!(
                "alias_maps: {name}: {value}: it is about a user of the host itself, and mydestination names no domain of \
                 people. Give the host's own mail an account, or an alias in a domain: 'postern alias add'"
            ));
        };
        self.people.users.insert(alias.clone());
        self.lead("alias_maps", name, alias, value);
    }

    fn lead(&mut self, parameter: &str, name: &str, alias: String, value: &str) {
        let mut targets = BTreeSet::new();
        for member in members(value) {
            let address = match &member {
                Member::Address(text) => self.meant(text).and_then(|meant| self.address(meant)),
                Member::Other(_) => None,
            };
            let (Member::Address(written) | Member::Other(written)) = member;
            match address {
                Some(address) => drop(targets.insert(address)),
                None if written.starts_with('@') => self.look.push(format!(
                    "{parameter}: {name} leads each name of a domain to the same name of {written}; write an alias for each"
                )),
                None => self.look.push(format!(
                    "{parameter}: {name} leads to {written}: programs, files and lists of addresses are not delivered to"
                )),
            }
        }
        self.people.aliases.entry(alias).or_default().extend(targets);
    }
}
