//! What is made of the command line itself: completions for shells, and man pages.

use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use daemon::files;
use daemon::print;
use daemon::problem::{self, Problem};

/// Prints the completions of one shell for this command line.
pub(super) fn completions(mut line: Command, shell: Shell) -> Result<(), Problem> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut line, "postern", &mut text);
    print::text(String::from_utf8_lossy(&text).trim_end());
    Ok(())
}

/// Writes a man page for each command into a directory, which must be there: `postern.1`, `postern-edge-setup.1`.
pub(super) fn man_pages(line: Command, dir: &Path) -> Result<(), Problem> {
    let is_there = dir.is_dir();
    let missing = || Problem::setup(format!("there is no directory {}", dir.display()), "make it first");
    is_there.then_some(()).ok_or_else(missing)?;
    clap_mangen::generate_to(line, dir).map_err(|error| {
        let what = format!("can't write man pages to {}: {}", dir.display(), problem::io_words(&error));
        Problem::failed(what, files::whom_to_be(dir))
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::PathBuf;

    use clap::{Arg, Command, CommandFactory as _};

    const OPENING: &str = "# Commands\n\nEvery command, as `postern COMMAND --help` says it. `--config` names the file of the role: without it \
        `/etc/postern/home.toml`, or\n`/etc/postern/edge.toml` where a command is Edge's. Exit codes: 0 done, 1 something \
        failed or is missing, 2 something has to be put right\nbefore it can be tried again. With `--json` errors are JSON, too: `what`, \
        `what_to_do`, `exit_code`.\n";

    fn page() -> String {
        let mut page = OPENING.to_owned();
        let mut line = super::super::Cli::command();
        line.build();
        for command in
            line.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
        {
            section(command, "postern", &mut page);
        }
        page
    }

    fn section(command: &Command, above: &str, page: &mut String) {
        let name = format!("{above} {}", command.get_name());
        let below: Vec<&Command> =
            command.get_subcommands().filter(|one| !one.is_hide_set() && one.get_name() != "help").collect();
        let about =
            command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
        if below.is_empty() {
            let usage = command.clone().bin_name(&name).render_usage().to_string();
            let usage = usage.trim_start_matches("Usage: ").split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = write!(page, "\n## {name}\n\n{about}.\n\n    {usage}\n");
            let shown: Vec<String> = command.get_arguments().filter_map(row).collect();
            if !shown.is_empty() {
                let _ = write!(page, "\n| | |\n|---|---|\n{}", shown.concat());
            }
        }
        below.into_iter().for_each(|one| section(one, &name, page));
    }

    /// A line of the table; nothing for what every command has.
    fn row(argument: &Arg) -> Option<String> {
        if argument.is_hide_set() || argument.get_id() == "help" || argument.get_id() == "version" {
            return None;
        }
        let value =
            |names: &[clap::builder::Str]| names.iter().map(|name| format!(" {name}")).collect::<String>();
        let takes = argument.get_action().takes_values();
        let values = argument.get_value_names().filter(|_| takes).map(value).unwrap_or_default();
        let what = match argument.get_long() {
            Some(long) => format!("--{long}{values}"),
            None => values.trim().to_owned(),
        };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let mut help = help.replace('|', "\\|");
        let defaults: Vec<String> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
        if takes && !defaults.is_empty() && argument.get_long() != Some("config") {
            let _ = write!(help, " (default: `{}`)", defaults.join(" "));
        }
        Some(format!("| `{what}` | {help} |\n"))
    }

    /// The page of the book is made here: UPDATE_BOOK=1 cargo test -p postern the_book_has_every_command
    #[test]
    fn the_book_has_every_command_as_it_is() {
        let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/commands.md"));
        let made = page();
        if std::env::var_os("UPDATE_BOOK").is_some() {
            std::fs::write(&path, &made).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == made,
            "{} is not as the program is: UPDATE_BOOK=1 cargo test -p postern the_book",
            path.display()
        );
    }
}
