//! Commands as clients send them, parsed once (RFC 9051 section 6, RFC 3501 and the extensions we offer).

use mail::UnixTime;

use crate::cursor::{Cursor, Malformed, Parsed, is_atom};
use crate::date;
use crate::item::{self, Item, LIST_MAX};
use crate::key::{self, Key};
use crate::name::Names;
use crate::set::{By, Set};
use crate::write::system_flag;
use mailbox::{FlagList, FlagMode};

/// Most octets of a tag.
const TAG_MAX: usize = 64;

/// A command without its tag.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    Capability,
    Noop,
    Logout,
    Id,
    Enable(Vec<String>),
    Authenticate { mechanism: String, initial: Option<Vec<u8>> },
    Login { user: Vec<u8>, password: Vec<u8> },
    Select { mailbox: String, access: Access },
    Create(String),
    Delete(String),
    Rename { from: String, to: String },
    Subscribe(String),
    Unsubscribe(String),
    List(List),
    Namespace,
    Status { mailbox: String, items: Vec<StatusItem> },
    Idle,
    Close,
    Unselect,
    Expunge(Option<Set>),
    Search(Search),
    Fetch { by: By, set: Set, items: Vec<Item> },
    Store { by: By, set: Set, mode: FlagMode, flags: FlagList, silent: Silent },
    Copy { by: By, set: Set, mailbox: String, then: Then },
}

/// Whether a mailbox is opened to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
}

/// What becomes of messages that were copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Remove,
}

/// Whether STORE answers with the new flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silent {
    Yes,
    No,
}

/// Which verb asked for a list; LSUB has responses of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListVerb {
    List,
    Lsub,
}

/// LIST or LSUB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) verb: ListVerb,
    pub(crate) subscribed_only: bool,
    pub(crate) special_use_only: bool,
    pub(crate) reference: String,
    pub(crate) patterns: Vec<String>,
    pub(crate) returns: ListReturn,
}

/// What LIST is to tell beyond names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ListReturn {
    pub(crate) subscribed: bool,
    pub(crate) status: Vec<StatusItem>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusItem {
    Messages,
    Recent,
    UidNext,
    UidValidity,
    Unseen,
    Deleted,
    Size,
    HighestModseq,
}

/// APPEND without its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Append {
    pub(crate) mailbox: String,
    pub(crate) flags: FlagList,
    pub(crate) internal_date: Option<UnixTime>,
    pub(crate) form: Form,
    pub(crate) literal: Literal,
}

/// Which octets the message of an APPEND may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Literal {
    /// `{…}`: any but NUL (RFC 3501 section 9, CHAR8).
    Char8,
    /// `~{…}`: any (RFC 3516 section 7, literal8).
    Octets,
}

/// How the message of an APPEND is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A literal.
    Plain,
    /// `UTF8 (~{…} … )` (RFC 6855 section 4, which RFC 9755 replaces).
    Utf8,
}

/// SEARCH.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Search {
    pub(crate) by: By,
    /// What ESEARCH's RETURN asks for; none for the plain response.
    pub(crate) returns: Option<Vec<SearchReturn>>,
    pub(crate) charset: Option<String>,
    pub(crate) key: Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SearchReturn {
    Min,
    Max,
    Count,
    All,
}

/// A command with its tag.
#[derive(Debug)]
pub(crate) struct Tagged {
    pub(crate) tag: String,
    pub(crate) command: Result<Command, Malformed>,
}

/// Reads a command without its last line end. None when there is not even a tag.
pub(crate) fn parse(octets: &[u8], names: Names) -> Option<Tagged> {
    let mut cursor = Cursor::new(octets);
    let tag = tag(&mut cursor)?;
    let command = cursor.space().and_then(|()| command(&mut cursor, names));
    let command = command.and_then(|command| cursor.end().map(|()| command));
    Some(Tagged { tag, command })
}

fn tag(cursor: &mut Cursor<'_>) -> Option<String> {
    let tag = cursor.take_while(|octet| (is_atom(octet) || octet == b']') && octet != b'+', "").ok()?;
    if tag.len() > TAG_MAX { None } else { std::str::from_utf8(tag).ok().map(str::to_owned) }
}

