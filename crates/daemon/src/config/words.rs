//! What the TOML library says of a wrong line, in the operator's words: lists and numbers instead of sequences and
//! `usize`, and a key that was meant only where one is alike.

const ADDRESS: &str = "an address and a port, such as \"0.0.0.0:25\" or \"[::]:25\"";
/// Types of the library and what they are in a file.
const TYPES: [(&str, &str); 20] = [
    ("a sequence", "a list, such as [\"a\", \"b\"]"),
    ("sequence", "a list, such as [\"a\", \"b\"]"),
    ("a map", "a section of keys"),
    ("map", "a section of keys"),
    ("a string", "text in quotes"),
    ("string", "text in quotes"),
    ("a boolean", "true or false"),
    ("boolean", "true or false"),
    ("path string", "a path in quotes"),
    ("socket address", ADDRESS),
    ("a borrowed string", "text in quotes"),
    ("usize", "a whole number"),
    ("u64", "a whole number"),
    ("u32", "a whole number"),
    ("u16", "a whole number up to 65535"),
    ("u8", "a whole number up to 255"),
    ("i64", "a whole number"),
    ("i32", "a whole number"),
    ("f64", "a number"),
    ("integer", "a whole number"),
];

/// The message without the words of the library.
pub(super) fn plain(message: &str) -> String {
    let message = message.trim_end();
    if let Some(key) = quoted(message, "unknown field ") {
        return format!("there is no key '{key}' here");
    }
    if let Some(key) = quoted(message, "missing field ") {
        return format!("the key '{key}' is missing");
    }
    if let Some(key) = quoted(message, "duplicate field ") {
        return format!("the key '{key}' is there twice");
    }
    if let Some((found, wanted)) = mismatch(message) {
        return format!("here {wanted} is wanted, not {found}");
    }
    if let Some(rest) = message.strip_prefix("unknown variant ") {
        let mut names = rest.split('`').skip(1).step_by(2);
        let unknown = names.next().unwrap_or_default();
        let known: Vec<String> = names.map(|name| format!("\"{name}\"")).collect();
        return format!("\"{unknown}\" can't stand here, only {}", known.join(" or "));
    }
    match message {
        "wanted string or table" => {
            "here one of a few words in quotes is wanted: see the documentation".to_owned()
        }
        "invalid socket address syntax" => format!("here {ADDRESS} is wanted"),
        _ => message.replace('\n', ", "),
    }
}

/// The advice for a message of the TOML parser: the key that was meant, if one is alike.
pub(super) fn advice(message: &str) -> String {
    let Some(unknown) = quoted(message, "unknown field ") else {
        return "correct the line".to_owned();
    };
    let known = message.split('`').skip(3).step_by(2);
    let alike = known.filter(|known| is_alike(unknown, known)).min_by_key(|known| distance(unknown, known));
    alike.map_or_else(
        || "remove the key, or see the documentation for its name and its section".to_owned(),
        |known| format!("did you mean '{known}'?"),
    )
}

/// The first name in backquotes after these words.
fn quoted<'a>(message: &'a str, begin: &str) -> Option<&'a str> {
    message.strip_prefix(begin)?.split('`').nth(1)
}

/// What was found and what was wanted, of "invalid type: string "x", expected usize" and the like.
fn mismatch(message: &str) -> Option<(String, String)> {
    let rest = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "))?;
    let (found, wanted) = rest.rsplit_once(", expected ")?;
    let (kind, value) = found.split_once(' ').unwrap_or((found, ""));
    let found = match kind {
        "string" => format!("the text {value}"),
        "integer" | "floating" => {
            format!("the number {}", value.trim_start_matches("point ").trim_matches('`'))
        }
        "boolean" => value.trim_matches('`').to_owned(),
        _ => in_a_file(found).unwrap_or(found).to_owned(),
    };
    Some((found, in_a_file(wanted).unwrap_or(wanted).to_owned()))
}

fn in_a_file(kind: &str) -> Option<&'static str> {
    let kind = kind.strip_prefix("a nonzero ").unwrap_or(kind);
    TYPES.iter().find(|(name, _)| *name == kind).map(|(_, words)| *words)
}

/// Whether one is a slip of the pen of the other, or its beginning.
fn is_alike(unknown: &str, known: &str) -> bool {
    let (unknown, known) = (unknown.to_ascii_lowercase().replace('-', "_"), known.to_ascii_lowercase());
    let shorter = unknown.len().min(known.len());
    let begins = shorter >= 3 && (unknown.starts_with(&known) || known.starts_with(&unknown));
    begins || distance(&unknown, &known) <= (shorter / 3).clamp(usize::from(shorter > 2), 3)
}

/// Edit distance of two keys; two letters in the wrong order are one edit.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (row[j] + usize::from(x != y)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_words_is_counted_in_edits() {
        assert_eq!(distance("smtp", "sntp"), 1);
        assert_eq!(distance("smpt", "smtp"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_key_is_suggested_only_when_it_is_alike() {
        let said = |unknown: &str, known: &str| {
            advice(&format!("unknown field `{unknown}`, expected one of {known}"))
        };
        for (unknown, known, meant) in [
            ("smpt", "`smtp`, `link`", "smtp"),
            ("host", "`hostname`, `data`", "hostname"),
            ("Domains", "`domains`, `data`", "domains"),
            ("body-memory", "`body_memory`, `spool`", "body_memory"),
            ("conections_per_adress", "`connections_per_address`", "connections_per_address"),
        ] {
            assert_eq!(said(unknown, known), format!("did you mean '{meant}'?"));
        }
        // Symptom: "did you mean 'dns'?" for `tls`. Cause: three edits make any two short words the same.
        for (unknown, known) in
            [("foo", "`dns`, `tls`"), ("tls", "`dns`, `data`"), ("ab", "`cd`"), ("port", "`data`")]
        {
            assert!(said(unknown, known).starts_with("remove the key"), "{unknown}");
        }
    }

    #[test]
    fn no_type_of_the_library_is_shown_to_the_operator() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "lowercase")]
        #[allow(dead_code, reason = "only what can't be read is looked at")]
        struct Sample {
            number: usize,
            list: Vec<String>,
            flag: bool,
            address: std::net::SocketAddr,
            word: Word,
        }
        #[derive(Debug, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Word {
            On,
            Off,
        }
        let said = |text: &str| plain(toml::from_str::<Sample>(text).unwrap_err().message());
        for (text, wanted) in [
            ("number = \"x\"", "here a whole number is wanted, not the text \"x\""),
            ("number = -1", "here a whole number is wanted, not the number -1"),
            ("number = 1.5", "here a whole number is wanted, not the number 1.5"),
            ("number = [1]", "here a whole number is wanted, not a list, such as [\"a\", \"b\"]"),
            ("list = \"x\"", "here a list, such as [\"a\", \"b\"] is wanted, not the text \"x\""),
            ("flag = 1", "here true or false is wanted, not the number 1"),
            ("word = \"yes\"", "\"yes\" can't stand here, only \"on\" or \"off\""),
            ("other = 1", "there is no key 'other' here"),
            ("number = 1", "the key 'list' is missing"),
        ] {
            assert_eq!(said(text), wanted, "{text}");
        }
        for text in
            ["address = \"x\"", "address = 5", "[number]", "number = 1 2", "number 1", "= 1", "a = \"x"]
        {
            let said = said(text);
            assert!(
                !["usize", "sequence", "struct", "enum"].iter().any(|word| said.contains(word)),
                "{said}"
            );
        }
    }
}
