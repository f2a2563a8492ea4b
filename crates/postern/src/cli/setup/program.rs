//! The lines to type into a mail program, as text and as a picture for a telephone.

use std::io::IsTerminal as _;
use std::net::{IpAddr, SocketAddr};

use daemon::print;
use home::config::HomeConfig;

/// The lines for an account of this home, whose host has these addresses.
pub(super) fn lines(config: &HomeConfig, account: &str, addresses: &[IpAddr]) -> Vec<String> {
    let host = addresses
        .first()
        .map_or_else(|| "the address of this host in your network".to_owned(), IpAddr::to_string);
    let port = |listen: &[SocketAddr], usual| listen.first().map_or(usual, SocketAddr::port);
    let (imap, submission) = (port(&config.listen.imap, 993), port(&config.listen.submission, 465));
    let mut lines = Vec::new();
    if config.deliver.is_none() {
        lines.push(format!("receive (IMAP): server {host}, port {imap}, security SSL/TLS, user {account}"));
    }
    lines.push(format!("send (SMTP):    server {host}, port {submission}, security SSL/TLS, user {account}"));
    if config.tls.is_self_made() {
        lines.push("the certificate is self-made: the program asks once whether you trust it".to_owned());
    }
    lines
}

/// Prints them; on a terminal also as a QR code.
pub(super) fn show(config: &HomeConfig, account: &str, addresses: &[IpAddr]) {
    let lines = lines(config, account, addresses);
    print::text("\nFor the mail program:");
    lines.iter().for_each(|line| print::text(&format!("  {line}")));
    if std::io::stdout().is_terminal()
        && let Ok(code) = qrcode::QrCode::new(lines.join("\n").as_bytes())
    {
        print::text("The same for the camera of a telephone:");
        print::text(&code.render::<qrcode::render::unicode::Dense1x2>().quiet_zone(true).build());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_program_is_told_server_ports_security_and_user() {
        let config: HomeConfig =
            toml::from_str("domains = [\"example.org\"]\n[listen]\nimap = [\"0.0.0.0:1993\"]\n").unwrap();
        let told = lines(&config, "you@example.org", &["192.168.7.9".parse().unwrap()]);
        assert_eq!(
            told[0],
            "receive (IMAP): server 192.168.7.9, port 1993, security SSL/TLS, user you@example.org"
        );
        assert_eq!(
            told[1],
            "send (SMTP):    server 192.168.7.9, port 465, security SSL/TLS, user you@example.org"
        );
        assert!(told[2].contains("self-made"));
        let nowhere = lines(&config, "you@example.org", &[]);
        assert!(nowhere[0].contains("server the address of this host in your network"), "{nowhere:?}");
    }
}
