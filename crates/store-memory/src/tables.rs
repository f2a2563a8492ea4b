//! Home's small tables in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use mail::{Domain, ItemId, UnixTime};
use store::StoreError;
use store::tables::{
    AccountRow, AliasRow, Everybody, Past, People, Progress, QuarantineEntries, QuarantineEntry, Remembered,
    ReportChange, ReportRow, ReportState, Reports,
};

use crate::lock::lock;

/// The accounts and aliases of a Home.
#[derive(Debug, Default)]
pub struct MemoryPeople(Mutex<PeopleNow>);

#[derive(Debug, Default)]
struct PeopleNow {
    accounts: Vec<AccountRow>,
    aliases: BTreeSet<AliasRow>,
    removed: BTreeMap<String, UnixTime>,
}

impl PeopleNow {
    fn remove_targets(&mut self, leading: &[AliasRow]) {
        self.aliases.retain(|row| !leading.contains(row));
    }

    fn note_removed(&mut self, account: &str, at: UnixTime) {
        let noted = self.removed.entry(account.to_owned()).or_insert(at);
        *noted = at.max(*noted);
    }
}

impl People for MemoryPeople {
    fn everybody(&self) -> Result<Everybody, StoreError> {
        let known = lock(&self.0);
        Ok(Everybody {
            accounts: known.accounts.clone(),
            aliases: known.aliases.iter().cloned().collect(),
            removed: known.removed.iter().map(|(name, at)| (name.clone(), *at)).collect(),
        })
    }

    fn admit(&self, new: &AccountRow, leading: &[AliasRow], past: Past) -> Result<(), StoreError> {
        let mut known = lock(&self.0);
        let is_taken = |row: &AccountRow| row.name == new.name || row.address == new.address;
        if known.accounts.iter().any(is_taken) {
            return Err(StoreError::AccountExists(new.name.clone()));
        }
        known.accounts.push(new.clone());
        known.remove_targets(leading);
        match past {
            Past::Own => drop(known.removed.remove(&new.name)),
            Past::Anothers(Some(until)) => known.note_removed(&new.name, until),
            Past::Anothers(None) => {}
        }
        Ok(())
    }

    fn remove(&self, account: &str, leading: &[AliasRow], at: UnixTime) -> Result<(), StoreError> {
        let mut known = lock(&self.0);
        known.accounts.retain(|row| row.name != account);
        known.remove_targets(leading);
        known.note_removed(account, at);
        Ok(())
    }

    fn set_password(&self, address: &str, password: &str) -> Result<bool, StoreError> {
        let mut known = lock(&self.0);
        let account = known.accounts.iter_mut().find(|account| account.address == address);
        Ok(account.map(|account| password.clone_into(&mut account.password)).is_some())
    }

    fn add_targets(&self, alias: &str, targets: &[String]) -> Result<(), StoreError> {
        let row = |target: &String| AliasRow { alias: alias.to_owned(), target: target.clone() };
        lock(&self.0).aliases.extend(targets.iter().map(row));
        Ok(())
    }

    fn remove_alias(&self, alias: &str) -> Result<bool, StoreError> {
        let mut known = lock(&self.0);
        let before = known.aliases.len();
        known.aliases.retain(|row| row.alias != alias);
        Ok(known.aliases.len() < before)
    }
}

/// The entries of the quarantine of a Home.
#[derive(Debug, Default)]
pub struct MemoryQuarantine(Mutex<BTreeMap<ItemId, QuarantineEntry>>);

impl QuarantineEntries for MemoryQuarantine {
    fn insert(&self, entry: &QuarantineEntry) -> Result<(), StoreError> {
        lock(&self.0).entry(entry.item).or_insert_with(|| entry.clone());
        Ok(())
    }

    fn remove(&self, item: ItemId) -> Result<(), StoreError> {
        lock(&self.0).remove(&item);
        Ok(())
    }

    fn entries(&self) -> Result<Vec<QuarantineEntry>, StoreError> {
        let mut entries: Vec<QuarantineEntry> = lock(&self.0).values().cloned().collect();
        entries.sort_by_key(|entry| (entry.at, entry.item));
        Ok(entries)
    }

