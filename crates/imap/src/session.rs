//! One client's session, from the greeting to BYE: octets in, octets out.
//!
//! The session owns what the client said and was told; what is in mailboxes it asks the account, which may
//! block. Whoever drives it reads and writes the socket, keeps the time, and calls [`Session::advance`].

mod append;
mod fetch;
mod login;
mod mailboxes;
mod messages;
mod search;
mod view;

use bytes::BytesMut;

use crate::command::{self, Command, Tagged};
use crate::frame::{Frame, Framed, Waits, line};
use crate::name::Names;
use append::Appending;
use fetch::{Fetch, Progress};
pub use login::Credentials;
use mailbox::{Account, AccountError};
use search::Searching;
use view::{Expunges, View};

/// Output at which [`Session::advance`] pauses, in octets. One more piece of a message may come on top.
pub const OUTPUT_FULL: usize = 64 * 1024;
/// Most octets of a command of a client that has logged in, its literals included, but not the message of APPEND.
pub const COMMAND_MAX: usize = 64 * 1024;
/// Most octets of a command, literals included, before the login.
pub const COMMAND_MAX_BEFORE_LOGIN: usize = 4 * 1024;
/// Bad commands after which the session ends.
pub const BAD_COMMANDS_MAX: u32 = 25;
/// Failed logins after which the session ends.
pub const FAILED_LOGINS_MAX: u32 = 3;

/// Settings that the driver gives to each session.
#[derive(Debug, Clone)]
pub struct Options {
    /// Largest message that APPEND takes, in octets.
    pub append_octets_max: u64,
    /// What the greeting says after the capabilities.
    pub greeting: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { append_octets_max: 50 * 1024 * 1024, greeting: "Postern at your service".into() }
    }
}

/// What the driver does next. In each case it first writes out what is in [`Session::output`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read more octets, then advance.
    Read,
    /// Advance at once; there is more to say.
    Flush,
    /// As [`Step::Read`], and call [`Session::handle_change`] when the account's wake is called: the client idles.
    Idle,
    /// Check what [`Session::credentials`] gives, then call [`Session::answer_login`]. It takes its time on purpose,
    /// so it is not the account that does it, whose threads others wait for.
    Login,
    /// Close the connection.
    Close,
}

/// One IMAP session (RFC 3501); the module says how it is driven.
pub struct Session<B> {
    account: B,
    options: Options,
    state: State,
    mode: Mode,
    frame: Frame,
    work: Option<Work>,
    out: Vec<u8>,
    names: Names,
    bad_commands: u32,
    failed_logins: u32,
    first_line_seen: bool,
}

enum State {
    NotAuthenticated,
    Authenticated,
    Selected(Box<View>),
}

/// What the next octets of input are.
enum Mode {
    Command,
    /// The response to `AUTHENTICATE PLAIN`, for the command of this tag.
    Sasl(String),
    /// `DONE`, for the IDLE of this tag.
    Idle(String),
    Append(Appending),
    /// A login of this tag is being checked.
    Login(String, Option<Credentials>),
    Closed,
}

/// A command that takes its time.
enum Work {
    Fetch { fetch: Fetch, tag: String, done: &'static str },
    Search { searching: Searching, tag: String },
}

impl<B: Account> Session<B> {
    /// A session that greets its client.
    #[must_use]
    pub fn new(account: B, options: Options) -> Self {
        let mut session = Self {
            account,
            options,
            state: State::NotAuthenticated,
            mode: Mode::Command,
            frame: Frame::default(),
            work: None,
            out: Vec::new(),
            names: Names::default(),
            bad_commands: 0,
            failed_logins: 0,
            first_line_seen: false,
        };
        let greeting = format!("* OK [CAPABILITY {}] {}", session.capabilities(), session.options.greeting);
        session.say(&greeting);
        session
    }

    /// What is to be sent; the driver takes it away as it sends it.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether a login has succeeded: the driver is more patient then.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        !matches!(self.state, State::NotAuthenticated)
    }

    /// The account, so that the driver can ask it for its wake.
    pub fn account(&mut self) -> &mut B {
        &mut self.account
    }

    /// Takes octets from `input` and goes on as far as it can. May block as long as the account does.
    pub fn advance(&mut self, input: &mut BytesMut) -> Step {
        loop {
            if matches!(self.mode, Mode::Closed) {
                return Step::Close;
            }
            if self.out.len() >= OUTPUT_FULL {
                return Step::Flush;
            }
            if let Some(work) = self.work.take() {
                self.go_on(work);
                if self.work.is_some() {
                    return Step::Flush;
                }
                continue;
            }
            let more = match &self.mode {
                Mode::Command => self.read_command(input),
                Mode::Sasl(_) => self.read_sasl(input),
                Mode::Idle(_) => self.read_done(input),
                Mode::Append(_) => self.read_append(input),
                Mode::Login(..) => return Step::Login,
                Mode::Closed => return Step::Close,
            };
            if !more {
                return match self.mode {
                    Mode::Closed => Step::Close,
                    Mode::Idle(_) => Step::Idle,
                    _ => Step::Read,
                };
            }
        }
    }

