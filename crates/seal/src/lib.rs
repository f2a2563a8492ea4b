//! Sealed items: `age` files that only Home's key opens.
//!
//! Inside: the envelope as one line of JSON, the message as it came, and the verdict as a last line of JSON,
//! so that `age --decrypt` and an editor are enough to recover one by hand.
//! ```text
//! {"item":…,"accepted":…,"envelope":{…}} LF  message  LF {"hops":…}
//! ```

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::str::FromStr;

use age::secrecy::ExposeSecret as _;
use age::stream::{StreamReader, StreamWriter};
use age::x25519::Identity;
use age::{Decryptor, EncryptError, Encryptor};
use age_core::format::{FileKey, Stanza};
use age_core::primitives::{aead_encrypt, bech32_decode, hkdf};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::rand::SystemRandom;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use link::Open;
use mail::Verdict;

/// Most octets of the first and the last line.
const LINE_OCTETS_MAX: usize = link::CONTROL_FRAME_MAX;

/// The sealing key's public half, as Edge has it.
#[derive(Clone)]
pub struct SealTo([u8; 32]);

impl SealTo {
    /// Parses `age1…`.
    ///
    /// # Errors
    /// The reason why the text is no such key.
    pub fn parse(text: &str) -> Result<Self, String> {
        bech32_decode(
            text,
            |error| format!("it is not Bech32: {error}"),
            |prefix| if prefix.as_str() == "age" { Ok(()) } else { Err("it is no age recipient".to_owned()) },
            |_, octets| {
                let octets: Vec<u8> = octets.collect();
                octets.try_into().map(Self).map_err(|_| "it has not 32 octets".to_owned())
            },
        )
    }

    /// Begins an `age` file for this key.
    ///
    /// # Errors
    /// When the key can't be used (a public half that is of low order), or as `output` says.
    pub fn begin<W: Write>(&self, output: W) -> io::Result<StreamWriter<W>> {
        let recipient: &dyn age::Recipient = self;
        Encryptor::with_recipients(std::iter::once(recipient)).map_err(io::Error::other)?.wrap_output(output)
    }

    /// Seals a few octets, such as a journal record.
    ///
    /// # Errors
    /// When the key can't be used.
    pub fn seal(&self, octets: &[u8]) -> io::Result<Vec<u8>> {
        let mut sealed = Vec::with_capacity(octets.len() + 256);
        let mut writer = self.begin(&mut sealed)?;
        writer.write_all(octets)?;
        writer.finish()?;
        Ok(sealed)
    }
}

/// `age`'s X25519 recipient (its specification, "The X25519 recipient type"), by the library that TLS uses:
/// one agreement is most of what sealing a small message costs, and `age`'s own takes three times as long.
impl age::Recipient for SealTo {
    fn wrap_file_key(&self, file_key: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let failed = || EncryptError::Io(io::Error::other("the sealing key can't be used"));
        let ephemeral = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(|_| failed())?;
        let share = ephemeral.compute_public_key().map_err(|_| failed())?;
        let salt = [share.as_ref(), &self.0].concat();
        let theirs = UnparsedPublicKey::new(&X25519, &self.0);
        // A secret of zeros, which a key of low order would give, is an error here.
        let body = agree_ephemeral(ephemeral, theirs, failed(), |secret| {
            let key = hkdf(&salt, b"age-encryption.org/v1/X25519", secret);
            Ok(aead_encrypt(&key, file_key.expose_secret()))
        })?;
        let args = vec![BASE64_STANDARD_NO_PAD.encode(&share)];
        Ok((vec![Stanza { tag: "X25519".to_owned(), args, body }], HashSet::new()))
    }
}

/// An item being sealed piece by piece.
pub struct Sealing<W: Write> {
    writer: StreamWriter<W>,
}

impl<W: Write> Sealing<W> {
    /// Writes the first line of the item.
    ///
    /// # Errors
    /// As [`SealTo::begin`].
    pub fn begin(to: &SealTo, output: W, open: &Open) -> io::Result<Self> {
        let mut writer = to.begin(output)?;
        writer.write_all(&serde_json::to_vec(open)?)?;
        writer.write_all(b"\n")?;
        Ok(Self { writer })
    }

    /// Writes a piece of the message.
    ///
    /// # Errors
    /// The output's error.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.writer.write_all(piece)
    }

    /// Writes the last line and ends the file.
    ///
    /// # Errors
    /// The output's error.
    pub fn finish(mut self, verdict: &Verdict) -> io::Result<W> {
        self.writer.write_all(b"\n")?;
        self.writer.write_all(&serde_json::to_vec(verdict)?)?;
        self.writer.finish()
    }
}

/// Draws a new sealing key: the private half as text, the public half as text.
pub fn generate_key() -> (String, String) {
    let identity = Identity::generate();
    (identity.to_string().expose_secret().to_owned(), identity.to_public().to_string())
}

/// The sealing key's private half, as only Home has it.
#[derive(Clone)]
pub struct UnsealWith(Identity);

