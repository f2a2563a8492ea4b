//! Flags and keywords.

use mailbox::{FlagList, FlagMode, FlagUpdate, Flags, KEYWORD_LENGTH_MAX, KEYWORDS_MAX};
use store::StoreError;

use crate::Home;

pub fn flags_are_added_removed_and_replaced_and_keywords_ignore_case(home: &Home) {
    home.deliver(b"x");
    let list = |keywords: &[&str]| FlagList {
        system: Flags::SEEN,
        keywords: keywords.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(home.flag(FlagMode::Add, 1, list(&["$Junk", "todo"])), [(1, Flags(1 | 256 | 512))]);
    assert_eq!(home.flag(FlagMode::Remove, 1, list(&["$JUNK"])), [(1, Flags(512))]);
    assert_eq!(home.flag(FlagMode::Replace, 1, Flags::DRAFT), [(1, Flags::DRAFT)]);
    assert_eq!(home.store.reader("bob").unwrap().keywords().unwrap(), ["$Junk", "todo"]);
}

pub fn keywords_are_bounded_in_number_and_length(home: &Home) {
    home.deliver(b"x");
    let inbox = home.mailbox("INBOX").id;
    let set = |keyword: String| {
        let flags = FlagList { system: Flags::NONE, keywords: vec![keyword] };
        let update = FlagUpdate { mode: FlagMode::Add, flags, unchanged_since: None };
        home.store.update_flags("bob", inbox, &[1..=1], update)
    };
    assert!(set("k".repeat(KEYWORD_LENGTH_MAX)).is_ok());
    assert!(matches!(set("k".repeat(KEYWORD_LENGTH_MAX + 1)), Err(StoreError::Limit(_))));
    for number in 1..KEYWORDS_MAX {
        set(format!("k{number}")).unwrap();
    }
    assert!(matches!(set("one-more".into()), Err(StoreError::Limit(_))));
    assert_eq!(home.store.reader("bob").unwrap().message(inbox, 1).unwrap().unwrap().flags.0, u64::MAX << 8);
}

pub fn a_flag_change_leaves_alone_what_changed_meanwhile(home: &Home) {
    home.deliver(b"x");
    home.deliver(b"y");
    let inbox = home.mailbox("INBOX");
    home.flag(FlagMode::Add, 2, Flags::FLAGGED);
    let update =
        FlagUpdate { mode: FlagMode::Add, flags: Flags::SEEN.into(), unchanged_since: Some(inbox.modseq) };
    let outcome = home.store.update_flags("bob", inbox.id, &[1..=2], update).unwrap();
    assert_eq!(outcome.changed, [(1, Flags::SEEN)]);
    assert_eq!(outcome.conflicts, [2]);
}
