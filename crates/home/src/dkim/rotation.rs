//! How a domain's keys take turns: published, signing, retired. No clock, no disk, no DNS.
//!
//! A step never takes a key away that a message on its way may need, nor signs with one that the operator has
//! not had the chance to publish; the very first pair is the exception, which signs from the start: a signature
//! whose key is not published yet is one that receivers ignore.

use mail::UnixTime;
use mailauth::dkim::sign::KeyKind;
use serde::{Deserialize, Serialize};

/// Retired keys that are remembered; with more no rotation begins. Two come with each.
const RETIRED_MAX: usize = 16;

/// A private key and what is published of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    /// The selector: `s=`.
    pub selector: String,
    /// The kind of the key.
    pub kind: KeyKind,
    /// PKCS #8 in base64.
    pub private: String,
    /// The text of the DNS record.
    pub record: String,
}

/// A key that signs no more. Its private half is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Retired {
    selector: String,
    record: String,
    /// Until then its record has to stay.
    keep_until: UnixTime,
}

/// What is to be done with a key's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// To be published: it signs after the next `rotate`.
    Next,
    /// To be published: it signs.
    Signing,
    /// To stay published: messages it signed are on their way.
    Kept,
    /// To be removed from DNS.
    Remove,
}

/// A key as DNS is to have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The selector: `s=`.
    pub selector: String,
    /// The step that its DNS record waits for.
    pub stage: Stage,
    /// The time until which a key at [`Stage::Kept`] stays published.
    pub until: Option<UnixTime>,
    /// The text at `SELECTOR._domainkey.DOMAIN`.
    pub record: String,
}

/// The reasons why a rotation can't take the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum RotationError {
    /// The operator's: rotating faster than keys may go.
    #[error("{RETIRED_MAX} retired keys have to stay published")]
    TooManyRetired,
    /// There is nothing to switch to, or there is something already.
    #[error("this is not the step that comes next")]
    WrongStep,
}

/// The keys of one domain.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rotation {
    signing: Vec<Key>,
    next: Option<Vec<Key>>,
    retired: Vec<Retired>,
}

impl Rotation {
    /// The first keys, which sign at once.
    pub(super) const fn begin(keys: Vec<Key>) -> Self {
        Self { signing: keys, next: None, retired: Vec::new() }
    }

    /// The keys that sign.
    pub(super) fn signing(&self) -> &[Key] {
        &self.signing
    }

    /// The keys that wait for the next step, if there are any.
    pub(super) fn next(&self) -> Option<&[Key]> {
        self.next.as_deref()
    }

    /// First step: these keys are to be published. Retired keys whose time has passed are forgotten.
    ///
    /// # Errors
    /// [`RotationError`]; then nothing has changed.
    pub(super) fn publish(&self, keys: Vec<Key>, now: UnixTime) -> Result<Self, RotationError> {
        if self.next.is_some() {
            return Err(RotationError::WrongStep);
        }
        let retired: Vec<Retired> =
            self.retired.iter().filter(|retired| now < retired.keep_until).cloned().collect();
        if retired.len() + self.signing.len() > RETIRED_MAX {
            return Err(RotationError::TooManyRetired);
        }
        Ok(Self { signing: self.signing.clone(), next: Some(keys), retired })
    }

    /// Second step: the new keys sign, the records of the old ones stay for `keep_secs` seconds.
    ///
    /// # Errors
    /// [`RotationError::WrongStep`].
    pub(super) fn switch(&self, now: UnixTime, keep_secs: u64) -> Result<Self, RotationError> {
        let signing = self.next.clone().ok_or(RotationError::WrongStep)?;
        let keep_until = now.plus_secs(keep_secs);
        let retire =
            |key: &Key| Retired { selector: key.selector.clone(), record: key.record.clone(), keep_until };
        let retired = self.retired.iter().cloned().chain(self.signing.iter().map(retire)).collect();
        Ok(Self { signing, next: None, retired })
    }

    /// What is to be in DNS, and what is to go.
    pub(super) fn published(&self, now: UnixTime) -> Vec<Published> {
        let of = |stage| {
            move |key: &Key| Published {
                selector: key.selector.clone(),
                stage,
                until: None,
                record: key.record.clone(),
            }
        };
        let retired = self.retired.iter().map(|retired| {
            let kept = now < retired.keep_until;
            Published {
                selector: retired.selector.clone(),
                stage: if kept { Stage::Kept } else { Stage::Remove },
                until: kept.then_some(retired.keep_until),
                record: retired.record.clone(),
            }
        });
        let next = self.next.iter().flatten().map(of(Stage::Next));
        self.signing.iter().map(of(Stage::Signing)).chain(next).chain(retired).collect()
    }

