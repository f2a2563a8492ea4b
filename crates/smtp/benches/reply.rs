//! Replies as the client reads them, and as the server writes them: the one line that most are, and what is
//! said to EHLO, in one line for each extension.
//! Unit: replies a second, whole ones, however many lines they have.

use bytes::BytesMut;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use mail::Reply;
use smtp::reply::{Charset, ReplyLimits, ReplyReader, write};

fn main() {
    divan::main();
}

#[divan::bench(args = SAMPLES)]
fn read(bencher: Bencher<'_, '_>, sample: Sample) {
    let reply = sample.reply();
    let mut wire = BytesMut::new();
    write(&reply, Charset::Ascii, &mut wire);
    let mut reader = ReplyReader::new(ReplyLimits::default());
    assert_eq!(reader.read(&mut wire.clone()), Ok(Some(reply)));
    bencher
        .counter(ItemsCount::new(1_usize))
        .with_inputs(|| wire.clone())
        .bench_local_refs(|input| reader.read(black_box(input)));
}

#[divan::bench(args = SAMPLES)]
fn written(bencher: Bencher<'_, '_>, sample: Sample) {
    let reply = sample.reply();
    let mut out = BytesMut::new();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        out.clear();
        write(black_box(&reply), Charset::Ascii, &mut out);
        out.len()
    });
    let read = ReplyReader::new(ReplyLimits::default()).read(&mut out);
    assert_eq!(read, Ok(Some(reply)));
}

const SAMPLES: [Sample; 3] = [Sample::Positive, Sample::Ehlo, Sample::Refusal];

#[derive(Debug, Clone, Copy)]
enum Sample {
    Positive,
    Ehlo,
    Refusal,
}

impl Sample {
    fn reply(self) -> Reply {
        match self {
            Self::Positive => Reply::new(250, (2, 1, 5), "Recipient OK"),
            Self::Ehlo => Reply::bare(
                250,
                "mx.remote.example at your service\nPIPELINING\nSIZE 52428800\n8BITMIME\nSMTPUTF8\n\
                 CHUNKING\nDSN\nSTARTTLS",
            ),
            Self::Refusal => Reply::new(
                550,
                (5, 7, 1),
                "The sender's address has no mail server that would take a reply to this message;\n\
                 ask the administrator of its domain for help, and name this line of the log: 0c6a9f-1d",
            ),
        }
    }
}
