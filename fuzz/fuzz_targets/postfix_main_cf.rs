//! Whatever a `main.cf` and the tables of a Postfix say: they are read within limits, parameters that name each other end, and
//! what is written again in the same words reads the same.
//!
//! What the importer makes of them is out of reach here: it is a part of the program, not of a crate.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The program is no library. These two of its files need nothing else of it.
#[path = "../../crates/postern/src/import"]
#[allow(dead_code, reason = "the importer asks more of them")]
mod import {
    mod main_cf;
    mod maps;

    use std::path::Path;

    use main_cf::MainCf;
    use maps::{Files, Format};

    /// A value with all parameters in it, and what one of them may add to it after its length was looked at.
    const VALUE_OCTETS_MAX: usize = 2 * 64 * 1024;

    pub(crate) fn read(text: &str) {
        let file = MainCf::parse(text);
        let names: Vec<&str> = file.names().collect();
        let mut again = String::new();
        for name in &names {
            assert!(file.value(name).len() <= VALUE_OCTETS_MAX);
            let list = file.list(name);
            assert!(list.iter().all(|element| !element.is_empty()));
            again.push_str(&format!("{name} = {}\n", file.written(name).unwrap_or_default()));
        }
        let _ = file.unset();
        let second = MainCf::parse(&again);
        // A name that is itself like a comment or a second line is none that Postfix would have.
        if names.iter().all(|name| !name.is_empty() && !name.starts_with('#')) {
            assert!(second.names().eq(names.iter().copied()));
            assert!(names.iter().all(|name| second.written(name) == file.written(name)));
        }
        let inline = Files::new(Path::new("/nonexistent")).table(&format!("inline:{text}"), Format::Blank);
        let _ = inline.map(|(good, _)| assert!(good.iter().all(|(key, _)| !key.is_empty())));
    }
}

fuzz_target!(|data: &[u8]| import::read(&String::from_utf8_lossy(data)));
