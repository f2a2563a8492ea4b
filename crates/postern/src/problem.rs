//! What the operator reads when something does not work: what happened, why, and what to do.

use std::fmt;
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
        Self { what: what.to_string(), advice: advice.into(), code: 2 }
    }

    /// Something that went wrong while it ran: exit code 1.
    pub fn failed(what: impl fmt::Display, advice: impl Into<String>) -> Self {
        Self { what: what.to_string(), advice: advice.into(), code: 1 }
    }

    /// What happened and what to do, for the other end of the control socket.
    pub fn into_parts(self) -> (String, String) {
        (self.what, self.advice)
    }

    /// The exit code for scripts.
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
