//! The repository as the checks see it: packages, and every Rust file, parsed once.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};

use crate::step::Failure;

/// Folders that are never read: what is built, what a fuzz run found, and git's own.
const LEFT_OUT: [&str; 4] = [".git", "artifacts", "corpus", "target"];

/// Everything that is checked: files, pages and packages.
pub(crate) struct House {
    /// Members of the workspace, by name.
    pub(crate) packages: Vec<Package>,
    /// Rust files, by path.
    pub(crate) files: Vec<File>,
    /// Markdown, by path.
    pub(crate) pages: Vec<Page>,
    /// All files and folders.
    pub(crate) paths: BTreeSet<String>,
}

/// A member of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Where it lies, from the root: `crates/mail`.
    pub(crate) folder: String,
    /// The files that its library and its programs begin with.
    pub(crate) roots: Vec<String>,
    /// Members that it depends on, not counting what only its tests need.
    pub(crate) knows: BTreeSet<String>,
    /// All that it names of others, not counting what only its tests need.
    pub(crate) libraries: BTreeSet<String>,
    /// All that is built for it, however far below it, members and others; read for parts of the program only.
    pub(crate) reaches: BTreeSet<String>,
}

/// A Rust file.
pub(crate) struct File {
    /// From the root, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) syntax: syn::File,
}

/// A page of the documentation.
pub(crate) struct Page {
    /// From the root, with slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl House {
    /// Reads the repository at `root`.
    pub(crate) fn read(root: &Path) -> Result<Self, Failure> {
        let mut paths = BTreeSet::new();
        collect(root, "", &mut paths)?;
        let named = |path: &&String, end: &str| path.ends_with(end) && root.join(path).is_file();
        let files = paths.iter().filter(|path| named(path, ".rs"));
        let files = files.map(|path| File::parse(read(root, path)?, path.clone()));
        let pages = paths.iter().filter(|path| named(path, ".md"));
        let pages = pages.map(|path| Ok(Page { text: read(root, path)?, path: path.clone() }));
        Ok(Self {
            packages: packages(root)?,
            files: files.collect::<Result<_, _>>()?,
            pages: pages.collect::<Result<_, _>>()?,
            paths,
        })
    }

    /// A file's place among `files`.
    pub(crate) fn file(&self, path: &str) -> Option<usize> {
        self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()
    }

    /// The text of a page.
    pub(crate) fn page(&self, path: &str) -> Option<&Page> {
        self.pages.iter().find(|page| page.path == path)
    }

    /// The package that a file belongs to.
    pub(crate) fn package_of(&self, path: &str) -> Option<&Package> {
        self.packages.iter().find(|package| is_below(path, &package.folder))
    }
}

impl Package {
    /// Whether it is a part of the program: tools and tests are not.
    pub(crate) fn is_of_the_program(&self) -> bool {
        self.folder.starts_with("crates/")
    }
}

impl File {
    pub(crate) fn parse(text: String, path: String) -> Result<Self, Failure> {
        let syntax =
            syn::parse_file(&text).map_err(|error| Failure::new(format!("can't read {path}: {error}")))?;
        Ok(Self { path, text, syntax })
    }
}

/// Whether a file lies in a folder or below it.
pub(crate) fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

fn read(root: &Path, path: &str) -> Result<String, Failure> {
    fs::read_to_string(root.join(path)).map_err(|error| Failure::new(format!("can't read {path}: {error}")))
}

/// All files and folders below a folder.
fn collect(root: &Path, folder: &str, paths: &mut BTreeSet<String>) -> Result<(), Failure> {
    let entries = fs::read_dir(root.join(folder))
        .map_err(|error| Failure::new(format!("can't read {folder}: {error}")))?;
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if LEFT_OUT.contains(&name.as_str()) {
            continue;
        }
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if entry.path().is_dir() {
            collect(root, &path, paths)?;
        }
        paths.insert(path);
    }
    Ok(())
}

/// Members of the workspace, as cargo knows them.
fn packages(root: &Path) -> Result<Vec<Package>, Failure> {
    let metadata = MetadataCommand::new().current_dir(root).no_deps().exec();
    let metadata = metadata.map_err(|error| Failure::new(error.to_string()))?;
    let from_the_root = |path: &cargo_metadata::camino::Utf8Path| {
        let path = path.strip_prefix(&metadata.workspace_root).unwrap_or(path);
        path.as_str().to_owned()
    };
    let names: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let normal = |package: &cargo_metadata::Package| {
        let normal = package.dependencies.iter().filter(|on| on.kind == DependencyKind::Normal);
        normal.map(|on| on.name.clone()).partition(|name| names.contains(name))
    };
    let package = |package: &cargo_metadata::Package| {
        let (knows, libraries) = normal(package);
        Package {
            name: package.name.to_string(),
            folder: package.manifest_path.parent().map(from_the_root).unwrap_or_default(),
            roots: (package.targets.iter())
                .filter(|target| target.is_lib() || target.is_bin())
                .map(|target| from_the_root(&target.src_path))
                .collect(),
            knows,
            libraries,
            reaches: BTreeSet::new(),
        }
    };
    let mut packages: Vec<Package> = metadata.packages.iter().map(package).collect();
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    for package in packages.iter_mut().filter(|package| package.is_of_the_program()) {
        package.reaches = reached(root, &package.name)?;
    }
    Ok(packages)
}

/// What is built for a package alone: for all members together, cargo turns features on that it does not ask for.
fn reached(root: &Path, package: &str) -> Result<BTreeSet<String>, Failure> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command.current_dir(root).args(["tree", "--locked", "--quiet", "--package", package]);
    command.args(["--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let output = command.output().map_err(|error| Failure::new(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Failure::new(format!("{command:?}: {}\n{said}", output.status)));
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

#[cfg(test)]
pub(crate) mod sketch {
    //! Small houses for the tests of the checks.

    use super::*;

    /// Files by path, pages by path, and one package for each folder below `crates`.
    pub(crate) fn house(texts: &[(&str, &str)]) -> House {
        let (mut files, mut pages) = (Vec::new(), Vec::new());
        for (path, text) in texts {
            let (path, text) = ((*path).to_owned(), (*text).to_owned());
            if path.ends_with(".rs") {
                files.push(File::parse(text, path).unwrap());
            } else {
                pages.push(Page { path, text });
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let names = files.iter().filter_map(|file| file.path.strip_prefix("crates/")?.split('/').next());
        let names: BTreeSet<String> = names.map(str::to_owned).collect();
        let package = |name: &String| {
            let folder = format!("crates/{name}");
            let roots = ["lib", "main"].map(|root| format!("{folder}/src/{root}.rs"));
            let roots = roots.into_iter().filter(|root| files.iter().any(|file| file.path == *root));
            Package {
                name: name.clone(),
                roots: roots.collect(),
                folder,
                knows: BTreeSet::new(),
                libraries: BTreeSet::new(),
                reaches: BTreeSet::new(),
            }
        };
        let mut paths = BTreeSet::new();
        for (path, _) in texts {
            let ends = path.match_indices('/').map(|(place, _)| place).chain([path.len()]);
            paths.extend(ends.map(|end| path[..end].to_owned()));
        }
        House { packages: names.iter().map(package).collect(), files, pages, paths }
    }
}
