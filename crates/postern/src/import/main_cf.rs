//! `main.cf`: parameters, their values, and the parameters in the values (postconf(5)).

use std::collections::BTreeMap;

/// Parameters in parameters are followed this far.
const DEPTH_MAX: usize = 16;
/// Octets of a value with all parameters in it.
const VALUE_OCTETS_MAX: usize = 64 * 1024;

/// Values that Postfix has when the file does not say another one.
const DEFAULTS: [(&str, &str); 8] = [
    ("mydomain", ""),
    ("myorigin", "$myhostname"),
    ("mydestination", "$myhostname, localhost.$mydomain, localhost"),
    ("relay_domains", ""),
    ("virtual_alias_domains", "$virtual_alias_maps"),
    ("alias_maps", "hash:/etc/aliases"),
    ("config_directory", "/etc/postfix"),
    ("queue_directory", "/var/spool/postfix"),
];

/// The parameters of a file.
#[derive(Debug, Default)]
pub(super) struct MainCf {
    set: BTreeMap<String, String>,
}

impl MainCf {
    /// Reads the text: `name = value`, a line that begins with a blank goes on with the one before, the last of two
    /// counts.
    pub(super) fn parse(text: &str) -> Self {
        let mut logical: Vec<String> = Vec::new();
        for line in text.lines() {
            let is_comment = line.trim_start().starts_with('#') || line.trim().is_empty();
            match logical.last_mut() {
                _ if is_comment => {}
                Some(last) if line.starts_with([' ', '\t']) => {
                    last.push(' ');
                    last.push_str(line.trim());
                }
                _ => logical.push(line.trim().to_owned()),
            }
        }
        let pairs = logical.iter().filter_map(|line| line.split_once('='));
        Self { set: pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect() }
    }

    /// The names that the file sets, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.set.keys().map(String::as_str)
    }

    /// What the file says of a parameter, as it is written.
    pub(super) fn written(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }

    /// The value with all parameters in it: the file's, else Postfix' own.
    pub(super) fn value(&self, name: &str) -> String {
        self.expand(&format!("${{{name}}}"), DEPTH_MAX)
    }

    /// The elements of a list.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let value = self.value(name);
        value.split([',', ' ', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    fn raw(&self, name: &str) -> &str {
        let default = || DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        self.written(name).or_else(default).unwrap_or_default()
    }

    fn expand(&self, text: &str, depth: usize) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let (name, left) = parameter(after);
            match name {
                _ if depth == 0 || out.len() > VALUE_OCTETS_MAX => return out,
                Some(name) => out.push_str(&self.expand(self.raw(name), depth - 1)),
                None => out.push('$'),
            }
            rest = left;
        }
        out.push_str(rest);
        out.truncate(out.floor_char_boundary(VALUE_OCTETS_MAX));
        out
    }
}

/// The name at the beginning, in braces or not, and what stands behind it.
fn parameter(text: &str) -> (Option<&str>, &str) {
    if let Some(after) = text.strip_prefix('$') {
        return (None, after);
    }
    for (open, close) in [('{', '}'), ('(', ')')] {
        if let Some((name, rest)) = text.strip_prefix(open).and_then(|inner| inner.split_once(close)) {
            return (Some(name), rest);
        }
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    (Some(name).filter(|name| !name.is_empty()), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_go_on_over_lines_and_stand_in_each_other() {
        let main = MainCf::parse(
            "# x\nmyhostname = mail.example.org\nmydomain=example.org\n\nmydestination = $myhostname,\n  # y\n\t${mydomain} \
             $(mydomain)\n  localhost\nempty =\nempty = last $$5\n",
        );
        assert_eq!(
            main.list("mydestination"),
            ["mail.example.org", "example.org", "example.org", "localhost"]
        );
        assert_eq!(main.value("myorigin"), "mail.example.org");
        assert_eq!(main.value("empty"), "last $5");
        assert_eq!(main.value("unknown"), "");
        assert_eq!(main.names().collect::<Vec<_>>(), ["empty", "mydestination", "mydomain", "myhostname"]);
    }

    #[test]
    fn parameters_that_name_themselves_end() {
        let main = MainCf::parse("a = $b $b\nb = $a $a\n");
        assert!(main.value("a").len() <= VALUE_OCTETS_MAX);
        let main = MainCf::parse("a = x $a\n");
        assert!(main.value("a").starts_with("x x x"));
    }
}
