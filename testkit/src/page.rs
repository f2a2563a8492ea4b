//! What the page on standard hops tells an operator to write, so that tests run just that.

const PAGE: &str = include_str!("../../docs/src/standard-hops.md");
/// How code is indented there.
const INDENT: &str = "    ";

/// The text below this title, a comment that begins a part of a code block; without the title and the indentation.
///
/// # Panics
/// When the page has no such title, or more than one.
#[must_use]
pub fn text(title: &str) -> String {
    part_of(PAGE, title)
}

fn part_of(page: &str, title: &str) -> String {
    let line = format!("{INDENT}# {title}");
    let starts: Vec<usize> =
        page.lines().enumerate().filter(|(_, found)| *found == line).map(|(at, _)| at).collect();
    assert!(starts.len() == 1, "the page has '# {title}' {} times", starts.len());
    let part = page.lines().skip(starts[0] + 1).map_while(|line| line.strip_prefix(INDENT));
    part.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_ends_where_the_code_is_interrupted() {
        let page = "words\n\n    # one\n    a = 1\n        -o b\n\n    # two\n    c\n\nwords\n";
        assert_eq!(part_of(page, "one"), "a = 1\n    -o b\n");
        assert_eq!(part_of(page, "two"), "c\n");
    }
}
