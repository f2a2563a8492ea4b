//! Steps with a name and a time; the first that fails ends the run.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Why a step failed.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) const fn new(why: String) -> Self {
        Self(why)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// What was done so far.
#[derive(Default)]
pub(crate) struct Plan {
    done: Vec<Done>,
}

struct Done {
    name: String,
    took: Duration,
    failed: bool,
    /// `cargo test`'s closing lines, one per test binary that ran any.
    results: Vec<String>,
}

impl Plan {
    /// Runs `cargo` with these arguments.
    pub(crate) fn cargo(&mut self, name: &str, arguments: &[&str]) -> Result<(), Failure> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        self.program(name, &cargo, arguments)
    }

    /// Runs a program. Its output goes where ours does.
    pub(crate) fn program(&mut self, name: &str, program: &str, arguments: &[&str]) -> Result<(), Failure> {
        let mut results = Vec::new();
        let done = self.step(name, || run(program, arguments, &mut results));
        if let Some(step) = self.done.last_mut() {
            step.results = results;
        }
        done
    }

    /// Does something under a name and takes its time.
    pub(crate) fn step(
        &mut self,
        name: &str,
        work: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        println!("== {name}");
        let begun = Instant::now();
        let done = work();
        let took = begun.elapsed();
        println!("== {name}: {} after {:.1} s", verdict(done.is_err()), took.as_secs_f64());
        self.done.push(Done { name: name.to_owned(), took, failed: done.is_err(), results: Vec::new() });
        done
    }

    /// The table at the end.
    pub(crate) fn print_summary(&self) {
        println!();
        for step in &self.done {
            println!("{:>8.1} s  {:<6} {}", step.took.as_secs_f64(), verdict(step.failed), step.name);
            for result in &step.results {
                println!("            {result}");
            }
        }
        let total: Duration = self.done.iter().map(|step| step.took).sum();
        println!("{:>8.1} s  in all", total.as_secs_f64());
    }
}

const fn verdict(failed: bool) -> &'static str {
    if failed { "FAILED" } else { "ok" }
}

fn run(program: &str, arguments: &[&str], results: &mut Vec<String>) -> Result<(), Failure> {
    let line = format!("{program} {}", arguments.join(" "));
    let failed = |why: String| Failure::new(format!("{line}: {why}"));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            if line.starts_with("test result:") && !line.contains(" 0 passed; 0 failed") {
                results.push(line.into_owned());
            }
        }
    }
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}
