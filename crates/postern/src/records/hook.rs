//! A program of the operator's that changes records at a provider: it gets the changes as JSON, and answers with those
//! that it made. It is run without a shell, within a time limit, and what it writes is bounded.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use super::plan::{Change, Plan};

/// The version of what is on its input and output.
const VERSION: u32 = 1;
/// Octets of an answer that are read.
const ANSWER_OCTETS_MAX: u64 = 64 * 1024;

/// Why a hook is not believed to have done anything.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HookError {
    /// It can't be started.
    #[error("can't be started: {0}")]
    Start(String),
    /// It said so itself.
    #[error("failed ({0}); what it wrote, if anything, stands above")]
    Failed(String),
    /// It took too long, and was ended with all that it had started.
    #[error("was not ready after {0} s, and was ended")]
    Late(u64),
    /// Its answer is no such JSON, or speaks of changes that it was not asked for.
    #[error("answered nonsense: {0}")]
    Nonsense(String),
}

#[derive(Deserialize)]
struct Made {
    applied: Vec<usize>,
}

/// What a hook reads: the form is fixed, see docs/src/dns.md.
pub(crate) fn input(zone: &str, changes: &[Change]) -> String {
    format!("{}\n", json!({ "version": VERSION, "zone": zone, "changes": changes }))
}

/// Runs `program` with its arguments for the changes of a plan; gives the numbers of those that it made.
///
/// # Errors
/// [`HookError`]; what the provider has then is not known.
pub(crate) async fn run(
    program: &[OsString],
    plan: &Plan,
    patience: Duration,
) -> Result<BTreeSet<usize>, HookError> {
    let changes = plan.changes();
    let octets = answer_of(program, &input(&plan.zone.name, &changes), patience).await?;
    read(&octets, &changes)
}

async fn answer_of(program: &[OsString], input: &str, patience: Duration) -> Result<Vec<u8>, HookError> {
    let Some((name, arguments)) = program.split_first() else {
        return Err(HookError::Start("it has no name".to_owned()));
    };
    let child = Command::new(name)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| HookError::Start(daemon::problem::io_words(&error)))?;
    match tokio::time::timeout(patience, speak(&mut child, input)).await {
        Ok(said) => said,
        Err(_) => {
            end(&child);
            Err(HookError::Late(patience.as_secs()))
        }
    }
}

/// Gives it its input, takes its answer, and waits for its end.
async fn speak(child: &mut Child, input: &str) -> Result<Vec<u8>, HookError> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // One that does not read its input says by its answer what it did.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let mut octets = Vec::new();
    let read = async {
        match stdout {
            Some(stdout) => stdout.take(ANSWER_OCTETS_MAX + 1).read_to_end(&mut octets).await.map(drop),
            None => Ok(()),
        }
    };
    let ((), read) = tokio::join!(write, read);
    let too_long = u64::try_from(octets.len()).unwrap_or(u64::MAX) > ANSWER_OCTETS_MAX;
    if read.is_err() || too_long {
        end(child);
        return Err(HookError::Nonsense(format!("more than {ANSWER_OCTETS_MAX} octets")));
    }
    let status = child.wait().await.map_err(|error| HookError::Failed(daemon::problem::io_words(&error)))?;
    if status.success() { Ok(octets) } else { Err(HookError::Failed(status.to_string())) }
}

