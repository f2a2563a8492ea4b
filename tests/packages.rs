//! The Debian package, on fresh Debians with their own systemd: what `apt` and an upgrade do, and what a removal leaves.

use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;

use testkit::certificates::Authority;
use testkit::dns::{NameServer, Record};
use testkit::guest::{Debian, Guest};
use testkit::namespace::within;
use testkit::network_lab::NetworkLab;
use testkit::pair::{PASSWORD, code_in};
use testkit::{process, until};

use crate::alone;
use crate::newcomer::EDGE_NAME;

const PATIENCE: Duration = Duration::from_secs(60);
const ROLES: [&str; 2] = ["edge", "home"];

/// A host with both roles' package, in a small internet.
struct Installed {
    // Dropped in this order: the host is gone before its network.
    guest: Guest,
    lab: NetworkLab,
    _names: NameServer,
}

impl Installed {
    fn on(debian: Debian) -> Option<Self> {
        if !NetworkLab::is_possible() {
            println!("NOT RUN: network namespaces can't be made here (it takes root)");
            return None;
        }
        let lab = NetworkLab::new();
        let server: IpAddr = "203.0.113.1".parse().unwrap();
        let names = within(Some(lab.internet()), || {
            let records = [(EDGE_NAME, Record::A("203.0.113.2".parse().unwrap()))];
            NameServer::start_at((server, 53).into(), &records)
        });
        let guest = Guest::boot(debian, lab.edge(), server);
        let package = guest.bring_package();
        guest.shell_ok(&format!("DEBIAN_FRONTEND=noninteractive dpkg --install {package}"), "");
        Some(Self { guest, lab, _names: names })
    }

    fn state(&self, role: &str) -> String {
        let shown = format!("systemctl show --property ActiveState --value postern-{role}");
        self.guest.shell_ok(&shown, "").trim().to_owned()
    }

    fn set_up(&self) {
        let guest = &self.guest;
        let code = code_in(&guest.shell_ok(&format!("postern edge setup --hostname {EDGE_NAME}"), ""));
        // As its unit says, it is told that the role is up only when it is.
        guest.shell_ok("systemctl start postern-edge", "");
        guest.shell_ok(&format!("postern home setup --domain example.org {code}"), "");
        let add = "postern user add alice@example.org --password-stdin";
        guest.shell_ok(add, &format!("{PASSWORD}\n"));
        guest.shell_ok("systemctl start postern-home", "");
        self.wait_for_link();
    }

    fn wait_for_link(&self) {
        until("the link is up", PATIENCE, || {
            let said = self.guest.shell("postern status --json", "");
            let status: serde_json::Value = serde_json::from_slice(&said.stdout).ok()?;
            (status["edges"].get(0)?["link"] == "up").then_some(())
        });
    }

    /// A newer package of the same program.
    fn upgrade(&self) {
        let newer = "dpkg-deb --raw-extract postern.deb newer && sed -i 's/^Version: .*/Version: 9.9-1/' newer/DEBIAN/control \
                     && dpkg-deb -Znone --build newer newer.deb && DEBIAN_FRONTEND=noninteractive dpkg --install newer.deb";
        self.guest.shell_ok(&format!("cd /root && {newer}"), "");
    }

    /// The certificate that port 25 shows to the world.
    fn shown_at_25(&self) -> String {
        let mut openssl: Command = process::command(Some(self.lab.internet()), "openssl");
        openssl.args(["s_client", "-starttls", "smtp", "-connect", "203.0.113.2:25", "-showcerts"]);
        let output = process::run(openssl, b"QUIT\r\n", PATIENCE);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn is_there(guest: &Guest, inside: &str) -> bool {
    guest.path(inside).exists()
}

/// Both roles as their units have them, from the package's installation to its purge.
fn a_life_of_the_package(debian: Debian) {
    let _alone = alone();
    let Some(host) = Installed::on(debian) else { return };
    let guest = &host.guest;
    for page in ["postern", "postern-edge-setup", "postern-home-setup"] {
        assert!(is_there(guest, &format!("/usr/share/man/man1/{page}.1.gz")), "no man page {page}");
    }
    assert!(is_there(guest, "/usr/share/bash-completion/completions/postern"));
    for role in ROLES {
        assert_eq!(host.state(role), "inactive", "{role}: nothing is set up yet");
    }
    host.set_up();
    for role in ROLES {
        let shown = format!("systemctl show --property LimitNOFILE,User,NoNewPrivileges postern-{role}");
        let shown = guest.shell_ok(&shown, "");
        assert!(shown.contains("User=postern") && shown.contains("NoNewPrivileges=yes"), "{shown}");
        assert!(guest.shell_ok(&format!("systemctl is-enabled postern-{role}"), "").starts_with("enabled"));
    }
    own_certificate(&host);
    host.upgrade();
    for role in ROLES {
        assert_eq!(host.state(role), "active", "{role} runs on after an upgrade\n{}", guest.journal());
    }
    host.wait_for_link();
    assert!(guest.shell_ok("postern user list", "").contains("alice@example.org"));
    guest.shell_ok("dpkg --remove postern", "");
    for role in ROLES {
        assert_eq!(host.state(role), "inactive", "{role} is gone with its package");
        assert!(is_there(guest, &format!("/var/lib/postern/{role}/link-key.pem")), "{role}'s keys are gone");
        assert!(is_there(guest, &format!("/etc/postern/{role}.toml")), "{role}'s configuration is gone");
    }
    // Nobody answers, so nothing goes.
    guest.shell_ok("DEBIAN_FRONTEND=noninteractive dpkg --purge postern", "");
    assert!(is_there(guest, "/var/lib/postern/home/directory.db"));
    // Who wants it all gone says so.
    guest.shell_ok("DEBIAN_FRONTEND=noninteractive dpkg --install /root/postern.deb", "");
    assert_eq!(host.state("home"), "active", "what was there is taken up again\n{}", guest.journal());
    let purge = "echo 'postern postern/remove-data boolean true' | debconf-set-selections && \
                 DEBIAN_FRONTEND=noninteractive dpkg --purge postern";
    guest.shell_ok(purge, "");
    assert!(!is_there(guest, "/var/lib/postern") && !is_there(guest, "/etc/postern"));
}

/// A certificate that root alone can read reaches the service by the service manager.
fn own_certificate(host: &Installed) {
    let authority = Authority::new();
    let made = authority.issue(&[EDGE_NAME]);
    let guest = &host.guest;
    guest.shell_ok("mkdir -p /etc/credstore && chmod 700 /etc/credstore", "");
    guest.copy_in(&made.chain, "/etc/credstore/postern-edge.tls.crt");
    guest.copy_in(&made.key, "/etc/credstore/postern-edge.tls.key");
    guest.shell_ok("chmod 600 /etc/credstore/*; systemctl restart postern-edge", "");
    let chain = std::fs::read_to_string(&made.chain).unwrap();
    let leaf = chain.split("-----END").next().unwrap();
    let shown = host.shown_at_25();
    assert!(shown.contains(leaf), "not the certificate of the operator:\n{shown}\n{}", guest.journal());
}

#[test]
fn debian_12_installs_runs_upgrades_and_removes_it_and_keeps_the_mail_unless_told() {
    a_life_of_the_package(Debian::Bookworm);
}

#[test]
fn debian_13_installs_runs_upgrades_and_removes_it_and_keeps_the_mail_unless_told() {
    a_life_of_the_package(Debian::Trixie);
}

#[test]
fn debian_sid_installs_runs_upgrades_and_removes_it_and_keeps_the_mail_unless_told() {
    a_life_of_the_package(Debian::Sid);
}
