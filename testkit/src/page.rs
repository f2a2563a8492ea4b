//! What pages of the book tell an operator to write, so that tests run just that.

const PAGE: &str = include_str!("../../docs/src/standard-hops.md");
const RECIPES: &str = include_str!("../../docs/src/recipes.md");
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

/// The file that the page of recipes shows below this name, a comment; empty lines within it included.
///
/// # Panics
/// When the page has no such file, or more than one.
#[must_use]
pub fn recipe(name: &str) -> String {
    file_of(RECIPES, name)
}

fn file_of(page: &str, name: &str) -> String {
    let line = format!("{INDENT}# {name}");
    assert!(page.matches(&line).count() == 1, "the page has '# {name}' once");
    let rest = page.lines().skip_while(|found| *found != line).skip(1);
    let block = rest.take_while(|line| line.is_empty() || line.starts_with(INDENT));
    let text: String = block.map(|line| format!("{}\n", line.strip_prefix(INDENT).unwrap_or(line))).collect();
    format!("{}\n", text.trim_end())
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
        let page = "    # one\n    a\n\n    b\n\nwords\n    c\n";
        assert_eq!(file_of(page, "one"), "a\n\nb\n");
    }
}
