//! Postfix as the edge of a home: it takes the world's mail and hands it in by SMTP with TLS first, and sends what the
//! home gives it to the world.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::Postfix;
use crate::certificates::Certificate;
use crate::remote_mta::Site;
use crate::{page, ports};

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
        let mut postfix = Self::prepare();
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
        postfix.copy(relaying.certificate, "certificate.pem", "key.pem");
        let mut task = postfix.hand_in(domains, home, proof);
        let Relaying { auth, client, world, .. } = relaying;
        let _ = write!(
            task,
            "relayhost = [{}]:{}\nsmtpd_tls_fingerprint_digest = sha256\n\
             relay_clientcerts = inline:{{ {{ {client} = home }} }}\n",
            world.ip(),
            world.port()
        );
        std::fs::write(postfix.path("hidden"), page::text("/etc/postfix/hidden, with Home's hostname"))
            .expect("a file");
        let _ = writeln!(
            postfix.services,
            "home-cleanup unix n - n - 0 cleanup\n    -o header_checks=regexp:{}",
            postfix.path("hidden").display()
        );
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

    /// Starts an edge on port 25 of a host, as `mx` of the domain, which sends to the world by MX. What it does for the home
    /// is, to the letter, what `docs/src/standard-hops.md` says; `auth` is where Dovecot is asked about logins.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn public_edge(site: &Site, domain: &str, home: SocketAddr, own: &Certificate, auth: &Path) -> Self {
        let mut postfix = Self::prepare();
        postfix.settle_at(site);
        postfix.copy(own, "certificate.pem", "key.pem");
        let task = postfix.hand_in(domain, home, Proof::Certificate(own));
        let host = format!("myhostname = mx.{domain}\ninet_interfaces = {}\n", site.address);
        let way_in = page::text("master.cf of the edge: the way in for Home")
            .replace("smtps inet", &format!("{} inet", site.port(465)))
            .replace("private/auth", &auth.display().to_string());
        postfix.services += &postfix.placed(&way_in);
        let hidden = page::text("/etc/postfix/hidden, with Home's hostname");
        std::fs::write(postfix.path("hidden"), hidden.replace("example\\.org", &domain.replace('.', "\\.")))
            .expect("a file");
        postfix.launch(&(task + &host + "smtp_tls_security_level = may\n"))
    }

    /// With the files of an operator's `/etc/postfix` where this one's are.
    pub(super) fn placed(&self, text: &str) -> String {
        text.replace("/etc/postfix", &self.dir.path().display().to_string()).replace("hash:", "texthash:")
    }

    fn copy(&self, certificate: &Certificate, chain: &str, key: &str) {
        std::fs::copy(&certificate.chain, self.path(chain)).expect("a certificate");
        std::fs::copy(&certificate.key, self.path(key)).expect("a key");
    }

    /// The part of main.cf that hands mail in, as the page has it; the service that does it is added to the others.
    fn hand_in(&mut self, domains: &str, home: SocketAddr, proof: Proof<'_>) -> String {
        let next = format!("[{}]:{}", home.ip(), home.port());
        let service = page::text("master.cf of the edge: the service relay");
        let (plain, certificate) =
            service.split_once("    -o smtp_tls_cert_file").expect("the certificate stands last");
        self.services += plain;
        match proof {
            Proof::Nothing => {}
            Proof::Login(user, password) => {
                std::fs::write(self.path("home-password"), format!("{next} {user}:{password}\n"))
                    .expect("a file");
                self.services +=
                    &self.placed(&page::text("master.cf of the edge: in place of the certificate"));
            }
            Proof::Certificate(own) => {
                self.copy(own, "client.pem", "client.key");
                self.services += &self.placed(&format!("    -o smtp_tls_cert_file{certificate}"));
            }
        }
        let task = page::text("main.cf of the edge")
            .replace("example.org", domains)
            .replace("[10.8.0.2]:4465", &next);
        // Nothing is remembered, and nothing waits for long.
        task + "myhostname = mx.edge.test\nmynetworks =\naddress_verify_map =\naddress_verify_poll_delay = 1s\n\
                address_verify_negative_refresh_time = 1s\naddress_verify_negative_expire_time = 2s\n\
                queue_run_delay = 1s\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\n\
                smtpd_relay_restrictions = reject_unauth_destination\n"
    }
}