/// Ends it and what it started. It was not waited for, so that its number is nobody else's.
fn end(child: &Child) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = pid {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn read(octets: &[u8], changes: &[Change]) -> Result<BTreeSet<usize>, HookError> {
    let answer: Made = serde_json::from_slice(octets).map_err(|error| {
        HookError::Nonsense(format!("no JSON of the form {{\"applied\": [1, 2]}} ({error})"))
    })?;
    let count = answer.applied.len();
    let applied: BTreeSet<usize> = answer.applied.into_iter().collect();
    let known = |id: &usize| changes.iter().any(|change| change.id == *id);
    match applied.iter().find(|id| !known(id)) {
        Some(id) => Err(HookError::Nonsense(format!("there is no change {id}"))),
        None if applied.len() != count => Err(HookError::Nonsense("a change is named twice".to_owned())),
        None => Ok(applied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use net::dns::update::{Edit, RecordSet};
    use net::dns::{Data, DataKind, Zone};

    fn plan() -> Plan {
        let data = |text| Data::parse(DataKind::Txt, text).unwrap();
        let set = RecordSet {
            name: "a.test".to_owned(),
            kind: DataKind::Txt,
            seen: vec![data("old \"one\"")],
            edits: vec![Edit::Remove(data("old \"one\"")), Edit::Add(3600, data("new"))],
        };
        let zone = Zone { name: "test".to_owned(), primary: "ns.test".to_owned(), servers: Vec::new() };
        Plan { zone, sets: vec![set], kept: Vec::new() }
    }

    async fn with(script: &str, patience: Duration) -> Result<BTreeSet<usize>, HookError> {
        let program: Vec<OsString> = ["/bin/sh", "-c", script, "hook"].map(OsString::from).into();
        run(&program, &plan(), patience).await
    }

    const LONG: Duration = Duration::from_secs(60);

    /// A change of this form breaks what operators wrote: it needs another version.
    #[test]
    fn what_a_hook_reads_has_a_fixed_form() {
        let expected = concat!(
            r#"{"changes":[{"action":"remove","id":1,"name":"a.test","ttl":3600,"type":"TXT","value":"old \"one\""},"#,
            r#"{"action":"add","id":2,"name":"a.test","ttl":3600,"type":"TXT","value":"new"}],"version":1,"zone":"test"}"#,
        );
        let read: serde_json::Value = serde_json::from_str(&input("test", &plan().changes())).unwrap();
        assert_eq!(read, serde_json::from_str::<serde_json::Value>(expected).unwrap());
    }

    #[tokio::test]
    async fn a_hook_gets_its_input_and_is_believed_what_it_was_asked_for() {
        let all = with(r#"grep -q '"zone":"test"' && echo '{"applied": [2, 1]}'"#, LONG).await;
        assert_eq!(all, Ok(BTreeSet::from([1, 2])));
        assert_eq!(with(r#"echo '{"applied": []}'"#, LONG).await, Ok(BTreeSet::new()), "it need not read");
    }

    #[tokio::test]
    async fn a_hook_that_fails_or_answers_nonsense_did_nothing_to_our_knowledge() {
        assert!(matches!(with(r#"echo '{"applied": [1]}'; exit 3"#, LONG).await, Err(HookError::Failed(_))));
        for answer in
            ["", "done", "{}", r#"{"applied": [3]}"#, r#"{"applied": [0]}"#, r#"{"applied": [1, 1]}"#, "[1]"]
        {
            let said = with(&format!("echo '{answer}'"), LONG).await;
            assert!(matches!(said, Err(HookError::Nonsense(_))), "{answer}: {said:?}");
        }
        let program = [OsString::from("/nonexistent/hook")];
        assert!(matches!(run(&program, &plan(), LONG).await, Err(HookError::Start(_))));
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_limit_and_no_further() {
        let blanks = |count| format!("printf '%{count}s' '{{\"applied\": []}}'");
        let limit = usize::try_from(ANSWER_OCTETS_MAX).unwrap();
        assert!(with(&blanks(limit), LONG).await.is_ok());
        assert!(matches!(with(&blanks(limit + 1), LONG).await, Err(HookError::Nonsense(_))));
        assert!(matches!(with("yes", LONG).await, Err(HookError::Nonsense(_))));
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_ended_with_all_that_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let pid = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        assert_eq!(with(&script, Duration::from_secs(1)).await, Err(HookError::Late(1)));
        let child = std::fs::read_to_string(&pid).unwrap();
        let state = || std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).ok();
        // Ended, and perhaps not yet waited for by whoever inherited it.
        let ended = || state().is_none_or(|stat| stat.contains(") Z "));
        for _ in 0..500 {
            if ended() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("what the hook started goes on: {:?}", state());
    }
}
