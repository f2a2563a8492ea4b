//! The host, before anything is written on it: what would make the role useless is said, with what to type.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use daemon::clock::{Clock as _, SystemClock};
use daemon::control;
use daemon::files;
use daemon::owner;
use daemon::print;
use daemon::problem::Problem;
use daemon::process;
use daemon::request::Request;
use daemon::system;
use doctor::look::{self, HostKnows, RealWorld};
use doctor::{Check, Finding, Half, Verdict, judge};
use tokio::time::Instant;

/// How long the host is looked at.
const PATIENCE: Duration = Duration::from_secs(6);
/// With one of these broken nothing that is set up works, or it breaks soon after.
const STOPPING: [Check; 3] = [Check::ClockPlausible, Check::ResolverTruthful, Check::DiskSpace];
/// Letters and digits of a password that is made: none that is taken for another.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// What a role takes of its host: addresses to listen on, and the key that names them.
pub(super) struct PortsOfRole<'a> {
    /// TCP.
    pub(super) tcp: &'a [SocketAddr],
    /// UDP.
    pub(super) udp: &'a [SocketAddr],
    /// The table of the configuration.
    pub(super) key: &'a str,
}

/// Looks at the host.
///
/// # Errors
/// The first thing that has to be mended before.
pub(super) fn check(half: Half, servers: &[SocketAddr]) -> Result<(), Problem> {
    let look = async {
        // Without any name server there is nothing to look at them for; whoever needs one says so.
        let Ok(world) = RealWorld::new(servers, None, None) else { return Ok(Vec::new()) };
        // The data is not there yet: its disk is that of the directory above it.
        let above = Path::new("/var/lib");
        let knows = HostKnows { is_daemon: false, now: SystemClock.now(), ..HostKnows::here(above) };
        let facts = Box::pin(look::host(&world, &knows, Instant::now() + PATIENCE)).await;
        Ok(judge::machine(half, &facts))
    };
    stopping(&process::block_on(unless_stopped(look))??)
}

/// Does it unless it is interrupted (Ctrl-C), which is no harm at any step.
///
/// # Errors
/// Those of `work`, and that it was stopped.
pub(super) async fn unless_stopped<T>(work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => {
            Err(Problem::failed("stopped", "type the same again: it goes on with what is missing"))
        }
    }
}

/// Whether one of the findings is a reason not to go on.
fn stopping(found: &[Finding]) -> Result<(), Problem> {
    let broken = found.iter().find(|one| one.verdict == Verdict::Fault && STOPPING.contains(&one.check));
    broken.map_or(Ok(()), |one| {
        let again = "then type this again; --no-check goes on all the same";
        Err(Problem::setup(&one.what, format!("{}; {again}", one.advice)))
    })
}

/// Whether the ports are free. Who is not root may not ask for most of them, and hears of it at the start.
///
/// # Errors
/// Which one is taken, and how to see by whom.
pub(super) fn ports(wanted: &PortsOfRole<'_>) -> Result<(), Problem> {
    if !owner::is_root() {
        return Ok(());
    }
    process::block_on(async {
        process::listen(wanted.tcp, "Postern", wanted.key).map_err(|problem| {
            let (what, advice) = problem.into_parts();
            Problem::setup(what, advice)
        })?;
        for address in wanted.udp {
            if let Err(error) = net::listen::udp(*address)
                && error.kind() == std::io::ErrorKind::AddrInUse
            {
                return Err(process::listen_problem(*address, "the link", wanted.key, &error));
            }
        }
        Ok(())
    })?
}

/// That what is there already is not asked to be elsewhere.
///
/// # Errors
/// When another directory is named than that of the configuration.
pub(super) fn same_data((told, usual): (&Path, &str), there: &Path) -> Result<(), Problem> {
    if told == Path::new(usual) || files::whole(told) == there {
        return Ok(());
    }
    Err(Problem::setup(
        format!(
            "the configuration that is there has its data in {}, not in {}",
            there.display(),
            told.display()
        ),
        "leave --data away; or write it into the file, with the data moved",
    ))
}

/// Whether a daemon of this role has the data already: one whose configuration was removed runs on.
///
/// # Errors
/// When one has.
pub(super) fn nobody_runs(role: &str, data: &Path) -> Result<(), Problem> {
    if process::block_on(control::ask(data, &Request::Status))??.is_none() {
        return Ok(());
    }
    Err(Problem::setup(
        format!("the {role} that was set up here before still runs, with the data in {}", data.display()),
        format!("stop it first: systemctl stop postern-{role}"),
    ))
}

/// A password that is good and can be typed: 100 bits.
pub(super) fn made_password() -> String {
    let octets: [u8; 20] = system::random();
    let letters = octets
        .iter()
        .map(|octet| LETTERS.get(usize::from(octet % 32)).map_or('x', |letter| char::from(*letter)));
    let letters: Vec<char> = letters.collect();
    letters.chunks(5).map(|part| part.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// Shows what is worth a look of findings: no notice, and nothing that is fine.
pub(super) fn show(findings: &[Finding], without: &[Check]) {
    let worth = |one: &&Finding| {
        matches!(one.verdict, Verdict::Fault | Verdict::Warning) && !without.contains(&one.check)
    };
    let halves = findings.iter().any(|one| one.half == Half::Edge)
        && findings.iter().any(|one| one.half == Half::Home);
    for one in findings.iter().filter(worth) {
        let half = if halves { format!(" ({})", one.half.as_str()) } else { String::new() };
        print::text(&format!("{:<8} {}{half}: {}", one.verdict.as_str(), one.check, one.what));
        print::text(&format!("         what to do: {}", one.advice));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(check: Check, verdict: Verdict) -> Finding {
        Finding::new(Half::Edge, check, verdict, "it is so")
    }

    #[test]
    fn a_clock_a_year_off_a_resolver_that_lies_and_a_full_disk_are_mended_first() {
        for check in STOPPING {
            let said = stopping(&[found(Check::Memory, Verdict::Fine), found(check, Verdict::Fault)])
                .unwrap_err()
                .to_string();
            assert!(said.starts_with("it is so\n  what to do: ") && said.contains(check.advice()), "{said}");
            assert!(said.ends_with("--no-check goes on all the same"), "{said}");
        }
        assert!(
            stopping(&[
                found(Check::ResolverAnswers, Verdict::Fault),
                found(Check::DiskSpace, Verdict::Warning)
            ])
            .is_ok()
        );
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_how_to_see_by_whom() {
        if !owner::is_root() {
            return;
        }
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp = [taken.local_addr().unwrap()];
        let said = ports(&PortsOfRole { tcp: &tcp, udp: &[], key: "[listen] in edge.toml" })
            .unwrap_err()
            .to_string();
        assert!(said.contains(&format!("can't listen on {}", tcp[0])) && said.contains("ss -lptn"), "{said}");
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let udp = [taken.local_addr().unwrap()];
        assert!(ports(&PortsOfRole { tcp: &[], udp: &udp, key: "[listen] in edge.toml" }).is_err());
        drop(taken);
        assert!(ports(&PortsOfRole { tcp: &[], udp: &udp, key: "[listen] in edge.toml" }).is_ok());
    }

    #[test]
    fn a_made_password_is_long_and_no_two_are_alike() {
        let (one, other) = (made_password(), made_password());
        assert_eq!((one.len(), one.split('-').count()), (23, 4));
        assert_ne!(one, other);
    }
}