    /// What new keys' selectors begin with: the day (`20261124`), and a number when that is taken.
    pub(super) fn new_selector(&self, now: UnixTime) -> String {
        let taken: Vec<String> = self.published(now).into_iter().map(|key| key.selector).collect();
        let day = day(now);
        let numbered = (2..).map(|number| format!("{day}-{number}"));
        let free = |stem: &String| !taken.iter().any(|selector| selector_stem(selector) == stem);
        std::iter::once(day.clone()).chain(numbered).find(free).unwrap_or_default()
    }
}

/// `20261124`, in UTC.
pub(super) fn day(now: UnixTime) -> String {
    now.rfc3339().chars().take("2026-11-24".len()).filter(char::is_ascii_digit).collect()
}

/// A selector without the letter of its kind.
fn selector_stem(selector: &str) -> &str {
    selector.strip_suffix(['r', 'e']).unwrap_or(selector)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_795_500_000);
    const DAY: u64 = 86_400;
    const KEEP: u64 = 7 * DAY;

    fn keys(stem: &str) -> Vec<Key> {
        let key = |(letter, kind)| Key {
            selector: format!("{stem}{letter}"),
            kind,
            private: "secret".to_owned(),
            record: format!("record of {stem}{letter}"),
        };
        [("r", KeyKind::Rsa), ("e", KeyKind::Ed25519)].map(key).to_vec()
    }

    fn stages(rotation: &Rotation, now: UnixTime) -> Vec<(String, Stage)> {
        rotation.published(now).into_iter().map(|key| (key.selector, key.stage)).collect()
    }

    fn both(stem: &str, stage: Stage) -> Vec<(String, Stage)> {
        vec![(format!("{stem}r"), stage), (format!("{stem}e"), stage)]
    }

    #[test]
    fn keys_are_published_then_sign_then_stay_for_a_week_and_then_go() {
        let first = Rotation::begin(keys("a"));
        assert_eq!(stages(&first, NOW), both("a", Stage::Signing));
        let published = first.publish(keys("b"), NOW).unwrap();
        assert!(published.signing() == keys("a"), "the old keys sign until the switch");
        assert_eq!(stages(&published, NOW), [both("a", Stage::Signing), both("b", Stage::Next)].concat());
        let switched = published.switch(NOW, KEEP).unwrap();
        assert!(switched.signing() == keys("b") && switched.next().is_none());
        assert_eq!(stages(&switched, NOW), [both("b", Stage::Signing), both("a", Stage::Kept)].concat());
        let end = NOW.plus_secs(KEEP);
        let last = UnixTime(end.0 - 1);
        assert_eq!(switched.published(last)[2].until, Some(end));
        assert_eq!(stages(&switched, last)[2..], both("a", Stage::Kept));
        assert_eq!(stages(&switched, end)[2..], both("a", Stage::Remove));
        let again = switched.publish(keys("c"), end).unwrap();
        assert_eq!(stages(&again, end), [both("b", Stage::Signing), both("c", Stage::Next)].concat());
    }

    #[test]
    fn no_step_is_taken_twice_and_none_is_left_out() {
        let first = Rotation::begin(keys("a"));
        assert_eq!(first.switch(NOW, KEEP).err(), Some(RotationError::WrongStep));
        let published = first.publish(keys("b"), NOW).unwrap();
        assert_eq!(published.publish(keys("c"), NOW).err(), Some(RotationError::WrongStep));
    }

    #[test]
    fn a_retired_key_has_no_private_half_any_more() {
        let published = Rotation::begin(keys("a")).publish(keys("b"), NOW).unwrap();
        let kept = serde_json::to_string(&published.switch(NOW, KEEP).unwrap()).unwrap();
        assert_eq!(kept.matches("secret").count(), 2, "{kept}");
    }

    #[test]
    fn retired_keys_up_to_the_limit_are_kept_and_past_it_no_rotation_begins() {
        let mut rotation = Rotation::begin(keys("0"));
        for turn in 1..=RETIRED_MAX / 2 {
            rotation = rotation.publish(keys(&turn.to_string()), NOW).unwrap().switch(NOW, KEEP).unwrap();
        }
        assert_eq!(rotation.published(NOW).len(), RETIRED_MAX + 2);
        assert_eq!(rotation.publish(keys("x"), NOW).err(), Some(RotationError::TooManyRetired));
        assert!(rotation.publish(keys("x"), NOW.plus_secs(KEEP)).is_ok());
    }

    #[test]
    fn a_selector_is_the_day_and_a_number_when_that_is_taken() {
        let first = Rotation::begin(keys("20261123"));
        assert_eq!(first.new_selector(NOW), "20261124");
        let published = first.publish(keys("20261124"), NOW).unwrap();
        assert_eq!(published.new_selector(NOW), "20261124-2");
        let switched = published.switch(NOW, KEEP).unwrap().publish(keys("20261124-2"), NOW).unwrap();
        assert_eq!(switched.new_selector(NOW), "20261124-3");
        assert_eq!(switched.new_selector(NOW.plus_secs(DAY)), "20261125");
    }
}
