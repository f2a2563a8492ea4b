//! What each parameter of Postfix comes to here.

mod milters;
mod people;
mod script;
mod settled;
mod ways;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use daemon::config;
use home::config::HomeConfig;
use mail::Domain;

use self::settled::{Known, People, Settled};
use super::Imported;
use super::main_cf::MainCf;
use super::maps::Files;

/// Parameters that are about how Postfix itself is run, or that say what Postern always does.
const NO_NEED: [&str; 31] = [
    "append_dot_mydomain",
    "biff",
    "command_directory",
    "compatibility_level",
    "config_directory",
    "daemon_directory",
    "data_directory",
    "debug_peer_level",
    "debugger_command",
    "default_database_type",
    "disable_vrfy_command",
    "html_directory",
    "inet_interfaces",
    "inet_protocols",
    "mail_owner",
    "mailbox_size_limit",
    "mailq_path",
    "manpage_directory",
    "mydomain",
    "myhostname",
    "myorigin",
    "newaliases_path",
    "queue_directory",
    "readme_directory",
    "sample_directory",
    "sendmail_path",
    "setgid_group",
    "smtpd_banner",
    "smtpd_helo_required",
    "strict_rfc821_envelopes",
    "unknown_local_recipient_reject_code",
];

/// Parameters, by their beginning, without a counterpart, and why.
const WITHOUT: [(&str, &str); 17] = [
    ("always_bcc", "mail is not copied; an alias may lead to several accounts"),
    ("body_checks", "content is judged by filters: [[filter]] in home.toml"),
    ("canonical_maps", "addresses are not rewritten"),
    ("content_filter", "filters are asked while the sender waits: [[filter]] in home.toml, milter or rspamd"),
    ("header_checks", "content is judged by filters: [[filter]] in home.toml"),
    ("home_mailbox", "mailboxes are Home's own store, read by IMAP"),
    ("mailbox_command", "mailboxes are Home's own store, read by IMAP; Sieve is not there yet"),
    ("masquerade_", "addresses are not rewritten"),
    ("mime_header_checks", "content is judged by filters: [[filter]] in home.toml"),
    ("postscreen_", "Edge's door has what is needed of it: [door] in edge.toml"),
    ("recipient_canonical_maps", "addresses are not rewritten"),
    ("sender_bcc_maps", "mail is not copied"),
    ("sender_canonical_maps", "addresses are not rewritten; Home writes the reverse-path (return_path, SRS)"),
    ("sender_dependent_", "all mail leaves by the edges, or by one [smarthost]"),
    ("smtp_generic_maps", "what names the house is taken out of each header"),
    ("smtp_sasl_", "Edge sends to the recipients' hosts itself and logs in nowhere"),
    (
        "smtp_tls_",
        "TLS with other hosts is what they ask for: DANE, MTA-STS, else opportunistic; [outbound] in edge.toml",
    ),
];

/// Words of restriction lists, and what there is instead.
const RESTRICTIONS: [(&str, &str); 20] = [
    ("defer_unauth_destination", "always: Edge takes mail for its homes' domains only"),
    ("permit", "the end of a list"),
    ("permit_auth_destination", "always"),
    ("permit_mynetworks", "no address is trusted: programs log in at Home's port 465"),
    ("permit_sasl_authenticated", "always: who logged in at Home may send, under his own addresses only"),
    ("reject_invalid_helo_hostname", "counts as a sign: [score.points] in edge.toml"),
    ("reject_non_fqdn_helo_hostname", "counts as a sign: [score.points] in edge.toml"),
    ("reject_non_fqdn_recipient", "always"),
    ("reject_non_fqdn_sender", "always"),
    ("reject_unauth_destination", "always: Edge takes mail for its homes' domains only"),
    (
        "reject_unauth_pipelining",
        "who talks too early counts as suspicious: pregreet, early-talker in [score.points]",
    ),
    (
        "reject_unknown_client_hostname",
        "counts as a sign: no-ptr and its like in [score.points] of edge.toml",
    ),
    ("reject_unknown_helo_hostname", "counts as a sign: [score.points] in edge.toml"),
    ("reject_unknown_recipient_domain", "always: mail for unknown domains is refused"),
    ("reject_unknown_reverse_client_hostname", "counts as a sign: no-ptr in [score.points] of edge.toml"),
    ("reject_unknown_sender_domain", "counts as a sign: [score.points] in edge.toml"),
    ("reject_unlisted_recipient", "always: Edge knows all recipients, as hashes"),
    ("reject_unverified_recipient", "always: Edge knows all recipients, as hashes"),
    ("reject_unverified_sender", "not done: to call the sender's host back is taken for abuse"),
    ("reject_sender_login_mismatch", "always: users send as themselves and as their aliases"),
];