    fn count(&self) -> Result<u64, StoreError> {
        Ok(lock(&self.0).len() as u64)
    }

    fn entry(&self, item: ItemId) -> Result<Option<QuarantineEntry>, StoreError> {
        Ok(lock(&self.0).get(&item).cloned())
    }
}

/// Ids, each with its second.
#[derive(Debug, Default)]
pub struct MemoryRemembered(Mutex<BTreeMap<ItemId, u64>>);

impl Remembered for MemoryRemembered {
    fn has(&self, id: ItemId) -> Result<bool, StoreError> {
        Ok(lock(&self.0).contains_key(&id))
    }

    fn insert(&self, id: ItemId, now: UnixTime, oldest: UnixTime) -> Result<(), StoreError> {
        let mut known = lock(&self.0);
        known.retain(|_, at| *at >= oldest.as_secs());
        known.insert(id, now.as_secs());
        Ok(())
    }
}

/// The reports of a Home.
#[derive(Debug, Default)]
pub struct MemoryReports(Mutex<Vec<ReportRow>>);

impl Reports for MemoryReports {
    fn counting(&self, day: u64, domain: &Domain, now: u64) -> Result<Option<(ItemId, String)>, StoreError> {
        let rows = lock(&self.0);
        let is_meant = |row: &&ReportRow| {
            (row.day, &row.domain) == (day, domain)
                && row.progress.state == ReportState::Open
                && row.ended >= now
        };
        Ok(rows.iter().find(is_meant).map(|row| (row.id, row.results.clone())))
    }

    fn count(&self, day: u64, domain: &Domain) -> Result<(u64, u64), StoreError> {
        let rows = lock(&self.0);
        let of_day = rows.iter().filter(|row| row.day == day);
        let of_domain = of_day.clone().filter(|row| row.domain == *domain);
        Ok((of_day.count() as u64, of_domain.count() as u64))
    }

    fn write(&self, oldest_day: u64, changes: &[ReportChange]) -> Result<(), StoreError> {
        let mut rows = lock(&self.0);
        rows.retain(|row| row.day >= oldest_day);
        for change in changes {
            match change {
                ReportChange::Begin(row) => rows.push(row.clone()),
                ReportChange::Results { id, results } => {
                    rows.iter_mut()
                        .filter(|row| row.id == *id)
                        .for_each(|row| row.results.clone_from(results));
                }
            }
        }
        Ok(())
    }

    fn due(&self, now: u64, oldest_day: u64, most: u32) -> Result<Vec<ReportRow>, StoreError> {
        let is_due = |row: &&ReportRow| {
            row.progress.state == ReportState::Open
                && row.due <= now
                && row.ended < now
                && row.day >= oldest_day
        };
        let mut due: Vec<ReportRow> = lock(&self.0).iter().filter(is_due).cloned().collect();
        due.sort_by_key(|row| row.due);
        due.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        Ok(due)
    }

    fn entries(&self, domain: Option<&Domain>) -> Result<Vec<ReportRow>, StoreError> {
        let rows = lock(&self.0);
        let meant = rows.iter().filter(|row| domain.is_none_or(|domain| row.domain == *domain));
        let mut entries: Vec<ReportRow> = meant.cloned().collect();
        entries.sort_by(|one, other| {
            (one.begun, one.domain.as_str()).cmp(&(other.begun, other.domain.as_str()))
        });
        Ok(entries)
    }

    fn cut_short(&self, now: u64) -> Result<(), StoreError> {
        let mut rows = lock(&self.0);
        for row in rows.iter_mut().filter(|row| row.progress.state == ReportState::Open) {
            row.due = 0;
            row.ended = row.ended.min(row.begun.max(now.saturating_sub(1)));
        }
        Ok(())
    }

    fn update(&self, id: ItemId, progress: &Progress, due: u64) -> Result<(), StoreError> {
        for row in lock(&self.0).iter_mut().filter(|row| row.id == id) {
            row.progress.clone_from(progress);
            row.due = due;
        }
        Ok(())
    }
}
