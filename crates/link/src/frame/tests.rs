//! Frames: known octets both ways, round trips, and what is no frame.

use proptest::prelude::*;
use tlspolicy::report::Results;

use super::*;

fn wire(frame: &Frame) -> BytesMut {
    let mut out = BytesMut::new();
    frame.encode(&mut out).unwrap();
    out
}

fn id() -> ItemId {
    ItemId::from_bytes([7; 16])
}

fn samples() -> Vec<Frame> {
    let envelope = serde_json::from_str(
        r#"{"reverse_path":"a@remote.example","recipients":[{"address":"bob@example.org"}]}"#,
    )
    .unwrap();
    let attempt = serde_json::json!({
        "attempt": id(), "item": id(), "domain": "remote.example", "octets": 1, "eight_bit": false,
        "envelope": { "reverse_path": "", "recipients": [] }, "utf8_header": false,
    });
    vec![
        Frame::Hello(Hello::ours(Some("mx.example.org".to_owned()))),
        Frame::Attempt(serde_json::from_value(attempt).unwrap()),
        Frame::Outcomes(Outcomes { attempt: id(), outcomes: Vec::new(), tls: Results::default() }),
        Frame::Ping,
        Frame::Pong,
        Frame::Goodbye("shutting down".into()),
        Frame::Open(Box::new(Open { item: id(), accepted: UnixTime(5), envelope })),
        Frame::OpenSealed(OpenSealed { item: id(), octets: 9 }),
        Frame::Body(id(), Bytes::from_static(b"Subject: x\r\n")),
        Frame::End(id(), Verdict { hops: 3, ..Verdict::default() }),
        Frame::Abort(id()),
        Frame::Credit(id(), 65_536),
        Frame::Answer(Answer { item: id(), replies: vec![Reply::new(250, (2, 0, 0), "kept")] }),
        Frame::Unheard(id()),
        Frame::SeenAt("203.0.113.9".parse().unwrap()),
        Frame::SeenAt("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap()),
        Frame::OutcomesSealed(id(), Bytes::from_static(b"age")),
        Frame::Settled(id()),
        Frame::Ask(id()),
        Frame::Known(id(), AttemptState::Unknown),
        Frame::Errand(id(), Box::new(Errand::FindReporting(mail::Domain::parse("remote.example").unwrap()))),
        Frame::ErrandDone(id(), ErrandResult::Failed("no answer".to_owned())),
        Frame::SnapshotKept(3),
        Frame::Trace(4, vec![]),
        Frame::TraceKept(4),
    ]
}

#[test]
fn frames_round_trip_whole_and_octet_by_octet() {
    let frames = samples();
    let mut stream = BytesMut::new();
    for frame in &frames {
        frame.encode(&mut stream).unwrap();
    }
    let mut input = BytesMut::new();
    let mut read = Vec::new();
    for octet in stream {
        input.put_u8(octet);
        while let Some(frame) = Decoder::next(&mut input).unwrap() {
            read.push(frame);
        }
    }
    assert_eq!(read, frames);
}

#[test]
fn the_header_is_kind_zeros_and_big_endian_length() {
    assert_eq!(&wire(&Frame::Ping)[..], [2, 0, 0, 0, 0, 0, 0, 0]);
    let body = wire(&Frame::Body(id(), Bytes::from_static(b"x")));
    assert_eq!(&body[..8], [18, 0, 0, 0, 0, 0, 0, 17]);
}

#[test]
fn a_body_frame_is_taken_at_its_limit_and_refused_one_past_it_before_it_is_buffered() {
    let frame = Frame::Body(id(), vec![0; BODY_FRAME_MAX].into());
    assert_eq!(Decoder::next(&mut wire(&frame)).unwrap(), Some(frame));
    let past = Frame::Body(id(), vec![0; BODY_FRAME_MAX + 1].into());
    let mut out = BytesMut::new();
    assert!(matches!(past.encode(&mut out), Err(FrameError::TooLong { .. })));
    assert!(out.is_empty());
    let length = u32::try_from(BODY_FRAME_MAX + 17).unwrap().to_be_bytes();
    let mut header = BytesMut::from(&[18, 0, 0, 0][..]);
    header.put_slice(&length);
    assert!(matches!(Decoder::next(&mut header), Err(FrameError::TooLong { .. })));
}

/// Symptom: forty pairing connections took Edge from 18 to 674 MB. Cause: anyone could announce a snapshot of 16 MiB
/// there and never finish it. Analysis: the limit was that of the kind, and the peer chose the kind.
#[test]
fn a_pairing_connection_takes_a_pairing_request_of_its_limit_and_no_other_frame() {
    let header = |kind: Kind, octets: usize| {
        let mut header = BytesMut::from(&[kind as u8, 0, 0, 0][..]);
        header.put_u32(u32::try_from(octets).unwrap());
        Decoder::next_of(&mut header, Accepts::Pair)
    };
    assert_eq!(header(Kind::Pair, 16 * 1024), Ok(None));
    assert!(matches!(header(Kind::Pair, 16 * 1024 + 1), Err(FrameError::TooLong { .. })));
    for kind in [Kind::Snapshot, Kind::Body, Kind::Hello, Kind::Ping, Kind::Paired] {
        assert_eq!(header(kind, 0), Err(FrameError::Unexpected { kind: kind.name() }));
    }
    let error = FrameError::Unexpected { kind: "Snapshot" }.to_string();
    assert_eq!(error, "a Snapshot frame, which has no place here");
}

#[test]
fn the_domains_that_a_home_does_not_get_fit_their_frames_whatever_their_names() {
    use crate::served::{SERVED_AT_PAIRING_MAX, SERVED_DOMAINS_MAX, Served, ServedDomain};
    let long = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    let served = Served::Elsewhere { home: "f".repeat(16), last_here: Some(UnixTime(u64::MAX)) };
    let domain = ServedDomain { domain: mail::Domain::parse(&long).unwrap(), served };
    let told = |count| ServedDomains { home: "e".repeat(16), domains: vec![domain.clone(); count] };
    let frame = Frame::Served(told(SERVED_DOMAINS_MAX));
    assert_eq!(Decoder::next(&mut wire(&frame)).unwrap(), Some(frame));
    let served = Some(told(SERVED_AT_PAIRING_MAX));
    let frame = Frame::Paired(PairingResult::Paired { hostname: long, served });
    assert_eq!(Decoder::next_of(&mut wire(&frame), Accepts::Paired).unwrap(), Some(frame));
}

#[test]
fn recipients_never_take_more_than_they_are_counted_for() {
    let kind = "rfc822".to_owned();
    let recipient = Recipient {
        address: mail::Address::parse(&format!("\"{}\"@example.org", "\\\"".repeat(30))).unwrap(),
        notify: Some(mail::Notify { success: true, failure: true, delay: true }),
        orcpt: Some(mail::Orcpt { kind, address: "\"\\".repeat(246) }),
    };
    let written = serde_json::to_vec(&recipient).unwrap().len();
    assert!(written < recipient_octets(&recipient), "{written}");
}

/// A side that does not name `streams` is never spoken to on one, and takes whatever comes there for a fault.
#[test]
fn what_is_reserved_for_streams_is_used_by_no_frame_and_taken_by_nobody() {
    for frame in samples() {
        let octets = wire(&frame);
        assert!(!(56..=63).contains(&octets[0]) && octets[1..4] == [0, 0, 0], "{frame:?}");
    }
    for kind in 56..=63 {
        let octets: &[u8] = &[kind, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Decoder::next(&mut BytesMut::from(octets)), Err(FrameError::Kind(kind)));
    }
    let second_stream: &[u8] = &[2, 0, 0, 1, 0, 0, 0, 0];
    assert_eq!(Decoder::next(&mut BytesMut::from(second_stream)), Err(FrameError::Header));
}

/// Each control frame with a field of tomorrow in it, as a newer side writes it.
#[test]
fn fields_of_a_newer_side_are_passed_over_in_every_frame_of_fields() {
    let mut checked = 0;
    for frame in samples() {
        let octets = wire(&frame);
        let Some(at) = octets.iter().skip(HEADER_OCTETS).position(|octet| *octet == b'{') else { continue };
        // Bodies are not parsed, and of an enum only what stands in its fields may grow.
        if matches!(frame, Frame::Body(..) | Frame::Paired(_) | Frame::ErrandDone(..) | Frame::Errand(..)) {
            continue;
        }
        let at = HEADER_OCTETS + at + 1;
        let field: &[u8] = match octets[at] {
            b'}' => br#""of_tomorrow":[{"fence":7}]"#,
            _ => br#""of_tomorrow":[{"fence":7}],"#,
        };
        let mut newer = [&octets[..at], field, &octets[at..]].concat();
        let length = u32::try_from(newer.len() - HEADER_OCTETS).unwrap();
        newer[4..HEADER_OCTETS].copy_from_slice(&length.to_be_bytes());
        let read = Decoder::next(&mut BytesMut::from(&newer[..])).unwrap();
        assert_eq!(read.as_ref(), Some(&frame));
        checked += 1;
    }
    assert!(checked >= 7, "{checked}");
}

#[test]
fn malformed_frames_name_their_fault() {
    let cases: [(&[u8], &str); 5] = [
        (&[99, 0, 0, 0, 0, 0, 0, 0], "a frame of unknown kind 99"),
        (&[2, 1, 0, 0, 0, 0, 0, 0], "a frame header with reserved octets set"),
        (&[20, 0, 0, 0, 0, 0, 0, 1, 9], "a malformed Abort frame: too short"),
        (&[2, 0, 0, 0, 0, 0, 0, 1], "a Ping frame of 1 octets, 0 are allowed"),
        (&[6, 0, 0, 0, 0, 0, 0, 2, b'"', b'"'], "a malformed SnapshotKept frame: invalid type"),
    ];
    for (bytes, message) in cases {
        let error = Decoder::next(&mut BytesMut::from(bytes)).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let mut input = BytesMut::from(&bytes[..]);
        while let Ok(Some(_)) = Decoder::next(&mut input) {}
    }

    #[test]
    fn random_payloads_of_known_kinds_never_panic(
        kind in 0_u8..70,
        payload in proptest::collection::vec(any::<u8>(), 0..256),
    ) {
        let mut input = BytesMut::from(&[kind, 0, 0, 0, 0, 0][..]);
        input.put_u16(u16::try_from(payload.len()).unwrap());
        input.put_slice(&payload);
        let _ = Decoder::next(&mut input);
    }
}
