//! Home: people, queue, filters, own ports.

use super::port;
use super::words::ago;
use crate::check::Check;
use crate::facts::{HomeFacts, QueueSeen};
use crate::finding::{Sheet, Verdict};

const QUEUE_WARNING_SECS: u64 = 4 * 3600;
const QUEUE_FAULT_SECS: u64 = 2 * 86_400;
const QUARANTINE_WARNING: usize = 100;
const BACKUP_WARNING_SECS: u64 = 8 * 86_400;

pub(super) fn judge(sheet: &mut Sheet, facts: &HomeFacts) {
    ports(sheet, facts);
    if let Some(certificate) = sheet.known(Check::HomeCertificate, &facts.certificate) {
        port::life(sheet, Check::HomeCertificate, certificate, facts.host.clock.now);
    }
    if let Some(number) = sheet.known(Check::Users, &facts.accounts) {
        let bad = (Verdict::Fault, "there is no account".to_owned());
        sheet.judge(Check::Users, *number > 0, format!("{number} accounts"), bad);
    }
    if let Some(queue) = sheet.known(Check::QueueAge, &facts.queue) {
        self::queue(sheet, queue, facts);
    } else {
        sheet.known(Check::QueueHeld, &facts.queue);
    }
    if let Some(number) = sheet.known(Check::Quarantine, &facts.quarantine) {
        let what = format!("{number} messages");
        sheet.judge(Check::Quarantine, *number <= QUARANTINE_WARNING, what.clone(), (Verdict::Warning, what));
    }
    filters(sheet, facts);
    backup(sheet, facts);
    links(sheet, facts);
}

fn ports(sheet: &mut Sheet, facts: &HomeFacts) {
    for (check, answers) in
        [(Check::PortSubmission, Some(&facts.ports.submission)), (Check::PortImap, facts.ports.imap.as_ref())]
    {
        match answers {
            Some(Ok(())) => sheet.fine(check, "it answers, in TLS"),
            Some(Err(why)) => sheet.add(check, Verdict::Fault, format!("it does not answer here: {why}")),
            None => sheet.fine(check, "another program has the mailboxes"),
        }
    }
    if let Some(listens) = sheet.known(Check::PortHomeClosed, &facts.ports.smtp) {
        let bad = (Verdict::Warning, "something listens on port 25 of this host".to_owned());
        sheet.judge(Check::PortHomeClosed, !listens, "nothing listens there", bad);
    }
}

fn queue(sheet: &mut Sheet, queue: &QueueSeen, facts: &HomeFacts) {
    let age = queue.oldest.map_or(0, |at| facts.host.clock.now.secs_since(at));
    let verdict = match age {
        0..QUEUE_WARNING_SECS => Verdict::Fine,
        QUEUE_WARNING_SECS..QUEUE_FAULT_SECS => Verdict::Warning,
        _ => Verdict::Fault,
    };
    let what = match queue.waiting {
        0 => "nothing waits".to_owned(),
        many => format!("{many} messages wait, the oldest for {}", ago(age)),
    };
    sheet.add(Check::QueueAge, verdict, what);
    let bad = (Verdict::Warning, format!("{} messages are held", queue.held));
    sheet.judge(Check::QueueHeld, queue.held == 0, "none is held", bad);
}

fn filters(sheet: &mut Sheet, facts: &HomeFacts) {
    if facts.filters.is_empty() {
        sheet.fine(Check::Filters, "none is configured");
    }
    for (name, answers) in &facts.filters {
        match answers {
            Ok(()) => sheet.fine(Check::Filters, format!("{name} answers")),
            Err(why) => sheet.add(Check::Filters, Verdict::Fault, format!("{name} does not answer: {why}")),
        }
    }
}

fn backup(sheet: &mut Sheet, facts: &HomeFacts) {
    let Some(at) = facts.backup else { return sheet.add(Check::Backup, Verdict::Notice, "none is known") };
    let age = facts.host.clock.now.secs_since(at);
    let what = format!("the last one is {} old", ago(age));
    sheet.judge(Check::Backup, age <= BACKUP_WARNING_SECS, what.clone(), (Verdict::Warning, what));
}

/// What the way out looks like from here.
fn links(sheet: &mut Sheet, facts: &HomeFacts) {
    let (on, off) = ("users may send", "users may not send");
    sheet.judge(Check::OutboundSwitch, facts.outbound, on, (Verdict::Notice, off.to_owned()));
    if facts.edges.is_empty() && !facts.smarthost {
        let what = (Verdict::Notice, "no edge of ours is paired".to_owned());
        sheet.advise(Check::LinkUp, what, "postern edge pair at the edge, then here: postern home pair CODE");
    }
}
