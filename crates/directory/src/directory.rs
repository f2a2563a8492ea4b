//! Accounts and aliases: who there is, who may log in, who may send as whom.
//!
//! Kept in small tables, changed one at a time, and held in memory as a whole. A
//! password is kept as an argon2id hash only.

mod people;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use daemon::problem::Problem;
use daemon::system;
use mail::{Address, Domain, UnixTime};
use sha2::{Digest as _, Sha256};
use store::StoreError;
use store::tables::{AccountRow, AliasRow, Everybody, People};
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

use crate::account_id::AccountId;
use crate::passes::{Pass, Passes};
use crate::password;
use crate::policy::Policy;

/// Aliases that lead to aliases are followed this far.
const ALIAS_DEPTH_MAX: usize = 8;
/// Shortest password that is taken.
const PASSWORD_OCTETS_MIN: usize = 8;
/// Most addresses that one alias stands for, and that mail to one recipient is forwarded to.
pub const TARGETS_MAX: usize = 100;
/// Longest password that is looked at.
const PASSWORD_OCTETS_MAX: usize = 1024;

/// The accounts and addresses that mail to a recipient goes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destinations {
    /// Accounts of this home.
    pub accounts: Vec<AccountId>,
    /// Addresses elsewhere, to which it is forwarded.
    pub outside: Vec<Address>,
}

impl Destinations {
    /// Whether mail to the recipient goes nowhere.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.outside.is_empty()
    }
}

/// The accounts, aliases and policy of a home, in memory and in the store. Cloning shares them.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    policy: RwLock<Arc<Policy>>,
    kept: Mutex<Arc<dyn People>>,
    view: RwLock<Arc<View>>,
    /// Digests of passwords that were found right since the start: argon2 is slow on purpose, and mail
    /// programs log in all the time.
    found_right: Mutex<HashMap<AccountId, FoundRight>>,
    digest_key: [u8; 32],
    passes: Arc<Passes>,
    changed: watch::Sender<u64>,
    /// Held while people come and go: directory and mailboxes together.
    people: Mutex<()>,
}

/// In place of a name, to see where a catch-all leads: nobody has it.
const NOBODY_ELSE: &str = "no-such-name-2f9c";

#[derive(Default)]
struct View {
    accounts: BTreeMap<AccountId, Account>,
    /// The accounts, the oldest first.
    by_age: Vec<AccountId>,
    /// Canonical addresses of accounts.
    by_address: HashMap<String, AccountId>,
    /// Canonical alias to what it stands for. `*@domain` is the catch-all.
    aliases: BTreeMap<String, Vec<Address>>,
    /// When an account of this name was removed last. What was taken until then is not the next one's.
    removed: HashMap<String, UnixTime>,
}

/// A password that was found right, and for which hash.
struct FoundRight {
    hash: String,
    digest: [u8; 32],
}

impl View {
    /// What is kept, to be looked up. Rows with an address that is none are passed over.
    fn of(everybody: Everybody) -> Self {
        let mut view = Self::default();
        for AccountRow { name, address, password } in everybody.accounts {
            if let Ok(parsed) = Address::parse(&address) {
                view.by_address.insert(address, AccountId(name.clone()));
                view.by_age.push(AccountId(name.clone()));
                view.accounts.insert(AccountId(name), Account { address: parsed, password });
            }
        }
        for AliasRow { alias, target } in everybody.aliases {
            if let Ok(target) = Address::parse(&target) {
                view.aliases.entry(alias).or_default().push(target);
            }
        }
        view.removed.extend(everybody.removed);
        view
    }

    /// The account with this login name.
    fn named(&self, user: &str) -> Option<(&AccountId, &Account)> {
        let address = Address::parse(user).ok()?;
        let id = self.by_address.get(&address.canonical())?;
        Some((id, self.accounts.get(id)?))
    }

    /// Whether the account is there and has this hash.
    fn is_current(&self, id: &AccountId, hash: &str) -> bool {
        self.accounts.get(id).is_some_and(|account| account.password == hash)
    }
}

struct Account {
    address: Address,
    password: String,
}

