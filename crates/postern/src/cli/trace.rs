//! `postern trace`: the story of a message, of the last ones, or of what happens from now on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use daemon::trace::{Follow, LAST_MAX, Question, STORY_EVENTS_MAX, find};
use mail::ItemId;

use super::roles::data_of;

/// How often a follower looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Messages that `last` tells of where no number is given.
const LAST: usize = 10;

/// Arguments of `postern trace`.
#[derive(Debug, clap::Args)]
pub(super) struct TraceArguments {
    /// What to look for: an item id, an address, a message-id, a word of the subject or of an event; or 'last'
    #[arg(required_unless_present = "follow")]
    what: Option<String>,
    /// After 'last': how many messages (default: 10)
    #[arg(value_name = "N", value_parser = clap::value_parser!(u16).range(1..=LAST_MAX as i64))]
    count: Option<u16>,
    /// Go on: tell what comes, of what is looked for or of everything, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// The configuration file of the role (default: that of the role that is set up on this host)
    #[arg(long)]
    config: Option<PathBuf>,
    /// Print JSON, one event a line
    #[arg(long)]
    json: bool,
}

impl TraceArguments {
    fn question(&self) -> Result<Option<Question>, Problem> {
        match (self.what.as_deref(), self.count) {
            (None, _) => Ok(None),
            (Some("last"), count) => Ok(Some(Question::Last(count.map_or(LAST, usize::from)))),
            (Some(what), None) => Ok(Some(Question::about(what))),
            (Some(what), Some(count)) => Err(Problem::setup(
                format!("'{what} {count}' is not understood: a number comes after 'last' only"),
                format!("put several words in quotes: postern trace '{what} {count}'"),
            )),
        }
    }
}

/// Carries out `postern trace`.
pub(super) fn run(arguments: &TraceArguments) -> Result<(), Problem> {
    let question = arguments.question()?;
    let dir = data_of(arguments.config.clone())?.join("trace");
    let items = match &question {
        Some(question) => tell(&dir, question, arguments)?,
        None => Vec::new(),
    };
    if !arguments.follow {
        return Ok(());
    }
    let what = match question {
        Some(Question::About(what)) => Some(what),
        _ => None,
    };
    follow(&dir, what.as_deref(), items, arguments.json)
}

/// Tells what there is, and gives the messages that were spoken of.
fn tell(dir: &Path, question: &Question, arguments: &TraceArguments) -> Result<Vec<ItemId>, Problem> {
    let story = find(dir, question)?;
    if story.events.is_empty() && !arguments.follow {
        let (what, advice) = match question {
            Question::About(what) => (
                format!("nothing is known of '{what}'"),
                "give an item id, an address, or another word of what happened; old events are dropped",
            ),
            Question::Last(_) => ("no message is known".to_owned(), "see 'postern status'"),
        };
        return Err(Problem::failed(what, advice));
    }
    for event in &story.events {
        print::event(event, arguments.json);
    }
    if story.is_cut {
        eprintln!(
            "postern: there is more than {STORY_EVENTS_MAX} events; look for something that fewer have"
        );
    }
    Ok(story.events.iter().filter_map(|event| event.item).collect())
}

fn follow(dir: &Path, what: Option<&str>, known: Vec<ItemId>, json: bool) -> Result<(), Problem> {
    let mut follow = Follow::new(dir, what, known);
    process::block_on(async {
        loop {
            for event in follow.news() {
                print::event(&event, json);
            }
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(words: &[&str]) -> Result<Option<Question>, Problem> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            arguments: TraceArguments,
        }
        let line = <Line as clap::Parser>::try_parse_from([&["trace"], words].concat());
        line.map_err(|error| Problem::setup(error, "")).and_then(|line| line.arguments.question())
    }

    #[test]
    fn what_is_asked_for_is_a_word_or_the_last_messages_and_everything_only_for_who_follows() {
        let is = |words: &[&str]| question(words).ok();
        assert_eq!(is(&["<Bob@a.example>"]), Some(Some(Question::About("bob@a.example".to_owned()))));
        assert_eq!(is(&["last"]), Some(Some(Question::Last(LAST))));
        assert_eq!(is(&["last", "1000"]), Some(Some(Question::Last(1000))));
        assert_eq!(is(&["--follow"]), Some(None));
        for wrong in [&[][..], &["last", "0"], &["last", "1001"], &["bob", "3"]] {
            assert!(question(wrong).is_err(), "{wrong:?}");
        }
    }
}
