//! What the machine and its processes used, from /proc.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The kernel's clock tick for these files, USER_HZ: proc(5).
const TICK: Duration = Duration::from_millis(10);
const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// Time that all processors of the machine were busy since it was started, whoever kept them so.
pub(crate) fn machine_busy() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").expect("/proc/stat");
    let ticks: Vec<u32> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .take(8)
        .map(|field| field.parse().expect("a number of ticks"))
        .collect();
    // user nice system idle iowait irq softirq steal
    let idle = ticks[3] + ticks[4];
    TICK * (ticks.iter().sum::<u32>() - idle)
}

/// These processes and all that they started.
pub(crate) fn family(roots: &[u32]) -> BTreeSet<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        if let Some(parent) = stat_fields(id).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut family = BTreeSet::new();
    let mut next: Vec<u32> = roots.to_vec();
    while let Some(id) = next.pop() {
        if family.insert(id) {
            next.extend(children.get(&id).into_iter().flatten());
        }
    }
    family
}

/// The fields of `/proc/PID/stat` that follow the command's name: state, parent, …
fn stat_fields(id: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// Processor time of these processes, their ended children included.
pub(crate) fn processor_time(roots: &[u32]) -> Duration {
    let ticks = |id: &u32| -> u32 {
        let fields = stat_fields(*id).unwrap_or_default();
        // utime stime cutime cstime are fields 14 to 17; ours begin with field 3.
        (11..15).filter_map(|field| fields.get(field)?.parse::<u32>().ok()).sum()
    };
    TICK * family(roots).iter().map(ticks).sum::<u32>()
}

/// Memory of these processes and all that they started, in octets; shared pages are divided among those who
/// share them (PSS).
pub(crate) fn memory(roots: &[u32]) -> u64 {
    family(roots).iter().map(|id| proportional_set_size(*id)).sum()
}

fn proportional_set_size(id: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    let kib = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    kib.and_then(|kib| kib.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or_default() * 1024
}

/// The most memory that some processes had at one time, looked at every 100 ms.
pub(crate) struct PeakMemory {
    most: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl PeakMemory {
    pub(crate) fn watch(roots: Vec<u32>) -> Self {
        let most = Arc::new(AtomicU64::new(memory(&roots)));
        let stop = Arc::new(AtomicBool::new(false));
        let (most2, stop2) = (Arc::clone(&most), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stop2.load(Ordering::Relaxed) {
                most2.fetch_max(memory(&roots), Ordering::Relaxed);
                std::thread::sleep(SAMPLE_EVERY);
            }
        });
        Self { most, stop, thread: Some(thread) }
    }

    /// Stops looking; the most, in octets.
    pub(crate) fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("not ended").join().expect("the watcher");
        self.most.load(Ordering::Relaxed)
    }
}

/// The machine in one line: processor, cores, memory, kernel.
pub(crate) fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let meminfo = read("/proc/meminfo");
    let kib = meminfo.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores ({model}), {} GiB, Linux {}", kib / 1024 / 1024, kernel.trim())
}
