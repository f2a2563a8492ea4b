//! The parameters in a value: `$name`, `${name}`, `${name?text}`, `${name:text}`, `${{a} == {b} ? {text} : {text}}`
//! (postconf(5)), as Postfix 3.7 evaluates them: what `postconf -x` shows.

use std::cell::Cell;
use std::cmp::Ordering;

/// Parameters in parameters are followed this far.
const DEPTH_MAX: usize = 16;
/// Parameters that are put into one value, however deep. Some that are empty make no text, and each may name others twice.
const PARAMETERS_MAX: usize = 10_000;
/// Octets of a value with all parameters in it.
const VALUE_OCTETS_MAX: usize = 64 * 1024;
/// Its operators. The longer ones first.
const OPERATORS: [&str; 12] =
    ["==level", "!=level", "<=level", ">=level", "<level", ">level", "==", "!=", "<=", ">=", "<", ">"];

/// Puts the values of parameters in. What `raw` does not know is empty.
///
/// # Errors
/// Why Postfix itself would not start with it.
pub(super) fn expand<'a>(text: &str, raw: &impl Fn(&str) -> &'a str) -> Result<String, String> {
    Expansion { raw, left: Cell::new(PARAMETERS_MAX) }.text(text, DEPTH_MAX)
}

struct Expansion<'f, F> {
    raw: &'f F,
    /// Parameters that may still be put in.
    left: Cell<usize>,
}

impl<'a, F: Fn(&str) -> &'a str> Expansion<'_, F> {
    fn text(&self, text: &str, depth: usize) -> Result<String, String> {
        let depth = depth.checked_sub(1).ok_or_else(|| "parameters that name each other".to_owned())?;
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            if out.len() > VALUE_OCTETS_MAX {
                return Err(format!("it would be longer than {VALUE_OCTETS_MAX} octets"));
            }
            rest = if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                after
            } else if after.starts_with(['{', '(']) {
                let (inner, after) = balanced(after).ok_or_else(|| format!("${after} has no end"))?;
                out.push_str(&self.macro_of(inner, depth)?);
                after
            } else {
                let (name, after) = name_of(after);
                out.push_str(&self.parameter(name, depth)?);
                after
            };
        }
        out.push_str(rest);
        Ok(out)
    }

    fn parameter(&self, name: &str, depth: usize) -> Result<String, String> {
        if name.is_empty() {
            return Err("a $ with no name behind it; a $ itself is written $$".to_owned());
        }
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| format!("it has more than {PARAMETERS_MAX} parameters in it"))?);
        self.text((self.raw)(name), depth)
    }

    /// Expands what stands between the braces of `${...}`.
    fn macro_of(&self, inner: &str, depth: usize) -> Result<String, String> {
        let inner = inner.trim_start();
        let (holds, value, rest) = if inner.starts_with('{') {
            let (holds, rest) = self.comparison(inner, depth)?;
            (holds, if holds { "true".to_owned() } else { String::new() }, rest)
        } else {
            let (name, rest) = name_of(inner);
            // What counts is what is written, also if nothing comes of it.
            let holds = !(self.raw)(name).is_empty();
            (holds, self.parameter(name, depth)?, rest)
        };
        let rest = rest.trim_start();
        if let Some(rest) = rest.strip_prefix('?') {
            let (yes, no) = alternatives(rest)?;
            return if holds { self.text(yes, depth) } else { self.text(no, depth) };
        }
        match rest.strip_prefix(':') {
            Some(_) if holds => Ok(String::new()),
            Some(no) => self.text(only_alternative(no)?, depth),
            None if rest.is_empty() => Ok(value),
            None => Err(format!("{inner}: unexpected {rest}")),
        }
    }

    /// `{left} operator {right}`, and what stands behind it.
    fn comparison<'t>(&self, text: &'t str, depth: usize) -> Result<(bool, &'t str), String> {
        let wrong = || format!("{text}: a comparison has the form {{x}} == {{y}}");
        let (left, rest) = balanced(text).ok_or_else(wrong)?;
        let rest = rest.trim_start();
        let operator = OPERATORS.iter().find(|operator| rest.starts_with(**operator)).ok_or_else(wrong)?;
        let rest = rest.get(operator.len()..).unwrap_or_default().trim_start();
        let (right, rest) = balanced(rest).filter(|_| rest.starts_with('{')).ok_or_else(wrong)?;
        let (left, right) = (self.text(left, depth)?, self.text(right, depth)?);
        let (sign, order) = match operator.strip_suffix("level") {
            Some(sign) => (sign, levels(&left).cmp(&levels(&right))),
            None => (*operator, compared(&left, &right)),
        };
        let holds = match sign {
            "==" => order.is_eq(),
            "!=" => order.is_ne(),
            "<" => order.is_lt(),
            "<=" => order.is_le(),
            ">" => order.is_gt(),
            _ => order.is_ge(),
        };
        Ok((holds, rest))
    }
}

