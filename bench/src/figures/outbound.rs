//! Mail of a user to the world: submission at home, through both roles, to a remote server.

use testkit::pair::PASSWORD;

use crate::bench::{Bench, Pace, pace};
use crate::gateway::Gateway;
use crate::load::{Connections, Load, Sink};
use crate::postfix_pair::Equipment;
use crate::report::{Row, Target};

const FIGURE: &str = "outbound";

/// The usual load of a user: 4 KiB for a remote address.
pub(crate) const OUTBOUND: Load<'static> = Load {
    messages: 0,
    sessions: 20,
    octets: 4096,
    from: "bob@example.org",
    to: "friend@remote.test",
    connections: Connections::Kept,
    file: None,
};

pub(crate) fn measure(bench: &Bench) -> (Vec<Row>, String) {
    let ours_load = Load { messages: bench.work(10_000, 4_000), ..OUTBOUND };
    let theirs_load = Load { messages: bench.work(1_500, 200), ..OUTBOUND };
    let (mut our_sink, mut their_sink) = (Sink::start(), Sink::start());
    let postern = bench.postern(Some(&our_sink));
    let filters = bench.postfix(Equipment::Filters, Some(&their_sink));
    let our_gateway = Gateway::start(postern.submission(), PASSWORD);
    let their_gateway = Gateway::start(filters.submission(), PASSWORD);
    assert_eq!(signatures(&our_gateway, &mut our_sink), ["rsa-sha256", "ed25519-sha256"], "Postern signs");
    assert_eq!(signatures(&their_gateway, &mut their_sink), ["rsa-sha256"], "the pair signs");
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        a.push(outbound_pace(&our_gateway, &our_sink, &ours_load));
        b.push(outbound_pace(&their_gateway, &their_sink, &theirs_load));
    }
    let of = |paces: &[Pace], value: fn(&Pace) -> f64| -> Vec<f64> { paces.iter().map(value).collect() };
    let name = "pair with filters";
    let rows = vec![
        Row::alone(
            FIGURE,
            "end to end",
            "messages/s",
            of(&a, |pace| pace.delivered),
            Target::RatioAtLeast(10.0),
        )
        .beside(name, of(&b, |pace| pace.delivered)),
        Row::alone(FIGURE, "accepted", "messages/s", of(&a, |pace| pace.accepted), Target::None)
            .beside(name, of(&b, |pace| pace.accepted)),
        Row::alone(
            FIGURE,
            "processor time, whole machine",
            "ms/message",
            of(&a, |pace| pace.processor),
            Target::None,
        )
        .beside(name, of(&b, |pace| pace.processor)),
    ];
    let method = format!(
        "`{}` for Postern, `{}` for the pair, through the same gateway (bench/src/gateway.rs), which adds TLS and \
         the login that smtp-source does not know; until `smtp-sink -c` has counted all of them. Both homes sign: Postern \
         with RSA-2048 and Ed25519, the pair with RSA-2048 (OpenDKIM).",
        ours_load.command_line("GATEWAY"),
        theirs_load.command_line("GATEWAY")
    );
    (rows, method)
}

/// The algorithms of the signatures that a message of the load has at the sink, from the top.
fn signatures(gateway: &Gateway, sink: &mut Sink) -> Vec<String> {
    let shown = sink.shown(|| Load { messages: 1, sessions: 1, ..OUTBOUND }.send(gateway.address()));
    let head = shown.replace("\n\t", " ").replace("\n ", " ");
    let fields =
        head.lines().filter(|line| line.starts_with("DKIM-Signature:") && line.contains("d=example.org;"));
    let algorithm = |field: &str| field.split("a=").nth(1)?.split(';').next().map(str::to_owned);
    fields.filter_map(algorithm).collect()
}

/// Submits the load and waits until the sink has it.
pub(crate) fn outbound_pace(gateway: &Gateway, sink: &Sink, load: &Load<'_>) -> Pace {
    let before = sink.count();
    pace(load.messages, || load.send(gateway.address()), || sink.count() - before)
}
