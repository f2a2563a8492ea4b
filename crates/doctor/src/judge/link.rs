//! The link to an edge, and the two halves beside each other.

use ::link::Hello;

use super::words::ago;
use crate::check::Check;
use crate::facts::{EdgeSeen, LinkSeen};
use crate::finding::{Sheet, Verdict};

/// More breaks in a day are told.
const BREAKS_WARNING: usize = 10;
/// The clocks of both halves may differ by this, the time of asking included.
const SKEW_WARNING_SECS: u64 = 30;
/// From here on dates of mail are wrong for everybody to see.
const SKEW_FAULT_SECS: u64 = 3600;

pub(super) fn judge(sheet: &mut Sheet, edge: &EdgeSeen) {
    let name = &edge.name;
    match &edge.link {
        Ok(link) => up(sheet, name, link),
        Err(why) => {
            sheet.add(Check::LinkUp, Verdict::Fault, format!("no link to {name}: {why}"));
            for check in [Check::LinkStable, Check::PortLinkTcp, Check::PortLinkUdp] {
                sheet.add(check, Verdict::Unknown, format!("could not be told: there is no link to {name}"));
            }
        }
    }
    halves(sheet, edge);
}

fn up(sheet: &mut Sheet, name: &str, link: &LinkSeen) {
    sheet.fine(Check::LinkUp, format!("{name}, over {}, for {}", link.transport, ago(link.up_secs)));
    let what = format!("it broke {} times within the last day", link.breaks);
    sheet.judge(Check::LinkStable, link.breaks <= BREAKS_WARNING, what.clone(), (Verdict::Warning, what));
    let (used, other) = match link.transport {
        "quic" => (Check::PortLinkUdp, Check::PortLinkTcp),
        _ => (Check::PortLinkTcp, Check::PortLinkUdp),
    };
    sheet.fine(used, "the link goes there");
    match &link.other {
        Ok(()) => sheet.fine(other, "the link could go there too"),
        Err(why) => sheet.add(other, Verdict::Notice, format!("the link could not go there: {why}")),
    }
}

fn halves(sheet: &mut Sheet, edge: &EdgeSeen) {
    let name = &edge.name;
    let told = match &edge.half {
        Ok(told) => told,
        Err(why) => {
            sheet.add(Check::OtherHalf, Verdict::Unknown, format!("{name} did not say what it found: {why}"));
            for check in [Check::Versions, Check::ClockHalves] {
                sheet.add(check, Verdict::Unknown, format!("could not be told: {name} did not say it"));
            }
            return;
        }
    };
    match told.unknown_checks {
        0 => sheet.fine(Check::OtherHalf, format!("{name} said what it found")),
        many => {
            let what = format!("{name} found {many} things that this version has no name for");
            sheet.advise(Check::OtherHalf, (Verdict::Notice, what), "update this host");
        }
    }
    let ours = Hello::ours(None).software;
    let bad = format!("here {ours}, at {name} {}", told.software);
    sheet.judge(Check::Versions, told.software == ours, ours, (Verdict::Warning, bad));
    let Ok(link) = &edge.link else {
        return sheet.add(Check::ClockHalves, Verdict::Unknown, "could not be told: the link is gone");
    };
    let skew = told.now.as_secs().abs_diff(link.asked_at.as_secs());
    let verdict = if skew <= SKEW_WARNING_SECS {
        Verdict::Fine
    } else if skew <= SKEW_FAULT_SECS {
        Verdict::Warning
    } else {
        Verdict::Fault
    };
    sheet.add(Check::ClockHalves, verdict, format!("{} apart", ago(skew)));
}
