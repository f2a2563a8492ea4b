//! What [`store::Mailboxes`] promises.

pub mod accounts;
pub mod boxes;
pub mod deliveries;
pub mod flags;
pub mod messages;
pub mod watching;

/// Makes a test of each promise of [`store::Mailboxes`]; `$home` makes a [`crate::Home`] with mailboxes of the kind that is
/// to be tested.
#[macro_export]
macro_rules! mailboxes {
    ($home:ident) => {
        $crate::each! {
            $home, mailboxes,
            deliveries: [
                a_delivery_is_read_back_with_its_head_before_it,
                an_item_is_stored_once_also_within_one_batch_and_after_it_was_expunged,
                one_bad_delivery_does_not_harm_its_batch,
                a_delivery_makes_its_mailbox_and_an_append_does_not,
                an_empty_message_is_a_message,
                old_arrivals_are_forgotten_and_recent_ones_are_not,
                arrivals_are_forgotten_by_their_time_whatever_their_ids_say,
                more_arrivals_than_one_step_takes_are_forgotten,
                a_delivery_can_be_awaited,
                a_message_has_up_to_its_limit_of_octets_head_included,
                a_body_in_a_file_is_read_in_any_pieces_until_the_last_message_that_has_it_is_gone,
                a_file_that_is_shorter_than_it_should_be_is_not_stored,
            ];
            messages: [
                copies_share_a_body_until_the_last_is_gone,
                moved_messages_vanish_here_and_appear_there,
                changes_tell_new_messages_and_new_flags_since_a_modseq,
                expunge_takes_deleted_messages_only_and_uids_are_never_used_again,
                totals_count_what_is_there_and_nothing_in_what_is_not,
                totals_are_what_counting_gives_whatever_was_done_before,
                what_is_remembered_of_messages_that_are_gone_is_bounded,
                who_was_told_before_hears_of_all_that_is_gone_and_of_nothing_that_is_there,
            ];
            flags: [
                flags_are_added_removed_and_replaced_and_keywords_ignore_case,
                keywords_are_bounded_in_number_and_length,
                a_flag_change_leaves_alone_what_changed_meanwhile,
            ];
            boxes: [
                mailboxes_are_made_renamed_with_those_below_and_deleted,
                a_mailbox_made_again_has_another_uidvalidity,
                renaming_inbox_empties_it_into_the_new_name,
                subscriptions_outlive_their_mailbox,
                a_rename_that_fails_below_changes_nothing,
                an_account_has_up_to_its_limit_of_mailboxes,
                a_name_that_no_mailbox_can_have_is_found_nowhere_and_made_by_nobody,
            ];
            accounts: [
                accounts_are_made_listed_and_removed,
                a_mailbox_that_is_set_aside_is_nobodys_until_it_is_brought_back,
                the_newest_is_the_one_that_was_set_aside_last_also_within_a_second_and_when_the_clock_goes_back,
                who_reads_while_a_mailbox_is_set_aside_leaves_nothing_to_the_next_of_its_name,
                names_that_no_account_can_have_are_refused_and_found_nowhere,
            ];
            watching: [
                a_watch_hears_of_commits_to_its_account_and_mailbox_only,
                who_waits_for_a_mailbox_hears_that_it_is_deleted,
            ];
        }
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_promise_is_in_the_list() {
        crate::tests::all_listed(
            include_str!("mailboxes.rs"),
            &[
                include_str!("mailboxes/accounts.rs"),
                include_str!("mailboxes/boxes.rs"),
                include_str!("mailboxes/deliveries.rs"),
                include_str!("mailboxes/flags.rs"),
                include_str!("mailboxes/messages.rs"),
                include_str!("mailboxes/watching.rs"),
            ],
        );
    }
}
