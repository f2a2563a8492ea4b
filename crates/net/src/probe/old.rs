//! Whether a server still takes what RFC 8996 and RFC 9325 took out of use: versions below TLS 1.2, and ciphers that can be
//! broken. No library offers them any more, so the first message of such a handshake is written here by hand; it goes no
//! further than the server's answer.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What nobody should take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// TLS 1.0 and 1.1, with the ciphers that went with them (RFC 8996).
    OldVersions,
    /// TLS 1.2 with RC4, 3DES, EXPORT, NULL and anonymous ciphers only (RFC 9325 section 4.1).
    WeakCiphers,
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// Octets of the server's answer that are needed: record header, message header, version.
const ANSWER_OCTETS: usize = 11;

/// AES and 3DES with CBC, as TLS 1.0 had them.
const OLD_SUITES: &[u16] = &[0xc014, 0xc013, 0xc00a, 0xc009, 0x0035, 0x002f, 0xc012, 0x000a, 0x0005, 0x0004];
const WEAK_SUITES: &[u16] = &[
    0xc011, 0xc007, 0x0005, 0x0004, 0xc012, 0xc008, 0x0016, 0x000a, 0x0003, 0x0006, 0x0008, 0x0001, 0x0002,
    0x003b, 0x0018, 0x0034,
];

impl Offer {
    const fn version(self) -> u16 {
        match self {
            Self::OldVersions => 0x0302,
            Self::WeakCiphers => 0x0303,
        }
    }

    const fn suites(self) -> &'static [u16] {
        match self {
            Self::OldVersions => OLD_SUITES,
            Self::WeakCiphers => WEAK_SUITES,
        }
    }
}

/// Offers that and nothing else. `true` when the server goes on with it; a refusal, or the end of the stream, is `false`.
///
/// # Errors
/// When the offer can't be written.
pub async fn takes<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, offer: Offer) -> io::Result<bool> {
    stream.write_all(&hello(offer)).await?;
    stream.flush().await?;
    let mut answer = [0; ANSWER_OCTETS];
    if stream.read_exact(&mut answer).await.is_err() {
        return Ok(false);
    }
    let [kind, _, _, _, _, message, _, _, _, major, minor] = answer;
    let version = u16::from_be_bytes([major, minor]);
    Ok(kind == HANDSHAKE && message == SERVER_HELLO && (0x0300..=offer.version()).contains(&version))
}

/// A ClientHello (RFC 5246 section 7.4.1.2) with the curves and signatures that every server knows.
fn hello(offer: Offer) -> Vec<u8> {
    const EXTENSIONS: &[u8] = &[
        // supported_groups: P-256, P-384, x25519.
        0x00, 0x0a, 0x00, 0x08, 0x00, 0x06, 0x00, 0x17, 0x00, 0x18, 0x00,
        0x1d, // ec_point_formats: uncompressed.
        0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, // signature_algorithms: RSA and ECDSA, SHA-256 and SHA-1.
        0x00, 0x0d, 0x00, 0x0a, 0x00, 0x08, 0x04, 0x01, 0x04, 0x03, 0x02, 0x01, 0x02, 0x03,
    ];
    let suites: Vec<u8> = offer.suites().iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let mut body = offer.version().to_be_bytes().to_vec();
    // Its randomness protects nothing: no key comes of it.
    body.extend([0x5a; 32]);
    body.push(0);
    put(&mut body, &suites);
    body.extend([1, 0]);
    put(&mut body, EXTENSIONS);
    let mut message = vec![CLIENT_HELLO, 0];
    put(&mut message, &body);
    let mut record = vec![HANDSHAKE, 3, 1];
    put(&mut record, &message);
    record
}

/// With its length in two octets before it.
fn put(out: &mut Vec<u8>, content: &[u8]) {
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{CertificateFiles, ServerIdentity, ensure_self_signed};

    /// A server that takes what it is offered, in this version.
    async fn lenient(offer: Offer, version: u16) -> bool {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let [major, minor] = version.to_be_bytes();
        theirs
            .write_all(&[HANDSHAKE, major, minor, 0, 40, SERVER_HELLO, 0, 0, 36, major, minor, 0])
            .await
            .unwrap();
        takes(ours, offer).await.unwrap()
    }

    #[tokio::test]
    async fn a_server_that_goes_on_with_an_old_version_or_a_weak_cipher_is_found() {
        assert!(lenient(Offer::OldVersions, 0x0301).await && lenient(Offer::OldVersions, 0x0302).await);
        assert!(!lenient(Offer::OldVersions, 0x0303).await, "it wants a newer one, which was not offered");
        assert!(lenient(Offer::WeakCiphers, 0x0303).await);
    }

    #[tokio::test]
    async fn our_own_servers_take_neither() {
        let dir = tempfile::tempdir().unwrap();
        let files = CertificateFiles { certificate: dir.path().join("c.pem"), key: dir.path().join("k.pem") };
        ensure_self_signed(&files, "mx.example.org").unwrap();
        let acceptor = ServerIdentity::load(&files).unwrap().acceptor().unwrap();
        for offer in [Offer::OldVersions, Offer::WeakCiphers] {
            let (ours, theirs) = tokio::io::duplex(4096);
            let acceptor = acceptor.clone();
            let serving =
                tokio::spawn(
                    async move { acceptor.accept(theirs).await.err().map(|error| error.to_string()) },
                );
            assert!(!takes(ours, offer).await.unwrap());
            // It read the offer to its end and found nothing in it to agree on.
            let said = serving.await.unwrap().unwrap();
            assert!(
                said.contains("incompatible") || said.contains("no ciphersuites") || said.contains("Tls12"),
                "{said}"
            );
        }
    }
}
