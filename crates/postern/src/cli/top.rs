//! `postern top`: the picture, kept up to date on the terminal until somebody presses q.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::clock::{Clock as _, SystemClock};
use daemon::control;
use daemon::problem::{Problem, io_words};
use daemon::process;
use daemon::request::Request;
use daemon::trace::{Follow, Question, find};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde_json::Value;
use tokio::sync::mpsc;

use super::roles::data_of;
use crate::top::{Picture, draw};

/// How often the daemon is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long a key is waited for before it is drawn anew.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// Messages whose events are there at the beginning.
const EARLIER: usize = 20;

/// Carries out `postern top`.
pub(super) fn run(config: Option<PathBuf>) -> Result<(), Problem> {
    if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Problem::setup(
            "there is no terminal to draw on",
            "type 'postern status' for a look, 'postern trace --follow' for what comes",
        ));
    }
    let data = data_of(config)?;
    // Whether it may be asked at all is said in plain lines, before the screen is taken.
    let first: Value = process::block_on(control::demand(&data, &Request::Status))??;
    let mut picture = Picture::default();
    picture.hear(first, SystemClock.now());
    let trace = data.join("trace");
    picture.follow(find(&trace, &Question::Last(EARLIER))?.events);
    let no_terminal = |error: std::io::Error| {
        Problem::failed(format!("the terminal can't be used: {}", io_words(&error)), "type 'postern status'")
    };
    let mut terminal = ratatui::try_init().map_err(no_terminal)?;
    let follow = Follow::new(&trace, None, []);
    let ended = process::block_on(show(&mut terminal, &data, picture, follow));
    ratatui::restore();
    ended?.map_err(no_terminal)
}

/// Draws until q, Escape or Ctrl-C.
async fn show(
    terminal: &mut DefaultTerminal,
    data: &Path,
    mut picture: Picture,
    mut follow: Follow,
) -> std::io::Result<()> {
    let mut said = ask(data);
    loop {
        while let Ok(status) = said.try_recv() {
            match status {
                Ok(status) => picture.hear(status, SystemClock.now()),
                Err(why) => picture.miss(why),
            }
        }
        picture.follow(follow.news());
        terminal.draw(|frame| draw(frame, &picture, SystemClock.now()))?;
        let pressed = tokio::task::spawn_blocking(wants_to_end).await;
        if pressed.map_err(std::io::Error::other)?? {
            return Ok(());
        }
    }
}

/// Asks the daemon again and again, beside the drawing: an edge may take its time.
fn ask(data: &Path) -> mpsc::Receiver<Result<Value, String>> {
    let (sender, receiver) = mpsc::channel(4);
    let data = data.to_owned();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(ASK_EVERY).await;
            let said = control::demand(&data, &Request::Status).await;
            let said = said.map_err(|problem| problem.what().to_owned());
            if sender.send(said).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits for a key for a while.
fn wants_to_end() -> std::io::Result<bool> {
    if !event::poll(DRAW_EVERY)? {
        return Ok(false);
    }
    let Event::Key(key) = event::read()? else { return Ok(false) };
    let interrupted = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    let ends = matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc);
    Ok(key.kind == KeyEventKind::Press && (ends || interrupted))
}
