//! The header section of a message that came a long way: 40 fields, folded ones among them, 4 KiB in all,
//! and a body of 64 KiB behind it, which none of this may look at.
//! Unit: octets of the header section a second.

#![allow(clippy::unwrap_used, reason = "a field that is not found is not what is measured")]

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use mail::header;

fn main() {
    divan::main();
}

/// Walks all fields.
#[divan::bench]
fn fields(bencher: Bencher<'_, '_>) {
    assert_eq!(header::fields(&message()).count(), 40);
    measure(bencher, |message| header::fields(message).map(|field| field.value.len()).sum());
}

/// Finds the last one.
#[divan::bench]
fn find_last(bencher: Bencher<'_, '_>) {
    assert_eq!(header::find(&message(), "MIME-Version").unwrap().unfolded(), "1.0");
    measure(bencher, |message| header::find(message, "MIME-Version").map_or(0, |field| field.offset));
}

/// Counts the hops.
#[divan::bench]
fn count_received(bencher: Bencher<'_, '_>) {
    assert_eq!(header::count(&message(), "Received"), 8);
    measure(bencher, |message| header::count(message, "Received"));
}

/// Finds the empty line.
#[divan::bench]
fn body_offset(bencher: Bencher<'_, '_>) {
    assert_eq!(header::body_offset(&message()), section().len());
    measure(bencher, header::body_offset);
}

/// Puts every field on one line.
#[divan::bench]
fn unfolded(bencher: Bencher<'_, '_>) {
    measure(bencher, |message| header::fields(message).map(|field| field.unfolded().len()).sum());
}

fn measure(bencher: Bencher<'_, '_>, look: impl Fn(&[u8]) -> usize + Sync) {
    let message = message();
    assert!(look(&message) > 0);
    bencher.counter(BytesCount::new(section().len())).bench_local(|| look(black_box(&message)));
}

fn message() -> Vec<u8> {
    let mut message = section();
    let line = b"This is a line of a body: it has a colon, so it looks like a field.\r\n";
    message.extend(line.iter().cycle().take(64 * 1024));
    message
}

/// Eight hops, four signatures, the results of three checks, what a mailing list adds, and the author's own.
fn section() -> Vec<u8> {
    let mut section = String::new();
    for hop in 0..8 {
        section.push_str(&format!(
            "Received: from mta-{hop}.remote.example (mta-{hop}.remote.example [192.0.2.{hop}])\r\n\
             \tby mx-{hop}.example.net with ESMTPS id 4bX{hop}yZ7Qn2z9sR\r\n\
             \tfor <bob@example.org>; Tue, 24 Nov 2026 06:0{hop}:00 +0000\r\n"
        ));
    }
    for signature in 0..4 {
        let (hash, signed) = ("q7Zk3PvX0a".repeat(4), "b64Sig0nature+/x".repeat(5));
        section.push_str(&format!(
            "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=list-{signature}.remote.example;\r\n \
             s=2026; h=From:To:Subject:Date:Message-ID; bh={hash}=;\r\n b={signed}\r\n  {signed}\r\n"
        ));
    }
    for check in ["dkim=pass", "spf=pass smtp.mailfrom=remote.example", "dmarc=pass (p=reject)"] {
        section.push_str(&format!("Authentication-Results: mx.example.net;\r\n\t{check}\r\n"));
    }
    for number in 0..16 {
        section.push_str(&format!("X-List-Field-{number}: some value that a program wants to see again\r\n"));
    }
    for field in [
        "Return-Path: <news-bounces@lists.remote.example>",
        "From: Alice Example <alice@remote.example>",
        "To: Bob Smith <bob@example.org>,\r\n\tCarol <carol@example.org>",
        "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from far away",
        "Date: Tue, 24 Nov 2026 06:00:00 +0000",
        "Message-ID: <20261124060000.4bXyZ7Qn2z9sR@remote.example>",
        "References: <1@remote.example>\r\n <2@example.org>\r\n <3@remote.example>",
        "Content-Type: text/plain; charset=utf-8",
        "MIME-Version: 1.0",
    ] {
        section.push_str(field);
        section.push_str("\r\n");
    }
    section.push_str("\r\n");
    section.into_bytes()
}
