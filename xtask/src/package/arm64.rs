//! The program for arm64, cross-built: in a Debian of its own that has a compiler for both, and against the C library of Debian 12,
//! so that it runs there and on all later ones. Then it is started once, under an emulator.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::hands::{from_here, make_anew, output_in, run_in, told};
use super::profile::Profile;
use crate::step::Failure;

const TARGET: &str = "aarch64-unknown-linux-gnu";
const MIRROR: &str = "http://deb.debian.org/debian";
/// Compiler and standard library have to be of one version: those of Debian 13's backports are to be had for both architectures.
const INSTALLED: &str = "ca-certificates,gcc,libc6-dev,gcc-aarch64-linux-gnu,libc6-dev-arm64-cross,libgcc-s1:arm64,\
    cargo/trixie-backports,rustc/trixie-backports,libstd-rust-dev/trixie-backports,libstd-rust-dev:arm64/trixie-backports";
/// The C library of Debian 12, as packages for cross-building.
const OLD_LIBRARY: [&str; 2] = ["libc6-dev-arm64-cross", "libc6-arm64-cross"];
const PATIENCE: Duration = Duration::from_secs(120);

/// Builds in the Debian in `place`, which is made if it is not there. $1 is the workspace, $2 where crates lie.
const BUILD: &str = r#"set -e
root=$1; work=$2; crates=$3; out=$4; shift 4
mkdir -p "$root/src" "$root/root/cargo/registry" "$root/out" "$out"
mount --bind "$work" "$root/src"
mount --bind "$crates" "$root/root/cargo/registry"
mount --bind "$out" "$root/out"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
exec chroot "$root" env -i PATH=/usr/bin:/bin HOME=/root CARGO_HOME=/root/cargo CARGO_TARGET_DIR=/out \
    CARGO_NET_OFFLINE=true CARGO_INCREMENTAL=0 \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_STRIP=symbols CARGO_PROFILE_RELEASE_STRIP=symbols \
    sh -c 'cd /src && exec cargo build --locked --package postern --target aarch64-unknown-linux-gnu "$@"' sh "$@"
"#;

/// Gives the path of the program.
pub(super) fn build(target: &Path, profile: Profile) -> Result<PathBuf, Failure> {
    let root = debian(target)?;
    // What is to be compiled has to be here: there is no network in there.
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let workspace = from_here(".");
    run_in(Path::new(&workspace), &cargo, &["fetch", "--locked", "--target", TARGET])?;
    let home =
        std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    let crates = format!("{}/registry", home.unwrap_or_default());
    let out = target.join("arm64");
    let paths = [root.display().to_string(), workspace, crates, out.display().to_string()];
    let [root, workspace, crates, to] = paths.each_ref().map(String::as_str);
    let arguments = ["--mount", "sh", "-c", BUILD, "sh", root, workspace, crates, to];
    run_in(Path::new("."), "unshare", &[&arguments[..], profile.flags()].concat())?;
    Ok(out.join(TARGET).join(profile.directory()).join("postern"))
}

/// The Debian that it is built in.
fn debian(target: &Path) -> Result<PathBuf, Failure> {
    let root = target.join("peers/cross-arm64");
    if root.is_dir() {
        return Ok(root);
    }
    let making = target.join("peers/cross-arm64.new");
    make_anew(&making)?;
    let tree = making.join("root").display().to_string();
    let include = format!("--include={INSTALLED}");
    let sources = [format!("deb {MIRROR} trixie main"), format!("deb {MIRROR} trixie-backports main")];
    let kind = ["--quiet", "--mode=root", "--variant=apt", "--architectures=amd64,arm64"];
    let rest = [include.as_str(), "trixie", &tree, &sources[0], &sources[1]];
    run_in(&making, "mmdebstrap", &[&kind[..], &rest].concat())?;
    for package in OLD_LIBRARY {
        run_in(&making, "apt-get", &["download", &format!("{package}/bookworm")])?;
    }
    let unpack = "for package in *.deb; do dpkg --extract \"$package\" root; done";
    run_in(&making, "sh", &["-c", unpack])?;
    // Whole or not at all.
    std::fs::rename(making.join("root"), &root).map_err(|error| told("cross-arm64", &error))?;
    let _ = std::fs::remove_dir_all(making);
    Ok(root)
}

/// Sets an edge up with this program, starts it, asks it how it is, and ends it.
pub(super) fn start_once(target: &Path, program: &Path) -> Result<(), Failure> {
    let dir = target.join("package/started-once");
    make_anew(&dir)?;
    let done = start_in(&dir, &target.join("peers/cross-arm64/usr/aarch64-linux-gnu"), program);
    let _ = std::fs::remove_dir_all(&dir);
    done
}

fn start_in(dir: &Path, libraries: &Path, program: &Path) -> Result<(), Failure> {
    let (libraries, program) = (libraries.display().to_string(), program.display().to_string());
    let emulated = ["-L", &libraries, &program];
    let emulator = "qemu-aarch64-static";
    let files = ["--config", "edge.toml"];
    let set_up = ["edge", "setup", "--hostname", "mx.example.org", "--data", "data", "--user", "root"];
    let listen = ["--smtp", "127.0.0.1:2525", "--link", "127.0.0.1:4433"];
    run_in(dir, emulator, &[&emulated[..], &set_up, &listen, &files].concat())?;
    let run = [&emulated[..], &["edge", "run"], &files].concat();
    let mut command = Command::new(emulator);
    // The program would begin again to set it, and the machine does not know that it takes the emulator for it.
    command.args(&run).current_dir(dir).env("MIMALLOC_PURGE_DELAY", "0").stderr(Stdio::null());
    let started = command.spawn();
    let mut daemon = Daemon(started.map_err(|error| told(emulator, &error))?);
    let begun = Instant::now();
    loop {
        let asked = output_in(dir, emulator, &[&emulated[..], &["status", "--json"], &files].concat());
        match asked {
            Ok(status) if status.contains("\"role\":\"edge\"") || status.contains("\"role\": \"edge\"") => {
                return Ok(());
            }
            _ if begun.elapsed() > PATIENCE || daemon.has_ended() => {
                return Err(Failure::new(format!("the program for arm64 does not run: {asked:?}")));
            }
            _ => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// Ends with the step.
struct Daemon(Child);

impl Daemon {
    fn has_ended(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
