//! What an operator installs: a Debian package of both roles, an archive with the program and its units, images for
//! containers, and the checksums of all. What is packed is built here; how it is packed is said in `packaging/`.
//!
//! There are two programs: Debian's uses the C library of the system, the other brings all that it needs, and runs on any
//! Linux and in an empty image.

mod arm64;
mod hands;
mod profile;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use self::hands::{copy, from_here, make_anew, output_in, read, run_in, told, write};
use self::profile::Profile;
use crate::step::{Failure, Plan};

/// Where all of it is put, below the target directory.
const FOLDER: &str = "package";
/// The units have the path of a program that was installed by hand.
const BY_HAND: &str = "/usr/local/bin/postern";
const PACKAGED: &str = "/usr/bin/postern";
/// The whole workspace: for a part of it cargo would build the dependencies again, with fewer features.
const BINS: [&str; 2] = ["--workspace", "--bins"];
const ROLES: [&str; 2] = ["edge", "home"];
/// The unit that loads the rules of `postern firewall` at boot.
const FIREWALL_UNIT: &str = "docs/systemd/postern-firewall.service";
/// The packages' version is the program's, and how often it was packed.
const REVISION: &str = "1";

/// Architectures, as Debian calls them.
const AMD64: &str = "amd64";
const ARM64: &str = "arm64";

/// What the command line asks for.
pub(crate) struct Options {
    /// Only Debian's package.
    only_debian: bool,
    /// Also images for containers, which need buildah.
    images: bool,
    /// Also Debian's package for arm64.
    arm64: bool,
    profile: Profile,
}

impl Options {
    /// All of it, of the program that the tests have built.
    pub(crate) const fn for_tests() -> Self {
        Self { only_debian: false, images: true, arm64: false, profile: Profile::Debug }
    }

    /// The same for every architecture, which takes long.
    pub(crate) const fn for_nightly() -> Self {
        Self { arm64: true, ..Self::for_tests() }
    }

    /// Reads `[--debian] [--images] [--arm64] [--debug]`; `None` when it is something else.
    pub(crate) fn parse(words: &[&str]) -> Option<Self> {
        let mut options = Self { only_debian: false, images: false, arm64: false, profile: Profile::Release };
        for word in words {
            match *word {
                "--debian" => options.only_debian = true,
                "--images" => options.images = true,
                "--arm64" => options.arm64 = true,
                "--debug" => options.profile = Profile::Debug,
                _ => return None,
            }
        }
        Some(options)
    }
}

/// Builds and packs. `target` is the target directory of the workspace.
pub(crate) fn run(plan: &mut Plan, target: &str, options: &Options) -> Result<(), Failure> {
    let folder =
        std::path::absolute(Path::new(target).join(FOLDER)).map_err(|error| told("a path", &error))?;
    make_anew(&folder)?;
    let built = Path::new(target).join(options.profile.directory()).join("postern");
    if !options.only_debian {
        build_alone(plan, options.profile)?;
        let alone = folder.join("alone");
        copy(&built, &alone)?;
        strip(&alone)?;
        plan.step("archive", || archive(&folder, &alone, AMD64))?;
        if options.images {
            for role in ROLES {
                plan.step(&format!("image, {role}"), || image(&folder, &alone, role, AMD64))?;
            }
        }
    }
    plan.cargo("build, for Debian", &[&["build"], options.profile.flags(), &BINS].concat())?;
    plan.step("Debian package", || debian(&folder, [&built, &built], AMD64, options.profile))?;
    if options.arm64 {
        let target = std::path::absolute(target).map_err(|error| told("a path", &error))?;
        let mut crossed = PathBuf::new();
        plan.step("build, for arm64", || {
            arm64::build(&target, options.profile).map(|program| crossed = program)
        })?;
        plan.step("arm64, started once", || arm64::start_once(&target, &crossed))?;
        plan.step("Debian package, arm64", || debian(&folder, [&crossed, &built], ARM64, options.profile))?;
    }
    plan.step("checksums", || checksums(&folder))
}

