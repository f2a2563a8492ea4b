//! Postfix as the edge of a home: it takes the world's mail and hands it in by SMTP with TLS first.

use std::net::SocketAddr;

use super::Postfix;
use crate::certificates::Certificate;

/// How the edge proves who it is.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// By a client certificate.
    Certificate(&'a Certificate),
    /// By a user name and a password.
    Login(&'a str, &'a str),
    /// Not at all.
    Nothing,
}

impl Postfix {
    /// Starts an edge for these domains that hands their mail in at `home`, where it asks about recipients before it
    /// takes them. What it can't hand in it tries again each second.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn edge(domains: &str, home: SocketAddr, proof: Proof<'_>) -> Self {
        let next = format!("[{}]:{}", home.ip(), home.port());
        let postfix = Self::prepare();
        let proof = match proof {
            Proof::Nothing => String::new(),
            Proof::Login(user, password) => format!(
                "smtp_sasl_auth_enable = yes\nsmtp_sasl_security_options = noanonymous\n\
                 smtp_sasl_password_maps = inline:{{ {{ {next} = {user}:{password} }} }}\n"
            ),
            Proof::Certificate(certificate) => {
                std::fs::copy(&certificate.chain, postfix.path("client.pem")).expect("a certificate");
                std::fs::copy(&certificate.key, postfix.path("client.key")).expect("a key");
                let dir = postfix.dir.path().display();
                format!("smtp_tls_cert_file = {dir}/client.pem\nsmtp_tls_key_file = {dir}/client.key\n")
            }
        };
        let task = format!(
            "myhostname = mx.edge.test\nmynetworks =\nrelay_domains = {domains}\nrelay_transport = smtp:{next}\n\
             smtpd_recipient_restrictions = reject_unauth_destination, reject_unverified_recipient\n\
             unverified_recipient_reject_code = 550\naddress_verify_map =\naddress_verify_poll_delay = 1s\n\
             address_verify_negative_refresh_time = 1s\naddress_verify_negative_expire_time = 2s\n\
             smtp_tls_wrappermode = yes\nsmtp_tls_security_level = encrypt\nqueue_run_delay = 1s\n\
             minimal_backoff_time = 1s\nmaximal_backoff_time = 2s\n"
        );
        postfix.launch(&(task + &proof))
    }
}
