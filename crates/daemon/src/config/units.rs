//! Sizes and times as people write them: `"128 MiB"`, `"15m"`.

use serde::{Deserialize, Deserializer, de};

/// A number of octets: a number, or text with `KiB`, `MiB` or `GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Octets(pub u64);

/// A number of seconds: a number, or text with `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u64);

#[derive(Deserialize)]
#[serde(untagged, expecting = "write a size or a time, such as \"50 MiB\" or \"15m\"")]
enum Written {
    Number(u64),
    Text(String),
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text.get(..digits)?.parse().ok()?;
    let unit = text.get(digits..)?.trim();
    let factor = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1;
    number.checked_mul(factor)
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = [("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(Self(number)),
            Written::Text(text) => parse(&text, &units).map(Self).ok_or_else(|| {
                de::Error::custom(format!("'{text}' is no size; write for example \"50 MiB\""))
            }),
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(Self(number)),
            Written::Text(text) => parse(&text, &units)
                .map(Self)
                .ok_or_else(|| de::Error::custom(format!("'{text}' is no time; write for example \"15m\""))),
        }
    }
}

/// A value that has a written form of its own.
///
/// # Errors
/// Text that is no such value.
pub fn parsed<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_as_people_write_them() {
        let octets = |text: &str| serde_json::from_str::<Octets>(text).ok().map(|octets| octets.0);
        assert_eq!(octets("\"50 MiB\""), Some(50 << 20));
        assert_eq!(octets("\"1gib\""), Some(1 << 30));
        assert_eq!(octets("7"), Some(7));
        assert_eq!(octets("\"50 MB\""), None);
        assert_eq!(octets("\"99999999999 GiB\""), None);
        let seconds = |text: &str| serde_json::from_str::<Seconds>(text).ok().map(|seconds| seconds.0);
        assert_eq!(seconds("\"15m\""), Some(900));
        assert_eq!(seconds("\"5d\""), Some(432_000));
        assert_eq!(seconds("\"soon\""), None);
    }
}