/// The program without libraries of the system. The flag is only for what is linked last: libraries are the same, and what
/// runs while they are built stays as it is.
fn build_alone(plan: &mut Plan, profile: Profile) -> Result<(), Failure> {
    let build = [&["rustc"], profile.flags(), &["--package", "postern", "--bin", "postern"]].concat();
    plan.cargo("build, alone", &[&build[..], &["--", "-C", "target-feature=+crt-static"]].concat())
}

fn strip(program: &Path) -> Result<(), Failure> {
    run_in(Path::new("."), "strip", &[&program.display().to_string()])
}

/// `here` is the same program for this machine: it writes its papers.
fn debian(
    folder: &Path,
    [program, here]: [&Path; 2],
    architecture: &str,
    profile: Profile,
) -> Result<(), Failure> {
    let tree = folder.join(format!("debian-{architecture}"));
    make_anew(&tree)?;
    run_in(&tree, "cp", &["--recursive", &from_here("packaging/debian"), "."])?;
    copy(program, &tree.join("postern"))?;
    if architecture == AMD64 {
        strip(&tree.join("postern"))?;
    }
    papers(here, &tree)?;
    run_in(&tree, "cp", &["--recursive", &from_here("docs/fail2ban"), "."])?;
    run_in(&tree, "cp", &["--recursive", &from_here("docs/examples"), "."])?;
    run_in(&tree, "cp", &["--recursive", &from_here("docs/src"), "book"])?;
    for role in ROLES {
        let name = format!("postern-{role}");
        write(&tree.join(format!("debian/postern.{name}.service")), &unit(role, PACKAGED)?)?;
    }
    copy(Path::new(&from_here(FIREWALL_UNIT)), &tree.join("debian/postern.postern-firewall.service"))?;
    let licence = read(Path::new(&from_here("LICENSE-MIT")))?;
    let copyright = tree.join("debian/copyright");
    let text = read(&copyright)?.replace("@MIT@", indented(&licence).trim_end());
    write(&copyright, &text)?;
    write(&tree.join("debian/changelog"), &changelog())?;
    let arguments = ["--build=binary", "--no-sign", "--no-check-builddeps", "--host-arch", architecture];
    let packing = format!("POSTERN_PACKING={}", profile.packing());
    run_in(&tree, "env", &[&[packing.as_str(), "dpkg-buildpackage"], &arguments[..]].concat())?;
    let package = folder.join(format!("postern_{}-{REVISION}_{}.deb", version(), architecture));
    run_in(folder, "lintian", &["--fail-on", "error", &package.display().to_string()])?;
    fs::remove_dir_all(&tree).map_err(|error| told("debian", &error))
}

/// Man pages and completions, made by the program itself.
fn papers(program: &Path, tree: &Path) -> Result<(), Failure> {
    let program = std::path::absolute(program).map_err(|error| told("a path", &error))?;
    let program = program.display().to_string();
    make_anew(&tree.join("man"))?;
    run_in(tree, &program, &["man-pages", "man"])?;
    for (shell, file) in [("bash", "postern"), ("zsh", "_postern"), ("fish", "postern.fish")] {
        let path = tree.join("completions").join(shell);
        make_anew(&path)?;
        write(&path.join(file), &output_in(tree, &program, &["completions", shell])?)?;
    }
    Ok(())
}

/// The unit of a role, for a program at this path.
fn unit(role: &str, program: &str) -> Result<String, Failure> {
    let path = from_here(&format!("docs/systemd/postern-{role}.service"));
    let text = read(Path::new(&path))?;
    let changed = text.replace(BY_HAND, program);
    if changed == text { Err(Failure::new(format!("{path} does not name {BY_HAND}"))) } else { Ok(changed) }
}