/// The tag of a line that can't be read further, for the answer.
pub(crate) fn tag_of(octets: &[u8]) -> Option<String> {
    tag(&mut Cursor::new(octets))
}

/// Reads an APPEND up to where its message's literal starts, with `{`. None when `octets` is no APPEND whose
/// next literal is the message.
pub(crate) fn parse_append(octets: &[u8], names: Names) -> Option<(String, Append)> {
    let mut cursor = Cursor::new(octets);
    let tag = tag(&mut cursor)?;
    cursor.space().ok()?;
    if !cursor.eat_word("APPEND") {
        return None;
    }
    cursor.space().ok()?;
    let mut append = append(&mut cursor, names).ok()?;
    append.literal = match cursor.peek()? {
        b'{' => Literal::Char8,
        b'~' => Literal::Octets,
        _ => return None,
    };
    Some((tag, append))
}

fn append(cursor: &mut Cursor<'_>, names: Names) -> Parsed<Append> {
    let mailbox = mailbox(cursor, names)?;
    cursor.space()?;
    let (form, literal) = (Form::Plain, Literal::Char8);
    let mut append = Append { mailbox, flags: FlagList::default(), internal_date: None, form, literal };
    if cursor.peek() == Some(b'(') {
        append.flags = flag_list(cursor)?;
        cursor.space()?;
    }
    if cursor.peek() == Some(b'"') {
        append.internal_date = Some(date::parse_date_time(cursor)?);
        cursor.space()?;
    }
    if cursor.eat_word("UTF8") {
        cursor.space()?;
        cursor.expect(b'(', "an opening parenthesis is missing")?;
        append.form = Form::Utf8;
    }
    Ok(append)
}

fn command(cursor: &mut Cursor<'_>, names: Names) -> Parsed<Command> {
    let verb = cursor.word()?;
    match verb.as_str() {
        "CAPABILITY" => Ok(Command::Capability),
        "NOOP" | "CHECK" => Ok(Command::Noop),
        "LOGOUT" => Ok(Command::Logout),
        "NAMESPACE" => Ok(Command::Namespace),
        "IDLE" => Ok(Command::Idle),
        "CLOSE" => Ok(Command::Close),
        "UNSELECT" => Ok(Command::Unselect),
        "EXPUNGE" => Ok(Command::Expunge(None)),
        _ => {
            cursor.space()?;
            with_arguments(&verb, cursor, names)
        }
    }
}

fn with_arguments(verb: &str, cursor: &mut Cursor<'_>, names: Names) -> Parsed<Command> {
    match verb {
        "ID" => id(cursor),
        "ENABLE" => enable(cursor),
        "AUTHENTICATE" => authenticate(cursor),
        "LOGIN" => {
            let user = cursor.astring()?;
            cursor.space()?;
            Ok(Command::Login { user, password: cursor.astring()? })
        }
        "SELECT" => Ok(Command::Select { mailbox: mailbox(cursor, names)?, access: Access::ReadWrite }),
        "EXAMINE" => Ok(Command::Select { mailbox: mailbox(cursor, names)?, access: Access::ReadOnly }),
        "CREATE" => {
            let name = mailbox(cursor, names)?;
            // A client may say by a last separator that it wants to put mailboxes below this one.
            Ok(Command::Create(name.strip_suffix('/').map_or(name.clone(), str::to_owned)))
        }
        "DELETE" => Ok(Command::Delete(mailbox(cursor, names)?)),
        "RENAME" => {
            let from = mailbox(cursor, names)?;
            cursor.space()?;
            Ok(Command::Rename { from, to: mailbox(cursor, names)? })
        }
        "SUBSCRIBE" => Ok(Command::Subscribe(mailbox(cursor, names)?)),
        "UNSUBSCRIBE" => Ok(Command::Unsubscribe(mailbox(cursor, names)?)),
        "LIST" => list(cursor, names, ListVerb::List),
        "LSUB" => list(cursor, names, ListVerb::Lsub),
        "STATUS" => {
            let mailbox = mailbox(cursor, names)?;
            cursor.space()?;
            Ok(Command::Status { mailbox, items: status_items(cursor)? })
        }
        // One whose message is not a literal; those that are right never get here.
        "APPEND" => append(cursor, names).and(Err(Malformed("the message must be a literal"))),
        "UID" => {
            let verb = cursor.word()?;
            cursor.space()?;
            on_messages(&verb, cursor, names, By::Uid)
        }
        verb => on_messages(verb, cursor, names, By::Number),
    }
}

