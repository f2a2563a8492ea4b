//! Commands on mailboxes themselves.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{Access, Command, List, ListVerb, StatusItem};
use crate::name::matches;
use crate::session::view::{Expunges, View};
use crate::session::{Session, State};
use crate::write;
use mailbox::{Account, AccountError, Flags, Mailbox, Totals};

/// Most characters of all patterns of one LIST: each is compared with every mailbox.
const PATTERNS_MAX: usize = 1024;

impl<B: Account> Session<B> {
    pub(super) fn run_on_mailboxes(&mut self, tag: &str, command: Command) {
        match command {
            Command::Enable(wanted) => self.enable(tag, &wanted),
            Command::Select { mailbox, access } => self.select(tag, &mailbox, access),
            Command::Create(mailbox) => {
                let outcome = self.account.create(&mailbox);
                self.done(tag, outcome, "created");
            }
            Command::Delete(mailbox) => {
                let outcome = self.account.delete(&mailbox);
                self.done(tag, outcome, "deleted");
            }
            Command::Rename { from, to } => {
                let outcome = self.account.rename(&from, &to);
                self.done(tag, outcome, "renamed");
            }
            Command::Subscribe(mailbox) => {
                let outcome = self.account.subscribe(&mailbox);
                self.done(tag, outcome, "subscribed");
            }
            Command::Unsubscribe(mailbox) => {
                let outcome = self.account.unsubscribe(&mailbox);
                self.done(tag, outcome, "unsubscribed");
            }
            Command::List(list) => {
                let outcome = self.list(&list);
                self.done(tag, outcome, "listed");
            }
            Command::Namespace => {
                self.say("* NAMESPACE ((\"\" \"/\")) NIL NIL");
                self.finish(tag, Expunges::Send, "that is the namespace");
            }
            Command::Status { mailbox, items } => {
                let outcome = self.status(&mailbox, &items);
                self.done(tag, outcome, "counted");
            }
            _ => self.bad(tag, "the command is not known"),
        }
    }

