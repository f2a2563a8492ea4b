//! Questions to whoever sits at the terminal. A test answers from a list.

use std::io::IsTerminal as _;

use crate::cli::hidden;
use daemon::problem::{self, Problem};
use daemon::process;
use dialoguer::{Confirm, Input};
use tokio::signal::unix::{SignalKind, signal};

/// Who answers.
pub(super) trait Asks {
    /// Whether anybody is there.
    fn is_there(&self) -> bool;
    /// A line of text; `default` when it is left empty. What `check` says is wrong is asked again.
    ///
    /// # Errors
    /// When whoever is asked ends it (Ctrl-C), or goes away.
    fn text(
        &mut self,
        question: &str,
        default: Option<&str>,
        check: &dyn Fn(&str) -> Result<(), String>,
    ) -> Result<String, Problem>;
    /// Yes or no.
    ///
    /// # Errors
    /// As [`Asks::text`].
    fn yes(&mut self, question: &str) -> Result<bool, Problem>;
    /// A password, typed twice; empty for one that is made.
    ///
    /// # Errors
    /// As [`Asks::text`].
    fn password(&mut self, question: &str) -> Result<String, Problem>;
}

/// The terminal, if there is one.
pub(super) struct Terminal;

/// Nothing is written before all is answered, so this is all there is to say.
fn ended(error: &std::io::Error) -> Problem {
    let what = match error.kind() {
        std::io::ErrorKind::Interrupted => "stopped".to_owned(),
        _ => format!("no answer could be read: {}", problem::io_words(error)),
    };
    Problem::failed(what, "type the same again: it goes on with what is missing")
}

impl Asks for Terminal {
    fn is_there(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
    }

    fn text(
        &mut self,
        question: &str,
        default: Option<&str>,
        check: &dyn Fn(&str) -> Result<(), String>,
    ) -> Result<String, Problem> {
        loop {
            let input = Input::<String>::new().with_prompt(question).allow_empty(true);
            let input = match default {
                Some(default) => input.default(default.to_owned()),
                None => input,
            };
            let dialoguer::Error::IO(error) = match input.interact_text() {
                Ok(answer) => match check(answer.trim()) {
                    Ok(()) => return Ok(answer.trim().to_owned()),
                    Err(why) => {
                        println!("  {why}");
                        continue;
                    }
                },
                Err(error) => error,
            };
            return Err(ended(&error));
        }
    }

    fn yes(&mut self, question: &str) -> Result<bool, Problem> {
        let asked = Confirm::new().with_prompt(question).default(true).interact();
        asked.map_err(|dialoguer::Error::IO(error)| ended(&error))
    }

    fn password(&mut self, question: &str) -> Result<String, Problem> {
        let check = |typed: &str| match typed {
            // One is made.
            "" => Ok(()),
            typed => directory::check_password(typed).map_err(|problem| problem.what().to_owned()),
        };
        hidden::ask_twice(question, &check)
    }
}

/// From now on Ctrl-C ends what is asked or waited for with a sentence, and not the program without one.
///
/// # Errors
/// When the system gives no handler for it.
pub(super) fn heed_interrupts() -> Result<(), Problem> {
    let heeded = process::block_on(async { signal(SignalKind::interrupt()).map(drop) })?;
    heeded.map_err(|error| Problem::failed(format!("can't listen to signals: {error}"), ""))
}

/// Nobody, for what is asked of a script.
pub(super) fn missing(what: &str, example: &str) -> Problem {
    Problem::setup(
        format!("{what} is missing, and there is no terminal to ask at"),
        format!("for example: {example}"),
    )
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Answers from a list, in order; an end of the list is a Ctrl-C.
    pub(in super::super) struct Answers(pub(in super::super) Vec<&'static str>);

    impl Answers {
        fn next(&mut self) -> Result<String, Problem> {
            if self.0.is_empty() {
                return Err(ended(&std::io::ErrorKind::Interrupted.into()));
            }
            Ok(self.0.remove(0).to_owned())
        }
    }

    impl Asks for Answers {
        fn is_there(&self) -> bool {
            true
        }

        fn text(
            &mut self,
            _question: &str,
            default: Option<&str>,
            check: &dyn Fn(&str) -> Result<(), String>,
        ) -> Result<String, Problem> {
            loop {
                let answer = self.next()?;
                let answer = if answer.is_empty() { default.unwrap_or_default().to_owned() } else { answer };
                if check(&answer).is_ok() {
                    return Ok(answer);
                }
            }
        }

        fn yes(&mut self, _question: &str) -> Result<bool, Problem> {
            Ok(self.next()? == "y")
        }

        fn password(&mut self, _question: &str) -> Result<String, Problem> {
            self.next()
        }
    }
}