fn database_problem(error: &StoreError) -> Problem {
    let advice = "check the disk, or restore directory.db from a backup";
    kept_problem("the directory of accounts", error, advice)
}

/// What the operator is told of a file that can't be used. Of one of a newer version the error itself says what to do.
#[must_use]
pub fn kept_problem(what: &str, error: &StoreError, advice: &str) -> Problem {
    let advice = if matches!(error, StoreError::Newer(_)) { "see the line above" } else { advice };
    Problem::failed(format!("{what}: {error}"), advice)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Directory {
    /// Reads accounts and aliases from the store and puts this policy in force.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn open(policy: Policy, kept: Arc<dyn People>) -> Result<Self, Problem> {
        let view = View::of(kept.everybody().map_err(|error| database_problem(&error))?);
        Ok(Self(Arc::new(Inner {
            policy: RwLock::new(Arc::new(policy)),
            kept: Mutex::new(kept),
            view: RwLock::new(Arc::new(view)),
            found_right: Mutex::default(),
            digest_key: system::random(),
            passes: Arc::default(),
            changed: watch::Sender::new(0),
            people: Mutex::default(),
        })))
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.0.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is in force of the configuration, as far as it can change while Home runs.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.0.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another policy in force.
    pub fn adopt(&self, policy: Policy) {
        *self.0.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
        self.0.changed.send_modify(|generation| *generation += 1);
    }

    /// Told at each change of accounts, aliases and policy.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// Changes what is kept, and shows it.
    fn change<T>(&self, change: impl FnOnce(&dyn People) -> Result<T, StoreError>) -> Result<T, Problem> {
        let kept = lock(&self.0.kept);
        let done = change(&**kept).map_err(|error| database_problem(&error))?;
        let view = View::of(kept.everybody().map_err(|error| database_problem(&error))?);
        *self.0.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
        let view = self.view();
        // Whose password is another one is not known any more; others are.
        lock(&self.0.found_right).retain(|id, known| view.is_current(id, &known.hash));
        self.0.passes.review(|id, hash| view.is_current(id, hash));
        self.0.changed.send_modify(|generation| *generation += 1);
        Ok(done)
    }

    fn own(&self, address: &Address) -> Result<(), Problem> {
        if self.is_local_domain(address.domain()) {
            return Ok(());
        }
        let policy = self.policy();
        let ours: Vec<&str> = policy.domains.iter().map(Domain::as_str).collect();
        Err(Problem::setup(
            format!("{} is not one of the domains of this home ({})", address.domain(), ours.join(", ")),
            "add it to domains in home.toml first",
        ))
    }

    /// Sets a new password.
    ///
    /// # Errors
    /// No such account, a password that is too short or too long, or the disk's word; the old one stays.
    pub fn set_password(&self, address: &Address, password: &str) -> Result<(), Problem> {
        let password = checked_password(password).and_then(password::hash)?;
        let is_there = self.change(|kept| kept.set_password(&address.canonical(), &password))?;
        if is_there { Ok(()) } else { Err(no_account(address)) }
    }

    /// All accounts, each with its address.
    pub fn accounts(&self) -> Vec<(AccountId, Address)> {
        self.view().accounts.iter().map(|(id, account)| (id.clone(), account.address.clone())).collect()
    }

    /// The first account that was made of those that are there, and its address.
    pub fn first_account(&self) -> Option<(AccountId, Address)> {
        let view = self.view();
        let id = view.by_age.first()?;
        Some((id.clone(), view.accounts.get(id)?.address.clone()))
    }

    /// The own address of the account that the store knows by this name.
    pub fn address_named(&self, account: &str) -> Option<Address> {
        self.view().accounts.get(account).map(|account| account.address.clone())
    }

    /// The address that is the account's own.
    pub fn address_of(&self, account: &AccountId) -> Option<Address> {
        self.view().accounts.get(account).map(|account| account.address.clone())
    }

    /// Adds targets to an alias. `alias` is an address, or `*@domain` for the catch-all. While this home does not send
    /// it has to lead to somebody here as well.
    ///
    /// # Errors
    /// An alias or a target that can't be one, or the disk's word; nothing was changed.
    pub fn add_alias(&self, alias: &str, targets: &[Address]) -> Result<(), Problem> {
        let canonical = self.checked_alias(alias)?;
        for target in targets {
            self.check_target(&canonical, target)?;
        }
        self.check_abroad(&canonical, targets)?;
        let known = self.view().aliases.get(&canonical).map_or(0, Vec::len);
        if known + targets.len() > TARGETS_MAX {
            return Err(Problem::setup(
                format!("{alias} would stand for more than {TARGETS_MAX} addresses"),
                "use a mailing list manager for more",
            ));
        }
        let kept_as = |target: &Address| {
            // What the case of a local part means elsewhere is for its own host to say.
            if self.is_local_domain(target.domain()) { target.canonical() } else { target.to_string() }
        };
        let targets: Vec<String> = targets.iter().map(kept_as).collect();
        self.change(|kept| kept.add_targets(&canonical, &targets))
    }

    fn check_target(&self, alias: &str, target: &Address) -> Result<(), Problem> {
        if !self.is_local_domain(target.domain()) {
            return Ok(());
        }
        if self.resolve(target).is_none() || target.canonical() == alias {
            return Err(Problem::setup(
                format!("{target} is no account or alias of this home"),
                "add it first with 'postern user add'",
            ));
        }
        Ok(())
    }

    fn check_abroad(&self, canonical: &str, targets: &[Address]) -> Result<(), Problem> {
        let view = self.view();
        let known = view.aliases.get(canonical).map_or(&[][..], Vec::as_slice);
        let is_here = |target: &Address| {
            self.is_local_domain(target.domain())
                && self.resolve(target).is_some_and(|found| !found.accounts.is_empty())
        };
        let reaches = self.policy().sends || known.iter().chain(targets).any(is_here);
        match targets.iter().find(|_| !reaches) {
            None => Ok(()),
            Some(target) => Err(Problem::setup(
                format!("{target} is elsewhere, this home does not send, and the alias leads to nobody here"),
                "set outbound = \"on\" in home.toml first",
            )),
        }
    }

    /// The members of an alias that are elsewhere, and get nothing while this home does not send.
    pub fn not_reached(&self, targets: &[Address]) -> Vec<String> {
        if self.policy().sends {
            return Vec::new();
        }
        let away = targets.iter().filter(|target| !self.is_local_domain(target.domain()));
        away.map(ToString::to_string).collect()
    }

    fn checked_alias(&self, alias: &str) -> Result<String, Problem> {
        let wrong = |error| {
            Problem::setup(format!("{alias}: {error}"), "write name@domain, or *@domain for the catch-all")
        };
        if let Some(domain) = alias.strip_prefix("*@") {
            let domain = Domain::parse(domain).map_err(wrong)?;
            let probe = Address::at("postmaster", &domain).map_err(wrong)?;
            self.own(&probe)?;
            return Ok(format!("*@{domain}"));
        }
        let address = Address::parse(alias).map_err(wrong)?;
        self.own(&address)?;
        if self.view().by_address.contains_key(&address.canonical()) {
            return Err(Problem::setup(
                format!("{alias} is an account"),
                "choose another name for the alias",
            ));
        }
        Ok(address.canonical())
    }

    /// Removes an alias whole.
    ///
    /// # Errors
    /// No such alias, or the disk's word.
    pub fn remove_alias(&self, alias: &str) -> Result<(), Problem> {
        let canonical = alias.to_lowercase();
        if !self.change(|kept| kept.remove_alias(&canonical))? {
            return Err(Problem::setup(format!("there is no alias {alias}"), "see 'postern alias list'"));
        }
        Ok(())
    }

    /// All aliases and what they stand for.
    pub fn aliases(&self) -> Vec<(String, Vec<Address>)> {
        self.view().aliases.iter().map(|(alias, targets)| (alias.clone(), targets.clone())).collect()
    }

    /// Whether this is the name and password of an account, if that was found out before. Takes no time.
    pub fn login_known(&self, user: &str, password: &str) -> Option<Pass> {
        let view = self.view();
        let (id, account) = view.named(user)?;
        let digest = self.digest(password);
        let right =
            lock(&self.0.found_right).get(id).is_some_and(|known| bool::from(known.digest.ct_eq(&digest)));
        if right { self.pass(id, &account.password) } else { None }
    }

    /// Whether this is the name and password of an account. Slow on purpose, and as slow for names that nobody has: for a
    /// thread that may block, one at a time.
    pub fn login_blocking(&self, user: &str, password: &str) -> Option<Pass> {
        if password.len() > PASSWORD_OCTETS_MAX {
            return None;
        }
        // A mail program that opens twenty connections needs one check.
        if let Some(pass) = self.login_known(user, password) {
            return Some(pass);
        }
        let view = self.view();
        let known = view.named(user);
        let right = password::is_right(password, known.map(|(_, account)| account.password.as_str()));
        let (id, account) = known.filter(|_| right)?;
        let remembered = self.remember(id, &account.password, self.digest(password));
        if remembered { self.pass(id, &account.password) } else { None }
    }

    /// A pass for a login that was right for this hash, if the account still has it.
    fn pass(&self, id: &AccountId, hash: &str) -> Option<Pass> {
        self.0.passes.issue(id, hash, || self.view().is_current(id, hash))
    }

    /// Notes that a password was found right for this hash. `false` when the account has another hash by now, or is
    /// gone: its password was changed while the check waited and ran, and the old one must not live on.
    fn remember(&self, id: &AccountId, hash: &str, digest: [u8; 32]) -> bool {
        // A change shows the new accounts first and then forgets all digests, so under this lock the order is clear.
        let mut found_right = lock(&self.0.found_right);
        let still = self.view().is_current(id, hash);
        if still {
            found_right.insert(id.clone(), FoundRight { hash: hash.to_owned(), digest });
        }
        still
    }

    fn digest(&self, password: &str) -> [u8; 32] {
        Sha256::new().chain_update(self.0.digest_key).chain_update(password).finalize().into()
    }

    /// Whether mail for this domain lives here.
    pub fn is_local_domain(&self, domain: &Domain) -> bool {
        self.policy().domains.contains(domain)
    }

    /// Who gets mail to `postmaster`: the one configured, else the first account.
    pub fn postmaster(&self) -> Option<AccountId> {
        let (view, policy) = (self.view(), self.policy());
        let configured =
            policy.postmaster.as_ref().and_then(|address| view.by_address.get(&address.canonical()));
        configured.or_else(|| view.by_age.first()).cloned()
    }

    /// Where mail to a local recipient goes; `None` when there is no such recipient. Forwarded is to the first
    /// [`TARGETS_MAX`] addresses; while this home does not send, those who are here get it.
    pub fn resolve(&self, address: &Address) -> Option<Destinations> {
        let view = self.view();
        let mut found = Destinations::default();
        self.collect(&view, address, ALIAS_DEPTH_MAX, &mut found);
        if found.is_empty() && address.local().eq_ignore_ascii_case("postmaster") {
            found.accounts.extend(self.postmaster());
        }
        if !found.accounts.is_empty() && !self.policy().sends {
            found.outside.clear();
        }
        (!found.is_empty()).then_some(found)
    }

    /// As [`Directory::resolve`], for what was taken at `taken`: without accounts whose name was another's then.
    pub fn resolve_taken(&self, address: &Address, taken: UnixTime) -> Option<Destinations> {
        let mut found = self.resolve(address)?;
        found.accounts.retain(|account| !self.was_anothers(account.as_str(), taken));
        (!found.is_empty()).then_some(found)
    }

    /// Whether the account of this name was another one at `taken`, which was removed since.
    pub fn was_anothers(&self, account: &str, taken: UnixTime) -> bool {
        self.removed_before(account).is_some_and(|removed| taken <= removed)
    }

    /// When an account with this address was removed last.
    pub fn removed_from(&self, address: &Address) -> Option<UnixTime> {
        AccountId::of(address).ok().and_then(|account| self.removed_before(account.as_str()))
    }

    /// When another account of this name was removed last.
    pub fn removed_before(&self, account: &str) -> Option<UnixTime> {
        self.view().removed.get(account).copied()
    }

    /// To how many addresses elsewhere mail to this recipient goes.
    pub fn abroad(&self, address: &Address) -> u32 {
        if !self.is_local_domain(address.domain()) {
            return 1;
        }
        let outside = self.resolve(address).map_or(0, |found| found.outside.len());
        u32::try_from(outside).unwrap_or(u32::MAX)
    }

    fn collect(&self, view: &View, address: &Address, depth: usize, found: &mut Destinations) {
        if !self.is_local_domain(address.domain()) {
            // Only an alias leads here: recipients are asked about in domains of this home.
            if depth < ALIAS_DEPTH_MAX
                && found.outside.len() < TARGETS_MAX
                && !found.outside.contains(address)
            {
                found.outside.push(address.clone());
            }
            return;
        }
        if depth == 0 {
            return;
        }
        let local = address.canonical_local();
        let domain = address.domain();
        let catch_all = || Some("*").filter(|_| local != "postmaster");
        let names = [Some(local.as_str()), self.base_of(&local), catch_all()];
        for name in names.into_iter().flatten() {
            let canonical = format!("{name}@{domain}");
            if let Some(account) = view.by_address.get(&canonical) {
                if !found.accounts.contains(account) {
                    found.accounts.push(account.clone());
                }
                return;
            }
            if let Some(targets) = view.aliases.get(&canonical) {
                targets.iter().for_each(|target| self.collect(view, target, depth - 1, found));
                return;
            }
        }
    }

    fn base_of<'a>(&self, local: &'a str) -> Option<&'a str> {
        let policy = self.policy();
        let at = local.find(|c| policy.subaddress_separators.contains(c))?;
        local.get(..at).filter(|base| !base.is_empty())
    }

    /// Whether an account may send as this address: its own, its sub-addresses, aliases that lead to it. A
    /// catch-all gives nobody the right to every name.
    pub fn may_send_as(&self, account: &AccountId, address: &Address) -> bool {
        let view = self.view();
        let local = address.canonical_local();
        let domain = address.domain();
        let named = [Some(local.as_str()), self.base_of(&local)].into_iter().flatten().any(|name| {
            let canonical = format!("{name}@{domain}");
            view.by_address.contains_key(&canonical) || view.aliases.contains_key(&canonical)
        });
        named && self.resolve(address).is_some_and(|found| found.accounts.contains(account))
    }

    /// Every address that Edge has to know, and the domains with a catch-all. While this home does not send, what leads elsewhere
    /// alone is nobody's address.
    pub fn known_addresses(&self) -> (Vec<String>, Vec<Domain>) {
        let (view, sends) = (self.view(), self.policy().sends);
        let leads_on = |alias: &str| {
            let mut found = Destinations::default();
            if let Ok(address) = Address::parse(&alias.replacen('*', NOBODY_ELSE, 1)) {
                self.collect(&view, &address, ALIAS_DEPTH_MAX, &mut found);
            }
            sends || !found.accounts.is_empty()
        };
        let aliases = || view.aliases.keys().filter(|alias| leads_on(alias));
        let named = view.by_address.keys().chain(aliases().filter(|alias| !alias.starts_with("*@")));
        let catch_alls = aliases().filter_map(|alias| Domain::parse(alias.strip_prefix("*@")?).ok());
        (named.cloned().collect(), catch_alls.collect())
    }
}

fn no_account(address: &Address) -> Problem {
    Problem::setup(format!("there is no account {address}"), "see 'postern user list'")
}

/// Whether an account may have this password.
///
/// # Errors
/// What is wrong with it.
pub fn check_password(password: &str) -> Result<(), Problem> {
    checked_password(password).map(drop)
}

fn checked_password(password: &str) -> Result<&str, Problem> {
    let advice = "choose a longer one; a password manager's suggestion is good";
    match password.len() {
        ..PASSWORD_OCTETS_MIN => Err(Problem::setup("the password is shorter than 8 characters", advice)),
        PASSWORD_OCTETS_MIN..=PASSWORD_OCTETS_MAX => Ok(password),
        _ => Err(Problem::setup("the password is longer than 1024 characters", "choose a shorter one")),
    }
}

#[cfg(test)]
mod tests;
