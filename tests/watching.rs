//! What an operator sees of mail that passes: status of both halves, the trace, and the log's line for each message.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use testkit::smtp::SmtpClient;
use testkit::{Pair, process, until};

use crate::alone;

const PATIENCE: Duration = Duration::from_secs(60);
/// "Äpfel und Birnen".
const SUBJECT: &str = "=?utf-8?Q?=C3=84pfel_und?= Birnen";

fn send(pair: &Pair, subject: &str) {
    let text = format!(
        "From: Ann <ann@sender.test>\r\nTo: bob@example.org\r\nSubject: {subject}\r\n\
         Message-ID: <{}@sender.test>\r\n\r\nHello.\r\n",
        subject.len()
    );
    let reply = SmtpClient::ready(pair.smtp)
        .unwrap()
        .message("ann@sender.test", &["bob@example.org"], text.as_bytes())
        .unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}

/// Lines of a log that tell of mail.
fn mail_lines(log: &str, words: &str) -> Vec<String> {
    log.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
}

fn steps(printed: &str) -> Vec<String> {
    let events = printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.map(|event| event["step"].as_str().unwrap().to_owned()).collect()
}

fn the_trace_finds_a_message(pair: &Pair) {
    let home = |words: &[&str]| steps(&pair.home.command_ok(&[&["trace", "--json"], words].concat(), ""));
    until("both halves are there", PATIENCE, || {
        (home(&["last", "1"]) == ["delivered", "handed-off"]).then_some(())
    });
    for word in ["äpfel", "Birnen", "bob@example.org", "33@sender.test"] {
        assert_eq!(home(&[word]), ["delivered", "handed-off"], "{word}");
    }
    let edges = testkit::pair::trace_text(pair.edge.data());
    assert!(edges.contains("handed-off"), "{edges}");
    assert!(!edges.to_lowercase().contains("birnen") && !edges.contains("bob"), "{edges}");
}

fn both_halves_are_seen(pair: &Pair) {
    let status = pair.home.status().unwrap();
    let edge = &status["edges"][0];
    assert_eq!(edge["edge"]["mail"]["in"]["taken"], 1, "{status}");
    assert_eq!((&status["mail"]["in"]["taken"], &status["problems"]), (&1.into(), &Value::Array(Vec::new())));
    assert_eq!(edge["software"], status["software"]);
    let tlsa = edge["edge"]["tlsa"].as_str().unwrap();
    assert!(tlsa.starts_with("3 1 1 ") && tlsa.len() == 70, "for postern dns --tlsa: {tlsa}");
    let told = pair.home.command_ok(&["status"], "");
    assert!(told.contains("link up (quic)") && told.contains("problems   none"), "{told}");
    assert!(pair.edge.command_ok(&["status"], "").contains("in: 1 taken, 0 not"), "of its own");
}

fn each_role_logs_one_line(pair: &Pair) {
    for role in [&pair.edge, &pair.home] {
        let lines = until("the line is there", PATIENCE, || {
            Some(mail_lines(&role.log(), "mail in")).filter(|lines| !lines.is_empty())
        });
        let [line] = &lines[..] else { panic!("one line: {lines:?}") };
        for field in ["item=", "from=\"sender.test\"", "to=\"example.org\"", "recipients=1", "code=250"] {
            assert!(line.contains(field), "{field}: {line}");
        }
        assert!(!line.contains("bob") && !line.contains("ann"), "no local part: {line}");
    }
}

#[test]
fn a_message_is_seen_in_status_trace_and_log_of_both_halves_and_its_subject_at_home_alone() {
    let _alone = alone();
    let pair = Pair::start();
    send(&pair, SUBJECT);
    the_trace_finds_a_message(&pair);
    both_halves_are_seen(&pair);
    each_role_logs_one_line(&pair);

    let mut follow = process::command(None, testkit::binary::postern());
    follow.args(["trace", "--follow", "birnen", "--config"]).arg(pair.home.config());
    let mut following = process::Process::start(follow, &pair.dir().join("following"));
    until("it tells what there is", PATIENCE, || following.log().contains("delivered").then_some(()));
    send(&pair, "Apples");
    send(&pair, "more Birnen");
    until("it tells what comes", PATIENCE, || following.log().contains("more Birnen").then_some(()));
    assert!(!following.log().contains("Apples"), "{}", following.log());
    following.signal(Signal::INT);
    assert_eq!(following.wait(PATIENCE).code(), Some(0));
}

