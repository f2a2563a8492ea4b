//! Postfix as the edge of a home: it takes the world's mail and hands it in by SMTP with TLS first, and sends what the
//! home gives it to the world.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::Postfix;
use crate::certificates::Certificate;
use crate::ports;
use crate::remote_mta::Site;

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

/// What the edge does for the home beside handing in.
#[derive(Debug, Clone, Copy)]
pub struct Relaying<'a> {
    /// Its own certificate.
    pub certificate: &'a Certificate,
    /// Where Dovecot is asked about logins.
    pub auth: &'a Path,
    /// The SHA-256 of the client certificate that may send as well.
    pub client: &'a str,
    /// The world.
    pub world: SocketAddr,
}

impl Postfix {
    /// Starts an edge for these domains that hands their mail in at `home`, where it asks about recipients before it
    /// takes them. What it can't hand in it tries again each second.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn edge(domains: &str, home: SocketAddr, proof: Proof<'_>) -> Self {
        let postfix = Self::prepare();
        let task = postfix.hand_in(domains, home, proof);
        postfix.launch(&task)
    }

    /// Starts an edge that also takes mail for the world from whoever logs in or shows the right certificate: at the
    /// first address with TLS first, at the second with STARTTLS. There `refused@` is refused at once.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn edge_both_ways(
        domains: &str,
        home: SocketAddr,
        proof: Proof<'_>,
        relaying: Relaying<'_>,
    ) -> (Self, SocketAddr, SocketAddr) {
        let mut postfix = Self::prepare();
        let (implicit, starttls) = (ports::free(), ports::free());
        std::fs::copy(&relaying.certificate.chain, postfix.path("certificate.pem")).expect("a certificate");
        std::fs::copy(&relaying.certificate.key, postfix.path("key.pem")).expect("a key");
        let mut task = postfix.hand_in(domains, home, proof);
        let Relaying { auth, client, world, .. } = relaying;
        let _ = write!(
            task,
            "relayhost = [{}]:{}\nsmtpd_tls_fingerprint_digest = sha256\n\
             relay_clientcerts = inline:{{ {{ {client} = home }} }}\n",
            world.ip(),
            world.port()
        );
        postfix.hide_home("mail.example.org");
        for (address, wrapped) in [(implicit, "yes"), (starttls, "no")] {
            let _ = write!(
                postfix.services,
                "{address} inet n - n - - smtpd\n    -o smtpd_tls_wrappermode={wrapped}\n\
                 \x20   -o smtpd_tls_security_level=encrypt\n    -o smtpd_tls_ask_ccert=yes\n\
                 \x20   -o cleanup_service_name=home-cleanup\n\
                 \x20   -o smtpd_sasl_auth_enable=yes\n    -o smtpd_sasl_type=dovecot\n\
                 \x20   -o smtpd_sasl_path={auth}\n\
                 \x20   -o {{smtpd_relay_restrictions=permit_sasl_authenticated, permit_tls_clientcerts, reject}}\n\
                 \x20   -o {{smtpd_recipient_restrictions=check_recipient_access \
                 inline:{{refused@remote.test=REJECT}}, permit_sasl_authenticated, permit_tls_clientcerts, reject}}\n",
                auth = auth.display(),
            );
        }
        (postfix.launch(&task), implicit, starttls)
    }

    /// Starts an edge on port 25 of a host, as `mx` of the domain. It hands mail in with its certificate, sends to the
    /// world by MX, and takes mail for it at port 465 from whoever logs in, of which Dovecot is asked at `auth`.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn public_edge(site: &Site, domain: &str, home: SocketAddr, own: &Certificate, auth: &Path) -> Self {
        let mut postfix = Self::prepare();
        postfix.settle_at(site);
        std::fs::copy(&own.chain, postfix.path("certificate.pem")).expect("a certificate");
        std::fs::copy(&own.key, postfix.path("key.pem")).expect("a key");
        let mut task = postfix.hand_in(domain, home, Proof::Certificate(own));
        let _ = write!(
            task,
            "myhostname = mx.{domain}\ninet_interfaces = {}\nsmtpd_relay_restrictions = reject_unauth_destination\n\
             smtp_tls_security_level = may\n",
            site.address
        );
        postfix.hide_home(&format!("mail.{domain}"));
        let _ = write!(
            postfix.services,
            "{at} inet n - n - - smtpd\n    -o smtpd_tls_wrappermode=yes\n\
             \x20   -o smtpd_tls_security_level=encrypt\n    -o cleanup_service_name=home-cleanup\n\
             \x20   -o smtpd_sasl_auth_enable=yes\n    -o smtpd_sasl_type=dovecot\n\
             \x20   -o smtpd_sasl_path={auth}\n\
             \x20   -o {{smtpd_relay_restrictions=permit_sasl_authenticated, reject}}\n\
             \x20   -o {{smtpd_recipient_restrictions=permit_sasl_authenticated, reject}}\n",
            at = site.port(465),
            auth = auth.display(),
        );
        postfix.launch(&task)
    }

    /// A service that does not write where the home's mail came from: that would tell the world where the home is.
    fn hide_home(&mut self, home: &str) {
        let line = format!("/^Received: from {} / IGNORE\n", home.replace('.', "\\."));
        std::fs::write(self.path("hidden"), line).expect("a file");
        let _ = writeln!(
            self.services,
            "home-cleanup unix n - n - 0 cleanup\n    -o header_checks=regexp:{}",
            self.path("hidden").display()
        );
    }

    /// The part of main.cf that hands mail in.
    fn hand_in(&self, domains: &str, home: SocketAddr, proof: Proof<'_>) -> String {
        let next = format!("[{}]:{}", home.ip(), home.port());
        let proof = match proof {
            Proof::Nothing => String::new(),
            Proof::Login(user, password) => format!(
                "smtp_sasl_auth_enable = yes\nsmtp_sasl_security_options = noanonymous\n\
                 smtp_sasl_password_maps = inline:{{ {{ {next} = {user}:{password} }} }}\n"
            ),
            Proof::Certificate(certificate) => {
                std::fs::copy(&certificate.chain, self.path("client.pem")).expect("a certificate");
                std::fs::copy(&certificate.key, self.path("client.key")).expect("a key");
                let dir = self.dir.path().display();
                format!("smtp_tls_cert_file = {dir}/client.pem\nsmtp_tls_key_file = {dir}/client.key\n")
            }
        };
        let task = format!(
            "myhostname = mx.edge.test\nmynetworks =\nrelay_domains = {domains}\nrelay_transport = relay:{next}\n\
             smtpd_recipient_restrictions = reject_unauth_destination, reject_unverified_recipient\n\
             unverified_recipient_reject_code = 550\naddress_verify_map =\naddress_verify_poll_delay = 1s\n\
             address_verify_negative_refresh_time = 1s\naddress_verify_negative_expire_time = 2s\n\
             queue_run_delay = 1s\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\n"
        );
        task + &proof
    }

    /// The service that hands in, TLS first.
    pub(super) const HAND_IN: &str = "relay unix - - n - - smtp\n    -o smtp_tls_wrappermode=yes\n    \
        -o smtp_tls_security_level=encrypt\n";
}
