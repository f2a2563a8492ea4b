//! What Edge found out about a message while it arrived.

use serde::{Deserialize, Serialize};

/// Edge's typed finding; it follows the body, because it is complete only then, and travels sealed as well.
/// Fields are added, never changed: a role that does not know one leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Verdict {
    /// The number of `Received` fields that the message came with.
    #[serde(default)]
    pub hops: u32,
    /// Under which name the findings are published (RFC 8601 section 2.5): the Edge that found them. Empty
    /// when nothing was looked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub authserv_id: String,
    /// Results of mail authentication (RFC 8601).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// What counted for and against the message, and how much.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signs: Vec<Sign>,
    /// The mailbox that the message belongs in.
    #[serde(default)]
    pub place: Place,
}

impl Verdict {
    /// The score and what it is made of, for people.
    #[must_use]
    pub fn score(&self) -> String {
        explain_signs(&self.signs)
    }
}

/// The sum of signs, in tenths.
#[must_use]
pub fn sum_of_signs(signs: &[Sign]) -> i32 {
    signs.iter().map(|sign| sign.tenths).fold(0, i32::saturating_add)
}

/// Signs as people read them: `4.5 (spf-fail 3.0, no-ptr 1.5)`.
#[must_use]
pub fn explain_signs(signs: &[Sign]) -> String {
    let points = |tenths: i32| format!("{:.1}", f64::from(tenths) / 10.0);
    let parts: Vec<String> =
        signs.iter().map(|sign| format!("{} {}", sign.name, points(sign.tenths))).collect();
    let sum = points(sum_of_signs(signs));
    if parts.is_empty() { sum } else { format!("{sum} ({})", parts.join(", ")) }
}

/// One result of mail authentication, as RFC 8601 section 2.2 cuts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// `spf`, `dkim`, `dmarc`, `arc`, `iprev`.
    pub method: String,
    /// `pass`, `fail` and so on: the method's own words.
    pub result: String,
    /// The reason of the result, for people, if one is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What it was found for: `smtp.mailfrom`, `header.d` and so on, each with its value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<(String, String)>,
}

impl Finding {
    /// A finding without properties.
    #[must_use]
    pub fn new(method: &str, result: &str) -> Self {
        Self { method: method.to_owned(), result: result.to_owned(), reason: None, properties: Vec::new() }
    }

    /// With a property, unless its value is empty.
    #[must_use]
    pub fn with(mut self, property: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.properties.push((property.to_owned(), value.to_owned()));
        }
        self
    }

    /// The finding with a reason.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.reason = Some(reason.to_owned());
        self
    }

    /// The value of a property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Something that counted for or against a message or its client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sign {
    /// The name of the row in the scoring table, such as `spf-fail`.
    pub name: String,
    /// Points in tenths; positive is against.
    pub tenths: i32,
    /// What was seen, for people; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The mailbox that a message belongs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The mailbox that it is for.
    #[default]
    Inbox,
    /// The mailbox for mail that is probably not wanted.
    Junk,
}
