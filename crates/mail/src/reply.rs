//! SMTP replies as values (RFC 5321 section 4.2) and enhanced status codes (RFC 3463).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `class.subject.detail` of RFC 3463, for example `5.1.1`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnhancedCode(pub u8, pub u16, pub u16);

impl EnhancedCode {
    /// The code with another class (2, 4 or 5).
    #[must_use]
    pub const fn with_class(self, class: u8) -> Self {
        Self(class, self.1, self.2)
    }
}

impl fmt::Display for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl fmt::Debug for EnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no enhanced status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoEnhancedCode;

impl fmt::Display for NoEnhancedCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an enhanced status code is 2, 4 or 5, then two numbers of up to three digits")
    }
}

impl std::error::Error for NoEnhancedCode {}

impl FromStr for EnhancedCode {
    type Err = NoEnhancedCode;
    fn from_str(text: &str) -> Result<Self, NoEnhancedCode> {
        let number = |part: Option<&str>| {
            part.filter(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
                .and_then(|p| p.parse::<u16>().ok())
                .ok_or(NoEnhancedCode)
        };
        let mut parts = text.split('.');
        let class = match parts.next() {
            Some("2") => 2,
            Some("4") => 4,
            Some("5") => 5,
            _ => return Err(NoEnhancedCode),
        };
        let code = Self(class, number(parts.next())?, number(parts.next())?);
        if parts.next().is_some() { Err(NoEnhancedCode) } else { Ok(code) }
    }
}

impl TryFrom<String> for EnhancedCode {
    type Error = NoEnhancedCode;
    fn try_from(text: String) -> Result<Self, NoEnhancedCode> {
        text.parse()
    }
}

impl From<EnhancedCode> for String {
    fn from(code: EnhancedCode) -> Self {
        code.to_string()
    }
}

/// One reply: code, enhanced code, text. The text may have several lines, split by `\n`; it holds no CR.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Reply code, 200 to 599 (RFC 5321 section 4.2).
    pub code: u16,
    /// Enhanced status code (RFC 3463), when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enhanced: Option<EnhancedCode>,
    /// Text for people.
    pub text: String,
}

impl Reply {
    /// A reply with an enhanced status code given as its three numbers.
    #[must_use]
    pub fn new(code: u16, enhanced: (u8, u16, u16), text: impl Into<String>) -> Self {
        let enhanced = Some(EnhancedCode(enhanced.0, enhanced.1, enhanced.2));
        Self { code, enhanced, text: text.into() }
    }

    /// A reply without one (greeting, EHLO, 354).
    #[must_use]
    pub fn bare(code: u16, text: impl Into<String>) -> Self {
        Self { code, enhanced: None, text: text.into() }
    }

    /// Whether the command succeeded (2xx).
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        self.code >= 200 && self.code < 300
    }

    /// The enhanced code, or the plain one of the reply's class (`x.0.0`).
    #[must_use]
    pub fn status(&self) -> EnhancedCode {
        self.enhanced.unwrap_or(match self.code {
            200..=299 => EnhancedCode(2, 0, 0),
            500..=599 => EnhancedCode(5, 0, 0),
            _ => EnhancedCode(4, 0, 0),
        })
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        for part in self.text.split('\n').filter(|part| !part.is_empty()) {
            write!(f, " {part}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enhanced_codes_parse_only_in_their_form() {
        assert_eq!("5.1.10".parse(), Ok(EnhancedCode(5, 1, 10)));
        for text in ["", "5", "5.1", "3.1.1", "5.1.1.1", "5.1000.1", "5.-1.1", "5.a.1", "5..1"] {
            assert_eq!(text.parse::<EnhancedCode>(), Err(NoEnhancedCode), "{text}");
        }
    }
}
