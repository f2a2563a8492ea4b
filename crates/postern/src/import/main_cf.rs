//! `main.cf`: parameters, their values, and the parameters in the values (postconf(5)).

mod expand;

use std::cell::RefCell;
use std::collections::BTreeMap;

pub(super) use expand::balanced;

/// Values that Postfix has when the file does not say another one: of what is read here, and of what those name.
const DEFAULTS: [(&str, &str); 27] = [
    ("alias_database", "hash:/etc/aliases"),
    ("alias_maps", "hash:/etc/aliases, nis:mail.aliases"),
    ("command_directory", "/usr/sbin"),
    ("compatibility_level", "0"),
    ("config_directory", "/etc/postfix"),
    ("daemon_directory", "/usr/lib/postfix/sbin"),
    ("data_directory", "/var/lib/postfix"),
    ("default_database_type", "hash"),
    ("delay_warning_time", "0h"),
    ("local_recipient_maps", "proxy:unix:passwd.byname $alias_maps"),
    ("local_transport", "local:$myhostname"),
    ("maximal_queue_lifetime", "5d"),
    ("message_size_limit", "10240000"),
    ("milter_default_action", "tempfail"),
    ("mydestination", "$myhostname, localhost.$mydomain, localhost"),
    ("myorigin", "$myhostname"),
    ("queue_directory", "/var/spool/postfix"),
    ("relay_domains", "${{$compatibility_level} <level {2} ? {$mydestination} : {}}"),
    ("relay_transport", "relay"),
    ("smtp_sasl_auth_enable", "no"),
    ("smtp_tls_key_file", "$smtp_tls_cert_file"),
    ("smtp_tls_wrappermode", "no"),
    ("smtpd_tls_key_file", "$smtpd_tls_cert_file"),
    ("virtual_alias_domains", "$virtual_alias_maps"),
    ("virtual_alias_maps", "$virtual_maps"),
    ("virtual_mailbox_domains", "$virtual_mailbox_maps"),
    ("virtual_transport", "virtual"),
];

/// The parameters of a file.
#[derive(Debug, Default)]
pub(super) struct MainCf {
    set: BTreeMap<String, String>,
    /// What was read so far, as it came out.
    read: RefCell<BTreeMap<String, Result<String, String>>>,
}

impl MainCf {
    /// Reads the text: `name = value`, a line that begins with a blank goes on with the one before, the last of two
    /// counts.
    pub(super) fn parse(text: &str) -> Self {
        let mut logical: Vec<String> = Vec::new();
        for line in text.lines().filter(|line| !is_comment(line)) {
            match logical.last_mut() {
                // The blanks stay: they are part of a value.
                Some(last) if line.starts_with([' ', '\t']) => last.push_str(line),
                _ => logical.push(line.to_owned()),
            }
        }
        let pairs = logical.iter().filter_map(|line| line.split_once('='));
        let set = pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
        Self { set: set.collect(), read: RefCell::default() }
    }

    /// The names that the file sets, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.set.keys().map(String::as_str)
    }

    /// What the file says of a parameter, as it is written.
    pub(super) fn written(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }

    /// The value with all parameters in it: the file's, else Postfix' own. Empty when it can't be read, which
    /// [`MainCf::read`] tells.
    pub(super) fn value(&self, name: &str) -> String {
        let value = expand::expand(self.raw(name), &|name| self.raw(name));
        // What stands around it in the file says nothing.
        let value = value.map(|value| value.trim().to_owned());
        // Without a word in the file that is the host's own name, which is not known here.
        if name != "myhostname" || self.set.contains_key(name) {
            self.read.borrow_mut().insert(name.to_owned(), value.clone());
        }
        value.unwrap_or_default()
    }

    /// All values that were asked for until now, by name.
    pub(super) fn read(&self) -> BTreeMap<String, Result<String, String>> {
        self.read.borrow().clone()
    }

    /// The elements of a list.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        elements(&self.value(name))
    }

    fn raw(&self, name: &str) -> &str {
        if let Some(written) = self.written(name) {
            return written;
        }
        if name == "mydomain" {
            // What follows the first label of the host's name.
            let host = self.written("myhostname").unwrap_or_default();
            return host.split_once('.').map_or("localdomain", |(_, domain)| domain);
        }
        DEFAULTS.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// Parameters that the file names and that are set nowhere: empty here, and something else if they are Postfix' own.
    pub(super) fn unset(&self) -> Vec<&str> {
        let named = self.set.values().flat_map(|value| named_in(value));
        let known = |name: &str| {
            self.set.contains_key(name)
                || matches!(name, "mydomain" | "myhostname")
                || DEFAULTS.iter().any(|(known, _)| *known == name)
        };
        let mut unset: Vec<&str> = named.filter(|name| !known(name)).collect();
        unset.sort_unstable();
        unset.dedup();
        unset
    }
}

/// The names behind each `$`. Good for a word to the operator, not for evaluation.
fn named_in(value: &str) -> impl Iterator<Item = &str> {
    value.split('$').skip(1).filter_map(|after| {
        let after = after.trim_start_matches(['{', '(', ' ']);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
        after.get(..end).filter(|name| !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// Whether a line says nothing: a comment or an empty one. Postfix passes over them also within a long line.
pub(super) fn is_comment(line: &str) -> bool {
    let text = line.trim_start();
    text.is_empty() || text.starts_with('#')
}

/// The elements of a list: blanks and commas part them, but not within braces.
pub(super) fn elements(value: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut element, mut depth) = (String::new(), 0_usize);
    for c in value.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' | ' ' | '\t' | '\r' | '\n' if depth == 0 => {
                found.push(std::mem::take(&mut element));
                continue;
            }
            _ => {}
        }
        element.push(c);
    }
    found.push(element);
    found.retain(|element| !element.is_empty());
    found
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
    fn what_is_not_set_is_as_postfix_has_it() {
        let main =
            MainCf::parse("myhostname = mail.example.org\nx = $mydomain ${gone?a} $(queue_directory)/y $1\n");
        assert_eq!(main.value("x"), "example.org  /var/spool/postfix/y");
        assert_eq!(main.list("mydestination"), ["mail.example.org", "localhost.example.org", "localhost"]);
        assert_eq!(main.list("relay_domains"), main.list("mydestination"), "an old compatibility_level");
        assert_eq!(main.unset(), ["gone"]);
        let main = MainCf::parse("compatibility_level = 3.6\nmyhostname = a.example\nx = ${\n");
        assert!(main.list("relay_domains").is_empty());
        assert_eq!((main.value("mydomain"), main.value("x")), ("example".to_owned(), String::new()));
        assert!(main.read()["x"].is_err());
    }

    #[test]
    fn a_list_is_parted_outside_of_braces_only() {
        assert_eq!(
            elements("a, b{c d},\t{ inet:x, {y = z} } inline:{ {a = b} c=d }"),
            ["a", "b{c d}", "{ inet:x, {y = z} }", "inline:{ {a = b} c=d }"]
        );
        assert_eq!(elements(" , }{a b"), ["}{a b"]);
    }
}
