//! Accounts and aliases, put right until Home takes all of them: an alias leads to what is there, in an order in which
//! it is there already, and whatever is left out has a line in the report.

use std::collections::{BTreeMap, BTreeSet};

use directory::{AccountId, TARGETS_MAX};
use mail::Address;

/// Users that a system has for itself (Debian's base-passwd). Nobody reads their mail unless an alias says who.
const SYSTEM_USERS: [&str; 19] = [
    "_apt", "backup", "bin", "daemon", "games", "gnats", "irc", "list", "lp", "mail", "man", "news",
    "nobody", "proxy", "root", "sync", "sys", "uucp", "www-data",
];

/// Accounts and aliases as they were found.
#[derive(Debug, Default)]
pub(super) struct People {
    /// Addresses that have a mailbox.
    pub accounts: BTreeSet<String>,
    /// What each alias stands for. `*@domain` is the catch-all.
    pub aliases: BTreeMap<String, BTreeSet<String>>,
    /// Those of both who are users of the system, at its main domain: they have the same name in its others.
    pub users: BTreeSet<String>,
}

/// The domains that mail is taken for.
pub(super) struct Known<'a> {
    /// All domains of Home.
    pub domains: &'a BTreeSet<String>,
    /// Those whose recipients are users of the system, the main one first.
    pub local: &'a [String],
    /// What follows a user's name and is no part of it.
    pub separators: &'a str,
}

/// Accounts and aliases as Home takes them.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// Accounts in alphabetical order.
    pub accounts: Vec<String>,
    /// Each behind those that it leads to.
    pub aliases: Vec<(String, BTreeSet<String>)>,
    /// Those that lead elsewhere only, which Home takes when it sends.
    pub abroad: Vec<(String, BTreeSet<String>)>,
    /// For the report: what the operator has to look at.
    pub look: Vec<String>,
}

impl People {
    pub(super) fn settle(mut self, known: &Known<'_>) -> Settled {
        let mut look = Vec::new();
        self.rename_accounts(&mut look);
        self.part_accounts_and_aliases(&mut look);
        self.find_users(known, &mut look);
        self.users_elsewhere(known);
        self.drop_what_leads_nowhere(&mut look);
        let abroad = self.take_abroad(known, &mut look);
        self.drop_what_is_too_much(&mut look);
        self.drop_what_leads_nowhere(&mut look);
        let aliases = self.in_order(&mut look);
        Settled { accounts: self.accounts.into_iter().collect(), aliases, abroad, look }
    }

    /// An account's name is part of a file's name; who is written otherwise gets the name as an alias.
    fn rename_accounts(&mut self, look: &mut Vec<String>) {
        let is_account = |text: &String| Address::parse(text).is_ok_and(|at| AccountId::of(&at).is_ok());
        let odd: Vec<String> = self.accounts.iter().filter(|name| !is_account(name)).cloned().collect();
        for address in odd {
            self.accounts.remove(&address);
            // Never the name of somebody else.
            let is_free = |name: &String| !self.accounts.contains(name) && !self.aliases.contains_key(name);
            let plain = plain_name(&address).filter(|name| is_account(name) && is_free(name));
            let Some(plain) = plain else {
                look.push(format!("{address} can't be the name of an account: add one under another name, and {address} as its alias"));
                self.lead_no_more(&address);
                continue;
            };
            look.push(format!(
                "{address} can't be the name of an account: it is {plain}, and {address} an alias of it"
            ));
            self.aliases.entry(address).or_default().insert(plain.clone());
            self.accounts.insert(plain);
        }
    }

    /// A name is an account or an alias. Postfix looks for an alias first; one that names itself keeps its mail.
    fn part_accounts_and_aliases(&mut self, look: &mut Vec<String>) {
        let accounts = &mut self.accounts;
        self.aliases.retain(|alias, targets| {
            if targets.remove(alias) {
                accounts.insert(alias.clone());
                if !targets.is_empty() {
                    let others: Vec<&str> = targets.iter().map(String::as_str).collect();
                    look.push(format!(
                        "{alias} keeps its mail and leads to {} as well: here it is an account only, and the others get no copy",
                        others.join(", ")
                    ));
                }
                return false;
            }
            if accounts.remove(alias) {
                look.push(format!(
                    "{alias} has a mailbox that gets nothing, since an alias leads its mail away: here it is the alias only"
                ));
            }
            true
        });
    }

    /// Whom an alias leads to and who is nothing else: a user of the system gets an account.
    fn find_users(&mut self, known: &Known<'_>, look: &mut Vec<String>) {
        let targets: BTreeSet<String> = self.aliases.values().flatten().cloned().collect();
        for target in targets {
            let Some((name, domain)) = target.rsplit_once('@') else { continue };
            let has_catch_all = self.aliases.contains_key(&format!("*@{domain}"));
            let base = known.base(name);
            let base_address = format!("{base}@{domain}");
            let is_there = [&target, &base_address]
                .iter()
                .any(|at| self.accounts.contains(*at) || self.aliases.contains_key(*at));
            if !known.domains.contains(domain) || is_there || has_catch_all || name == "postmaster" {
                continue;
            }
            let is_local = known.local.iter().any(|local| local == domain);
            if is_local && SYSTEM_USERS.contains(&base) {
                look.push(format!(
                    "an alias leads to {target}, whose mail nobody reads here: left out. To read it give the name to somebody: \
                     'postern alias add {target} …'"
                ));
                self.lead_no_more(&target);
                continue;
            }
            let first = known.local.first().filter(|_| is_local).map_or(domain, String::as_str);
            let account = format!("{base}@{first}");
            look.push(format!(
                "an alias leads to {target}, who is in no table: accounts.sh makes the account {account}"
            ));
            if is_local {
                self.users.insert(account.clone());
            }
            self.accounts.insert(account);
        }
        self.rename_accounts(look);
    }