fn on_messages(verb: &str, cursor: &mut Cursor<'_>, names: Names, by: By) -> Parsed<Command> {
    match (verb, by) {
        ("EXPUNGE", By::Uid) => Ok(Command::Expunge(Some(Set::parse(cursor)?))),
        ("SEARCH", _) => search(cursor, by),
        ("FETCH", _) => {
            let set = Set::parse(cursor)?;
            cursor.space()?;
            Ok(Command::Fetch { by, set, items: item::parse(cursor)? })
        }
        ("STORE", _) => store(cursor, by),
        ("COPY" | "MOVE", _) => {
            let set = Set::parse(cursor)?;
            cursor.space()?;
            let then = if verb == "MOVE" { Then::Remove } else { Then::Keep };
            Ok(Command::Copy { by, set, mailbox: mailbox(cursor, names)?, then })
        }
        _ => Err(Malformed("the command is not known")),
    }
}

fn mailbox(cursor: &mut Cursor<'_>, names: Names) -> Parsed<String> {
    names.decode(&cursor.astring()?).ok_or(Malformed("the mailbox name is not encoded right"))
}

/// What clients say of themselves is read and not kept.
fn id(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    if !cursor.eat_word("NIL") {
        cursor.list(LIST_MAX, Cursor::nstring)?;
    }
    Ok(Command::Id)
}

fn enable(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mut wanted = vec![cursor.word()?];
    while cursor.eat(b' ') && wanted.len() < LIST_MAX {
        wanted.push(cursor.word()?);
    }
    Ok(Command::Enable(wanted))
}

fn authenticate(cursor: &mut Cursor<'_>) -> Parsed<Command> {
    let mechanism = cursor.word()?;
    let initial = if cursor.eat(b' ') {
        Some(cursor.take_while(|octet| octet.is_ascii_graphic(), "the initial response is missing")?.to_vec())
    } else {
        None
    };
    Ok(Command::Authenticate { mechanism, initial })
}

fn list(cursor: &mut Cursor<'_>, names: Names, verb: ListVerb) -> Parsed<Command> {
    let mut list = List {
        verb,
        subscribed_only: verb == ListVerb::Lsub,
        special_use_only: false,
        reference: String::new(),
        patterns: Vec::new(),
        returns: ListReturn::default(),
    };
    if verb == ListVerb::List && cursor.peek() == Some(b'(') {
        for option in cursor.list(LIST_MAX, Cursor::word)? {
            match option.as_str() {
                "SUBSCRIBED" => list.subscribed_only = true,
                "SPECIAL-USE" => list.special_use_only = true,
                "REMOTE" => {}
                _ => return Err(Malformed("the selection option is not known")),
            }
        }
        cursor.space()?;
    }
    list.reference = mailbox(cursor, names)?;
    cursor.space()?;
    let pattern = |cursor: &mut Cursor<'_>| {
        names.decode(&cursor.list_mailbox()?).ok_or(Malformed("the pattern is not encoded right"))
    };
    list.patterns = if verb == ListVerb::List && cursor.peek() == Some(b'(') {
        cursor.list(LIST_MAX, pattern)?
    } else {
        vec![pattern(cursor)?]
    };
    list.returns.subscribed = list.subscribed_only;
    if verb == ListVerb::List && cursor.eat(b' ') {
        if !cursor.eat_word("RETURN") {
            return Err(Malformed("RETURN is missing"));
        }
        cursor.space()?;
        list_returns(cursor, &mut list.returns)?;
    }
    Ok(Command::List(list))
}

