//! Why a zone was not changed, and what to type.

use std::ffi::OsString;
use std::net::SocketAddr;

use daemon::problem::Problem;
use net::dns::update::UpdateError;

use crate::records::hook::HookError;

/// Of a server that was asked for an update, with the key of this name.
pub(super) fn of_update(error: &UpdateError, zone: &str, server: SocketAddr, key: &str) -> Problem {
    let what = format!("{zone} was not changed: {error}");
    let advice = match error {
        UpdateError::NoName(_) | UpdateError::TooLarge => {
            "name fewer domains at one time: postern dns DOMAIN --apply …".to_owned()
        }
        UpdateError::Unreachable(..) => {
            format!("see that {server} takes TCP from here, or name the primary with --server ADDR:PORT")
        }
        UpdateError::Silent(_) | UpdateError::Unreadable(_) | UpdateError::Unsigned(_) => {
            return Problem::failed(
                format!("whether {zone} was changed is not known: {error}"),
                "see with 'postern dns --check', then run it again or name the primary with --server ADDR:PORT",
            );
        }
        UpdateError::BadKey => {
            format!(
                "put the key \"{key}\" of this file into the configuration of {server}, let it change the zone \
                 ({}), and reload it",
                permission(key)
            )
        }
        UpdateError::BadSignature => {
            format!("copy the file of the key \"{key}\" from {server} again: its secret is another")
        }
        UpdateError::BadTime => "set this clock: 'timedatectl set-ntp true'; else the server's".to_owned(),
        UpdateError::Refused => format!("let the key change the zone ({}), and reload it", permission(key)),
        UpdateError::NotZone => {
            format!(
                "{server} has no zone {zone} that it lets this key change: name its primary with --server ADDR:PORT"
            )
        }
        UpdateError::Changed => "run it again: it looks anew".to_owned(),
        UpdateError::Other(_) => format!("see the log of {server}"),
    };
    Problem::failed(what, advice)
}

/// What stands in the configuration of a server that lets a key change a zone.
fn permission(key: &str) -> String {
    format!(
        "BIND: 'update-policy {{ grant {key} zonesub ANY; }};'; Knot: an acl with 'key: {key}' and 'action: update'"
    )
}

/// Of a hook.
pub(super) fn of_hook(error: &HookError, zone: &str, program: &[OsString]) -> Problem {
    let name = name_of(program);
    let advice = match error {
        HookError::Start(_) => "name a program that can be run, with its path: --hook /usr/local/bin/NAME",
        HookError::Failed(_) => "mend what it complains of and run it again",
        HookError::Late(_) => "see what it waits for, or give it more time with --hook-timeout SECONDS",
        HookError::Nonsense(_) => {
            "it has to print {\"applied\": [1, 2]}, the ids of the changes: see the page on DNS"
        }
    };
    let advice = format!("{advice}; 'postern dns --check' says what the zone has");
    Problem::failed(format!("the hook {name} for {zone} {error}"), advice)
}

/// Of a hook that did some of it.
pub(super) fn left_out(zone: &str, program: &[OsString], left: &[String]) -> Problem {
    let what = format!("the hook {} left out of {zone}:\n  {}", name_of(program), left.join("\n  "));
    Problem::failed(what, "make these changes by hand, or run it again")
}

fn name_of(program: &[OsString]) -> String {
    program.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