    /// A user of the system has the same name in all domains of the system.
    fn users_elsewhere(&mut self, known: &Known<'_>) {
        let Some((first, others)) = known.local.split_first() else { return };
        let here: Vec<(String, String)> = std::mem::take(&mut self.users)
            .iter()
            .filter(|address| self.accounts.contains(*address) || self.aliases.contains_key(*address))
            .filter_map(|address| address.rsplit_once('@'))
            .filter(|(_, domain)| domain == first)
            .map(|(name, domain)| (name.to_owned(), domain.to_owned()))
            .collect();
        for (name, domain) in here {
            for other in others {
                let address = format!("{name}@{other}");
                if !self.accounts.contains(&address) {
                    let lead = self.aliases.entry(address).or_default();
                    if lead.is_empty() {
                        lead.insert(format!("{name}@{domain}"));
                    }
                }
            }
        }
    }

    fn drop_what_is_too_much(&mut self, look: &mut Vec<String>) {
        let is_too_much = |targets: &BTreeSet<String>| targets.len() > TARGETS_MAX;
        let many = self.aliases.extract_if(.., |_, targets| is_too_much(targets));
        for (alias, targets) in many.collect::<Vec<_>>() {
            look.push(format!(
                "{alias} stands for {} addresses, and {TARGETS_MAX} is the most: use a mailing list manager",
                targets.len()
            ));
            self.lead_no_more(&alias);
        }
    }

    /// No alias leads there any more.
    fn lead_no_more(&mut self, target: &str) {
        for targets in self.aliases.values_mut() {
            targets.remove(target);
        }
    }

    fn drop_what_leads_nowhere(&mut self, look: &mut Vec<String>) {
        loop {
            let empty: Vec<String> = self
                .aliases
                .iter()
                .filter(|(_, targets)| targets.is_empty())
                .map(|(alias, _)| alias.clone())
                .collect();
            if empty.is_empty() {
                return;
            }
            for alias in empty {
                self.aliases.remove(&alias);
                let instead = if alias.starts_with("postmaster@") {
                    "its mail goes to the postmaster of home.toml, or to the first account"
                } else {
                    "mail for it is refused as for anybody unknown"
                };
                look.push(format!("{alias} leads to nobody who is here, and is left out: {instead}"));
                self.lead_no_more(&alias);
            }
        }
    }

    /// Takes those out that lead elsewhere only. Others that lead to them lead to where they do.
    fn take_abroad(&mut self, known: &Known<'_>, look: &mut Vec<String>) -> Vec<(String, BTreeSet<String>)> {
        let is_abroad = |target: &String| {
            target.rsplit_once('@').is_some_and(|(_, domain)| !known.domains.contains(domain))
        };
        let mut taken = Vec::new();
        while let Some(alias) = self
            .aliases
            .iter()
            .find(|(_, targets)| targets.iter().all(is_abroad))
            .map(|(alias, _)| alias.clone())
        {
            let targets = self.aliases.remove(&alias).unwrap_or_default();
            for others in self.aliases.values_mut() {
                if others.remove(&alias) {
                    others.extend(targets.iter().cloned());
                }
            }
            look.push(format!(
                "{alias} leads elsewhere only, and home.toml says outbound = \"off\": accounts.sh has it as a comment for later"
            ));
            taken.push((alias, targets));
        }
        for (alias, targets) in &self.aliases {
            let away: Vec<&str> = targets.iter().filter(|to| is_abroad(to)).map(String::as_str).collect();
            if !away.is_empty() {
                look.push(format!(
                    "{alias} reaches those of its members who are here; {} not before outbound = \"on\"",
                    away.join(", ")
                ));
            }
        }
        taken
    }

    /// Aliases behind those that they lead to: an alias may only lead to what is there.
    fn in_order(&mut self, look: &mut Vec<String>) -> Vec<(String, BTreeSet<String>)> {
        let mut ordered = Vec::new();
        let mut left = std::mem::take(&mut self.aliases);
        loop {
            let ready: Vec<String> = left
                .iter()
                .filter(|(_, targets)| targets.iter().all(|to| !left.contains_key(to)))
                .map(|(alias, _)| alias.clone())
                .collect();
            if ready.is_empty() {
                for alias in left.into_keys() {
                    look.push(format!("{alias} is in a circle of aliases, or leads to one, and is left out: write it anew with 'postern alias add'"));
                }
                return ordered;
            }
            for alias in ready {
                ordered.extend(left.remove_entry(&alias));
            }
        }
    }
}

impl Known<'_> {
    /// The name without a sub-address.
    fn base<'n>(&self, name: &'n str) -> &'n str {
        let end = name.find(|c| self.separators.contains(c)).filter(|at| *at > 0);
        end.and_then(|at| name.get(..at)).unwrap_or(name)
    }
}

/// The address with what can't be in an account's name as a hyphen.
fn plain_name(address: &str) -> Option<String> {
    let (name, domain) = address.rsplit_once('@')?;
    let plain =
        |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c) { c } else { '-' };
    let name: String = name.trim_matches('"').chars().map(plain).collect();
    Some(format!("{}@{domain}", name.trim_start_matches('.')))
}
