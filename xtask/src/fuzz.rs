//! A short run of the fuzz targets: long enough to meet what a change broke, not to look for what is rare.
//!
//! `cargo fuzz` builds without a sanitizer, because those need a nightly toolchain; without one the stable
//! toolchain of the repository will do. The crates forbid `unsafe`, so what an address sanitizer finds is not what is
//! looked for: it is panics, overflows, broken assertions, time and memory, and the build checks for those.
//! Seeds are in `fuzz/seeds`; what a run finds on top of them goes to `fuzz/corpus`, which git ignores.

use std::fs;
use std::path::Path;

use crate::step::{Failure, Plan};
use crate::tools::CARGO_FUZZ;

/// Seconds of all targets together, as `ci` runs them.
const SECONDS: u64 = 120;
/// Where `ci` begins the search, so that the same code gets the same inputs: what a change broke fails each time, and
/// what only chance would find is looked for by `nightly` and by hand.
const SEED: u32 = 1;
/// Octets of an input. Twice the longest command line: more only makes the runs slow.
const INPUT_OCTETS_MAX: u32 = 8192;
/// Memory of a run. An input of a few KiB has no reason to take more.
const MEMORY_MB_MAX: u32 = 512;
/// Seconds that one input may take.
const INPUT_SECONDS_MAX: u32 = 5;

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Seconds for all targets together.
    seconds: u64,
    /// The targets to run; empty for all.
    targets: Vec<String>,
    /// Where the search begins; `None` for a new place each time.
    seed: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: SECONDS, targets: Vec::new(), seed: None }
    }
}

impl Options {
    /// The search of `ci`, which is the same each time.
    pub(crate) fn same_each_time() -> Self {
        Self { seed: Some(SEED), ..Self::default() }
    }

    /// Reads `[--seconds N] [--seed N] [TARGET...]`; `None` when it is something else.
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--seconds" => options.seconds = words.next()?.parse().ok()?,
                "--seed" => options.seed = Some(words.next()?.parse().ok()?),
                word if word.starts_with('-') => return None,
                word => options.targets.push(word.to_owned()),
            }
        }
        Some(options)
    }
}

/// Builds the targets and runs one after the other. `target` is the target directory of the workspace.
pub(crate) fn run(plan: &mut Plan, target: &str, options: &Options) -> Result<(), Failure> {
    let known = names()?;
    let targets = if options.targets.is_empty() { &known } else { &options.targets };
    if let Some(unknown) = targets.iter().find(|name| !known.contains(name)) {
        return Err(Failure::new(format!("no fuzz target '{unknown}'; there are {}", known.join(", "))));
    }
    let tool = CARGO_FUZZ.provide(plan, target)?;
    let mut build = vec!["fuzz", "build", "--sanitizer", "none", "--debug-assertions"];
    // One name at most is taken; several are all.
    if let [only] = targets.as_slice() {
        build.push(only);
    }
    plan.program("build, fuzz targets", &tool, &build)?;
    let seconds = (options.seconds / targets.len() as u64).max(1);
    targets.iter().try_for_each(|name| fuzz(plan, &tool, name, seconds, options.seed))
}

fn fuzz(plan: &mut Plan, tool: &str, name: &str, seconds: u64, seed: Option<u32>) -> Result<(), Failure> {
    let corpus = format!("fuzz/corpus/{name}");
    fs::create_dir_all(&corpus).map_err(|error| Failure::new(format!("can't make {corpus}: {error}")))?;
    let limits = [
        format!("-max_total_time={seconds}"),
        format!("-rss_limit_mb={MEMORY_MB_MAX}"),
        format!("-max_len={INPUT_OCTETS_MAX}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        // 0 is a new one each time.
        format!("-seed={}", seed.unwrap_or(0)),
    ];
    let seeds = format!("fuzz/seeds/{name}");
    // The first folder takes what is found, the second is only read. Both are where a run starts from.
    let mut arguments =
        vec!["fuzz", "run", "--sanitizer", "none", "--debug-assertions", name, &corpus, &seeds, "--"];
    arguments.extend(limits.iter().map(String::as_str));
    arguments.extend(["-print_final_stats=1", "-verbosity=0"]);
    plan.program(&format!("fuzz {name}"), tool, &arguments).map_err(|failure| {
        let Some(input) = newest_artifact(name) else { return failure };
        Failure::new(format!(
            "{failure}\nthe input is {input}\nwhat to do: run it again with\n    \
             {tool} fuzz run --sanitizer none --debug-assertions {name} {input}\n\
             and keep it in {seeds} with the fix"
        ))
    })
}

/// The newest input that a target did not survive.
fn newest_artifact(name: &str) -> Option<String> {
    let entries = fs::read_dir(format!("fuzz/artifacts/{name}")).ok()?.flatten();
    let newest = entries.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok())?;
    Some(newest.path().display().to_string())
}

/// The targets, by their files.
fn names() -> Result<Vec<String>, Failure> {
    let folder = Path::new("fuzz/fuzz_targets");
    let entries = fs::read_dir(folder)
        .map_err(|error| Failure::new(format!("can't read {}: {error}", folder.display())))?;
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_targets_may_be_named() {
        assert_eq!(Options::parse(&[]), Some(Options::default()));
        let targets = vec!["header".to_owned(), "arc_set".to_owned()];
        let some = Options { seconds: 20, targets, seed: Some(7) };
        assert_eq!(Options::parse(&["header", "--seconds", "20", "arc_set", "--seed", "7"]), Some(some));
        for bad in [&["--seconds"][..], &["--seconds", "x"], &["--seed", "-1"], &["--runs", "1"]] {
            assert_eq!(Options::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn every_target_is_built_and_has_seeds() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for target in fs::read_dir(fuzz.join("fuzz_targets")).unwrap() {
            let name = target.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
            assert!(fs::read_dir(fuzz.join("seeds").join(&name)).unwrap().count() >= 3, "{name}");
        }
    }
}
