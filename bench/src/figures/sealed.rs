//! Mail from the internet while Home is away: Postern seals it on Edge, Postfix queues it.

use crate::bare;
use crate::bench::{Bench, pace};
use crate::load::{Connections, INBOUND, Load};
use crate::postfix_pair::Equipment;
use crate::report::{Row, Target};
use crate::system::System;

const FIGURE: &str = "sealed";

pub(crate) fn measure(bench: &Bench) -> (Vec<Row>, String) {
    let ours = Load { messages: bench.work(20_000, 2_000), connections: Connections::Kept, ..INBOUND };
    let theirs = Load { messages: bench.work(2_000, 300), ..ours };
    let strangers = Load { connections: Connections::PerMessage, ..ours };
    let their_strangers = Load { connections: Connections::PerMessage, ..theirs };
    let dir = tempfile::tempdir().expect("a directory");
    let limit = bare::start(dir.path());
    let mut postern = bench.postern(None);
    let mut filters = bench.postfix(Equipment::Filters, None);
    let mut bare = bench.postfix(Equipment::Bare, None);
    for system in [&mut postern as &mut dyn System, &mut filters, &mut bare] {
        system.send_home_away();
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f] = [const { Vec::new() }; 6];
    for _ in 0..bench.rounds {
        a.push(accepted(&postern, &ours));
        b.push(accepted(&filters, &theirs));
        c.push(accepted(&bare, &theirs));
        d.push(accepted(&postern, &strangers));
        e.push(accepted(&filters, &their_strangers));
        f.push(pace(strangers.messages, || strangers.send(limit), || strangers.messages as usize).accepted);
    }
    let sealed = postern.pair().link().1;
    assert_eq!(sealed, u64::from(ours.messages * 2 * bench.rounds), "sealed messages");
    let kept = |target| Row::alone(FIGURE, "connections kept", "messages/s", a.clone(), target);
    let one = |target| Row::alone(FIGURE, "a connection a message", "messages/s", d.clone(), target);
    let rows = vec![
        kept(Target::RatioAtLeast(15.0)).beside("with filters and Dovecot", b),
        kept(Target::None).beside("bare", c),
        one(Target::None).beside("with filters and Dovecot", e),
        one(Target::RatioAtLeast(0.5)).beside("bare program", f),
    ];
    let method = format!(
        "The home is stopped. `{}` for Postern, `{}` for the pairs, until the last 250; then the same without `-d`, \
         where the machine's own limit is near: the bare program of the row `limit`, with the same load.",
        ours.command_line("EDGE"),
        theirs.command_line("EDGE")
    );
    (rows, method)
}

fn accepted(system: &dyn System, load: &Load<'_>) -> f64 {
    let server = system.inbound();
    pace(load.messages, || load.send(server), || load.messages as usize).accepted
}