    fn select(&mut self, tag: &str, mailbox: &str, access: Access) {
        // Also when it fails, no mailbox is selected any more (RFC 9051 section 6.3.2).
        self.state = State::Authenticated;
        let mut uids = Vec::new();
        let mut first_unseen = None;
        let selected = self.account.select(mailbox, &mut |message| {
            uids.push(message.uid);
            if first_unseen.is_none() && !message.flags.contains(Flags::SEEN) {
                first_unseen = Some(uids.len());
            }
        });
        let opened = selected.and_then(|selected| Ok((selected, self.account.keywords()?)));
        let (selected, keywords) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.refuse(tag, &error),
        };
        let view = View::new(&selected, access, uids, keywords);
        view.write_flag_lists(&mut self.out);
        self.say(&format!("* {} EXISTS", view.uids.len()));
        self.say("* 0 RECENT");
        if let Some(number) = first_unseen {
            self.say(&format!("* OK [UNSEEN {number}] the first that is unseen"));
        }
        self.say(&format!("* OK [UIDVALIDITY {}] uids are valid", selected.uidvalidity));
        self.say(&format!("* OK [UIDNEXT {}] the next uid", selected.uidnext));
        self.state = State::Selected(Box::new(view));
        self.ok(
            tag,
            match access {
                Access::ReadWrite => "[READ-WRITE] selected",
                Access::ReadOnly => "[READ-ONLY] examined",
            },
        );
    }

    fn status(&mut self, mailbox: &str, items: &[StatusItem]) -> Result<(), AccountError> {
        let (status, totals) = self.account.status(mailbox)?;
        self.out.extend_from_slice(b"* STATUS ");
        write::mailbox(&mut self.out, &self.names.encode(mailbox));
        self.out.extend_from_slice(b" (");
        for (place, item) in items.iter().enumerate() {
            if place > 0 {
                self.out.push(b' ');
            }
            self.out.extend_from_slice(status_item(*item, &status, totals).as_bytes());
        }
        self.out.extend_from_slice(b")\r\n");
        Ok(())
    }

    fn list(&mut self, list: &List) -> Result<(), AccountError> {
        if list.verb == ListVerb::List && list.patterns.iter().all(String::is_empty) {
            // Asks for the separator only.
            self.say("* LIST (\\Noselect) \"/\" \"\"");
            return Ok(());
        }
        if list.patterns.iter().map(String::len).sum::<usize>() + list.reference.len() > PATTERNS_MAX {
            return Err(AccountError::Limit("the pattern is too long".into()));
        }
        let subscribed: BTreeSet<String> = if list.returns.subscribed {
            self.account.subscriptions()?.into_iter().collect()
        } else {
            BTreeSet::new()
        };
        let tree = tree(self.account.mailboxes()?, list, &subscribed);
        for (name, node) in &tree {
            if !wanted(list, name, node, &subscribed) {
                continue;
            }
            self.write_listed(list, name, node, &tree, &subscribed);
            if node.exists && !list.returns.status.is_empty() {
                match self.status(name, &list.returns.status) {
                    // It may be gone meanwhile.
                    Ok(()) | Err(AccountError::NoMailbox) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn write_listed(
        &mut self,
        list: &List,
        name: &str,
        node: &Node,
        tree: &BTreeMap<String, Node>,
        subscribed: &BTreeSet<String>,
    ) {
        let below = format!("{name}/");
        let has_children = tree
            .range::<String, _>(below.clone()..)
            .next()
            .is_some_and(|(next, node)| next.starts_with(&below) && node.in_tree);
        let mut attributes = vec![if has_children { "\\HasChildren" } else { "\\HasNoChildren" }];
        match (node.exists, list.verb) {
            (true, _) => {}
            (false, ListVerb::List) => attributes.extend(["\\NonExistent", "\\Noselect"]),
            (false, ListVerb::Lsub) => attributes.push("\\Noselect"),
        }
        if list.verb == ListVerb::List {
            attributes.extend(node.special_use.as_deref());
            if subscribed.contains(name) {
                attributes.push("\\Subscribed");
            }
        }
        let verb = if list.verb == ListVerb::List { "LIST" } else { "LSUB" };
        self.out.extend_from_slice(format!("* {verb} ({}) \"/\" ", attributes.join(" ")).as_bytes());
        write::mailbox(&mut self.out, &self.names.encode(name));
        self.out.extend_from_slice(b"\r\n");
    }
}

/// A name in the hierarchy.
#[derive(Default)]
struct Node {
    exists: bool,
    /// Whether it, or something below it, exists; else it is only subscribed to.
    in_tree: bool,
    special_use: Option<String>,
}

/// All names that exist or are subscribed to, and those above them.
fn tree(mailboxes: Vec<Mailbox>, list: &List, subscribed: &BTreeSet<String>) -> BTreeMap<String, Node> {
    let mut tree: BTreeMap<String, Node> = BTreeMap::new();
    for mailbox in mailboxes {
        for above in parents(&mailbox.name) {
            tree.entry(above.to_owned()).or_default().in_tree = true;
        }
        let node = Node { exists: true, in_tree: true, special_use: mailbox.special_use };
        tree.insert(mailbox.name, node);
    }
    if list.subscribed_only {
        for name in subscribed {
            tree.entry(name.clone()).or_default();
            for above in parents(name).filter(|_| list.verb == ListVerb::Lsub) {
                tree.entry(above.to_owned()).or_default();
            }
        }
    }
    tree
}

fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').filter_map(|(at, _)| name.get(..at))
}

fn wanted(list: &List, name: &str, node: &Node, subscribed: &BTreeSet<String>) -> bool {
    let matching = list.patterns.iter().any(|pattern| {
        let pattern = format!("{}{pattern}", list.reference);
        matches(&pattern, name) || (name == "INBOX" && matches(&pattern.to_uppercase(), name))
    });
    if !matching || (list.special_use_only && node.special_use.is_none()) {
        return false;
    }
    if !list.subscribed_only {
        // What is not there is only shown where a wildcard stopped above it.
        return node.exists || (node.in_tree && list.patterns.iter().any(|pattern| pattern.contains('%')));
    }
    if subscribed.contains(name) {
        return true;
    }
    // LSUB shows the parent of what `%` hides (RFC 3501 section 6.3.9).
    let below = format!("{name}/");
    let hidden =
        || subscribed.range::<String, _>(below.clone()..).next().is_some_and(|next| next.starts_with(&below));
    list.verb == ListVerb::Lsub && list.patterns.iter().any(|pattern| pattern.ends_with('%')) && hidden()
}

fn status_item(item: StatusItem, mailbox: &Mailbox, totals: Totals) -> String {
    match item {
        StatusItem::Messages => format!("MESSAGES {}", totals.messages),
        StatusItem::Recent => "RECENT 0".into(),
        StatusItem::UidNext => format!("UIDNEXT {}", mailbox.uidnext),
        StatusItem::UidValidity => format!("UIDVALIDITY {}", mailbox.uidvalidity),
        StatusItem::Unseen => format!("UNSEEN {}", totals.unseen),
        StatusItem::Deleted => format!("DELETED {}", totals.deleted),
        StatusItem::Size => format!("SIZE {}", totals.octets),
        StatusItem::HighestModseq => format!("HIGHESTMODSEQ {}", mailbox.modseq),
    }
}
