//! SMTP commands as values (RFC 5321 section 4.1.1): one line in, one typed command or one error out.
//!
//! Whether a command may come now is not decided here but by the server session.

use mail::{Address, BodyType, Domain, Notify, Orcpt, Reply, Ret, ReversePath};

use crate::parameter;

/// Longest EHLO or HELO argument in octets: that of a domain (RFC 5321 section 4.5.3.1.2).
pub const HELO_MAX: usize = 255;

/// One command. Borrows from its line what the session does not keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// `EHLO` and the client's name.
    Ehlo(&'a str),
    /// `HELO` and the client's name.
    Helo(&'a str),
    /// `MAIL FROM:`.
    Mail(Mail),
    /// `RCPT TO:`.
    Rcpt(Rcpt),
    /// `DATA`.
    Data,
    /// `BDAT` (RFC 3030): this many octets follow the line.
    Bdat {
        /// The size of the chunk, in octets.
        octets: u64,
        /// Whether it is the last of its message.
        last: bool,
    },
    /// `RSET`.
    Rset,
    /// `NOOP`, with or without an argument.
    Noop,
    /// `QUIT`.
    Quit,
    /// `STARTTLS` (RFC 3207).
    StartTls,
    /// `AUTH` (RFC 4954).
    Auth {
        /// The mechanism's name as it came.
        mechanism: &'a str,
        /// The initial response: base64, or `=` for an empty one.
        initial: Option<&'a str>,
    },
    /// `VRFY`, whatever its argument.
    Vrfy,
    /// A verb of a standard that is not offered: `EXPN`, `HELP`, `ETRN`, `TURN`, `ATRN` and so on.
    NotOffered,
}

/// The arguments of `MAIL` (RFC 5321 section 4.1.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Path and parameters.
    pub from: MailFrom,
    /// Whether it had parameters, which only a client that said EHLO may give.
    pub extended: bool,
    /// Whether the path is beyond ASCII, which needs `SMTPUTF8` (RFC 6531).
    pub international: bool,
}

/// Who sends, and under which parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailFrom {
    /// The reverse-path, without its source route.
    pub reverse_path: ReversePath,
    /// `SIZE=` in octets (RFC 1870).
    pub size: Option<u64>,
    /// `BODY=` (RFC 6152).
    pub body: BodyType,
    /// `SMTPUTF8` (RFC 6531).
    pub smtputf8: bool,
    /// `REQUIRETLS` (RFC 8689).
    pub require_tls: bool,
    /// `RET=` (RFC 3461).
    pub ret: Option<Ret>,
    /// `ENVID=` as the xtext that came (RFC 3461).
    pub envid: Option<String>,
    /// `PRDR`: one reply per recipient after the body (draft-hall-prdr-00).
    pub prdr: bool,
}

/// The arguments of `RCPT` (RFC 5321 section 4.1.1.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rcpt {
    /// The forward-path, without its source route.
    pub to: ForwardPath,
    /// `NOTIFY=` (RFC 3461).
    pub notify: Option<Notify>,
    /// `ORCPT=` (RFC 3461).
    pub orcpt: Option<Orcpt>,
    /// Whether it had parameters, which only a client that said EHLO may give.
    pub extended: bool,
    /// Whether path or `ORCPT` is beyond ASCII, which needs `SMTPUTF8` (RFC 6531).
    pub international: bool,
}

/// The forward-path: where a message is to go (RFC 5321 section 4.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForwardPath {
    /// `<postmaster>` without a domain (RFC 5321 section 4.5.1).
    Postmaster,
    /// A mailbox.
    Address(Address),
}

/// Why a line is no command. The peer is to blame; [`CommandError::reply`] tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Not UTF-8, or with control characters such as NUL.
    #[error("a command line holds printable text only")]
    NotText,
    /// No such verb.
    #[error("unknown command")]
    Unknown,
    /// An argument is missing, malformed, or given where none belongs.
    #[error("wrong argument")]
    Argument,
    /// A `BDAT` whose size can't be read: where the chunk ends is unknown, so the session can't go on.
    #[error("wrong chunk size")]
    Chunk,
    /// The reverse-path is malformed.
    #[error("malformed reverse-path")]
    ReversePath,
    /// The forward-path is malformed.
    #[error("malformed forward-path")]
    ForwardPath,
    /// A known parameter with a wrong value, or given twice.
    #[error("wrong parameter value")]
    Parameter,
    /// A parameter that no offered extension defines.
    #[error("unknown parameter")]
    UnknownParameter,
}

impl CommandError {
    /// The reply that the peer gets.
    #[must_use]
    pub fn reply(self) -> Reply {
        match self {
            Self::NotText => Reply::new(500, (5, 5, 2), "Command lines hold printable text only"),
            Self::Unknown => Reply::new(500, (5, 5, 1), "Command not known"),
            Self::Argument => Reply::new(501, (5, 5, 4), "Check the command's arguments"),
            Self::Chunk => Reply::new(501, (5, 5, 4), "Chunk size not understood, closing"),
            Self::ReversePath => Reply::new(501, (5, 1, 7), "Give the sender as <local-part@domain>"),
            Self::ForwardPath => Reply::new(501, (5, 1, 3), "Give the recipient as <local-part@domain>"),
            Self::Parameter => Reply::new(501, (5, 5, 4), "Check the parameters' values, each given once"),
            Self::UnknownParameter => Reply::new(555, (5, 5, 4), "Parameter not offered here"),
        }
    }
}

