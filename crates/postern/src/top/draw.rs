//! The picture on a screen. It is made for 80 by 24 and bears any size.

use link::{Event, Role};
use mail::UnixTime;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph, Sparkline};
use serde_json::Value;

use super::pace::WINDOW_SECS;
use super::picture::Picture;

/// Lines of problems and of links that are shown at most, so that events have a place.
const PROBLEMS_MAX: usize = 3;
const LINKS_MAX: usize = 6;

/// Draws it.
pub(crate) fn draw(frame: &mut Frame<'_>, picture: &Picture, now: UnixTime) {
    let links = links(&picture.status);
    let problems = problems(picture);
    let height = |lines: usize| Constraint::Length(u16::try_from(lines).unwrap_or(u16::MAX));
    let [title, mail, here, links_area, problems_area, events] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(5),
        Constraint::Length(1),
        height(links.len() + 2),
        height(problems.len()),
        Constraint::Min(3),
    ])
    .areas(frame.area());
    frame.render_widget(heading(&picture.status, now), title);
    mail_a_minute(frame, picture, mail);
    frame.render_widget(Paragraph::new(numbers(&picture.status)), here);
    frame.render_widget(Paragraph::new(links).block(titled("Links")), links_area);
    frame.render_widget(Paragraph::new(problems), problems_area);
    last_events(frame, picture, events);
}

fn titled(title: &str) -> Block<'_> {
    Block::new().borders(Borders::TOP | Borders::BOTTOM).title(title)
}

fn heading(status: &Value, now: UnixTime) -> Paragraph<'static> {
    let name = status["hostname"].as_str().map_or_else(|| list(&status["domains"]), str::to_owned);
    let words =
        [text(&status["role"]), text(&status["software"]), &name, &now.rfc3339()].map(plain).join("  ");
    let bold = Style::new().add_modifier(Modifier::BOLD);
    Paragraph::new(Line::from(vec![Span::styled(words, bold), Span::raw("   q ends")]))
}

fn mail_a_minute(frame: &mut Frame<'_>, picture: &Picture, area: Rect) {
    let block = titled("Messages in the last minute");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [numbers, graph] = Layout::horizontal([Constraint::Length(40), Constraint::Min(0)]).areas(inner);
    let [taken, not_taken, sent, not_sent] = picture.pace.a_minute();
    let lines = vec![
        Line::from(format!("in   {taken:>7} taken {not_taken:>7} not")),
        Line::from(format!("out  {sent:>7} sent  {not_sent:>7} not")),
    ];
    frame.render_widget(Paragraph::new(lines), numbers);
    let seconds = picture.pace.by_second();
    let shown = usize::from(graph.width).min(usize::try_from(WINDOW_SECS).unwrap_or(usize::MAX));
    let newest = seconds.get(seconds.len().saturating_sub(shown)..).unwrap_or_default();
    frame.render_widget(Sparkline::default().data(newest).style(Style::new().fg(Color::Green)), graph);
}

/// What waits, and who is connected.
fn numbers(status: &Value) -> Line<'static> {
    let number = |name: &str| status[name].as_u64().unwrap_or_default();
    if status["role"] == "edge" {
        return Line::from(format!("sessions {} of {}", number("sessions"), number("sessions_max")));
    }
    Line::from(format!(
        "queue {}   quarantine {}   sessions {}   accounts {}",
        number("queue"),
        number("quarantine"),
        number("sessions"),
        number("accounts")
    ))
}

/// A line for each edge of a home, or each home of an edge.
fn links(status: &Value) -> Vec<Line<'static>> {
    let edges = status["edges"].as_array().into_iter().flatten().map(of_edge);
    let homes = status["homes"].as_array().into_iter().flatten().map(of_home);
    edges.chain(homes).take(LINKS_MAX).collect()
}

fn of_edge(edge: &Value) -> Line<'static> {
    let (own, name) = (&edge["edge"], plain(text(&edge["name"])));
    let more = if own.is_null() {
        plain(text(&edge["software"]))
    } else {
        format!("{} of {} sessions   {} sealed", own["sessions"], own["sessions_max"], own["sealed"])
    };
    Line::from(vec![Span::raw(format!("{name:<30} ")), up(edge), Span::raw(format!("  {more}"))])
}

fn of_home(home: &Value) -> Line<'static> {
    let name: String = plain(text(&home["name"])).chars().take(16).collect();
    let more = format!("  {} sealed   {}", home["sealed"], plain(&list(&home["domains"])));
    Line::from(vec![Span::raw(format!("{name:<30} ")), up(home), Span::raw(more)])
}

fn up(end: &Value) -> Span<'static> {
    let (word, colour) = if end["link"] == "up" { ("up", Color::Green) } else { ("down", Color::Red) };
    let way = end["transport"].as_str().filter(|_| word == "up").unwrap_or_default();
    Span::styled(format!("{:<10}", format!("{word} {}", plain(way))), Style::new().fg(colour))
}

fn problems(picture: &Picture) -> Vec<Line<'static>> {
    let told = ["problems", "warnings"].into_iter().flat_map(|name| {
        picture.status[name].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
    });
    let all = picture.trouble.iter().cloned().chain(told).take(PROBLEMS_MAX);
    all.map(|problem| Line::styled(plain(&problem), Style::new().fg(Color::Yellow))).collect()
}

fn last_events(frame: &mut Frame<'_>, picture: &Picture, area: Rect) {
    let block = Block::new().title("Events");
    let inner = Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area };
    frame.render_widget(block, area);
    let from = picture.events.len().saturating_sub(usize::from(inner.height));
    let lines: Vec<Line<'_>> = picture.events.iter().skip(from).map(event).collect();
    frame.render_widget(Paragraph::new(lines), inner);
}

fn event(event: &Event) -> Line<'static> {
    let time = event.at.rfc3339();
    let time: String = time.chars().skip(11).take(8).collect();
    let role = match event.role {
        Role::Home => "home",
        Role::Edge => "edge",
    };
    Line::from(format!("{time} {role} {:<12} {}", plain(&event.step), plain(&event.detail)))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> String {
    let all: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    all.join(", ")
}

/// What strangers wrote must not steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
