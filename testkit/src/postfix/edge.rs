//! Postfix as the edge of a home: it takes the world's mail while Home says what becomes of it, and sends what the home
//! gives it to the world.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::Postfix;
use crate::certificates::Certificate;
use crate::newer::Release;
use crate::remote_mta::Site;
use crate::stunnel::Stunnel;
use crate::{page, ports};

/// How the edge proves who it is.
#[derive(Debug, Clone, Copy)]
pub enum Proof<'a> {
    /// It shows a client certificate.
    Certificate(&'a Certificate),
    /// By a user name and a password. Such an edge takes mail before Home does: Postfix can't log in from within a session.
    Login(&'a str, &'a str),
    /// It proves nothing.
    Nothing,
}

/// The way by which the edge hands mail in.
#[derive(Debug, Clone, Copy)]
pub struct WayHome<'a> {
    /// Home's port for its edge.
    pub home: SocketAddr,
    /// A file that has Home's certificate, by which it is known.
    pub certificate: &'a Path,
    /// The proof by which Home knows the edge.
    pub proof: Proof<'a>,
}

/// What the edge does for the home beside handing in.
#[derive(Debug, Clone, Copy)]
pub struct Relaying<'a> {
    /// The edge's own certificate.
    pub certificate: &'a Certificate,
    /// Where Dovecot is asked about logins.
    pub auth: &'a Path,
    /// The SHA-256 of the client certificate that may send as well.
    pub client: &'a str,
    /// The world.
    pub world: SocketAddr,
    /// Of which Debian it is, if not this host's.
    pub release: Option<Release>,
}

/// Of an edge that logs in: it asks about recipients, and has the message before Home sees it.
const BY_LOGIN: &str = "relay_domains = example.org\nrelay_transport = relay:[10.8.0.2]:4465\n\
    smtpd_recipient_restrictions = reject_unauth_destination, reject_unverified_recipient\n\
    unverified_recipient_reject_code = 550\naddress_verify_sender =\naddress_verify_map =\n\
    address_verify_poll_delay = 1s\naddress_verify_negative_refresh_time = 1s\n\
    address_verify_negative_expire_time = 2s\n";
/// The transport by which it reaches Home.
const RELAY_BY_LOGIN: &str = "relay unix - - n - - smtp\n    -o smtp_tls_wrappermode=yes\n\
    \x20   -o smtp_tls_security_level=encrypt\n    -o smtp_sasl_auth_enable=yes\n\
    \x20   -o smtp_sasl_security_options=noanonymous\n    -o smtp_sasl_password_maps=hash:/etc/postfix/home-password\n";
/// What tests want beside what the page says: nothing waits for long.
const SOON: &str = "queue_run_delay = 1s\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\n\
    smtpd_relay_restrictions = reject_unauth_destination\n";

impl Postfix {
    /// Starts an edge for these domains that hands their mail in at a home.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn edge(domains: &str, way: WayHome<'_>) -> Self {
        Self::edge_of(None, domains, way)
    }

    /// As [`Self::edge`], of another Debian.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn edge_of(release: Option<Release>, domains: &str, way: WayHome<'_>) -> Self {
        let mut postfix = Self::prepare();
        postfix.release = release;
        let task = postfix.hand_in(domains, way);
        postfix.launch(&(task + "myhostname = mx.edge.test\n"))
    }

    /// Starts an edge that also takes mail for the world from whoever logs in or shows the right certificate: at the
    /// first address with TLS first, at the second with STARTTLS. There `refused@` is refused at once.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn edge_both_ways(
        domains: &str,
        way: WayHome<'_>,
        relaying: Relaying<'_>,
    ) -> (Self, SocketAddr, SocketAddr) {
        let mut postfix = Self::prepare();
        postfix.release = relaying.release;
        let (implicit, starttls) = (ports::free(), ports::free());
        postfix.copy(relaying.certificate, "certificate.pem", "key.pem");
        let mut task = postfix.hand_in(domains, way);
        let Relaying { auth, client, world, .. } = relaying;
        let _ = write!(
            task,
            "myhostname = mx.edge.test\nrelayhost = [{}]:{}\nsmtpd_tls_fingerprint_digest = sha256\n\
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
    pub fn public_edge(site: &Site, domain: &str, way: WayHome<'_>, own: &Certificate, auth: &Path) -> Self {
        let mut postfix = Self::prepare();
        postfix.settle_at(site);
        postfix.copy(own, "certificate.pem", "key.pem");
        let task = postfix.hand_in(domain, way);
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

    /// The part of main.cf that hands mail in, as the page has it; the services that do it are added to the others.
    fn hand_in(&mut self, domains: &str, way: WayHome<'_>) -> String {
        if let Proof::Login(user, password) = way.proof {
            return self.hand_in_by_login(domains, way.home, (user, password));
        }
        // On a host of its own it has the port that the page names.
        let inner = if self.namespace.is_some() { ([127, 0, 0, 1], 4465).into() } else { ports::free() };
        self.wrap(inner, way);
        let own = format!("{inner}");
        let port_25 = page::text("master.cf of the edge: port 25")
            .replace("smtp inet", &format!("{} inet", self.address))
            .replace("127.0.0.1:4465", &own);
        self.port_25 = Some(self.placed(&port_25));
        self.services += &page::text("master.cf of the edge: the service relay");
        let first = domains.split(',').next().unwrap_or(domains);
        let task = page::text("main.cf of the edge")
            .replace("relay_domains = example.org", &format!("relay_domains = {domains}"))
            .replace("example.org", first)
            .replace("[127.0.0.1]:4465", &format!("[{}]:{}", inner.ip(), inner.port()));
        self.placed(&task) + SOON
    }

    /// Starts what gives it TLS to the home, as the page has it.
    fn wrap(&mut self, inner: SocketAddr, way: WayHome<'_>) {
        std::fs::copy(way.certificate, self.path("home.pem")).expect("a certificate");
        let mut text = page::text("/etc/stunnel/home.conf of the edge")
            .replace("127.0.0.1:4465", &inner.to_string())
            .replace("10.8.0.2:4465", &way.home.to_string())
            .replace("/etc/stunnel", &self.dir.path().display().to_string());
        match way.proof {
            Proof::Certificate(own) => self.copy(own, "client.pem", "client.key"),
            Proof::Nothing | Proof::Login(..) => {
                let shown = |line: &&str| !line.starts_with("cert =") && !line.starts_with("key =");
                text = text.lines().filter(shown).map(|line| format!("{line}\n")).collect();
            }
        }
        self.stunnel = Some(Stunnel::start(self.namespace.as_deref(), &text, inner, self.dir.path()));
    }

    fn hand_in_by_login(
        &mut self,
        domains: &str,
        home: SocketAddr,
        (user, password): (&str, &str),
    ) -> String {
        let next = format!("[{}]:{}", home.ip(), home.port());
        std::fs::write(self.path("home-password"), format!("{next} {user}:{password}\n")).expect("a file");
        self.services += &self.placed(RELAY_BY_LOGIN);
        BY_LOGIN.replace("example.org", domains).replace("[10.8.0.2]:4465", &next) + "mynetworks =\n" + SOON
    }
}