fn list_returns(cursor: &mut Cursor<'_>, returns: &mut ListReturn) -> Parsed<()> {
    cursor.list(LIST_MAX, |cursor| {
        match cursor.word()?.as_str() {
            "SUBSCRIBED" => returns.subscribed = true,
            // These are always told.
            "CHILDREN" | "SPECIAL-USE" => {}
            "STATUS" => {
                cursor.space()?;
                returns.status = status_items(cursor)?;
            }
            _ => return Err(Malformed("the return option is not known")),
        }
        Ok(())
    })?;
    Ok(())
}

fn status_items(cursor: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    cursor.list(LIST_MAX, |cursor| {
        Ok(match cursor.word()?.as_str() {
            "MESSAGES" => StatusItem::Messages,
            "RECENT" => StatusItem::Recent,
            "UIDNEXT" => StatusItem::UidNext,
            "UIDVALIDITY" => StatusItem::UidValidity,
            "UNSEEN" => StatusItem::Unseen,
            "DELETED" => StatusItem::Deleted,
            "SIZE" => StatusItem::Size,
            "HIGHESTMODSEQ" => StatusItem::HighestModseq,
            _ => return Err(Malformed("the status item is not known")),
        })
    })
}

fn search(cursor: &mut Cursor<'_>, by: By) -> Parsed<Command> {
    let mut returns = None;
    if cursor.eat_word("RETURN") {
        cursor.space()?;
        let options = cursor.list(LIST_MAX, |cursor| {
            Ok(match cursor.word()?.as_str() {
                "MIN" => SearchReturn::Min,
                "MAX" => SearchReturn::Max,
                "COUNT" => SearchReturn::Count,
                "ALL" => SearchReturn::All,
                _ => return Err(Malformed("the return option is not known")),
            })
        })?;
        returns = Some(if options.is_empty() { vec![SearchReturn::All] } else { options });
        cursor.space()?;
    }
    let mut charset = None;
    if cursor.eat_word("CHARSET") {
        cursor.space()?;
        charset = Some(String::from_utf8_lossy(&cursor.astring()?).to_ascii_uppercase());
        cursor.space()?;
    }
    Ok(Command::Search(Search { by, returns, charset, key: key::parse(cursor)? }))
}

fn store(cursor: &mut Cursor<'_>, by: By) -> Parsed<Command> {
    let set = Set::parse(cursor)?;
    cursor.space()?;
    let mode = match cursor.peek() {
        Some(b'+') => FlagMode::Add,
        Some(b'-') => FlagMode::Remove,
        _ => FlagMode::Replace,
    };
    if mode != FlagMode::Replace {
        cursor.take_while(|octet| octet == b'+' || octet == b'-', "")?;
    }
    let silent = match cursor.word()?.as_str() {
        "FLAGS" => Silent::No,
        "FLAGS.SILENT" => Silent::Yes,
        _ => return Err(Malformed("only FLAGS can be stored")),
    };
    cursor.space()?;
    let flags = if cursor.peek() == Some(b'(') {
        flag_list(cursor)?
    } else {
        let mut flags = FlagList::default();
        flag(cursor, &mut flags)?;
        while cursor.eat(b' ') {
            flag(cursor, &mut flags)?;
        }
        flags
    };
    Ok(Command::Store { by, set, mode, flags, silent })
}

pub(crate) fn flag_list(cursor: &mut Cursor<'_>) -> Parsed<FlagList> {
    let mut flags = FlagList::default();
    cursor.list(LIST_MAX, |cursor| flag(cursor, &mut flags))?;
    Ok(flags)
}

