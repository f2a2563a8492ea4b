//! Many domains, some of which are dead or slow: what that costs the others.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use testkit::pair::PASSWORD;
use testkit::smtp::SmtpClient;
use testkit::until;

use crate::bench::Bench;
use crate::gateway::Gateway;
use crate::load::Sink;
use crate::many::{DOMAINS, SILENT, State, domain, state};
use crate::report::{Row, Target};

const FIGURE: &str = "destinations";
/// Connections that hand mail in.
const SESSIONS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn measure(bench: &Bench) -> (Vec<Row>, String) {
    let each = bench.work(5, 1) as usize;
    let healthy: Vec<usize> = (0..DOMAINS).filter(|number| state(*number) == State::Healthy).collect();
    let all: Vec<usize> = (0..DOMAINS).collect();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        without.push(seconds(bench, &healthy, each));
        with.push(seconds(bench, &all, each));
    }
    let rows = vec![
        Row::alone(
            FIGURE,
            "healthy of 1,000 done, a tenth dead or silent",
            "s",
            with,
            Target::RatioAtMost(1.2),
        )
        .beside("the same without the tenth", without),
    ];
    let method = format!(
        "{each} messages of 4 KiB for each of 1,000 domains, of which 50 refuse connections and 50 take them and say \
         nothing, handed in by {SESSIONS} sessions; against the same without those 100. Time until smtp-sink has \
         counted all that are for the other 900."
    );
    (rows, method)
}

/// Until the healthy domains have their mail.
fn seconds(bench: &Bench, domains: &[usize], each: usize) -> f64 {
    let sink = Sink::start();
    // It takes connections as long as it is there, and nobody ever speaks.
    let _silent = TcpListener::bind((SILENT, sink.address().port())).expect("a listener");
    let postern = bench.postern(Some(&sink));
    let gateway = Gateway::start(postern.submission(), PASSWORD);
    let healthy = domains.iter().filter(|number| state(**number) == State::Healthy).count() * each;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for session in 0..SESSIONS {
            let address = gateway.address();
            scope.spawn(move || hand_in(address, domains.iter().skip(session).step_by(SESSIONS), each));
        }
    });
    until("the healthy domains have their mail", PATIENCE, || (sink.count() >= healthy).then_some(()));
    begun.elapsed().as_secs_f64()
}

fn hand_in<'d>(address: SocketAddr, domains: impl Iterator<Item = &'d usize>, each: usize) {
    let mut client = SmtpClient::ready(address).expect("a session");
    let text = "x".repeat(70) + "\r\n";
    for number in domains {
        let to = format!("friend@{}", domain(*number));
        let message =
            format!("From: bob@example.org\r\nTo: {to}\r\nSubject: many\r\n\r\n{}", text.repeat(55));
        for _ in 0..each {
            let reply = client.message("bob@example.org", &[&to], message.as_bytes()).expect("a reply");
            assert!(reply.starts_with("250"), "{reply}");
        }
    }
}
