//! Mail from the internet while Home is away: Postern seals it on Edge, Postfix queues it.

use crate::bench::{Bench, pace};
use crate::load::{INBOUND, Load};
use crate::postfix_pair::Equipment;
use crate::report::{Row, Target};
use crate::system::System;

const FIGURE: &str = "sealed";

pub(crate) fn measure(bench: &Bench) -> (Vec<Row>, String) {
    let ours_load = Load { messages: bench.work(20_000, 2_000), ..INBOUND };
    let theirs_load = Load { messages: bench.work(2_000, 300), ..INBOUND };
    let mut postern = bench.postern(None);
    let mut filters = bench.postfix(Equipment::Filters, None);
    let mut bare = bench.postfix(Equipment::Bare, None);
    for system in [&mut postern as &mut dyn System, &mut filters, &mut bare] {
        system.send_home_away();
    }
    let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        a.push(accepted(&postern, &ours_load));
        b.push(accepted(&filters, &theirs_load));
        c.push(accepted(&bare, &theirs_load));
    }
    let sealed = postern.pair().link().1;
    assert_eq!(sealed, u64::from(ours_load.messages * bench.rounds), "sealed messages");
    let row = |target| Row::alone(FIGURE, "accepted", "messages/s", a.clone(), target);
    let rows = vec![
        row(Target::RatioAtLeast(15.0)).beside("with filters and Dovecot", b),
        row(Target::None).beside("bare", c),
    ];
    let method = format!(
        "The home is stopped. `{}` for Postern, `{}` for the pairs, until the last 250.",
        ours_load.command_line("EDGE"),
        theirs_load.command_line("EDGE")
    );
    (rows, method)
}

fn accepted(system: &dyn System, load: &Load<'_>) -> f64 {
    let server = system.inbound();
    pace(load.messages, || load.send(server), || load.messages as usize).accepted
}