/// Debian's changelog says of what version the package is; what changed is in ours.
fn changelog() -> String {
    format!(
        "postern ({}-{REVISION}) stable; urgency=medium\n\n  * See /usr/share/doc/postern/CHANGELOG.md.gz.\n\n \
         -- The developers of Postern <postern@packages.invalid>  Thu, 01 Jan 2026 00:00:00 +0000\n",
        version()
    )
}

/// As a field of a control file has a text of several lines.
fn indented(text: &str) -> String {
    let line = |line: &str| if line.trim().is_empty() { " .\n".to_owned() } else { format!(" {line}\n") };
    text.lines().map(line).collect()
}

/// The program alone, with units, papers and licences.
fn archive(folder: &Path, program: &Path, architecture: &str) -> Result<(), Failure> {
    let name = format!("postern-{}-linux-{}", version(), architecture);
    let tree = folder.join(&name);
    make_anew(&tree)?;
    copy(program, &tree.join("postern"))?;
    papers(program, &tree)?;
    for role in ROLES {
        let name = format!("postern-{role}.service");
        copy(Path::new(&from_here(&format!("docs/systemd/{name}"))), &tree.join(name))?;
    }
    copy(Path::new(&from_here(FIREWALL_UNIT)), &tree.join("postern-firewall.service"))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "packaging/oci/compose.yaml"] {
        copy(Path::new(&from_here(file)), &tree.join(file.rsplit('/').next().unwrap_or(file)))?;
    }
    let archive = format!("{name}.tar.gz");
    // The same content makes the same archive.
    let same = ["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0"];
    run_in(folder, "tar", &[&["--create", "--gzip", "--file", &archive], &same[..], &[&name]].concat())?;
    fs::remove_dir_all(&tree).map_err(|error| told(&name, &error))
}

/// The image of a role, from nothing: the program, and a path where it looks for its configuration that leads into the volume.
fn image(folder: &Path, program: &Path, role: &str, architecture: &str) -> Result<(), Failure> {
    let tree = folder.join("image");
    make_anew(&tree.join("data"))?;
    make_anew(&tree.join("etc"))?;
    std::os::unix::fs::symlink("/var/lib/postern", tree.join("etc/postern"))
        .map_err(|error| told("etc/postern", &error))?;
    copy(program, &tree.join("postern"))?;
    let file = from_here(&format!("packaging/oci/Containerfile.{role}"));
    let name = format!("localhost/postern-{role}:{}", version());
    let archive = format!("docker-archive:postern-{role}-{}-image-{}.tar:{name}", version(), architecture);
    // A health check is more than OCI's own format can say. What is built on the way goes with the tree.
    let store = ["--root", "image/store", "--runroot", "image/run", "--storage-driver", "vfs"];
    let build =
        ["bud", "--isolation", "chroot", "--format", "docker", "--file", &file, "--tag", &name, "image"];
    let ignored = "store\nrun\n";
    write(&tree.join(".containerignore"), ignored)?;
    run_in(folder, "buildah", &[&store[..], &build].concat())?;
    run_in(folder, "buildah", &[&store[..], &["push", &name, &archive]].concat())?;
    fs::remove_dir_all(&tree).map_err(|error| told("image", &error))
}

fn checksums(folder: &Path) -> Result<(), Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| told(&folder.display().to_string(), &error))?.flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let packed = [".deb", ".tar.gz", ".tar"].iter().any(|end| name.ends_with(end));
        if packed {
            names.push(name);
        } else {
            let _ = fs::remove_file(entry.path());
        }
    }
    names.sort();
    let arguments: Vec<&str> = names.iter().map(String::as_str).collect();
    let sums = output_in(folder, "sha256sum", &arguments)?;
    let mut told = String::new();
    for name in &names {
        let octets = fs::metadata(folder.join(name)).map_or(0, |data| data.len());
        let _ = writeln!(told, "{:>6.1} MB  {}", octets as f64 / 1e6, folder.join(name).display());
    }
    print!("{told}");
    write(&folder.join("SHA256SUMS"), &sums)
}

fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
