//! What commands print: JSON for scripts, plain lines for people.

use link::{Event, Role};
use serde_json::Value;

/// Prints an answer.
pub fn value(value: &Value, json: bool) {
    if json {
        println!("{value}");
        return;
    }
    match value {
        Value::Array(rows) if rows.is_empty() => println!("none"),
        Value::Array(rows) => rows.iter().for_each(|row| println!("{}", line(row))),
        Value::Object(fields) if fields.is_empty() => println!("done"),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::Array(rows) if rows.iter().any(Value::is_object) => {
                        println!("{name}:");
                        rows.iter().for_each(|row| println!("  {}", line(row)));
                    }
                    _ => println!("{name}: {}", line(field)),
                }
            }
        }
        other => println!("{}", line(other)),
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
        println!("{}", serde_json::to_string(event).unwrap_or_default());
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
    println!("{}  {item}  {place}  {:<12} {}", event.at, event.step, event.detail);
}
