//! How near the program comes to what the machine allows: a bare program that reads the same octets and makes
//! them durable with a shared `fdatasync`.

use crate::bare;
use crate::bench::{Bench, inbound_pace, pace};
use crate::load::{INBOUND, Load};
use crate::report::{Row, Target};

pub(crate) fn measure(bench: &Bench) -> (Vec<Row>, String) {
    let load = Load { messages: bench.work(20_000, 2_000), ..INBOUND };
    let dir = tempfile::tempdir().expect("a directory");
    let bare = bare::start(dir.path());
    let mut postern = bench.postern(None);
    let (mut ours, mut limit) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        ours.push(inbound_pace(&mut postern, &load).delivered);
        let sent = load.messages as usize;
        limit.push(pace(load.messages, || load.send(bare), || sent).delivered);
    }
    let row = Row::alone("limit", "end to end", "messages/s", ours, Target::RatioAtLeast(0.5))
        .beside("bare program", limit);
    let method = format!(
        "`{}`, as inbound. The bare program (bench/src/bare.rs) answers each command with a constant and is one \
         process without a second hop, an index or a mailbox.",
        load.command_line("EDGE")
    );
    (vec![row], method)
}
