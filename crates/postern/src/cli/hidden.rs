//! A password at the terminal: it is not shown, and Ctrl-C ends the question, whoever else listens for it.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;

use daemon::problem::{self, Problem};
use rustix::io::read;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Octets that are read of one line.
const OCTETS_MAX: usize = 4096;

/// The terminal that the command was typed at, wherever its standard input comes from.
const TERMINAL: &str = "/dev/tty";

/// The terminal as it is while a password is typed. It is as before when this is dropped, however that comes.
struct Quiet<'a>(&'a File, Termios);

impl<'a> Quiet<'a> {
    fn begin(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut now = before.clone();
        // Neither shown nor gathered to lines, and no key is a signal.
        now.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN);
        tcsetattr(terminal, OptionalActions::Now, &now)?;
        Ok(Self(terminal, before))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let mut terminal = self.0;
        let _ = tcsetattr(terminal, OptionalActions::Now, &self.1);
        let _ = terminal.write_all(b"\n");
    }
}

/// What a key does to the line.
#[derive(Debug, PartialEq, Eq)]
enum Stroke {
    Goes,
    Line,
    Ended,
}

fn key(line: &mut Vec<u8>, key: u8) -> Stroke {
    match key {
        b'\n' | b'\r' => return Stroke::Line,
        // Ctrl-C, Ctrl-D.
        3 | 4 => return Stroke::Ended,
        // Backspace takes a whole character.
        8 | 127 => while line.pop().is_some_and(|octet| octet & 0xc0 == 0x80) {},
        // Ctrl-U.
        21 => line.clear(),
        0..32 => {}
        key if line.len() < OCTETS_MAX => line.push(key),
        _ => {}
    }
    Stroke::Goes
}

/// Of a process without one of its own, standard input may still be one.
fn terminal() -> io::Result<File> {
    match File::options().read(true).write(true).open(TERMINAL) {
        Err(_) if io::stdin().is_terminal() => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        opened => opened,
    }
}

/// Asks once.
///
/// # Errors
/// [`io::ErrorKind::Interrupted`] when whoever is asked ends it; what the terminal says.
fn ask(mut terminal: &File, question: &str) -> io::Result<String> {
    write!(terminal, "{question}: ")?;
    let _quiet = Quiet::begin(terminal)?;
    let mut line = Vec::new();
    loop {
        let mut one = [0];
        match read(terminal, &mut one) {
            Ok(0) => return Err(io::ErrorKind::Interrupted.into()),
            Ok(_) => match key(&mut line, one[0]) {
                Stroke::Goes => {}
                Stroke::Line => {
                    return String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData.into());
                }
                Stroke::Ended => return Err(io::ErrorKind::Interrupted.into()),
            },
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Asks twice, until both are the same and `check` finds nothing; what it finds is said before the second time. An empty one is
/// asked for once.
///
/// # Errors
/// When there is no terminal, or whoever is asked ends it.
pub(super) fn ask_twice(
    question: &str,
    check: &dyn Fn(&str) -> Result<(), String>,
) -> Result<String, Problem> {
    let terminal = terminal().map_err(|_| {
        Problem::setup(
            "there is no terminal to ask for a password at",
            "give it on standard input, with --password-stdin",
        )
    })?;
    let asked = |question: &str| {
        ask(&terminal, question).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => {
                Problem::failed("stopped", "nothing was changed; type the same again")
            }
            _ => Problem::failed(
                format!("no answer could be read: {}", problem::io_words(&error)),
                "type the same again",
            ),
        })
    };
    loop {
        let typed = asked(question)?;
        if let Err(why) = check(&typed) {
            eprintln!("  {why}");
            continue;
        }
        if typed.is_empty() || typed == asked("The same again")? {
            return Ok(typed);
        }
        eprintln!("  the two differ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> (Vec<u8>, Stroke) {
        let mut line = Vec::new();
        for one in keys {
            match key(&mut line, *one) {
                Stroke::Goes => {}
                ended => return (line, ended),
            }
        }
        (line, Stroke::Goes)
    }

    #[test]
    fn keys_write_and_take_back_and_end_the_line() {
        assert_eq!(typed(b"secret\r"), (b"secret".to_vec(), Stroke::Line));
        assert_eq!(typed("aé\u{7f}\u{7f}b\n".as_bytes()), (b"b".to_vec(), Stroke::Line));
        assert_eq!(typed(b"wrong\x15right\n"), (b"right".to_vec(), Stroke::Line));
        assert_eq!(typed(b"sec\x03ret").1, Stroke::Ended);
        assert_eq!(typed(b"\x04").1, Stroke::Ended);
        assert_eq!(typed(&vec![b'x'; OCTETS_MAX + 1]).0.len(), OCTETS_MAX);
    }
}