/// Parses one command line, given without its CRLF.
///
/// # Errors
/// What is wrong with it, as [`CommandError`].
pub fn parse(line: &[u8]) -> Result<Command<'_>, CommandError> {
    if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
        return Err(CommandError::NotText);
    }
    let line = std::str::from_utf8(line).map_err(|_| CommandError::NotText)?.trim_end_matches(BLANK);
    let (verb, argument) = line.split_once(BLANK).unwrap_or((line, ""));
    let argument = argument.trim_start_matches(BLANK);
    let mut upper = [0_u8; 8];
    let upper = upper.get_mut(..verb.len()).ok_or(CommandError::Unknown)?;
    upper.copy_from_slice(verb.as_bytes());
    upper.make_ascii_uppercase();
    match &*upper {
        b"EHLO" => name(argument).map(Command::Ehlo),
        b"HELO" => name(argument).map(Command::Helo),
        b"MAIL" => mail(argument).map(Command::Mail),
        b"RCPT" => rcpt(argument).map(Command::Rcpt),
        b"DATA" => alone(argument, Command::Data),
        b"BDAT" => bdat(argument),
        b"RSET" => alone(argument, Command::Rset),
        b"NOOP" => Ok(Command::Noop),
        b"QUIT" => alone(argument, Command::Quit),
        b"STARTTLS" => alone(argument, Command::StartTls),
        b"AUTH" => auth(argument),
        b"VRFY" => Ok(Command::Vrfy),
        b"EXPN" | b"HELP" | b"ETRN" | b"TURN" | b"ATRN" | b"SEND" | b"SOML" | b"SAML" | b"LHLO" | b"BURL" => {
            Ok(Command::NotOffered)
        }
        _ => Err(CommandError::Unknown),
    }
}

const BLANK: [char; 2] = [' ', '\t'];

fn alone<'a>(argument: &str, command: Command<'a>) -> Result<Command<'a>, CommandError> {
    if argument.is_empty() { Ok(command) } else { Err(CommandError::Argument) }
}

/// Real clients call themselves all sorts of things; what is printable and no longer than a domain is taken.
fn name(argument: &str) -> Result<&str, CommandError> {
    let valid = (1..=HELO_MAX).contains(&argument.len()) && argument.bytes().all(|b| b.is_ascii_graphic());
    if valid { Ok(argument) } else { Err(CommandError::Argument) }
}

fn bdat(argument: &str) -> Result<Command<'static>, CommandError> {
    let mut words = argument.split_ascii_whitespace();
    let octets = words.next().and_then(number).ok_or(CommandError::Chunk)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(CommandError::Chunk),
    };
    if words.next().is_some() { Err(CommandError::Chunk) } else { Ok(Command::Bdat { octets, last }) }
}

fn auth(argument: &str) -> Result<Command<'_>, CommandError> {
    let mut words = argument.split_ascii_whitespace();
    let mechanism = words.next().ok_or(CommandError::Argument)?;
    let initial = words.next();
    if words.next().is_some() {
        Err(CommandError::Argument)
    } else {
        Ok(Command::Auth { mechanism, initial })
    }
}

