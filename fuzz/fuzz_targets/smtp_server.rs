//! Whatever a client sends, in whatever pieces: the session never panics, and a body ends only where it says.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mail::Reply;
use smtp::server::{Limits, Mode, Question, Session, Settings, Step};

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (step, data) = input;
    let mode = if step & 1 == 0 { Mode::Mx } else { Mode::Submission };
    let settings = Settings { hostname: "mx.example.org".into(), mode, starttls: true, limits: Limits::default() };
    let tls = (step & 1 == 1).then(|| "TLS1.3".to_owned());
    let mut session = Session::new(Arc::new(settings), IpAddr::V4(Ipv4Addr::LOCALHOST), tls);
    session.greet();
    let mut buffer = BytesMut::new();
    for piece in data.chunks(usize::from(step >> 1).max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match session.advance(&mut buffer) {
                Step::NeedInput => break,
                Step::Flush => session.output().clear(),
                Step::Body(body) => assert!(!body.is_empty()),
                Step::StartTls => session.tls_started("TLS1.3".into()),
                Step::Close => return,
                Step::Ask(Question::Data(envelope)) => {
                    assert!(!envelope.recipients.is_empty());
                    session.accept_body();
                }
                Step::Ask(Question::Aborted(_)) => {}
                Step::Ask(_) => session.answer(Reply::new(250, (2, 0, 0), "ok")),
            }
        }
    }
});
