//! Messages to send, and what to look for in those that came.

use std::path::{Path, PathBuf};

/// A short message with a subject to know it by.
#[must_use]
pub fn simple(from: &str, to: &str, subject: &str) -> Vec<u8> {
    format!(
        "From: {from}\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <{subject}@sender.test>\r\n\
         Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n\r\nThis is {subject}.\r\n"
    )
    .into_bytes()
}

/// The value of a message's first field of that name.
#[must_use]
pub fn field(message: &[u8], name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(head(message)).replace("\r\n ", " ").replace("\r\n\t", " ");
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

/// Everything before the empty line.
#[must_use]
pub fn head(message: &[u8]) -> &[u8] {
    let end = message.windows(4).position(|window| window == b"\r\n\r\n");
    end.map_or(message, |end| &message[..end + 2])
}

/// Everything after the empty line.
#[must_use]
pub fn body(message: &[u8]) -> &[u8] {
    message.get(head(message).len() + 2..).unwrap_or_default()
}

/// The messages in the test data of Python's email package, with CRLF line ends, by file name.
///
/// # Panics
/// When they are not installed.
#[must_use]
pub fn python_corpus() -> Vec<(String, Vec<u8>)> {
    let dirs = std::fs::read_dir("/usr/lib").expect("/usr/lib");
    let data = |entry: std::io::Result<std::fs::DirEntry>| -> Option<PathBuf> {
        let path = entry.ok()?.path().join("test/test_email/data");
        path.is_dir().then_some(path)
    };
    let dir = dirs.into_iter().find_map(data).expect("Python's test data: run 'cargo xtask packages'");
    let mut messages = Vec::new();
    for entry in std::fs::read_dir(dir).expect("the data") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            messages.push((name, with_crlf(&std::fs::read(&path).expect("a message"))));
        }
    }
    messages.sort();
    messages
}

/// The same text with CRLF at the end of each line and nowhere else.
#[must_use]
pub fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((octet, after)) = rest.split_first() {
        rest = after;
        match octet {
            b'\r' => {
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
                out.extend_from_slice(b"\r\n");
            }
            b'\n' => out.extend_from_slice(b"\r\n"),
            octet => out.push(*octet),
        }
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// The files below a directory that hold the text.
#[must_use]
pub fn files_that_hold(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if std::fs::read(&path).is_ok_and(|octets| holds(&octets, text.as_bytes())) {
                found.push(path);
            }
        }
    }
    found
}

/// Whether the octets hold these in a row.
#[must_use]
pub fn holds(octets: &[u8], part: &[u8]) -> bool {
    let first = part.first().copied().unwrap_or_default();
    let mut at = 0;
    while let Some(step) = octets[at..].iter().position(|octet| *octet == first) {
        at += step;
        if octets[at..].starts_with(part) {
            return true;
        }
        at += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_become_crlf_once() {
        assert_eq!(with_crlf(b"a\nb\r\nc\rd"), b"a\r\nb\r\nc\r\nd\r\n");
    }

    #[test]
    fn a_field_is_found_and_unfolded() {
        let message = b"A: 1\r\nSubject: two\r\n words\r\n\r\nSubject: no\r\n";
        assert_eq!(field(message, "subject").as_deref(), Some("two words"));
        assert_eq!(field(message, "b"), None);
        assert_eq!(body(message), b"Subject: no\r\n");
    }
}
