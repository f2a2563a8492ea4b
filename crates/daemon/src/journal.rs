//! systemd's journal: each line of the log as one entry, with its fields beside its text, by the journal's own protocol
//! (systemd.io/JOURNAL_NATIVE_PROTOCOL). The text has the fields as well, so that who reads it sees them, and so do programs that
//! read nothing but text.

use std::fmt;
use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::FormatFields as _;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::Context;

/// Where the journal takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";
/// Octets of one entry; what is more would have to be handed over in a file. No line of ours comes near it.
const ENTRY_OCTETS_MAX: usize = 64 * 1024;

/// Writes into the journal.
#[derive(Debug)]
pub(crate) struct Journal(UnixDatagram);

impl Journal {
    /// # Errors
    /// When the journal can't be reached.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        Ok(Self(socket))
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut entry = entry(event);
        entry.truncate(ENTRY_OCTETS_MAX);
        // A log that can't be written is no reason to stop.
        let _ = self.0.send(&entry);
    }
}

fn entry(event: &Event<'_>) -> Vec<u8> {
    let about = event.metadata();
    let mut text = String::new();
    let _ = DefaultFields::new().format_fields(Writer::new(&mut text), event);
    let mut entry = Vec::with_capacity(512);
    // First, so that it is whole whatever is cut off.
    put(&mut entry, "MESSAGE", &text);
    put(&mut entry, "PRIORITY", priority(about));
    put(&mut entry, "SYSLOG_IDENTIFIER", "postern");
    put(&mut entry, "TARGET", about.target());
    if let (Some(file), Some(line)) = (about.file(), about.line()) {
        put(&mut entry, "CODE_FILE", file);
        put(&mut entry, "CODE_LINE", &line.to_string());
    }
    event.record(&mut Fields(&mut entry));
    entry
}

/// As syslog(3) counts them.
fn priority(about: &Metadata<'_>) -> &'static str {
    match *about.level() {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

/// One field, with its length: whatever is in it, it is one.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    entry.extend_from_slice(name.as_bytes());
    entry.push(b'\n');
    entry.extend_from_slice(&u64::try_from(value.len()).unwrap_or_default().to_le_bytes());
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

/// The fields of a line, by their names in capitals.
struct Fields<'a>(&'a mut Vec<u8>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: &str) {
        if field.name() != "message" {
            put(self.0, &name(field.name()), value);
        }
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

/// What the journal takes for a name: capitals, digits and underscores, and no underscore first.
fn name(field: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    field.trim_start_matches('_').chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Keeps entries in place of the journal.
    struct Kept(Arc<Mutex<Vec<Vec<u8>>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            self.0.lock().unwrap().push(entry(event));
        }
    }

    /// Reads an entry as the journal does.
    fn read(mut entry: &[u8]) -> Vec<(String, String)> {
        let mut fields = Vec::new();
        while let Some(end) = entry.iter().position(|octet| *octet == b'\n') {
            let (name, rest) = (&entry[..end], &entry[end + 1..]);
            let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
            let value = &rest[8..8 + length];
            assert_eq!(rest[8 + length], b'\n');
            entry = &rest[9 + length..];
            let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
            fields.push((text(name), text(value)));
        }
        fields
    }

    /// Symptom: the journal showed "login failed" and no word of who. Cause: the fields were beside the text alone.
    #[test]
    fn an_entry_has_its_fields_in_the_text_and_beside_it_and_no_value_makes_another_field() {
        let kept = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let subscriber = tracing_subscriber::registry().with(Kept(Arc::clone(&kept)));
        tracing::subscriber::with_default(subscriber, || {
            let client = "203.0.113.9";
            tracing::warn!(target: "mail", %client, service = "IMAP", user = "a\nPRIORITY=0", code = 7, "login failed");
        });
        let fields = read(&kept.lock().unwrap()[0]);
        let of = |name: &str| {
            let mut found = fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
            let first = found.next();
            assert!(found.next().is_none(), "{name} is there once");
            first
        };
        let text = "login failed client=203.0.113.9 service=\"IMAP\" user=\"a\\nPRIORITY=0\" code=7";
        assert_eq!(of("MESSAGE"), Some(text));
        assert_eq!((of("PRIORITY"), of("TARGET")), (Some("4"), Some("mail")));
        assert_eq!((of("CLIENT"), of("SERVICE"), of("CODE")), (Some("203.0.113.9"), Some("IMAP"), Some("7")));
        assert_eq!(of("USER"), Some("a\nPRIORITY=0"));
        assert_eq!(of("SYSLOG_IDENTIFIER"), Some("postern"));
    }

    #[test]
    fn names_are_such_as_the_journal_takes() {
        assert_eq!(name("peer"), "PEER");
        assert_eq!(name("_log.line"), "LOG_LINE");
    }
}