/// Up to 20 digits (RFC 1870 section 4); what no u64 holds is the largest one.
fn number(text: &str) -> Option<u64> {
    let digits = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn mail(argument: &str) -> Result<Mail, CommandError> {
    let text = after_keyword(argument, "FROM:").ok_or(CommandError::Argument)?;
    let (path, rest) = split_path(text).ok_or(CommandError::ReversePath)?;
    let reverse_path = match strip_route(path).ok_or(CommandError::ReversePath)? {
        "" if path.is_empty() => ReversePath::Null,
        // A source route that leads to nobody.
        "" => return Err(CommandError::ReversePath),
        mailbox => ReversePath::parse(mailbox).map_err(|_| CommandError::ReversePath)?,
    };
    let from = MailFrom {
        reverse_path,
        size: None,
        body: BodyType::SevenBit,
        smtputf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        prdr: false,
    };
    let mut mail = Mail { from, extended: false, international: !path.is_ascii() };
    let mut seen = Vec::new();
    for (key, value) in parameters(rest) {
        once(&mut seen, key)?;
        mail.extended = true;
        mail_parameter(&mut mail.from, key, value)?;
    }
    Ok(mail)
}

fn mail_parameter(from: &mut MailFrom, key: &str, value: Option<&str>) -> Result<(), CommandError> {
    let valued = || value.ok_or(CommandError::Parameter);
    if key.eq_ignore_ascii_case("SIZE") {
        from.size = Some(number(valued()?).ok_or(CommandError::Parameter)?);
    } else if key.eq_ignore_ascii_case("BODY") {
        from.body = match valued()? {
            word if word.eq_ignore_ascii_case("7BIT") => BodyType::SevenBit,
            word if word.eq_ignore_ascii_case("8BITMIME") => BodyType::EightBitMime,
            _ => return Err(CommandError::Parameter),
        };
    } else if key.eq_ignore_ascii_case("SMTPUTF8") {
        from.smtputf8 = value.is_none();
        return if from.smtputf8 { Ok(()) } else { Err(CommandError::Parameter) };
    } else if key.eq_ignore_ascii_case("REQUIRETLS") {
        from.require_tls = value.is_none();
        return if from.require_tls { Ok(()) } else { Err(CommandError::Parameter) };
    } else if key.eq_ignore_ascii_case("PRDR") {
        from.prdr = value.is_none();
        return if from.prdr { Ok(()) } else { Err(CommandError::Parameter) };
    } else if key.eq_ignore_ascii_case("RET") {
        from.ret = match valued()? {
            word if word.eq_ignore_ascii_case("FULL") => Some(Ret::Full),
            word if word.eq_ignore_ascii_case("HDRS") => Some(Ret::Hdrs),
            _ => return Err(CommandError::Parameter),
        };
    } else if key.eq_ignore_ascii_case("ENVID") {
        let envid = Some(valued()?).filter(|envid| parameter::is_envid(envid));
        from.envid = Some(envid.ok_or(CommandError::Parameter)?.to_owned());
    } else if key.eq_ignore_ascii_case("AUTH") {
        // RFC 4954 section 5: who submitted it elsewhere. Nobody is trusted to say so; it is not carried.
        Some(valued()?).filter(|who| parameter::is_xtext(who)).ok_or(CommandError::Parameter)?;
    } else {
        return Err(CommandError::UnknownParameter);
    }
    Ok(())
}

fn rcpt(argument: &str) -> Result<Rcpt, CommandError> {
    let text = after_keyword(argument, "TO:").ok_or(CommandError::Argument)?;
    let (path, rest) = split_path(text).ok_or(CommandError::ForwardPath)?;
    let mailbox = strip_route(path).ok_or(CommandError::ForwardPath)?;
    let to = if mailbox.eq_ignore_ascii_case("postmaster") {
        ForwardPath::Postmaster
    } else {
        Address::parse(mailbox).map(ForwardPath::Address).map_err(|_| CommandError::ForwardPath)?
    };
    let mut rcpt = Rcpt { to, notify: None, orcpt: None, extended: false, international: !path.is_ascii() };
    let mut seen = Vec::new();
    for (key, value) in parameters(rest) {
        once(&mut seen, key)?;
        rcpt.extended = true;
        let value = value.ok_or(CommandError::Parameter);
        if key.eq_ignore_ascii_case("NOTIFY") {
            rcpt.notify = Some(parameter::notify(value?).ok_or(CommandError::Parameter)?);
        } else if key.eq_ignore_ascii_case("ORCPT") {
            let orcpt = parameter::orcpt(value?).ok_or(CommandError::Parameter)?;
            rcpt.international |= !orcpt.address.is_ascii();
            rcpt.orcpt = Some(orcpt);
        } else {
            return Err(CommandError::UnknownParameter);
        }
    }
    Ok(rcpt)
}

/// What follows `keyword`; the space that many clients put after the colon is forgiven.
fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (word, rest) = argument.split_at_checked(keyword.len())?;
    word.eq_ignore_ascii_case(keyword).then(|| rest.trim_start_matches(BLANK))
}

/// The inside of `<…>` and what follows it. A `>` within a quoted local part does not end the path.
fn split_path(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, b) in inner.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => {
                let rest = &inner[at + 1..];
                return (rest.is_empty() || rest.starts_with(BLANK)).then(|| (&inner[..at], rest));
            }
            _ => {}
        }
    }
    None
}

/// The path without its source route, which is accepted and ignored (RFC 5321 appendix C).
fn strip_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    let mut bracketed = false;
    let colon = path.bytes().position(|b| {
        bracketed = (bracketed || b == b'[') && b != b']';
        b == b':' && !bracketed
    })?;
    let (route, mailbox) = (&path[..colon], &path[colon + 1..]);
    let valid =
        route.split(',').all(|hop| hop.strip_prefix('@').is_some_and(|hop| Domain::parse(hop).is_ok()));
    valid.then_some(mailbox)
}

fn parameters(rest: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    rest.split_ascii_whitespace().map(|word| match word.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (word, None),
    })
}

/// Notes a parameter; one that was there before is an error. Known parameters are few, and an unknown one
/// ends the command, so `seen` stays short.
fn once<'a>(seen: &mut Vec<&'a str>, key: &'a str) -> Result<(), CommandError> {
    if seen.iter().any(|known| known.eq_ignore_ascii_case(key)) {
        return Err(CommandError::Parameter);
    }
    seen.push(key);
    Ok(())
}
