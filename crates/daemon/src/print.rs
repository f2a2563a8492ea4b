//! What commands print: JSON for scripts, plain lines for people.

use std::io::Write as _;

use link::{Event, Role};
use serde_json::Value;

/// Prints a line. A reader that has seen enough (`| head`) ends the program without a complaint.
macro_rules! line_out {
    ($($argument:tt)*) => {
        if writeln!(std::io::stdout(), $($argument)*).is_err() {
            std::process::exit(0);
        }
    };
}

/// The reader that a command prints for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// For a person: lines of text.
    Text,
    /// For a script: JSON.
    Json,
}

impl Output {
    /// JSON where `--json` was given, else text.
    pub const fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// Prints lines of text as they are.
pub fn text(text: &str) {
    line_out!("{text}");
}

/// Prints an answer: JSON on one line, or text for people.
pub fn value(value: &Value, json: bool) {
    if json {
        line_out!("{value}");
        return;
    }
    match value {
        Value::Array(rows) if rows.is_empty() => {
            line_out!("none")
        }
        Value::Array(rows) => lines(rows).iter().for_each(|row| line_out!("{row}")),
        Value::Object(fields) if fields.is_empty() => {
            line_out!("done")
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::Array(rows) if rows.iter().any(Value::is_object) => {
                        line_out!("{name}:");
                        lines(rows).iter().for_each(|row| line_out!("  {row}"));
                    }
                    _ => {
                        line_out!("{name}: {}", line(field))
                    }
                }
            }
        }
        other => {
            line_out!("{}", line(other))
        }
    }
}

/// Characters that a line of a table may have.
const WIDE: usize = 150;
/// Fields that are times in microseconds since 1970.
const TIMES: [&str; 3] = ["submitted", "next_due", "at"];

/// Rows as a table, without columns that nobody has anything in; as blocks where they would be too wide for that, or are no rows.
fn lines(rows: &[Value]) -> Vec<String> {
    let objects: Option<Vec<_>> = rows.iter().map(|row| row.as_object().map(cells)).collect();
    let Some(rows) = objects else { return rows.iter().map(line).collect() };
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flatten() {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let cell = |row: &[(&str, String)], name: &str| {
        row.iter().find(|(of, _)| *of == name).map(|(_, text)| text.clone()).unwrap_or_default()
    };
    let width = |name: &&str| {
        rows.iter()
            .map(|row| cell(row, name).chars().count())
            .chain([name.chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = names.iter().map(width).collect();
    if widths.iter().sum::<usize>() + 2 * widths.len() > WIDE {
        return blocks(&rows);
    }
    let line = |cells: Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = line(names.iter().map(|name| (*name).to_owned()).collect());
    let body = rows.iter().map(|row| line(names.iter().map(|name| cell(row, name)).collect()));
    [head].into_iter().chain(body).collect()
}

/// What there is to say of a row.
fn cells(row: &serde_json::Map<String, Value>) -> Vec<(&str, String)> {
    let told = row.iter().map(|(name, field)| (name.as_str(), cell(name, field)));
    told.filter(|(_, text)| !text.is_empty()).collect()
}

fn cell(name: &str, field: &Value) -> String {
    match field {
        Value::Null => String::new(),
        Value::Number(number) if TIMES.contains(&name) => {
            number.as_u64().map_or_else(|| number.to_string(), |at| mail::UnixTime(at).rfc3339())
        }
        field => line(field),
    }
}

/// A paragraph for each row, a line for each field.
fn blocks(rows: &[Vec<(&str, String)>]) -> Vec<String> {
    let mut lines = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            lines.push(String::new());
        }
        let width = row.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        lines.extend(row.iter().map(|(name, text)| format!("{name:<width$}  {text}")));
    }
    lines
}

fn line(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let parts = fields.iter().filter(|(_, field)| !field.is_null());
            parts.map(|(name, field)| format!("{name} {}", line(field))).collect::<Vec<_>>().join("  ")
        }
        Value::Array(items) => items.iter().map(line).collect::<Vec<_>>().join(", "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Prints an event of the trace.
pub fn event(event: &Event, json: bool) {
    if json {
        line_out!("{}", serde_json::to_string(event).unwrap_or_default());
    } else {
        readable(event);
    }
}

/// Prints an event as a line for people.
pub fn readable(event: &Event) {
    let place = match event.role {
        Role::Home => "home",
        Role::Edge => "edge",
    };
    let item = event.item.map_or_else(|| "-".repeat(26), |item| item.to_string());
    line_out!("{}  {item}  {place}  {:<12} {}", event.at, event.step, event.detail);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_are_a_table_and_wide_ones_are_blocks_without_what_is_empty() {
        let rows = [
            json!({ "address": "you@example.org", "by": [], "submitted": 1_000_000_000_000_u64 }),
            json!({ "address": "b@example.org", "held": true }),
        ];
        assert_eq!(
            lines(&rows),
            [
                "address          submitted                 held",
                "you@example.org  1970-01-12T13:46:40.000Z",
                "b@example.org                              true",
            ]
        );
        let wide = [json!({ "key": "x".repeat(200), "name": "a" }), json!({ "name": "b" })];
        assert_eq!(
            lines(&wide),
            [format!("key   {}", "x".repeat(200)), "name  a".into(), String::new(), "name  b".into()]
        );
        assert_eq!(lines(&[json!("one"), json!(2)]), ["one", "2"]);
    }
}
