//! Each row of `docs/src/security-lessons.md` has tests that name it, and what they name is a row.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const MARK: &str = "Security lesson: ";
const TABLE: &str = "docs/src/security-lessons.md";

/// A case, and the names of its tests.
type Lessons = BTreeMap<String, BTreeSet<String>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The rows of the table.
fn rows(table: &str) -> Lessons {
    let rows = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")).skip(1);
    rows.map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [case, _, tests] = cells[..] else { panic!("three cells: {row}") };
        (case.to_owned(), tests.split(", ").map(|test| test.trim_matches('`').to_owned()).collect())
    })
    .collect()
}

/// Files with tests: sources, and the dialogues that are tests themselves.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "txt") {
            files.push(path);
        }
    }
}

fn files(folders: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    folders.iter().for_each(|folder| collect(&root().join(folder), &mut files));
    files
}

/// Adds the cases that a file's tests name.
fn named(path: &Path, text: &str, lessons: &mut Lessons) {
    let mut cases: Vec<String> = Vec::new();
    let mut is_test = false;
    let mut add = |cases: &mut Vec<String>, test: String| {
        cases.drain(..).for_each(|case| {
            lessons.entry(case).or_default().insert(test.clone());
        });
    };
    let dialogue = path.extension().is_some_and(|extension| extension == "txt");
    for line in text.lines().map(str::trim) {
        let comment = line.strip_prefix(if dialogue { "# " } else { "/// " });
        if let Some(case) = comment.and_then(|text| text.strip_prefix(MARK)) {
            cases.push(case.trim_end_matches('.').to_owned());
        } else if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else if let Some((_, function)) = line.split_once("fn ") {
            if is_test {
                add(&mut cases, function.split('(').next().unwrap_or_default().to_owned());
            }
            is_test = false;
        }
    }
    if dialogue {
        let name: PathBuf = path.components().rev().take(2).collect::<Vec<_>>().into_iter().rev().collect();
        add(&mut cases, name.display().to_string());
    }
    assert!(cases.is_empty(), "{} names a lesson above no test: {cases:?}", path.display());
}

#[test]
fn every_security_lesson_has_the_tests_that_the_table_says() {
    let table = rows(&fs::read_to_string(root().join(TABLE)).unwrap());
    assert!(table.len() >= 13);
    let mut found = Lessons::new();
    for path in files(&["crates", "tests", "xtask"]) {
        named(&path, &fs::read_to_string(&path).unwrap(), &mut found);
    }
    for (case, tests) in &table {
        assert_eq!(found.get(case), Some(tests), "{case}: tests that name it, and those of {TABLE}");
    }
    for (case, tests) in &found {
        assert!(table.contains_key(case), "{tests:?} name '{case}', which is no row of {TABLE}");
    }
}

#[test]
fn a_lesson_above_no_test_is_noticed() {
    let mut lessons = Lessons::new();
    named(Path::new("a.rs"), "/// Security lesson: X.\n#[test]\nfn y() {}\n", &mut lessons);
    assert!(lessons["X"].contains("y"));
    let stray = || named(Path::new("a.rs"), "/// Security lesson: X.\nfn y() {}\n", &mut Lessons::new());
    assert!(std::panic::catch_unwind(stray).is_err());
}

/// Security lesson: Exim CVE-2019-10149, OpenSMTPD CVE-2020-7247.
#[test]
fn no_program_is_started_but_at_the_operators_word() {
    for path in files(&["crates"]) {
        let text = fs::read_to_string(&path).unwrap();
        let production = path.components().any(|part| part.as_os_str() == "src");
        // The demo starts the program itself, twice, with arguments of its own; a daemon begins itself again, with
        // the arguments that it has; 'postern firewall --apply' starts nft, which reads addresses and ports that were
        // parsed before, and asks ip for the networks of this host; 'setup' starts useradd for the user whom root names, and
        // systemctl for the service that it has set up;
        // 'postern dns --apply --hook' starts the program that its operator names there, without a shell: what it is to do
        // is JSON on its input, and none of its arguments comes from elsewhere.
        let own = [
            "postern/src/demo.rs",
            "postern/src/firewall/apply.rs",
            "postern/src/firewall/host.rs",
            "postern/src/records/hook.rs",
            "postern/src/cli/service.rs",
            "daemon/src/process.rs",
            "daemon/src/owner.rs",
        ];
        let allowed = own.iter().any(|file| path.ends_with(format!("crates/{file}")));
        let starts =
            ["Command::new", "process::Command", "CommandExt"].iter().any(|word| text.contains(word));
        assert!(!production || allowed || !starts, "{} starts a program", path.display());
    }
}
