//! `postern dns --watch`: asks again until all that mail needs is there, and tells what changes.

use std::time::Duration;

use daemon::print;
use daemon::problem::Problem;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::show::{Format, found_row, print_checked};
use crate::records::authority::Checked;

/// The first pause between two looks; each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The longest time that can be asked for.
const WATCH_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Arguments of the watch.
#[derive(Debug, clap::Args)]
pub(super) struct WatchArguments {
    /// Ask again until all that mail needs is there; tell what changes
    #[arg(long)]
    watch: bool,
    /// Give up after this time: 90s, 30m, 12h
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "watch")]
    watch_max: Option<Duration>,
}

impl WatchArguments {
    pub(super) const fn is_asked_for(&self) -> bool {
        self.watch
    }

    pub(super) const fn max(&self) -> Option<Duration> {
        self.watch_max
    }
}

/// A number and a unit: seconds, minutes, hours or days.
fn duration(text: &str) -> Result<Duration, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.get(..text.len() - unit.len()).and_then(|number| number.parse::<u64>().ok());
    let secs = match unit {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("a number and one of s, m, h, d".to_owned()),
    };
    let duration = number.and_then(|number| number.checked_mul(secs)).map(Duration::from_secs);
    let duration = duration.ok_or("a number and one of s, m, h, d")?;
    if duration.is_zero() || duration > WATCH_MAX { Err("from 1s to 7d".to_owned()) } else { Ok(duration) }
}

/// Looks until nothing is missing, for `max` at most.
///
/// # Errors
/// When something is still missing then, or when it is stopped by Ctrl-C.
pub(super) async fn watch(
    look: impl AsyncFnMut() -> Checked,
    max: Option<Duration>,
    format: Format,
) -> Result<(), Problem> {
    let mut last = None;
    let stop = async {
        // Where signals can't be waited for, Ctrl-C ends the process as it does everywhere.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let looked = until_there(look, max, |checked, earlier| tell(checked, earlier, format), &mut last);
    let ended = tokio::select! {
        ended = looked => ended,
        () = stop => Some("stopped"),
    };
    let Some(how) = ended else {
        if format == Format::Table {
            print::text("all records that mail needs are there");
        }
        return Ok(());
    };
    let missing = last.as_ref().map_or(0, |checked| checked.faults().count());
    let what = match missing {
        0 => format!("{how} before DNS was asked"),
        1 => format!("{how}: 1 record is still missing or wrong"),
        _ => format!("{how}: {missing} records are still missing or wrong"),
    };
    Err(Problem::failed(what, "run it again at any time; 'postern dns --check' says which they are"))
}

/// `None` when all are there; else how it ended.
async fn until_there(
    mut look: impl AsyncFnMut() -> Checked,
    max: Option<Duration>,
    mut tell: impl FnMut(&Checked, Option<&Checked>),
    last: &mut Option<Checked>,
) -> Option<&'static str> {
    let begun = Instant::now();
    let mut pause = PAUSE_MIN;
    loop {
        let checked = look().await;
        tell(&checked, last.as_ref());
        let there = checked.faults().next().is_none();
        *last = Some(checked);
        if there {
            return None;
        }
        let left = max.map(|max| max.saturating_sub(begun.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            return Some("given up");
        }
        sleep(left.map_or(pause, |left| left.min(pause))).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// All at first, then what is other than it was.
fn tell(checked: &Checked, earlier: Option<&Checked>, format: Format) {
    let Some(earlier) = earlier else { return print_checked(checked, format) };
    let changed: Vec<_> = checked
        .found
        .iter()
        .zip(&earlier.found)
        .filter(|(now, then)| now != then)
        .map(|(now, _)| now)
        .collect();
    match format {
        Format::Json if !changed.is_empty() => print::value(&json!(changed), true),
        Format::Json => {}
        Format::Zone => changed.iter().for_each(|found| {
            print::text(&format!("{} ; {}", found.wanted.zone(), found.word()));
        }),
        Format::Table => changed.iter().for_each(|found| print::text(&found_row(found))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::ask::{Found, State};
    use crate::records::{Told, wanted};

    fn checked(state: State) -> Checked {
        let config = toml::from_str("domains = [\"a.test\"]").unwrap();
        let found = wanted(&config, &[], &Told::default()).into_iter().map(|wanted| Found {
            wanted,
            state,
            found: Vec::new(),
            should_be: None,
        });
        Checked { found: found.collect(), notes: Vec::new() }
    }

    /// The times of the looks of a watch whose records are there at the look with this number.
    async fn looks(good_at: usize, max: Option<Duration>) -> (Vec<u64>, Option<&'static str>, usize) {
        let (begun, mut times, mut told, mut last) = (Instant::now(), Vec::new(), 0, None);
        let look = async || {
            times.push(begun.elapsed().as_secs());
            checked(if times.len() > good_at { State::Good } else { State::Missing })
        };
        let ended = until_there(look, max, |_, _| told += 1, &mut last).await;
        (times, ended, told)
    }

    #[tokio::test(start_paused = true)]
    async fn it_asks_again_ever_more_slowly_until_all_are_there() {
        let (times, ended, told) = looks(6, None).await;
        assert_eq!((times, ended, told), (vec![0, 5, 15, 35, 75, 135, 195], None, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_when_its_time_is_over_and_not_before() {
        let (times, ended, _) = looks(9, Some(Duration::from_secs(20))).await;
        assert_eq!((times, ended), (vec![0, 5, 15, 20], Some("given up")));
        let (times, ended, _) = looks(3, Some(Duration::from_secs(20))).await;
        assert_eq!((times, ended), (vec![0, 5, 15, 20], None), "there at the last look");
    }

    #[test]
    fn a_time_has_a_unit_and_a_limit() {
        for (text, secs) in [("90s", 90), ("90", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(secs)));
        }
        for text in ["", "0s", "8d", "604801s", "5w", "m", "-1s", "1.5h", "99999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
