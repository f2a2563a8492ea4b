//! The machine: name servers, clock, disk, limits.

use net::dns::Validation;

use super::words::{ago, octets, per_cent};
use crate::check::Check;
use crate::facts::{Clock, DataDirectory, Disk, Fact, HostFacts, Memory, Resolver};
use crate::finding::{Half, Sheet, Verdict};

/// No clock that is right says less: the day on which this check was written (2026-11-30).
pub(super) const EARLIEST_SECS: u64 = 1_796_000_000;
/// A disk with less room: so many per cent, unless that is still so many octets; or so few octets, however many per cent.
struct LeastRoom {
    per_cent: u64,
    unless_octets: u64,
    octets: u64,
}
const ROOM_FAULT: LeastRoom = LeastRoom { per_cent: 2, unless_octets: 1 << 30, octets: 256 << 20 };
const ROOM_WARNING: LeastRoom = LeastRoom { per_cent: 10, unless_octets: 20 << 30, octets: 1 << 30 };
const INODES_FAULT_PER_CENT: u64 = 1;
const INODES_WARNING_PER_CENT: u64 = 5;
/// Sessions, link and files of a busy host.
const OPEN_FILES_WANTED: u64 = 4096;
const MEMORY_FAULT: u64 = 24 << 20;
const MEMORY_WARNING: u64 = 96 << 20;
/// File systems that forget with the power, or that acknowledge before anything is safe.
const IN_MEMORY: [&str; 3] = ["tmpfs", "ramfs", "devtmpfs"];
const SHARED: [&str; 8] = ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "vboxsf", "fuse.s3fs"];

pub(super) fn judge(sheet: &mut Sheet, facts: &HostFacts) {
    resolver(sheet, &facts.resolver);
    clock(sheet, &facts.clock);
    if let Ok(disk) = &facts.disk {
        self::disk(sheet, disk);
    } else {
        for check in [Check::DiskSpace, Check::DiskInodes, Check::FileSystem] {
            sheet.known(check, &facts.disk);
        }
    }
    open_files(sheet, &facts.open_files);
    memory(sheet, &facts.memory);
    data(sheet, &facts.data);
    firewall(sheet, &facts.firewall);
}

fn resolver(sheet: &mut Sheet, facts: &Resolver) {
    match &facts.answers {
        Ok(()) => sheet.fine(Check::ResolverAnswers, "they answer"),
        Err(why) => sheet.add(
            Check::ResolverAnswers,
            Verdict::Fault,
            format!("the name servers do not answer: {why}"),
        ),
    }
    if let Some(invented) = sheet.known(Check::ResolverTruthful, &facts.invents) {
        let bad = format!("a name that can't exist was given an address: {}", invented.join(", "));
        sheet.judge(
            Check::ResolverTruthful,
            invented.is_empty(),
            "they invent nothing",
            (Verdict::Fault, bad),
        );
    }
    // Home delivers nothing by itself: what is signed is Edge's to heed.
    if sheet.half() == Half::Edge
        && let Some(validation) = sheet.known(Check::ResolverValidates, &facts.validation)
    {
        match validation {
            Validation::Works => sheet.fine(Check::ResolverValidates, "the root's signatures hold"),
            Validation::Stripped => {
                sheet.add(
                    Check::ResolverValidates,
                    Verdict::Warning,
                    "answers come without signatures that hold",
                );
            }
            Validation::Unknown => {
                sheet.add(
                    Check::ResolverValidates,
                    Verdict::Unknown,
                    "could not be told: no answer that could be used",
                );
            }
        }
    }
}

fn clock(sheet: &mut Sheet, facts: &Clock) {
    if let Some(kept) = sheet.known(Check::ClockSynchronised, &facts.synchronised) {
        let bad = (Verdict::Warning, "nothing keeps the clock right".to_owned());
        sheet.judge(Check::ClockSynchronised, *kept, "it is kept right", bad);
    }
    let (now, shown) = (facts.now.as_secs(), facts.now.rfc3339());
    if now < EARLIEST_SECS {
        let bad = format!("the clock says {shown}, which is before this program was made");
        return sheet.add(Check::ClockPlausible, Verdict::Fault, bad);
    }
    match &facts.root_signed {
        Ok(signed) if (signed.from..=signed.until).contains(&now) => {
            sheet.fine(Check::ClockPlausible, "it agrees with the signatures of DNS");
        }
        Ok(signed) => {
            let off = if now < signed.from { signed.from - now } else { now - signed.until };
            let bad =
                format!("the clock says {shown}; by the signatures of DNS it is at least {} off", ago(off));
            sheet.add(Check::ClockPlausible, Verdict::Fault, bad);
        }
        Err(why) => sheet.fine(
            Check::ClockPlausible,
            format!("it is after this program was made; no other witness ({why})"),
        ),
    }
}

