//! What the operator reads when something does not work: what happened, why, and what to do.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// An error for a person at a terminal. Exit code 2 when the person has to change something (a file, an
/// argument, the machine), 1 when the program or its peer failed.
#[derive(Debug)]
pub struct Problem {
    what: String,
    advice: String,
    code: u8,
}

impl Problem {
    /// Something that the operator has to mend: exit code 2.
    pub fn setup(what: impl fmt::Display, advice: impl Into<String>) -> Self {
        Self { what: without_numbers(&what.to_string()), advice: advice.into(), code: 2 }
    }

    /// Something that went wrong while it ran: exit code 1.
    pub fn failed(what: impl fmt::Display, advice: impl Into<String>) -> Self {
        Self { what: without_numbers(&what.to_string()), advice: advice.into(), code: 1 }
    }

    /// Something that went wrong and stands in what was printed already: exit code 1 and no word more.
    pub fn told() -> Self {
        Self { what: String::new(), advice: String::new(), code: 1 }
    }

    /// Whether there is nothing left to say.
    pub fn is_told(&self) -> bool {
        self.what.is_empty()
    }

    /// What went wrong, in words; empty when that was printed already.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What happened and what to do, for the other end of the control socket.
    pub fn into_parts(self) -> (String, String) {
        (self.what, self.advice)
    }

    /// The same for scripts: one line of JSON.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "error": { "what": self.what, "what_to_do": self.advice, "exit_code": self.code } })
    }

    /// The exit code of the process: 1, or 2 for what the operator can set right.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.advice.is_empty() {
            write!(f, "\n  what to do: {}", self.advice)?;
        }
        Ok(())
    }
}

/// What the system says of a failure, without the number that means nothing to a person.
pub fn io_words(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::InvalidData {
        return "it is not text in UTF-8".to_owned();
    }
    let words = without_numbers(&error.to_string());
    let mut letters = words.chars();
    // In the middle of a sentence; but a word in capitals stays.
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() => first.to_lowercase().chain(letters).collect(),
        _ => words,
    }
}

/// The system's errors have numbers, wherever in a sentence they stand.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_of_the_system_is_told_in_words() {
        let words = |code| io_words(&io::Error::from_raw_os_error(code));
        assert_eq!(
            [words(2), words(13), words(28)],
            ["no such file or directory", "permission denied", "no space left on device"]
        );
    }

    #[test]
    fn no_number_of_the_system_is_shown_wherever_it_stands() {
        let said = Problem::failed("QUIC: x (os error 111); TCP: y (os error 13)", "").to_string();
        assert_eq!(said, "QUIC: x; TCP: y");
        assert_eq!(without_numbers("cut short (os error 1"), "cut short1");
    }

    #[test]
    fn a_script_reads_what_happened_and_what_to_do() {
        let json = Problem::setup("it is broken", "mend it").to_json();
        assert_eq!(json["error"]["what"], "it is broken");
        assert_eq!(
            (&json["error"]["what_to_do"], &json["error"]["exit_code"]),
            (&"mend it".into(), &2.into())
        );
    }
}
