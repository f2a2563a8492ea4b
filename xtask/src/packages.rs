//! The Debian packages that the tests need. They are installed when we may, else named: a journey is never
//! left out because its peer is not there.

use std::process::{Command, Stdio};

use crate::step::Failure;

/// Package, and what it is for.
const PACKAGES: &[(&str, &str)] = &[
    ("gcc", "compiles SQLite, the cryptography, and the shim that lets system calls fail"),
    ("libc6-dev", "headers for the same"),
    ("postfix", "smtp-source as a sender, and the MTA that mail is sent to"),
    ("libsasl2-modules", "lets Postfix log in, as an edge or a null client"),
    ("swaks", "an SMTP client for dialogues with STARTTLS and logins"),
    ("libnet-ssleay-perl", "TLS for swaks"),
    ("msmtp", "a mail program that submits"),
    ("isync", "mbsync, a mail program that reads"),
    ("python3", "imaplib, a second one, and TLS dialogues"),
    ("python3-dkim", "signs messages, to be verified"),
    ("python3-authres", "lets it seal ARC sets"),
    ("python3-dnspython", "the name server of the public SPF suite"),
    ("python3-yaml", "reads that suite"),
    ("python3-nacl", "Ed25519 for it"),
    ("knot", "an authoritative name server with signed zones"),
    ("knot-dnsutils", "kdig, to see what it says"),
    ("bind9", "another one, which takes changes of its zones"),
    ("bind9-dnsutils", "nsupdate, which the example of a hook calls"),
    ("libpython3.11-testsuite", "real and broken messages: the test data of Python's email package"),
    ("openssl", "certificates for the other MTA"),
    ("iproute2", "network namespaces"),
    ("util-linux", "mount namespaces, for what follows"),
    ("mount", "mounts in them"),
    // Exim and OpenSMTPD would drive Postfix out: the tests unpack them themselves, and these are what they need.
    ("libidn12", "Exim"),
    ("libgnutls-dane0", "Exim"),
    ("libnsl2", "Exim"),
    ("libpcre2-8-0", "Exim"),
    ("libdb5.3", "Exim and OpenSMTPD"),
    ("libwrap0", "stunnel, which is unpacked, too"),
    ("libevent-2.1-7", "OpenSMTPD"),
    (
        "opendkim",
        "a milter that signs and verifies, also that of the Postfix pair that the bench compares with",
    ),
    ("postsrsd", "rewrites reverse-paths, to be compared with ours"),
    ("rspamd", "the spam filter that Home asks and teaches"),
    ("redis-server", "where rspamd keeps what it learned"),
    ("clamav-daemon", "a virus scanner, with signatures of our own"),
    ("clamav-milter", "its milter"),
    ("postfix-policyd-spf-python", "its SPF policy service"),
    ("dovecot-imapd", "its mailboxes"),
    ("dovecot-lmtpd", "the way into them"),
    ("nftables", "the NAT and the firewall between them"),
    ("unbound", "the resolver of the world, which validates"),
    ("tshark", "listens on its wires"),
    ("fail2ban", "reads failed logins in the log, with the filter that is shipped"),
    ("nmap", "looks for open ports and open relays there"),
    ("debhelper", "packs the program for Debian"),
    ("dpkg-dev", "the same"),
    ("lintian", "what Debian says of that package"),
    ("qemu-user-static", "runs the program for arm64"),
    ("mmdebstrap", "fresh Debians, on which the package is installed"),
    ("systemd-container", "boots them"),
    ("buildah", "makes images for containers"),
    ("podman", "runs them"),
    ("python3-dotenv", "podman-compose, which runs them as the compose file says"),
    ("runc", "what they run in: crun wants another kind of cgroups than some machines have"),
    ("faketime", "clocks that a story can set"),
];

/// Makes sure that every package is there.
pub(crate) fn provide() -> Result<(), Failure> {
    let missing: Vec<&(&str, &str)> = PACKAGES.iter().filter(|(name, _)| !is_installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|(name, _)| *name).collect();
    if !is_root() {
        let reasons: Vec<String> = missing.iter().map(|(name, why)| format!("  {name}: {why}")).collect();
        return Err(Failure::new(format!(
            "these Debian packages are missing:\n{}\nwhat to do: sudo apt-get install --no-install-recommends {}",
            reasons.join("\n"),
            names.join(" "),
        )));
    }
    println!("installing {}", names.join(" "));
    apt_get(&["update", "--quiet"])?;
    let mut install = vec!["install", "--quiet", "--yes", "--no-install-recommends"];
    install.extend(&names);
    apt_get(&install)
}

fn is_installed(package: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status}", package])
        .stderr(Stdio::null())
        .output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn apt_get(arguments: &[&str]) -> Result<(), Failure> {
    let status = Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .args(arguments)
        .status()
        .map_err(|error| Failure::new(format!("could not run apt-get: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::new(format!("apt-get {} failed ({status})", arguments.join(" "))))
}