/// A terminal of 80 by 24: waits for a word on it, presses a key, and prints how the program ended.
const TERMINAL: &str = r#"
import fcntl, os, pty, select, struct, sys, termios, time
words, key, command = sys.argv[1].encode(), sys.argv[2].encode(), sys.argv[3:]
child, terminal = pty.fork()
if child == 0:
    os.environ["TERM"] = "xterm"
    os.execv(command[0], command)
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
seen, pressed, until = b"", False, time.time() + 50
while time.time() < until:
    if select.select([terminal], [], [], 0.1)[0]:
        try:
            seen += os.read(terminal, 65536)
        except OSError:
            break
    if words in seen and not pressed:
        os.write(terminal, key)
        pressed = True
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if pressed else "the words did not come"
print(status, seen.endswith(b"\x1b[?25h") or b"\x1b[?1049l" in seen, seen)
"#;

#[test]
fn the_picture_ends_at_q_leaves_the_terminal_as_it_was_and_wants_one() {
    let _alone = alone();
    let pair = Pair::start();
    send(&pair, "a picture");
    for role in [&pair.home, &pair.edge] {
        for key in ["q", "\u{3}"] {
            let mut terminal = process::command(None, "python3");
            terminal.args(["-c", TERMINAL, "Messages", key]);
            terminal.arg(testkit::binary::postern()).arg("top").arg("--config").arg(role.config());
            let said = process::run_ok(terminal, b"", PATIENCE);
            assert!(said.starts_with("0 True"), "{said}");
        }
        let output = role.command(&["top"], "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("there is no terminal"), "{said}");
    }
}

/// A journal that writes what it gets into a file, a field a line. The real one is started by the packages' own tests.
const JOURNAL: &str = r#"
import socket, struct, sys

def fields(entry):
    """Its own form: NAME=value, or NAME, eight octets of length, value; each ends a line."""
    while entry:
        name, entry = entry.split(b"\n", 1)
        if b"=" not in name:
            length = struct.unpack("<Q", entry[:8])[0]
            name, entry = name + b"=" + entry[8 : 8 + length], entry[9 + length :]
        yield name.replace(b"\n", b" ") + b"\n"

journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.bind("/run/systemd/journal/socket")
with open(sys.argv[1], "ab", buffering=0) as out:
    out.write(b"READY\n")
    while True:
        out.write(b"".join(fields(journal.recv(1 << 20))))
"#;

/// What begins the daemon as systemd does: its errors lead to the journal, and a variable says so.
const SERVICE: &str = r#"
mount -t tmpfs none /run && mkdir -p /run/systemd/journal
python3 -c "$1" "$2" &
until grep -q READY "$2"; do sleep 0.05; done
JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) exec "$3" edge run --config "$4"
"#;

#[test]
fn under_systemd_the_journal_gets_the_fields() {
    let _alone = alone();
    let mut pair = Pair::start();
    pair.edge.terminate(PATIENCE);
    let (log, out) = (pair.dir().join("service"), pair.dir().join("journal"));
    std::fs::write(&out, "").unwrap();
    let mut service = process::command(None, "unshare");
    service.args(["--mount", "sh", "-c", SERVICE, "service", JOURNAL]).arg(&out);
    service.arg(testkit::binary::postern()).arg(pair.edge.config());
    let _service = process::Process::start(service, &log);
    pair.wait_for_link();
    send(&pair, "journal");
    let told = until("the journal has the line", PATIENCE, || {
        let told = String::from_utf8_lossy(&std::fs::read(&out).unwrap()).into_owned();
        told.contains("mail in").then_some(told)
    });
    for field in
        ["ITEM=", "FROM=sender.test", "TO=example.org", "VERDICT=handed-off", "PRIORITY=", "TARGET=mail"]
    {
        let field = field.to_owned();
        assert!(told.lines().any(|line| line.starts_with(&field)), "{field}: {told}");
    }
    assert!(!std::fs::read_to_string(&log).unwrap().contains("mail in"), "once");
}
