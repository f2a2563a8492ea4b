//! `postern check edge`: whether the world reaches an edge, seen from the host where it is typed. No configuration is needed, and no key.

use std::net::SocketAddr;
use std::time::Duration;

use daemon::print;
use daemon::problem::{Problem, io_words};
use mail::Domain;
use net::dns::Dns;
use net::link_transport::{Dialer, Transport};
use net::probe::Dialogue;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// How long a port may take. Both transports of the link are given up sooner.
const PATIENCE: Duration = Duration::from_secs(15);
const ADVICE: &str = "open it on the edge's host (postern firewall edge) and at its provider; a port that only this network closes \
                      is open from others: try from one more";

/// Arguments of `check edge`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct EdgeArguments {
    /// The edge's name
    host: Domain,
    /// The port of its link, TCP and UDP
    #[arg(long, default_value_t = 443)]
    port: u16,
    /// The port of SMTP
    #[arg(long, default_value_t = 25)]
    smtp_port: u16,
    /// Ask this name server instead of the system's
    #[arg(long, value_name = "ADDR:PORT", value_parser = daemon::network::address_and_port)]
    resolver: Vec<SocketAddr>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was found of a port.
struct Port {
    at: SocketAddr,
    over: &'static str,
    found: Result<String, String>,
}

/// `postern check edge`. All is tried at one time.
pub(crate) async fn check_edge(arguments: &EdgeArguments) -> Result<(), Problem> {
    let dns = Dns::new(&arguments.resolver)
        .map_err(|error| Problem::setup(error, "name a server with --resolver ADDR:PORT"))?;
    let name = arguments.host.as_str();
    let found = dns.addresses(name).await.map(|found| found.value).map_err(|error| {
        Problem::failed(
            format!("{name} can't be looked up: {error}"),
            "see /etc/resolv.conf, or name a server with --resolver",
        )
    })?;
    if found.is_empty() {
        let advice = "give it an A record with the edge's address, or see whether the name is right";
        return Err(Problem::failed(format!("{name} has no address in DNS"), advice));
    }
    let (smtp, link) = (arguments.smtp_port, arguments.port);
    let looks: Vec<_> = found
        .into_iter()
        .map(|ip| tokio::spawn(seen(SocketAddr::new(ip, smtp), SocketAddr::new(ip, link))))
        .collect();
    let mut ports = Vec::with_capacity(3 * looks.len());
    for look in looks {
        let seen =
            look.await.map_err(|error| Problem::failed(format!("a look failed: {error}"), "try again"))?;
        ports.extend(seen);
    }
    let missing = ports.iter().filter(|port| port.found.is_err()).count();
    if arguments.json {
        print::value(
            &json!({ "host": name, "ports": ports.iter().map(Port::to_json).collect::<Vec<_>>() }),
            true,
        );
    } else {
        ports.iter().for_each(|port| print::text(&port.line()));
    }
    if missing == 0 {
        return Ok(());
    }
    if arguments.json {
        return Err(Problem::told());
    }
    Err(Problem::failed(format!("ports that this host does not reach: {missing}"), ADVICE))
}

async fn seen(smtp: SocketAddr, link: SocketAddr) -> [Port; 3] {
    let dialer = Dialer::new();
    let by = async |transport| dialer.reaches(transport, link).await.map(|()| "takes links".to_owned());
    let (mail, tcp, udp) =
        tokio::join!(in_time(greeting(smtp)), in_time(by(Transport::Tcp)), in_time(by(Transport::Quic)));
    [
        Port { at: smtp, over: "tcp", found: mail },
        Port { at: link, over: "tcp", found: tcp },
        Port { at: link, over: "udp", found: udp },
    ]
}

async fn in_time(looks: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    let late = || format!("nothing heard for {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, looks).await.unwrap_or_else(|_| Err(late()))
}

async fn greeting(at: SocketAddr) -> Result<String, String> {
    let stream = TcpStream::connect(at).await.map_err(|error| io_words(&error))?;
    let mut session = Dialogue::new(stream);
    let greeting = session.reply().await.map_err(|error| io_words(&error))?;
    let _ = session.say("QUIT").await;
    if greeting.code == 220 {
        Ok(format!("greets: {greeting}"))
    } else {
        Err(format!("lets nobody in: {greeting}"))
    }
}

impl Port {
    fn line(&self) -> String {
        let (word, what) = match &self.found {
            Ok(what) => ("reached", what),
            Err(why) => ("not reached", why),
        };
        format!("{:<11}  {}/{}  {what}", word, self.at, self.over)
    }

    fn to_json(&self) -> Value {
        json!({ "address": self.at, "over": self.over, "reached": self.found.is_ok(),
                "what": self.found.as_ref().unwrap_or_else(|why| why) })
    }
}
