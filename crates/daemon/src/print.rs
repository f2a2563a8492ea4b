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
        Value::Array(rows) => rows.iter().for_each(|row| line_out!("{}", line(row))),
        Value::Object(fields) if fields.is_empty() => {
            line_out!("done")
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::Array(rows) if rows.iter().any(Value::is_object) => {
                        line_out!("{name}:");
                        rows.iter().for_each(|row| line_out!("  {}", line(row)));
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
