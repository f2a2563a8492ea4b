//! `accounts.sh`: the commands that add accounts and aliases. It can be run again, stops at the first error, and says
//! where.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::settled::Settled;

/// What the script begins with. `COUNT` is how many steps there are.
const HEAD: &str = r#"#!/bin/sh
# Accounts and aliases. Each account asks for a password: those of Postfix are not known to it.
# It stops at the first error and says what to do; run again it passes over what is there.
set -u
CONFIG=${1:-/etc/postern/home.toml}
STEP=0

step() {
    STEP=$((STEP + 1))
    echo "$STEP of COUNT: $*"
    if ! "$@"; then
        echo "Stopped at step $STEP of COUNT: $*"
        echo "Mend what it says above, then run this again: what is done stays done, and it goes on here."
        exit 1
    fi >&2
}
user() { step postern user add --config "$CONFIG" --if-missing -- "$@"; }
leads() { step postern alias add --config "$CONFIG" -- "$@"; }

"#;

/// The commands.
pub(super) fn script(people: &Settled) -> String {
    let count = people.accounts.len() + people.aliases.len();
    let mut text = HEAD.replace("COUNT", &count.to_string());
    for account in &people.accounts {
        // Writing to a String can't fail.
        let _ = writeln!(text, "user {}", shell(account));
    }
    for (alias, targets) in &people.aliases {
        let _ = writeln!(text, "leads {}", words(alias, targets));
    }
    if !people.abroad.is_empty() {
        text.push_str(
            "\n# These lead elsewhere only. When home.toml says outbound = \"on\", take the '#' off and run this again.\n",
        );
    }
    for (alias, targets) in &people.abroad {
        let _ = writeln!(text, "# leads {}", words(alias, targets));
    }
    text
}

fn words(alias: &str, targets: &BTreeSet<String>) -> String {
    let words: Vec<String> =
        [alias].into_iter().chain(targets.iter().map(String::as_str)).map(shell).collect();
    words.join(" ")
}

/// A word for the shell: whatever stands in a map is never a command.
fn shell(word: &str) -> String {
    let plain: String = word.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", plain.replace('\'', "'\\''"))
}
