//! Programs that are built from the registry when they are not there, each in a version that is pinned. Without
//! optimisation: it is their building that takes time, not their work.

use std::path::Path;

use crate::step::{Failure, Plan};

/// Where they are installed, below the target directory.
const FOLDER: &str = "tools";

/// A program of somebody else.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
    /// More for `cargo install`.
    options: &'static [&'static str],
}

/// Builds and runs the fuzz targets.
pub(crate) const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2", options: &[] };
/// Looks at the licences, sources and known faults of what we depend on.
pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", options: &[] };
/// Makes the book. What serves it and builds it anew at each change is left out.
pub(crate) const MDBOOK: Tool =
    Tool { name: "mdbook", version: "0.5.4", options: &["--no-default-features", "--features", "search"] };

impl Tool {
    /// Installs it, unless it is there, and gives its path. `target` is the target directory of the workspace.
    pub(crate) fn provide(&self, plan: &mut Plan, target: &str) -> Result<String, Failure> {
        let root = format!("{target}/{FOLDER}/{}-{}", self.name, self.version);
        let path = format!("{root}/bin/{}", self.name);
        if !Path::new(&path).exists() {
            let mut install =
                vec!["install", self.name, "--locked", "--version", self.version, "--root", &root];
            install.extend(["--debug", "--config", "profile.dev.debug=false"]);
            install.extend(self.options);
            plan.cargo(&format!("install {}", self.name), &install)?;
        }
        Ok(path)
    }
}
