//! The images for containers, run by podman as the compose file says: one volume, a read-only root, nobody's user.

use std::net::IpAddr;
use std::time::Duration;

use testkit::containers::Containers;
use testkit::dns::{NameServer, Record};
use testkit::namespace::within;
use testkit::network_lab::NetworkLab;
use testkit::pair::{PASSWORD, code_in};
use testkit::smtp::SmtpClient;
use testkit::{message, until};

use crate::alone;
use crate::newcomer::EDGE_NAME;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn both_roles_run_in_containers_as_the_compose_file_has_them_and_keep_all_in_one_volume() {
    let _alone = alone();
    if !NetworkLab::is_possible() {
        return println!("NOT RUN: network namespaces can't be made here (it takes root)");
    }
    let lab = NetworkLab::new();
    let server: IpAddr = "203.0.113.1".parse().unwrap();
    let _names = within(Some(lab.internet()), || {
        let records = [(EDGE_NAME, Record::A("203.0.113.2".parse().unwrap()))];
        NameServer::start_at((server, 53).into(), &records)
    });
    let (edge, home) = (Containers::new(lab.edge()), Containers::new(lab.home()));
    let run = ["run", "--rm", "-T"];
    // Containers ask the name servers of the machine that the tests run on: Edge's address stands for its name.
    let set_up = ["edge", "edge", "setup", "--hostname", EDGE_NAME, "--link-address", "203.0.113.2:443"];
    let code = code_in(&edge.compose_ok(&[&run[..], &set_up].concat(), ""));
    edge.compose_ok(&["up", "-d", "edge"], "");
    let set_up = ["home", "home", "setup", "--domain", "example.org", &code];
    home.compose_ok(&[&run[..], &set_up].concat(), "");
    let add = ["home", "user", "add", "alice@example.org", "--password-stdin"];
    home.compose_ok(&[&run[..], &add].concat(), &format!("{PASSWORD}\n"));
    home.compose_ok(&["up", "-d", "home"], "");
    for (host, role) in [(&edge, "edge"), (&home, "home")] {
        let container = format!("postern_{role}_1");
        until(&format!("{role} is healthy"), PATIENCE, || {
            host.podman(&["healthcheck", "run", &container]).status.success().then_some(())
        });
        assert_eq!(host.podman_ok(&["exec", &container, "/postern", "--version"]), "postern 0.1.0\n");
        let user = host.podman_ok(&["inspect", "--format", "{{.Config.User}} {{len .Mounts}}", &container]);
        assert_eq!(user, "65532:65532 1\n", "{role}: who it runs as, and what it keeps");
    }
    let reply = until("a letter is taken, since Home is there", PATIENCE, || {
        let status = home.podman_ok(&["exec", "postern_home_1", "/postern", "status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        (status["edges"].get(0)?["link"] == "up").then(|| {
            within(Some(lab.internet()), || {
                let mut client =
                    SmtpClient::ready_as("203.0.113.2:25".parse().unwrap(), "far.example").unwrap();
                let to = "alice@example.org";
                let letter = message::simple("you@far.example", to, "to a container");
                client.message("you@far.example", &[to], &letter).unwrap()
            })
        })
    });
    assert!(reply.starts_with("250"), "{reply}");
}
