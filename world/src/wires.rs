//! What an eavesdropper on every wire of the backbone sees.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::message;
use testkit::process::{self, Process};
use testkit::until;

const PATIENCE: Duration = Duration::from_secs(120);
/// Room for packets that were not written yet: the kernel's for each interface, and dumpcap's own, which is a thousand
/// packets unless one asks for more. Nothing may be missing.
const BUFFER_MIB: &str = "8";
const PACKETS_MAX: &str = "200000";
const OCTETS_MAX: &str = "200000000";

/// A capture that runs.
pub(crate) struct Wires {
    process: Process,
    file: PathBuf,
    namespace: String,
    interfaces: usize,
    has_ended: bool,
}

impl Wires {
    /// Begins to listen on these interfaces of a namespace.
    pub(crate) fn tap(namespace: &str, interfaces: &[String], dir: &Path) -> Self {
        let (file, log) = (dir.join("wires.pcapng"), dir.join("wires.log"));
        let _ = std::fs::remove_file(&log);
        let mut command = process::command(Some(namespace), "dumpcap");
        for interface in interfaces {
            command.args(["-i", interface, "-B", BUFFER_MIB]);
        }
        command.args(["-N", PACKETS_MAX, "-C", OCTETS_MAX, "-w"]).arg(&file);
        let process = Process::start(command, &log);
        until("the wires are tapped", PATIENCE, || process.log().contains("File: ").then_some(()));
        Self {
            process,
            file,
            namespace: namespace.to_owned(),
            interfaces: interfaces.len(),
            has_ended: false,
        }
    }

    /// Ends it; nothing is captured any more, all that was on the wires until now is in the file.
    pub(crate) fn end(&mut self) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        assert!(self.process.is_running(), "the capture ended by itself:\n{}", self.process.log());
        self.process.signal(rustix::process::Signal::INT);
        let _ = self.process.wait(PATIENCE);
        let log = self.process.log();
        let dropped: Vec<_> = log.lines().filter_map(dropped).collect();
        assert!(dropped.len() == self.interfaces && dropped.iter().all(|count| *count == 0), "{log}");
    }

    /// The packets that match a display filter of tshark, a line each.
    pub(crate) fn packets(&self, filter: &str) -> Vec<String> {
        self.read(filter, &[])
    }

    /// The values that a field of tshark has in the packets that match, each once.
    pub(crate) fn values(&self, filter: &str, field: &str) -> BTreeSet<String> {
        self.read(filter, &["-T", "fields", "-e", field]).into_iter().collect()
    }

    fn read(&self, filter: &str, how: &[&str]) -> Vec<String> {
        let mut command = process::command(Some(&self.namespace), "tshark");
        command.arg("-n").arg("-r").arg(&self.file).args(["-Y", filter]).args(how);
        process::run_ok(command, b"", PATIENCE).lines().map(str::to_owned).collect()
    }

    /// Whether these octets were on a wire, in one packet and in clear.
    pub(crate) fn carried(&self, text: &str) -> bool {
        message::holds(&std::fs::read(&self.file).expect("the capture"), text.as_bytes())
    }
}

/// How many packets of an interface were missed, from the line that dumpcap ends with.
fn dropped(line: &str) -> Option<u64> {
    let (_, counts) = line.strip_prefix("Packets received/dropped on interface ")?.split_once("': ")?;
    counts.split_once('/')?.1.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_packets_are_read_from_what_dumpcap_says() {
        let line = "Packets received/dropped on interface 'p2': 12/7 (pcap:0/dumpcap:7/flushed:0/ps_ifdrop:0) (63.2%)";
        assert_eq!(dropped(line), Some(7));
        assert_eq!(dropped("Packets captured: 12"), None);
    }
}
