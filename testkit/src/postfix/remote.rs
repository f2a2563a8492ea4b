//! Postfix as a host of its own on a network, which finds others by MX.

use crate::newer::Release;
use crate::postfix::Postfix;
use crate::process;
use crate::remote_mta::{RemoteMta, Site, read_mailbox, wait_for_silence};
use crate::submission::{Security, Submission};

const DOMAIN: &str = "postfix.test";

impl Postfix {
    /// Starts one on port 25 of a host.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn remote(site: &Site) -> Self {
        Self::remote_of(None, site)
    }

    /// As [`Self::remote`], of another Debian.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn remote_of(release: Option<Release>, site: &Site) -> Self {
        let mut postfix = Self::prepare();
        postfix.release = release;
        postfix.settle_at(site);
        let task = format!(
            "myhostname = mx.{DOMAIN}\ninet_interfaces = {own}\nmynetworks = {own}/32\n\
             virtual_mailbox_domains = {DOMAIN}\nvirtual_mailbox_base = {mail}\n\
             virtual_mailbox_maps = static:all/\nvirtual_uid_maps = static:65534\nvirtual_gid_maps = static:65534\n\
             smtp_tls_security_level = dane\nsmtp_dns_support_level = dnssec\nsmtp_tls_loglevel = 1\n\
             minimal_backoff_time = 1s\nmaximal_backoff_time = 5s\nqueue_run_delay = 1s\ntransport_retry_time = 1s\n\
             smtp_destination_concurrency_failed_cohort_limit = 100\nsmtp_connection_cache_on_demand = no\n\
             smtpd_recipient_restrictions = check_recipient_access inline:{{rejected@{DOMAIN}=REJECT}}, \
             permit_mynetworks, reject_unauth_destination\n",
            own = site.address,
            mail = postfix.path("mail").display(),
        );
        postfix.launch(&task)
    }

    /// Gives it the host and its resolver.
    pub(super) fn settle_at(&mut self, site: &Site) {
        self.address = site.port(25);
        self.namespace = Some(site.namespace.clone());
        // It heeds DANE where its resolver has validated the answer.
        let resolver = format!("nameserver {}\noptions trust-ad\n", site.name_server);
        std::fs::write(self.path("resolv.conf"), resolver).expect("a file");
    }

    /// Has it take a setting of main.cf while it runs.
    ///
    /// # Panics
    /// When it does not take it.
    pub fn set(&self, setting: &str) {
        let mut command = self.program("postconf");
        command.arg("-c").arg(self.path("config")).args(["-e", setting]);
        process::run_ok(command, b"", super::PATIENCE);
        process::run_ok(self.control("reload"), b"", super::PATIENCE);
    }
}

impl RemoteMta for Postfix {
    fn domain(&self) -> &str {
        DOMAIN
    }

    fn start(&mut self) {
        process::run_ok(self.control("start"), b"", super::PATIENCE);
        self.wait_until_it_listens();
    }

    fn stop(&mut self) {
        process::run_ok(self.control("stop"), b"", super::PATIENCE);
        wait_for_silence(self.namespace.as_deref().expect("a host of its own"), self.address);
    }

    fn greylist(&mut self, on: bool) {
        let answer = if on { "check_client_access static:{451 4.7.1 come back later}" } else { "" };
        self.set(&format!("smtpd_client_restrictions={answer}"));
    }

    fn submission(&self) -> Submission {
        Submission {
            namespace: self.namespace.clone(),
            server: self.address,
            security: Security::None,
            login: None,
        }
    }

    fn messages(&self) -> Vec<Vec<u8>> {
        read_mailbox(&self.path("mail/all/new"))
    }

    fn log(&self) -> String {
        Self::log(self)
    }
}