fn flag(cursor: &mut Cursor<'_>, flags: &mut FlagList) -> Parsed<()> {
    let system = cursor.eat(b'\\');
    let name = String::from_utf8_lossy(cursor.atom()?).into_owned();
    if !system {
        if !flags.keywords.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
            flags.keywords.push(name);
        }
        return Ok(());
    }
    let name = format!("\\{name}");
    match system_flag(&name) {
        Some(flag) => flags.system.0 |= flag.0,
        // Clients copy it from old responses; only the server may set it.
        None if name.eq_ignore_ascii_case("\\Recent") => {}
        None => return Err(Malformed("the flag is not known")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Command {
        parse(line.as_bytes(), Names::Utf7).unwrap().command.unwrap()
    }

    fn refused(line: &str) -> bool {
        parse(line.as_bytes(), Names::Utf7).is_none_or(|tagged| tagged.command.is_err())
    }

    #[test]
    fn literals_and_quoted_strings_are_the_same() {
        let login = Command::Login { user: b"bob".to_vec(), password: b"a \" b".to_vec() };
        assert_eq!(parsed("a1 LOGIN bob \"a \\\" b\""), login);
        assert_eq!(parsed("a1 login {3}\r\nbob {5+}\r\na \" b"), login);
    }

    #[test]
    fn what_follows_a_command_or_lacks_is_refused() {
        for line in [
            "",
            " ",
            "a",
            "a ",
            "+ NOOP",
            "a NOOP x",
            "a NOOP ",
            "a XYZ",
            "a XYZ 1",
            "a LOGIN x",
            "a SELECT",
            "a UID EXPUNGE",
            "a FETCH 1",
            "a STORE 1 +FLAGS",
            "a STORE 1 MODSEQ 1",
            "a STORE 1 FLAGS (\\Foo)",
            "a LOGIN {9}\r\nbob x",
            "a LIST \"\"",
            "a STATUS x (FOO)",
            "a SEARCH",
            "a COPY 1",
            "a EXPUNGE 1",
            "a APPEND x NIL",
            "a RENAME a",
        ] {
            assert!(refused(line), "{line}");
        }
        assert!(parse(format!("{} NOOP", "t".repeat(TAG_MAX)).as_bytes(), Names::Utf7).is_some());
        assert!(parse(format!("{} NOOP", "t".repeat(TAG_MAX + 1)).as_bytes(), Names::Utf7).is_none());
    }

    #[test]
    fn store_takes_lists_single_flags_and_keywords() {
        let stored = |line: &str| match parsed(line) {
            Command::Store { mode, flags, silent, .. } => (mode, flags.system.0, flags.keywords, silent),
            other => panic!("{other:?}"),
        };
        assert_eq!(stored("a STORE 1 +FLAGS (\\Seen \\draft)"), (FlagMode::Add, 17, vec![], Silent::No));
        assert_eq!(
            stored("a UID STORE 1 -flags.silent \\Seen $Junk"),
            (FlagMode::Remove, 1, vec!["$Junk".into()], Silent::Yes)
        );
        assert_eq!(stored("a STORE 1 FLAGS ()"), (FlagMode::Replace, 0, vec![], Silent::No));
    }

    #[test]
    fn list_has_options_patterns_and_returns() {
        let Command::List(list) =
            parsed("a LIST (SUBSCRIBED) \"\" (% &AOk-*) RETURN (CHILDREN STATUS (MESSAGES UNSEEN))")
        else {
            panic!()
        };
        assert!(list.subscribed_only && list.returns.subscribed);
        assert_eq!(list.patterns, ["%", "é*"]);
        assert_eq!(list.returns.status, [StatusItem::Messages, StatusItem::Unseen]);
    }

    #[test]
    fn an_append_is_known_when_its_message_starts() {
        let (tag, append) =
            parse_append(b"a APPEND \"x y\" (\\Seen) \" 1-Jan-1970 00:00:01 +0000\" {", Names::Utf7).unwrap();
        assert_eq!((tag.as_str(), append.mailbox.as_str(), append.flags.system.0), ("a", "x y", 1));
        assert_eq!(append.internal_date, Some(UnixTime::from_secs(1)));
        assert!(parse_append(b"a APPEND {3}\r\nbox {", Names::Utf7).is_some());
        assert!(parse_append(b"a APPEND {", Names::Utf7).is_none());
        assert!(parse_append(b"a SEARCH {", Names::Utf7).is_none());
    }
}