fn disk(sheet: &mut Sheet, disk: &Disk) {
    let left = per_cent(disk.free_octets, disk.octets);
    let what = format!("{} of {} are free ({left} %)", octets(disk.free_octets), octets(disk.octets));
    let free = disk.free_octets;
    let less = |room: &LeastRoom| left < room.per_cent && free < room.unless_octets || free < room.octets;
    let verdict = if less(&ROOM_FAULT) {
        Verdict::Fault
    } else if less(&ROOM_WARNING) {
        Verdict::Warning
    } else {
        Verdict::Fine
    };
    sheet.add(Check::DiskSpace, verdict, what);
    let left = per_cent(disk.free_inodes, disk.inodes);
    let verdict = match left {
        _ if disk.inodes == 0 => Verdict::Fine,
        0..INODES_FAULT_PER_CENT => Verdict::Fault,
        INODES_FAULT_PER_CENT..INODES_WARNING_PER_CENT => Verdict::Warning,
        _ => Verdict::Fine,
    };
    sheet.add(Check::DiskInodes, verdict, format!("{left} % of the inodes are free"));
    let kind = disk.kind.as_str();
    if IN_MEMORY.contains(&kind) {
        sheet.add(
            Check::FileSystem,
            Verdict::Fault,
            format!("the data lies in memory ({kind}): it is gone with the power"),
        );
    } else if SHARED.contains(&kind) {
        sheet.add(
            Check::FileSystem,
            Verdict::Warning,
            format!("the data lies on a share ({kind}), which may not keep what it says"),
        );
    } else {
        sheet.fine(Check::FileSystem, if kind.is_empty() { "no share and no memory" } else { kind });
    }
}

fn open_files(sheet: &mut Sheet, limit: &Fact<Option<u64>>) {
    if let Some(limit) = sheet.known(Check::OpenFiles, limit) {
        let shown = limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
        let holds = limit.is_none_or(|limit| limit >= OPEN_FILES_WANTED);
        let bad = format!("{shown}; {OPEN_FILES_WANTED} are enough for a busy host");
        sheet.judge(Check::OpenFiles, holds, shown, (Verdict::Notice, bad));
    }
}

fn memory(sheet: &mut Sheet, memory: &Fact<Memory>) {
    if let Some(memory) = sheet.known(Check::Memory, memory) {
        let verdict = match memory.available {
            0..MEMORY_FAULT => Verdict::Fault,
            MEMORY_FAULT..MEMORY_WARNING => Verdict::Warning,
            _ => Verdict::Fine,
        };
        let what = format!("{} of {} are available", octets(memory.available), octets(memory.total));
        sheet.add(Check::Memory, verdict, what);
    }
}

fn data(sheet: &mut Sheet, data: &Fact<DataDirectory>) {
    let Some(data) = sheet.known(Check::DataDirectory, data) else { return };
    let mut wrong = Vec::new();
    if !data.own {
        wrong.push("it belongs to another user".to_owned());
    }
    if data.mode & 0o077 != 0 {
        wrong.push(format!("others have rights to it (mode {:o})", data.mode & 0o777));
    }
    if !data.of_others.is_empty() {
        wrong.push(format!("in it, of another user: {}", data.of_others.join(", ")));
    }
    sheet.judge(
        Check::DataDirectory,
        wrong.is_empty(),
        "its owner's alone",
        (Verdict::Fault, wrong.join("; ")),
    );
}

fn firewall(sheet: &mut Sheet, loaded: &Fact<bool>) {
    match loaded {
        Ok(true) => sheet.fine(Check::Firewall, "rules are loaded"),
        Ok(false) => sheet.add(Check::Firewall, Verdict::Notice, "no rules of 'postern firewall' are loaded"),
        // The daemon is never root, so this is how it is each day.
        Err(why) => sheet.advise(
            Check::Firewall,
            (Verdict::Notice, format!("was not looked at: {why}")),
            "type 'postern doctor' as root there",
        ),
    }
}