impl UnsealWith {
    /// Parses `AGE-SECRET-KEY-1…`.
    ///
    /// # Errors
    /// The reason why the text is no such key.
    pub fn parse(text: &str) -> Result<Self, String> {
        Identity::from_str(text.trim()).map(Self).map_err(str::to_owned)
    }

    /// The public half, for the snapshot.
    pub fn public(&self) -> String {
        self.0.to_public().to_string()
    }

    fn open<R: Read>(&self, input: R) -> io::Result<StreamReader<R>> {
        let identity: &dyn age::Identity = &self.0;
        let decryptor = Decryptor::new(input).map_err(io::Error::other)?;
        decryptor.decrypt(std::iter::once(identity)).map_err(io::Error::other)
    }

    /// Opens a few octets, such as a journal record.
    ///
    /// # Errors
    /// When they are sealed for another key, cut, or changed.
    pub fn unseal(&self, sealed: &[u8]) -> io::Result<Vec<u8>> {
        let mut octets = Vec::new();
        let limit = LINE_OCTETS_MAX as u64 * 2;
        self.open(sealed)?.take(limit).read_to_end(&mut octets)?;
        Ok(octets)
    }

    /// Opens an item: gives the envelope, writes the message to `message`, gives the verdict.
    ///
    /// # Errors
    /// When it is sealed for another key, cut, changed, or has no envelope or verdict inside; some of the message may be written
    /// then. Or as `sealed` and `message` say.
    pub fn unseal_item(&self, sealed: impl Read, mut message: impl Write) -> io::Result<(Open, Verdict)> {
        let mut input = self.open(sealed)?;
        let (open, mut held) = read_first_line(&mut input)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = input.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            held.extend_from_slice(buffer.get(..count).unwrap_or_default());
            if held.len() > 2 * LINE_OCTETS_MAX {
                let settled = held.len() - LINE_OCTETS_MAX;
                message.write_all(held.get(..settled).unwrap_or_default())?;
                held.drain(..settled);
            }
        }
        let last = memchr_last(&held).ok_or_else(|| malformed("it has no verdict"))?;
        message.write_all(held.get(..last).unwrap_or_default())?;
        Ok((open, serde_json::from_slice(held.get(last + 1..).unwrap_or_default())?))
    }
}

fn memchr_last(octets: &[u8]) -> Option<usize> {
    octets.iter().rposition(|octet| *octet == b'\n')
}

fn read_first_line(input: &mut impl Read) -> io::Result<(Open, Vec<u8>)> {
    let mut held = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(at) = held.iter().position(|octet| *octet == b'\n') {
            let open = serde_json::from_slice(held.get(..at).unwrap_or_default())?;
            return Ok((open, held.split_off(at + 1)));
        }
        let count = input.read(&mut buffer)?;
        if count == 0 || held.len() > LINE_OCTETS_MAX {
            return Err(malformed("it has no envelope"));
        }
        held.extend_from_slice(buffer.get(..count).unwrap_or_default());
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Open {
        let envelope =
            serde_json::from_str(r#"{"reverse_path":"","recipients":[{"address":"bob@example.org"}]}"#)
                .unwrap();
        Open { item: mail::ItemId::from_bytes([1; 16]), accepted: mail::UnixTime(7), envelope }
    }

    fn seal(to: &SealTo, message: &[u8]) -> Vec<u8> {
        let mut sealing = Sealing::begin(to, Vec::new(), &open()).unwrap();
        for piece in message.chunks(50_000) {
            sealing.write(piece).unwrap();
        }
        sealing.finish(&Verdict { hops: 4, ..Verdict::default() }).unwrap()
    }

    fn keys() -> (SealTo, UnsealWith) {
        let (private, public) = generate_key();
        let unseal = UnsealWith::parse(&private).unwrap();
        assert_eq!(unseal.public(), public);
        (SealTo::parse(&public).unwrap(), unseal)
    }

    #[test]
    fn messages_come_out_as_they_went_in() {
        let (to, with) = keys();
        let large: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
        for message in [&b""[..], b"\n", b"Subject: x\r\n\r\nbody\r\n", b"no line end", &large] {
            let mut out = Vec::new();
            let sealed = seal(&to, message);
            let (opened, verdict) = with.unseal_item(&sealed[..], &mut out).unwrap();
            assert_eq!((opened, verdict.hops), (open(), 4));
            assert!(out == message);
        }
    }

    #[test]
    fn nothing_readable_is_in_a_sealed_item_and_another_key_does_not_open_it() {
        let (to, _) = keys();
        let (_, other) = keys();
        let sealed = seal(&to, b"MARKER in the body");
        let text = String::from_utf8_lossy(&sealed);
        assert!(!text.contains("MARKER") && !text.contains("bob"));
        assert!(other.unseal_item(&sealed[..], Vec::new()).is_err());
    }

    #[test]
    fn a_cut_or_changed_item_is_noticed() {
        let (to, with) = keys();
        let sealed = seal(&to, &[b'x'; 100_000]);
        assert!(with.unseal_item(&sealed[..sealed.len() - 1], Vec::new()).is_err());
        let mut changed = sealed;
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        assert!(with.unseal_item(&changed[..], Vec::new()).is_err());
    }
}