    /// The selected mailbox may have changed: tells the client, if it idles.
    pub fn handle_change(&mut self) {
        if matches!(self.mode, Mode::Idle(_)) {
            self.sync(Expunges::Send);
        }
    }

    /// Ends the session: the service stops, or the client was silent for too long.
    pub fn bye(&mut self, why: &str) {
        // Within a literal nothing else can be said.
        if !matches!(self.mode, Mode::Closed) && self.work.is_none() {
            self.say(&format!("* BYE {why}"));
        }
        self.close();
    }

    fn close(&mut self) {
        if matches!(self.mode, Mode::Append(_)) {
            self.account.append_abort();
        }
        self.work = None;
        self.mode = Mode::Closed;
    }

    /// Reads a command and does it; false when more octets are needed.
    fn read_command(&mut self, input: &mut BytesMut) -> bool {
        let most = if self.is_authenticated() { COMMAND_MAX } else { COMMAND_MAX_BEFORE_LOGIN };
        match self.frame.advance(input, most) {
            Framed::More => return false,
            Framed::TooLong => self.bye("the command is too long"),
            Framed::Literal(octets, waits) => self.take_literal(octets, waits, most),
            Framed::Command => {
                let octets = self.frame.command().to_vec();
                self.frame.clear();
                if is_http(&octets) && !self.first_line_seen {
                    // A browser was made to speak to us; whatever we say could be used against it (ALPACA).
                    self.out.clear();
                    self.close();
                    return true;
                }
                self.first_line_seen = true;
                self.do_command(&octets);
            }
        }
        true
    }

    /// A literal is announced: it is part of the command, or the message of APPEND, or too large.
    fn take_literal(&mut self, octets: u64, waits: Waits, most: usize) {
        if self.is_authenticated()
            && let Some(start) = announcement(self.frame.command())
            && let Some((tag, append)) = command::parse_append(start, self.names)
        {
            self.frame.clear();
            return self.begin_append(tag, append, octets, waits);
        }
        let room = most.saturating_sub(self.frame.command().len());
        match (usize::try_from(octets).ok().filter(|octets| *octets <= room), waits) {
            (Some(octets), waits) => {
                self.frame.take_literal(octets);
                if waits == Waits::Yes {
                    self.say("+ go ahead");
                }
            }
            (None, Waits::Yes) => {
                let tag = command::tag_of(self.frame.command()).unwrap_or_else(|| "*".into());
                self.frame.clear();
                self.bad(&tag, "the literal is too long");
            }
            (None, Waits::No) => self.bye("the literal is too long"),
        }
    }

    fn do_command(&mut self, octets: &[u8]) {
        match command::parse(octets, self.names) {
            None => self.bad("*", "a command starts with a tag"),
            Some(Tagged { tag, command: Err(malformed) }) => self.bad(&tag, malformed.0),
            Some(Tagged { tag, command: Ok(command) }) => self.run(tag, command),
        }
    }

    /// The table of commands: which are allowed in which state.
    fn run(&mut self, tag: String, command: Command) {
        match (command, &self.state) {
            (Command::Capability, _) => {
                let capabilities = self.capabilities();
                self.say(&format!("* CAPABILITY {capabilities}"));
                self.ok(&tag, "that is what there is");
            }
            (Command::Noop, _) => self.finish(&tag, Expunges::Send, "done"),
            (Command::Id, _) => {
                self.say("* ID (\"name\" \"Postern\")");
                self.ok(&tag, "pleased to meet you");
            }
            (Command::Logout, _) => {
                self.say("* BYE until next time");
                self.ok(&tag, "logged out");
                self.close();
            }
            (Command::Authenticate { mechanism, initial }, State::NotAuthenticated) => {
                self.authenticate(tag, &mechanism, initial.as_deref());
            }
            (Command::Login { user, password }, State::NotAuthenticated) => {
                self.login(&tag, &user, &password)
            }
            (_, State::NotAuthenticated) => self.bad(&tag, "log in first"),
            (Command::Authenticate { .. } | Command::Login { .. }, _) => self.bad(&tag, "you are logged in"),
            (command, State::Authenticated) if needs_mailbox(&command) => {
                self.bad(&tag, "select a mailbox first")
            }
            (Command::Idle, _) => {
                self.say("+ idling");
                self.mode = Mode::Idle(tag);
                // First, so that nothing happens between what is told now and what it is woken for.
                self.listen();
                self.sync(Expunges::Send);
            }
            (command, _) if needs_mailbox(&command) => self.run_on_messages(tag, command),
            (command, _) => self.run_on_mailboxes(&tag, command),
        }
    }