/// Gathers the settings that are found, and the lines of the report.
#[derive(Default)]
struct Translation {
    taken: Vec<String>,
    without: Vec<String>,
    look: Vec<String>,
    unknown: Vec<String>,
    domains: BTreeSet<String>,
    /// Those of them that are `mydestination`'s, in its order.
    local: Vec<String>,
    /// Names of the host itself, whose users are those of the system.
    host_names: BTreeSet<String>,
    /// The domain that a name without one gets.
    origin: String,
    /// What follows a user's name and is no part of it.
    separators: String,
    people: People,
    /// Keys of home.toml before its first section, and the sections.
    keys: Vec<String>,
    sections: Vec<String>,
    filters: Vec<String>,
    lists: Vec<String>,
    /// The address of the mailbox server, for `[deliver]`.
    deliver: Option<String>,
    /// Whether there is a `[smarthost]`.
    smarthost: bool,
    /// Hosts behind this one, and the domains that they keep.
    inner: BTreeMap<String, BTreeSet<String>>,
}

/// Everything that one `main.cf` and its maps come to.
pub(super) fn translate(text: &str, files: &Files) -> Imported {
    let main = MainCf::parse(text);
    let mut made = Translation::default();
    made.domains(&main, files);
    made.limits(&main);
    made.recipients(&main, files);
    made.ways(&main, files);
    made.trust(&main);
    made.smarthost(&main, files);
    made.tls(&main);
    made.milters(&main);
    made.restrictions(&main);
    made.rest(&main);
    made.finish(&main)
}

impl Translation {
    fn limits(&mut self, main: &MainCf) {
        let separators = main.value("recipient_delimiter");
        if main.written("recipient_delimiter").is_some() {
            self.keys.push(format!("subaddress_separators = {}", quoted(&separators)));
            self.taken.push(format!("recipient_delimiter: subaddress_separators = \"{separators}\""));
        }
        self.separators = separators;
        if main.written("message_size_limit").is_some() {
            match main.value("message_size_limit").parse::<u64>() {
                Ok(0) | Err(_) => self.look.push(
                    "message_size_limit: there is always a limit; see message in [limits] of home.toml"
                        .to_owned(),
                ),
                Ok(octets) => {
                    self.sections.push(format!("[limits]\nmessage = {octets}"));
                    self.taken.push(format!("message_size_limit: [limits] message = {octets}"));
                }
            }
        }
        let mut queue = String::new();
        for (parameter, key) in [("maximal_queue_lifetime", "expire"), ("delay_warning_time", "warn_after")] {
            if main.written(parameter).is_none() {
                continue;
            }
            match seconds(&main.value(parameter), if key == "expire" { 86_400 } else { 3600 }) {
                Some(0) | None => self.look.push(format!("{parameter}: see {key} in [queue] of home.toml")),
                Some(seconds) => {
                    // Writing to a String can't fail.
                    let _ = writeln!(queue, "{key} = {seconds}");
                    self.taken.push(format!("{parameter}: [queue] {key} = {seconds} seconds"));
                }
            }
        }
        if !queue.is_empty() {
            self.sections.push(format!("[queue]\n{}", queue.trim_end()));
        }
    }

    fn trust(&mut self, main: &MainCf) {
        if main.written("mynetworks").is_none() {
            // Then Postfix takes it from the host's interfaces.
            return;
        }
        let is_loopback = |network: &String| {
            network.starts_with("127.") || network.contains("::1") || network.contains("::ffff:127")
        };
        let others: Vec<String> =
            main.list("mynetworks").into_iter().filter(|network| !is_loopback(network)).collect();
        if !others.is_empty() {
            self.without.push(format!(
                "mynetworks: {} may send without a login there; here no address is trusted. Give each program and device an \
                 account and let it log in at port 465 of Home",
                others.join(", ")
            ));
        } else {
            self.taken.push("mynetworks: this host only; its programs log in like all others".to_owned());
        }
    }

