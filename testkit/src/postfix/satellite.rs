//! Postfix as the null client of a house: programs give it mail with `sendmail`, and it hands all of it to the home.

use std::net::SocketAddr;

use super::{PATIENCE, Postfix};
use crate::{page, process};

impl Postfix {
    /// Starts one by the name of `host` whose users are of `origin`, as `docs/src/standard-hops.md` says,
    /// and which logs in at `home`, TLS first. `more` is added to main.cf.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn null_client(
        (host, origin): (&str, &str),
        home: SocketAddr,
        (user, password): (&str, &str),
        more: &str,
    ) -> Self {
        let next = format!("[{}]:{}", home.ip(), home.port());
        let mut postfix = Self::prepare();
        postfix.services.push_str("pickup unix n - n 60 1 pickup\n");
        std::fs::write(postfix.path("home-password"), format!("{next} {user}:{password}\n")).expect("a file");
        let page = page::text("main.cf on nas.home.lan")
            .replace("myorigin = example.org", &format!("myorigin = {origin}"))
            .replace("[home.lan]:465", &next);
        let task = format!(
            "myhostname = {host}\nmynetworks =\nqueue_run_delay = 1s\nminimal_backoff_time = 1s\n\
             maximal_backoff_time = 2s\n{}",
            postfix.placed(&page)
        );
        postfix.launch(&(task + more))
    }

    /// What a program on that host sends, with LF line ends.
    ///
    /// # Panics
    /// When `sendmail` does not take it.
    pub fn sendmail(&self, to: &str, text: &str) {
        let mut command = process::command(None, "sendmail");
        command.arg("-C").arg(self.path("config")).arg(to);
        process::run_ok(command, text.as_bytes(), PATIENCE);
    }
}
