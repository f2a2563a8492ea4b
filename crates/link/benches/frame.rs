//! Frames of the link, written and read: what one message costs besides its body, and bodies as Edge cuts
//! them. The buffers are there already, as on a link that is in use.
//! Unit: frames a second, for bodies octets a second.

#![allow(clippy::unwrap_used, reason = "a frame that is refused is not what is measured")]

use bytes::BytesMut;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use link::{Answer, Decoder, Frame, Open};
use mail::{Address, BodyType, Client, Envelope, ItemId, Recipient, Reply, ReversePath, UnixTime, Verdict};

const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);
const BODY_OCTETS: usize = 16 * 1024;

fn main() {
    divan::main();
}

#[divan::bench(args = SAMPLES)]
fn encode(bencher: Bencher<'_, '_>, sample: Sample) {
    let frame = sample.frame();
    let mut out = BytesMut::new();
    counted(bencher, &frame).bench_local(|| {
        out.clear();
        black_box(&frame).encode(&mut out)
    });
    assert_eq!(Decoder::next(&mut out), Ok(Some(frame)));
}

#[divan::bench(args = SAMPLES)]
fn decode(bencher: Bencher<'_, '_>, sample: Sample) {
    let frame = sample.frame();
    let mut wire = BytesMut::new();
    frame.encode(&mut wire).unwrap();
    counted(bencher, &frame)
        .with_inputs(|| wire.clone())
        .bench_local_refs(|input| Decoder::next(black_box(input)));
    assert_eq!(Decoder::next(&mut wire), Ok(Some(frame)));
}

fn counted<'a, 'b>(bencher: Bencher<'a, 'b>, frame: &Frame) -> Bencher<'a, 'b> {
    match frame {
        Frame::Body(_, octets) => bencher.counter(BytesCount::new(octets.len())),
        _ => bencher.counter(ItemsCount::new(1_usize)),
    }
}

const SAMPLES: [Sample; 6] =
    [Sample::Open(1), Sample::Open(50), Sample::Answer(1), Sample::Answer(50), Sample::End, Sample::Body];

#[derive(Debug, Clone, Copy)]
enum Sample {
    /// With so many recipients.
    Open(usize),
    /// With so many replies.
    Answer(usize),
    End,
    Body,
}

impl Sample {
    fn frame(self) -> Frame {
        let item = ItemId::new(NOW, [7; 10]);
        match self {
            Self::Open(count) => {
                Frame::Open(Box::new(Open { item, accepted: NOW, envelope: envelope(count) }))
            }
            Self::Answer(count) => {
                let reply = Reply::new(250, (2, 0, 0), format!("Kept as {item}"));
                Frame::Answer(Answer { item, replies: vec![reply; count] })
            }
            Self::End => Frame::End(item, Verdict { hops: 4, ..Verdict::default() }),
            Self::Body => {
                let text = b"the quick brown fox\r\n".iter().copied().cycle();
                Frame::Body(item, text.take(BODY_OCTETS).collect())
            }
        }
    }
}

fn envelope(recipients: usize) -> Envelope {
    let address = |text: &str| Address::parse(text).unwrap();
    let recipient = |number| Recipient::from(address(&format!("bob.smith+{number}@example.org")));
    let client = Client {
        ip: [192, 0, 2, 7].into(),
        helo: "mail-pf1-f178.remote.example".into(),
        esmtp: true,
        tls: Some("TLSv1.3 TLS_AES_256_GCM_SHA384".into()),
        login: None,
    };
    Envelope {
        reverse_path: ReversePath::Address(address("news-bounces@lists.remote.example")),
        recipients: (0..recipients).map(recipient).collect(),
        body: BodyType::EightBitMime,
        smtputf8: false,
        require_tls: false,
        ret: None,
        envid: None,
        client: Some(client),
    }
}
