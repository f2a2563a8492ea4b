//! The roles that are set up on this host, by their files.

use std::path::PathBuf;

use daemon::config;
use daemon::problem::Problem;
use edge::config::EdgeConfig;
use home::config::HomeConfig;

/// Edge's file where none is named.
pub(super) const EDGE_CONFIG: &str = "/etc/postern/edge.toml";
/// Home's.
pub(super) const HOME_CONFIG: &str = "/etc/postern/home.toml";

/// The data of the role whose file this is; of the role that is set up on this host when none is named.
pub(super) fn data_of(config: Option<PathBuf>) -> Result<PathBuf, Problem> {
    let path = config.map_or_else(configuration_here, Ok)?;
    match config::role_of(&path)? {
        link::Role::Edge => config::load::<EdgeConfig>(&path).map(|config| config.data),
        link::Role::Home => config::load::<HomeConfig>(&path).map(|config| config.data),
    }
}

/// Home's, where both roles are.
pub(super) fn configuration_here() -> Result<PathBuf, Problem> {
    let here = [HOME_CONFIG, EDGE_CONFIG].map(PathBuf::from).into_iter().find(|path| path.exists());
    here.ok_or_else(|| {
        Problem::setup(
            format!("no role is set up on this host: there is no {HOME_CONFIG} and no {EDGE_CONFIG}"),
            "set one up with 'postern home setup' or 'postern edge setup', or name its file with --config",
        )
    })
}
