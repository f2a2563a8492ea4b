//! The picture on screens of all sizes.

use link::{Event, Role};
use mail::{ItemId, UnixTime};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

use super::picture::EVENTS_MAX;
use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn event(n: u64, detail: &str) -> Event {
    Event {
        at: UnixTime::from_secs(NOW.as_secs() + n),
        role: Role::Edge,
        edge: None,
        item: Some(ItemId::from_bytes([1; 16])),
        step: "handed-off".to_owned(),
        detail: detail.to_owned(),
    }
}

fn home(taken: u64) -> Value {
    json!({
        "role": "home", "software": "postern 1", "domains": ["a.test"], "queue": 7, "quarantine": 2,
        "sessions": 3, "accounts": 4, "problems": ["no link to mx2.test"],
        "mail": { "in": { "taken": taken, "not_taken": 1 }, "out": { "taken": 2, "not_taken": 0 } },
        "edges": [
            { "name": "mx.test", "link": "up", "transport": "quic",
              "edge": { "sessions": 5, "sessions_max": 2000, "sealed": 0 } },
            { "name": "mx2.test", "link": "down" },
        ],
    })
}

fn screen(picture: &Picture, (width, height): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, picture, NOW)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

fn picture() -> Picture {
    let mut picture = Picture::default();
    picture.hear(home(10), NOW);
    picture.hear(home(52), UnixTime::from_secs(NOW.as_secs() + 30));
    picture.follow((0..40).map(|n| event(n, &format!("event {n}"))).collect());
    picture
}

#[test]
fn all_of_it_is_on_a_screen_of_80_by_24() {
    let screen = screen(&picture(), (80, 24));
    let whole = screen.join("\n");
    assert!(screen[0].starts_with("home  postern 1  a.test  2027-01-15T08:00:00.000Z"), "{whole}");
    for words in [
        "q ends",
        "in        42 taken       0 not",
        "out        0 sent        0 not",
        "queue 7   quarantine 2   sessions 3   accounts 4",
        "up quic     5 of 2000 sessions   0 sealed",
        "mx2.test                       down",
        "no link to mx2.test",
        "08:00:39 edge handed-off   event 39",
    ] {
        assert!(whole.contains(words), "{words}:\n{whole}");
    }
    assert!(screen[23].contains("event 39"), "the newest is the last line:\n{whole}");
}

#[test]
fn an_edge_shows_its_homes() {
    let mut picture = Picture::default();
    let status = json!({
        "role": "edge", "hostname": "mx.test", "sessions": 9, "sessions_max": 2000,
        "homes": [{ "name": "0123456789abcdef99", "link": "up", "sealed": 4, "domains": ["a.test", "b.test"] }],
        "warnings": ["one is away"],
    });
    picture.hear(status, NOW);
    let whole = screen(&picture, (80, 24)).join("\n");
    for words in [
        "edge  ",
        "mx.test",
        "sessions 9 of 2000",
        "0123456789abcdef  ",
        "4 sealed   a.test, b.test",
        "one is away",
    ] {
        assert!(whole.contains(words), "{words}:\n{whole}");
    }
}

#[test]
fn a_daemon_that_says_nothing_is_told_and_the_last_picture_stays() {
    let mut picture = picture();
    picture.miss("the daemon does not answer".to_owned());
    let whole = screen(&picture, (80, 24)).join("\n");
    assert!(whole.contains("the daemon does not answer") && whole.contains("queue 7"), "{whole}");
    picture.hear(home(53), UnixTime::from_secs(NOW.as_secs() + 31));
    assert!(!screen(&picture, (80, 24)).join("\n").contains("does not answer"));
}

#[test]
fn any_size_is_borne_and_so_is_what_strangers_write() {
    let mut picture = picture();
    picture.follow(vec![event(50, "\u{1b}[2J\u{7}\r\nEvil\u{9b}31m \u{202e}x 日本語")]);
    picture.status["edges"][0]["name"] = "\u{1b}]0;x\u{7}".into();
    for size in [(1, 1), (2, 30), (200, 2), (20, 5), (79, 23), (80, 24), (300, 100)] {
        let whole = screen(&picture, size).join("");
        assert!(!whole.chars().any(char::is_control), "{size:?}");
    }
    for size in [(1, 1), (80, 24)] {
        screen(&Picture::default(), size);
    }
}

#[test]
fn events_are_kept_up_to_the_limit() {
    let mut picture = Picture::default();
    picture.follow((0..=EVENTS_MAX as u64).map(|n| event(n, "")).collect());
    assert_eq!((picture.events.len(), picture.events[0].at), (EVENTS_MAX, event(1, "").at));
}
