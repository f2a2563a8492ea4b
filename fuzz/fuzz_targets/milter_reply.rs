//! Whatever a filter answers: a session ends, in a verdict within its limits or an error, and never panics.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use milter::{CHANGES_MAX, HeaderField, Session, Step, Transaction};

fuzz_target!(|data: &[u8]| {
    let mut session = Session::new(Transaction {
        recipients: vec!["a@b.example".to_owned(), "c@b.example".to_owned()],
        header: vec![HeaderField::new(b"Subject", b" x")],
        ..Transaction::default()
    });
    let mut input = BytesMut::new();
    let mut answers = data.chunks(7);
    let mut body = Some(Bytes::from_static(&[b'x'; 70_000]));
    loop {
        match session.advance(&mut input) {
            Ok(Step::Flush) => session.output().clear(),
            Ok(Step::Read) => match answers.next() {
                Some(answer) => input.extend_from_slice(answer),
                None => return,
            },
            Ok(Step::Body) => match body.take() {
                Some(piece) => session.body(piece),
                None => session.body_end(),
            },
            Ok(Step::Finished(verdict)) => return assert!(verdict.changes.len() <= CHANGES_MAX),
            Err(_) => return,
        }
    }
});