    fn go_on(&mut self, work: Work) {
        let State::Selected(view) = &mut self.state else { return };
        match work {
            Work::Fetch { mut fetch, tag, done } => {
                match fetch.advance(view, &mut self.account, &mut self.out) {
                    Ok(Progress::Full) => self.work = Some(Work::Fetch { fetch, tag, done }),
                    Ok(Progress::Done(true)) => self.finish(&tag, Expunges::Hold, done),
                    Ok(Progress::Done(false)) => {
                        self.sync(Expunges::Hold);
                        self.no(&tag, "[EXPUNGEISSUED] some of the messages are gone");
                    }
                    Ok(Progress::Broken) => self.close(),
                    Err(error) => self.refuse(&tag, &error),
                }
            }
            Work::Search { mut searching, tag } => match searching.advance(view, &mut self.account) {
                Ok(true) => self.work = Some(Work::Search { searching, tag }),
                Ok(false) => {
                    searching.write(&tag, &mut self.out);
                    self.finish(&tag, Expunges::Hold, "searched");
                }
                Err(error) => self.refuse(&tag, &error),
            },
        }
    }

    /// Reads `DONE`; false when more octets are needed.
    fn read_done(&mut self, input: &mut BytesMut) -> bool {
        match line(input, 1024) {
            Ok(None) => return false,
            Err(_) => self.bye("the line is too long"),
            Ok(Some(line)) => {
                let Mode::Idle(tag) = std::mem::replace(&mut self.mode, Mode::Command) else { return true };
                self.account.listen(None);
                if line.eq_ignore_ascii_case(b"DONE") {
                    self.finish(&tag, Expunges::Send, "no longer idling");
                } else {
                    self.bad(&tag, "DONE ends IDLE");
                }
            }
        }
        true
    }

    fn listen(&mut self) {
        let selected = match &self.state {
            State::Selected(view) => Some(view.id),
            _ => None,
        };
        self.account.listen(selected);
    }

    /// Tells what changed in the selected mailbox.
    fn sync(&mut self, expunges: Expunges) {
        let State::Selected(view) = &mut self.state else { return };
        match view.sync(&mut self.account, expunges, &mut self.out) {
            // What is new is told the next time.
            Ok(()) | Err(AccountError::Unavailable) => {}
            Err(_) => self.bye("the selected mailbox is gone"),
        }
    }

    /// Ends a command that succeeded, after telling what changed.
    fn finish(&mut self, tag: &str, expunges: Expunges, text: &str) {
        self.sync(expunges);
        if !matches!(self.mode, Mode::Closed) {
            self.ok(tag, text);
        }
    }

    fn ok(&mut self, tag: &str, text: &str) {
        self.say(&format!("{tag} OK {text}"));
    }

    fn no(&mut self, tag: &str, text: &str) {
        self.say(&format!("{tag} NO {text}"));
    }

    /// The client broke the protocol; one that does so all the time is no mail program.
    fn bad(&mut self, tag: &str, text: &str) {
        self.say(&format!("{tag} BAD {text}"));
        self.bad_commands += 1;
        if self.bad_commands >= BAD_COMMANDS_MAX {
            self.bye("too many bad commands");
        }
    }

    /// The account said no.
    fn refuse(&mut self, tag: &str, error: &AccountError) {
        let code = match error {
            AccountError::Denied => "AUTHENTICATIONFAILED",
            AccountError::NoMailbox => "NONEXISTENT",
            AccountError::MailboxExists => "ALREADYEXISTS",
            AccountError::Refused(_) => "CANNOT",
            AccountError::Limit(_) => "LIMIT",
            AccountError::Unavailable => "UNAVAILABLE",
        };
        self.no(tag, &format!("[{code}] {error}"));
    }

    /// As [`Session::refuse`], for commands that put messages into a mailbox that could be made first.
    fn refuse_target(&mut self, tag: &str, error: &AccountError) {
        match error {
            AccountError::NoMailbox => self.no(tag, "[TRYCREATE] there is no such mailbox"),
            other => self.refuse(tag, other),
        }
    }

    fn done(&mut self, tag: &str, outcome: Result<(), AccountError>, text: &str) {
        match outcome {
            Ok(()) => self.finish(tag, Expunges::Send, text),
            Err(error) => self.refuse(tag, &error),
        }
    }

    fn say(&mut self, line: &str) {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn capabilities(&self) -> String {
        const ALWAYS: &str = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE UIDPLUS UNSELECT MOVE ESEARCH \
                              CHILDREN SPECIAL-USE STATUS=SIZE UTF8=ACCEPT";
        let login = if self.is_authenticated() { "" } else { " AUTH=PLAIN" };
        format!("{ALWAYS} APPENDLIMIT={}{login}", self.options.append_octets_max)
    }
}

impl<B> std::fmt::Debug for Session<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

const fn needs_mailbox(command: &Command) -> bool {
    matches!(
        command,
        Command::Close
            | Command::Unselect
            | Command::Expunge(_)
            | Command::Search(_)
            | Command::Fetch { .. }
            | Command::Store { .. }
            | Command::Copy { .. }
    )
}

/// A command up to the `{` of the literal that its last line announces.
fn announcement(command: &[u8]) -> Option<&[u8]> {
    let brace = memchr::memrchr(b'{', command)?;
    command.get(..=brace)
}

/// The first line of an HTTP request, in any version.
fn is_http(line: &[u8]) -> bool {
    let methods: [&[u8]; 8] =
        [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"CONNECT ", b"DELETE ", b"PATCH "];
    methods.iter().any(|method| line.starts_with(method)) || memchr::memmem::find(line, b" HTTP/").is_some()
}
