//! Command lines, parsed as the server does: MAIL and RCPT bare and with the parameters that real senders
//! give, and the EHLO before them. The line's end is off already.
//! Unit: commands a second.

#![allow(clippy::unwrap_used, reason = "a command that is refused is not what is measured")]

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use smtp::command::{Command, ForwardPath, parse};

fn main() {
    divan::main();
}

#[divan::bench]
fn ehlo(bencher: Bencher<'_, '_>) {
    let line = b"EHLO mail-pf1-f178.remote.example";
    assert_eq!(parse(line), Ok(Command::Ehlo("mail-pf1-f178.remote.example")));
    measure(bencher, line);
}

#[divan::bench]
fn mail(bencher: Bencher<'_, '_>) {
    let line = b"MAIL FROM:<alice@remote.example>";
    assert!(matches!(parse(line), Ok(Command::Mail(mail)) if !mail.extended));
    measure(bencher, line);
}

#[divan::bench]
fn mail_with_parameters(bencher: Bencher<'_, '_>) {
    let line = b"MAIL FROM:<news-bounces+bob=example.org@lists.remote.example> SIZE=4096 BODY=8BITMIME \
                 RET=HDRS ENVID=QQ314159+2Bx";
    let Command::Mail(mail) = parse(line).unwrap() else { unreachable!("it is MAIL") };
    assert_eq!((mail.from.size, mail.from.envid.as_deref()), (Some(4096), Some("QQ314159+2Bx")));
    measure(bencher, line);
}

#[divan::bench]
fn rcpt(bencher: Bencher<'_, '_>) {
    let line = b"RCPT TO:<bob@example.org>";
    assert!(matches!(parse(line), Ok(Command::Rcpt(rcpt)) if !rcpt.extended));
    measure(bencher, line);
}

#[divan::bench]
fn rcpt_with_parameters(bencher: Bencher<'_, '_>) {
    let line = b"RCPT TO:<bob@example.org> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;bob+2Bnews@example.org";
    let Command::Rcpt(rcpt) = parse(line).unwrap() else { unreachable!("it is RCPT") };
    assert!(matches!(rcpt.to, ForwardPath::Address(address) if address.local() == "bob"));
    assert!(rcpt.notify.is_some_and(|notify| notify.delay) && rcpt.orcpt.is_some());
    measure(bencher, line);
}

fn measure(bencher: Bencher<'_, '_>, line: &[u8]) {
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| parse(black_box(line)).is_ok());
}
