//! What an eavesdropper on every wire of the backbone sees.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::message;
use testkit::process::{self, Process};
use testkit::until;

const PATIENCE: Duration = Duration::from_secs(120);

/// A capture that runs.
pub(crate) struct Wires {
    process: Process,
    file: PathBuf,
    namespace: String,
}

impl Wires {
    /// Begins to listen on these interfaces of a namespace.
    pub(crate) fn tap(namespace: &str, interfaces: &[String], dir: &Path) -> Self {
        let (file, log) = (dir.join("wires.pcapng"), dir.join("wires.log"));
        let _ = std::fs::remove_file(&log);
        let mut command = process::command(Some(namespace), "dumpcap");
        for interface in interfaces {
            command.args(["-i", interface]);
        }
        command.arg("-w").arg(&file);
        let process = Process::start(command, &log);
        until("the wires are tapped", PATIENCE, || process.log().contains("File: ").then_some(()));
        Self { process, file, namespace: namespace.to_owned() }
    }

    /// Ends it; nothing is captured any more, all that was is in the file.
    pub(crate) fn end(&mut self) {
        if self.process.is_running() {
            self.process.signal(rustix::process::Signal::INT);
            let _ = self.process.wait(PATIENCE);
        }
    }

    /// The packets that match a display filter of tshark, a line each.
    pub(crate) fn packets(&self, filter: &str) -> Vec<String> {
        let mut command = process::command(Some(&self.namespace), "tshark");
        command.arg("-n").arg("-r").arg(&self.file).args(["-Y", filter]);
        process::run_ok(command, b"", PATIENCE).lines().map(str::to_owned).collect()
    }

    /// Whether these octets were on a wire, in one packet and in clear.
    pub(crate) fn carried(&self, text: &str) -> bool {
        message::holds(&std::fs::read(&self.file).expect("the capture"), text.as_bytes())
    }
}