    fn tls(&mut self, main: &MainCf) {
        let (certificate, key) = (main.value("smtpd_tls_cert_file"), main.value("smtpd_tls_key_file"));
        let key = if key.starts_with('$') || key.is_empty() { certificate.clone() } else { key };
        if certificate.is_empty() || certificate.contains("ssl-cert-snakeoil") {
            return;
        }
        self.sections.push(format!("[tls]\ncertificate = {}\nkey = {}", quoted(&certificate), quoted(&key)));
        self.taken.push(format!(
            "smtpd_tls_cert_file: {certificate} is what mail programs see; it must have a name that they know Home by, and \
             Postern has to be able to read it"
        ));
    }

    fn restrictions(&mut self, main: &MainCf) {
        let names: Vec<String> = main
            .names()
            .filter(|name| name.starts_with("smtpd_") && name.ends_with("_restrictions"))
            .map(str::to_owned)
            .collect();
        for name in names {
            let mut words = main.list(&name).into_iter();
            while let Some(word) = words.next() {
                let word = word.to_ascii_lowercase();
                let takes_value = word.starts_with("check_")
                    || word.contains("_rbl_")
                    || word.contains("rbl_client")
                    || word.contains("_rhsbl_")
                    || word == "warn_if_reject"
                    || word == "sleep";
                let value = if takes_value { words.next().unwrap_or_default() } else { String::new() };
                self.restriction(&name, &word, &value);
            }
        }
    }

    fn restriction(&mut self, list: &str, word: &str, value: &str) {
        if let Some((_, instead)) = RESTRICTIONS.iter().find(|(known, _)| *known == word) {
            return self.taken.push(format!("{list}: {word}: {instead}"));
        }
        if word == "reject_rbl_client"
            && value.split('=').next().is_some_and(|zone| Domain::parse(zone).is_ok())
        {
            let zone = value.split('=').next().unwrap_or_default();
            self.lists.push(format!("[[list]]\nzone = {}\npoints = 4.0", quoted(zone)));
            return self.taken.push(format!("{list}: {word} {value}: [[list]] for edge.toml, below"));
        }
        if word == "check_policy_service" {
            return self.without.push(format!(
                "{list}: {word} {value}: Edge checks SPF and greylists the suspicious itself; other services are not asked"
            ));
        }
        self.without.push(format!("{list}: {} has no counterpart", format!("{word} {value}").trim_end()));
    }

    /// What was not looked at until here, so that nothing is passed over in silence.
    fn rest(&mut self, main: &MainCf) {
        let handled = |name: &str| {
            let lists =
                ["mydestination", "virtual_mailbox_domains", "virtual_alias_domains", "relay_domains"];
            let maps = ["virtual_mailbox_maps", "relay_recipient_maps", "local_recipient_maps", "alias_maps"];
            let more = [
                "virtual_alias_maps",
                "virtual_maps",
                "alias_database",
                "recipient_delimiter",
                "message_size_limit",
            ];
            let rest = [
                "maximal_queue_lifetime",
                "delay_warning_time",
                "milter_default_action",
                "mynetworks",
                "relayhost",
                "smtpd_milters",
            ];
            let ways = [
                "virtual_transport",
                "mailbox_transport",
                "local_transport",
                "relay_transport",
                "transport_maps",
            ];
            let groups: [&[&str]; 5] = [&lists, &maps, &more, &rest, &ways];
            groups.iter().any(|group| group.contains(&name))
                || name.ends_with("_restrictions")
                || name.starts_with("smtpd_tls_")
        };
        let at_smarthost = |name: &str| name.starts_with("smtp_sasl_") || name.starts_with("smtp_tls_");
        for name in main.names().filter(|name| !handled(name) && !NO_NEED.contains(name)) {
            if self.smarthost && at_smarthost(name) {
                self.taken.push(format!("{name}: see [smarthost]"));
                continue;
            }
            let why = WITHOUT.iter().find(|(known, _)| name.starts_with(known)).map(|(_, why)| *why);
            match why {
                Some(why) => self.without.push(format!("{name}: {why}")),
                None if name.starts_with("smtpd_sasl_") => {
                    self.taken.push(format!("{name}: users log in with the passwords of 'postern user add'"));
                }
                None => self.unknown.push(format!("{name} = {}", main.written(name).unwrap_or_default())),
            }
        }
    }

