//! The journeys and stories that the documents name are there: a statement without its test is a claim. So are the
//! journeys that begin first.

use std::fs;
use std::path::Path;

/// Words in backquotes that name a journey, `FILE::TEST`, or all of a file, `FILE::*`.
fn named(text: &str) -> Vec<(String, String)> {
    let quoted = text.split('`').skip(1).step_by(2);
    let pairs = quoted.filter_map(|word| word.split_once("::"));
    pairs.map(|(file, test)| (file.to_owned(), test.to_owned())).collect()
}

#[test]
fn each_journey_that_the_topology_names_is_there_and_each_long_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("docs/src/topology.md")).unwrap();
    let names = named(&text);
    assert!(names.len() > 10, "{names:?}");
    let long = crate::journeys::LONG.iter().filter_map(|name| name.split_once("::"));
    let long = long.map(|(file, test)| (file.to_owned(), test.to_owned()));
    for (file, test) in names.into_iter().chain(long) {
        let path = root.join("tests").join(format!("{file}.rs"));
        let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        let is_there = test == "*" || source.contains(&format!("fn {test}("));
        assert!(is_there, "{file} has no journey {test}");
    }
}

/// Words in backquotes that name a story of the world, `world NAME`.
fn told(text: &str) -> Vec<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter_map(|word| word.strip_prefix("world ")).map(str::to_owned).collect()
}

#[test]
fn each_story_that_the_topology_names_is_told() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("docs/src/topology.md")).unwrap();
    let stories = fs::read_to_string(root.join("world/src/stories.rs")).unwrap();
    let names = told(&text);
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(stories.contains(&format!("name: \"{name}\"")), "there is no story {name}");
    }
    let all = stories.lines().filter_map(|line| line.trim().strip_prefix("name: \"")?.strip_suffix("\","));
    for name in all {
        assert!(text.contains(&format!("`world {name}`")), "the topology does not name the story {name}");
    }
}
