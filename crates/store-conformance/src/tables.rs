//! What [`store::tables`] promises.

pub mod people;
pub mod quarantine;
pub mod remembered;
pub mod reports;

use std::any::Any;
use std::sync::Arc;

use store::tables::{People, QuarantineEntries, Remembered, Reports};

/// All tables, empty.
pub struct Tables {
    pub people: Arc<dyn People>,
    pub quarantine: Arc<dyn QuarantineEntries>,
    pub remembered: Arc<dyn Remembered>,
    pub reports: Arc<dyn Reports>,
    /// What has to live as long as they do, such as their directory.
    pub kept: Box<dyn Any>,
}

/// Makes a test of each promise of [`store::tables`]; `$tables` makes [`crate::tables::Tables`] of the kind that is to be
/// tested.
#[macro_export]
macro_rules! tables {
    ($tables:ident) => {
        $crate::each! {
            $tables, tables,
            people: [
                accounts_are_admitted_once_and_removed,
                who_takes_over_takes_nothing_of_the_others,
                aliases_have_each_target_once_and_go_whole,
                a_password_is_the_accounts_of_that_address,
            ];
            quarantine: [
                an_entry_is_kept_whole_and_as_it_was_first,
                entries_are_listed_by_their_time,
            ];
            remembered: [
                an_id_is_known_until_it_is_older_than_the_oldest,
                an_id_that_is_noted_again_is_as_young_as_that,
            ];
            reports: [
                a_report_is_counted_until_its_end,
                a_day_counts_its_reports_and_those_of_a_domain,
                what_is_due_is_open_over_and_not_too_old,
                a_report_that_is_cut_short_ends_but_not_before_it_has_begun,
                old_days_go_with_a_write,
                entries_are_those_of_a_domain_or_all_the_newest_last,
            ];
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_promise_is_in_the_list() {
        crate::tests::all_listed(
            include_str!("tables.rs"),
            &[
                include_str!("tables/people.rs"),
                include_str!("tables/quarantine.rs"),
                include_str!("tables/remembered.rs"),
                include_str!("tables/reports.rs"),
            ],
        );
    }
}