    fn finish(mut self, main: &MainCf) -> Imported {
        let known = Known { domains: &self.domains, local: &self.local, separators: &self.separators };
        let mut people: Settled = std::mem::take(&mut self.people).settle(&known);
        self.look.append(&mut people.look);
        self.unread(main);
        self.only_what_home_takes();
        Imported { home: self.home(), commands: script::script(&people), report: self.report(main) }
    }

    /// Postfix takes values that Home does not: those are told, and the file is one that Home reads.
    fn only_what_home_takes(&mut self) {
        let look = &mut self.look;
        let mut is_taken = |part: &mut String| {
            let text = format!("domains = [\"example.org\"]\n{part}\n");
            let refused = config::parse::<HomeConfig>(Path::new("home.toml"), &text).err();
            if let Some(problem) = &refused {
                let what = problem.what().lines().next().unwrap_or_default();
                look.push(format!(
                    "left out of home.toml, which does not take it: {}: {what}",
                    part.replace('\n', " ")
                ));
            }
            refused.is_none()
        };
        for parts in [&mut self.keys, &mut self.sections, &mut self.filters] {
            parts.retain_mut(&mut is_taken);
        }
    }

    /// What could not be read, and what was taken for empty.
    fn unread(&mut self, main: &MainCf) {
        for (name, value) in main.read() {
            if let Err(why) = value {
                self.look.push(format!(
                    "{name}: {why}. Postfix does not start with that; nothing was taken over from it"
                ));
            }
        }
        for name in main.unset() {
            self.look.push(format!(
                "${name} is set nowhere in main.cf and is taken for empty; if 'postconf {name}' shows a value, write it into \
                 main.cf and import again"
            ));
        }
    }

    fn home(&self) -> String {
        let mut text = "# Made of a Postfix by 'postern import-postfix'. Read report.txt, then pair:\n#     postern home pair \
            CODE --config THIS-FILE\n"
            .to_owned();
        let names: Vec<String> = self.domains.iter().map(|name| quoted(name)).collect();
        let comment = if names.is_empty() { "# Write yours: " } else { "" };
        let shown = if names.is_empty() { "\"example.org\"".to_owned() } else { names.join(", ") };
        text.push_str(&format!("\n{comment}domains = [{shown}]\n"));
        self.keys.iter().for_each(|key| text.push_str(&format!("{key}\n")));
        text.push_str("# The first days are for receiving only; see 'postern dns --check', then say \"on\".\noutbound = \"off\"\n");
        for section in self.sections.iter().chain(&self.filters) {
            text.push_str(&format!("\n{section}\n"));
        }
        text
    }

    fn report(&self, main: &MainCf) -> String {
        let mut text = String::from("What became of the settings of this Postfix\n");
        let parts = [
            ("Look at these yourself", &self.look),
            ("Without a counterpart, and why", &self.without),
            ("Not known to this program", &self.unknown),
            ("Taken over, or always so here", &self.taken),
        ];
        for (title, lines) in parts.iter().filter(|(_, lines)| !lines.is_empty()) {
            text.push_str(&format!("\n{title}\n"));
            let unique: BTreeSet<&String> = lines.iter().collect();
            unique.iter().for_each(|line| text.push_str(&format!("  - {line}\n")));
        }
        let for_edge: Vec<String> = self.lists.iter().cloned().chain(self.foreign_homes()).collect();
        if !for_edge.is_empty() {
            text.push_str("\nFor edge.toml\n");
            for_edge.iter().for_each(|section| text.push_str(&format!("\n{section}\n")));
        }
        text.push_str("\nValues that were read, as 'postconf -x' shows them\n");
        for (name, value) in main.read() {
            // Writing to a String can't fail.
            let _ = writeln!(text, "  {name} = {}", value.as_deref().unwrap_or("?"));
        }
        text.push_str(
            "\nNext\n  postern home pair CODE --config home.toml    the code is printed by 'postern edge setup'\n  sh accounts.sh \
             home.toml                      accounts and aliases\n  postern dns --config home.toml               what has to be in \
             DNS\n",
        );
        text
    }
}

/// A time of Postfix: a number and s, m, h, d or w; `unit` seconds when there is no letter.
fn seconds(text: &str, unit: u64) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, letter) = text.split_at(digits);
    let factor = match letter {
        "" => unit,
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A TOML string. Postfix' values have no control characters that mean anything.
fn quoted(text: &str) -> String {
    let plain: String = text.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