/// Numbers as numbers, all else as text.
fn compared(left: &str, right: &str) -> Ordering {
    let number = |text: &str| text.parse::<i64>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    match (number(left), number(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => left.cmp(right),
    }
}

/// A compatibility level: up to three numbers with points between them.
fn levels(text: &str) -> [u64; 3] {
    let mut numbers = text.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

/// What a condition that holds comes to, and one that does not. Only in braces can there be both.
fn alternatives(written: &str) -> Result<(&str, &str), String> {
    let text = written.trim_start();
    if !text.starts_with('{') {
        return Ok((written, ""));
    }
    let (yes, rest) = balanced(text).ok_or_else(|| format!("{text} has no end"))?;
    let rest = rest.trim_start();
    match rest.strip_prefix(':') {
        Some(no) => Ok((yes, only_alternative(no)?)),
        None if rest.is_empty() => Ok((yes, "")),
        None => Err(format!("{text}: a colon is missing before {rest}")),
    }
}

fn only_alternative(written: &str) -> Result<&str, String> {
    let text = written.trim_start();
    if !text.starts_with('{') {
        return Ok(written);
    }
    match balanced(text) {
        Some((inner, rest)) if rest.trim().is_empty() => Ok(inner),
        _ => Err(format!("{text}: unexpected text behind the brace")),
    }
}

/// What is in the brackets that the text begins with, and what stands behind them. Brackets of that kind nest.
pub(in crate::import) fn balanced(text: &str) -> Option<(&str, &str)> {
    let (open, close) = if text.starts_with('(') { ('(', ')') } else { ('{', '}') };
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some((text.get(1..at)?, text.get(at + 1..)?));
            }
        } else if depth == 0 {
            return None;
        }
    }
    None
}

fn name_of(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<String, String> {
        let raw = |name: &str| match name {
            "a" => "x",
            "level" => "3.6",
            "hollow" => "$nope",
            "twice" => "$a$a",
            "circle" => "$circle",
            _ => "",
        };
        expand(text, &raw)
    }

    /// Symptom: an import of a file of 300 octets did not end. Cause: each parameter named the next one eight times, and the last
    /// was empty. Analysis: the depth was bounded, and the octets that come out, of which there were none; not the work.
    #[test]
    fn parameters_that_come_to_nothing_are_bounded_too() {
        const NAMES: [&str; 14] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];
        let values: Vec<String> = NAMES.iter().skip(1).map(|name| format!("${name}").repeat(8)).collect();
        let raw = |name: &str| {
            let place = NAMES.iter().position(|known| *known == name);
            place.and_then(|place| values.get(place)).map_or("", String::as_str)
        };
        assert!(expand("$a", &raw).unwrap_err().contains("10000 parameters"));
        let (most, more) = ("$n".repeat(PARAMETERS_MAX), "$n".repeat(PARAMETERS_MAX + 1));
        assert_eq!(expand(&most, &raw), Ok(String::new()));
        assert!(expand(&more, &raw).is_err());
    }

    /// Each as `postconf -x` of Postfix 3.7.11 shows it.
    #[test]
    fn values_are_what_postconf_shows() {
        for (text, shown) in [
            ("$nope|${nope}|$a_b|$1|", "||||"),
            ("$$a|$a$$a$$$a", "$a|x$a$x"),
            ("$(a)|$(a:b)|$(nope:b)|", "x||b|"),
            ("${ a }|${a}}|$a.b|$twice", "x|x}|x.b|xx"),
            ("${a?yes}|${nope?yes}|${a:no}|${nope:no}|", "yes|||no|"),
            ("${a?{yes}:{no}}|${nope?{yes}:{no $a}}|${a ? {yes} : {no}}|", "yes|no x|yes|"),
            ("${a?yes:no}|${nope?yes:no}|", "yes:no||"),
            ("${nope:a{b}c}|${nope: sp }|${nope?{ yes }:{ no }}|", "a{b}c| sp | no |"),
            ("|${nope ? {a} : { no }}|${a? yes}|${a ?  yes}|${nope: {no} }|", "| no | yes|  yes|no|"),
            ("${a?{yes}}|${nope?{yes}}|${nope:{no}}|", "yes||no|"),
            ("${{$level} < {1} ? {p} : {m, r}}|${{$a} == {x} ? {eq ${a}} : {ne}}|", "m, r|eq x|"),
            ("${{10} > {9} ? {n} : {s}}|${{10} > {9x} ? {n} : {s}}|${{02} == {2} ? {n}}|", "n|s|n|"),
            ("${{$level} <level {3.5} ? {old}:{new}}|${{3.10} >=level {3.9} ? {x}:{y}}|", "new|x|"),
            ("${{1} == {1}}|${{a} != {a} ? {x}}|${{a} == {b} : {y}}|${{a}=={a}?{x}:{y}}|", "true||y|x|"),
            ("${{ a} == { a} ? { x }}|${{ a } == {a} ? { x }:{y}}|${{a} == {a} ? x : y}|", " x |y| x : y|"),
            ("${hollow?yes}|${hollow:no}|${hollow}|", "yes|||"),
            ("{a $a}|", "{a x}|"),
        ] {
            assert_eq!(value(text), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_postfix_does_not_start_with_is_an_error() {
        for text in [
            "$|",
            "$.|",
            "|${a",
            "|$(a",
            "|${}|",
            "${{1} ~ {2} ? {q}:{r}}",
            "${a.b}",
            "${a?{x}y}",
            "${a$a}",
            "$circle",
            "${{a} == b}",
            "${nope:{a}b}",
        ] {
            assert!(value(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_grows_without_end_ends() {
        let raw =
            |name: &str| if name == "b" { "$c$c$c$c$c$c$c$c$c$c$c$c$c$c$c$c" } else { "$b$b$b$b$b$b$b$b" };
        assert!(expand("$b", &raw).is_err());
        assert!(value(&"${".repeat(50_000)).is_err());
    }
}
