//! Mail from the internet until it can be read in the mailbox.

use crate::bench::{Bench, Pace, inbound_pace};
use crate::load::{INBOUND, Load};
use crate::postfix_pair::Equipment;
use crate::report::{Row, Target};

const FIGURE: &str = "inbound";

pub(crate) fn measure(bench: &Bench) -> (Vec<Row>, String) {
    let file = bench.signed.file();
    let signed = Load { file: Some(&file), ..INBOUND };
    let ours_load = Load { messages: bench.work(20_000, 2_000), ..signed };
    let theirs_load = Load { messages: bench.work(1_500, 200), ..signed };
    let mut postern = bench.postern(None);
    let mut filters = bench.postfix(Equipment::Filters, None);
    let mut bare = bench.postfix(Equipment::Bare, None);
    let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        a.push(inbound_pace(&mut postern, &ours_load));
        b.push(inbound_pace(&mut filters, &theirs_load));
        c.push(inbound_pace(&mut bare, &theirs_load));
    }
    let of = |paces: &[Pace], value: fn(&Pace) -> f64| -> Vec<f64> { paces.iter().map(value).collect() };
    let delivered = |pace: &Pace| pace.delivered;
    let processor = |pace: &Pace| pace.processor;
    let end_to_end = |target| Row::alone(FIGURE, "end to end", "messages/s", of(&a, delivered), target);
    let rows = vec![
        end_to_end(Target::RatioAtLeast(20.0)).beside("with filters and Dovecot", of(&b, delivered)),
        end_to_end(Target::RatioAtLeast(12.0)).beside("bare", of(&c, delivered)),
        Row::alone(
            FIGURE,
            "processor time, whole machine",
            "ms/message",
            of(&a, processor),
            Target::RatioAtMost(1.0 / 18.0),
        )
        .beside("with filters and Dovecot", of(&b, processor)),
        Row::alone(FIGURE, "processor time, whole machine", "ms/message", of(&a, processor), Target::None)
            .beside("bare", of(&c, processor)),
    ];
    let method = format!(
        "`{}` for Postern, `{}` for the pairs; the file is a message of 4 KiB with one RSA-2048 signature, and SPF and \
         DMARC records stand behind it (bench/src/signed.rs); until IMAP (Postern) or the maildir (the pairs) has all of them. \
         Processor time is /proc/stat's, so the generator's is in it.",
        ours_load.command_line("EDGE"),
        theirs_load.command_line("EDGE")
    );
    (rows, method)
}
