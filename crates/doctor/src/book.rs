//! How the book shows the checks. Its page is compared with this by a test.

use crate::check::Check;

/// A check as a row of the table in `docs/src/doctor.md`.
#[must_use]
pub fn row(check: Check) -> String {
    let answers: Vec<&str> = check.touches().iter().map(|answer| answer.as_str()).collect();
    let answers = if answers.is_empty() { "–".to_owned() } else { answers.join(", ") };
    format!(
        "| `{check}` | {} | {answers} | {} | {} | {} |\n",
        check.by().as_str(),
        check.looks_at(),
        check.why(),
        check.advice(),
    )
}
