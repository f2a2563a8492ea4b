//! `smtpd_milters` (MILTER_README): each as a `[[filter]]` of Home.

use super::super::main_cf::{MainCf, balanced, elements};
use super::{Translation, quoted};

/// One of the list: `inet:host:port`, or `{ inet:host:port, default_action=accept }`.
struct Milter {
    address: String,
    /// The action when it can't be asked.
    action: String,
    /// Other words in its braces.
    more: Vec<String>,
}

impl Milter {
    fn parse(element: &str, default_action: &str) -> Self {
        let inner = balanced(element).filter(|(_, rest)| element.starts_with('{') && rest.is_empty());
        let mut words = elements(inner.map_or(element, |(inner, _)| inner)).into_iter();
        let mut milter = Self {
            address: words.next().unwrap_or_default(),
            action: default_action.to_owned(),
            more: Vec::new(),
        };
        for word in words {
            let bare = word.strip_prefix('{').and_then(|word| word.strip_suffix('}')).unwrap_or(&word);
            match bare.split_once('=') {
                Some((name, value)) if name.trim() == "default_action" => {
                    value.trim().clone_into(&mut milter.action)
                }
                _ => milter.more.push(bare.trim().to_owned()),
            }
        }
        milter
    }
}

impl Translation {
    pub(super) fn milters(&mut self, main: &MainCf) {
        let listed = main.list("smtpd_milters");
        if listed.is_empty() {
            return;
        }
        let (queue, default_action) = (main.value("queue_directory"), main.value("milter_default_action"));
        for element in listed {
            let mut milter = Milter::parse(&element, &default_action);
            if let Some(path) = milter.address.strip_prefix("unix:").filter(|path| !path.starts_with('/')) {
                // Below its queue directory, where its processes are.
                milter.address = format!("unix:{queue}/{path}");
            }
            self.milter(&milter);
        }
    }

    fn milter(&mut self, milter: &Milter) {
        let Milter { address, action, more } = milter;
        let lower = address.to_ascii_lowercase();
        if ["dkim", "dmarc", "spf", "arc"].iter().any(|name| lower.contains(name)) {
            return self.without.push(format!(
                "smtpd_milters: {address}: Edge verifies SPF, DKIM, DMARC and ARC, Home signs"
            ));
        }
        if !address.starts_with("inet:") && !address.starts_with("unix:/") {
            return self
                .look
                .push(format!("smtpd_milters: {address}: write it as a [[filter]] with its whole path"));
        }
        let on_failure = if action == "accept" { "accept" } else { "defer" };
        self.filters.push(format!(
            "[[filter]]\nkind = \"milter\"\naddress = {}\non_failure = \"{on_failure}\"",
            quoted(address)
        ));
        self.taken.push(format!(
            "smtpd_milters: {address} as [[filter]]; if it is rspamd's proxy, name its worker instead, with kind = \
             \"rspamd\". An OpenDKIM or OpenDMARC is not needed any more: take it out"
        ));
        self.failure(address, action, on_failure);
        for word in more {
            self.look.push(format!("smtpd_milters: {address}: {word}: see [[filter]] for what can be set"));
        }
    }

    /// What becomes of mail while the filter is down.
    fn failure(&mut self, address: &str, action: &str, on_failure: &str) {
        let line = format!("milter_default_action: {action}: on_failure = \"{on_failure}\" for {address}");
        match action {
            "accept" | "tempfail" => self.taken.push(line),
            "shutdown" => self.taken.push(format!("{line}: the sender comes again, as it does there")),
            _ => self.look.push(format!(
                "{line}: mail is neither refused nor put aside because a filter is down; its sender comes again"
            )),
        }
    }
}
