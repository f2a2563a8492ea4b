//! Sets of messages as clients name them, and as they are found in a mailbox.

use std::ops::{Range, RangeInclusive};

use crate::cursor::{Cursor, Malformed, Parsed};

/// Most ranges in one set.
const RANGES_MAX: usize = 16 * 1024;

/// Whether a command names messages by number or by uid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Number,
    Uid,
}

/// A set as written: `1:4,7,9:*`. `u32::MAX` stands for `*`; as a number or uid it means the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set(Vec<(u32, u32)>);

const STAR: u32 = u32::MAX;

impl Set {
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Parsed<Self> {
        let mut ranges = Vec::new();
        loop {
            let first = number(cursor)?;
            let last = if cursor.eat(b':') { number(cursor)? } else { first };
            ranges.push((first, last));
            if ranges.len() > RANGES_MAX {
                return Err(Malformed("a set has too many ranges"));
            }
            if !cursor.eat(b',') {
                return Ok(Self(ranges));
            }
        }
    }

    /// Which of the mailbox's messages it names: ranges of places in `uids`, sorted and apart. What is not
    /// there is left out; `*` is the last message (RFC 9051 section 9, seq-range).
    pub(crate) fn places(&self, by: By, uids: &[u32]) -> Vec<Range<usize>> {
        let Some(last_uid) = uids.last() else { return Vec::new() };
        let last = match by {
            By::Number => u32::try_from(uids.len()).unwrap_or(STAR),
            By::Uid => *last_uid,
        };
        let ranges = self.0.iter().map(|(one, other)| {
            let of = |end: &u32| if *end == STAR { last } else { *end };
            let (low, high) = (of(one).min(of(other)), of(one).max(of(other)));
            match by {
                By::Number => low.saturating_sub(1) as usize..(high as usize).min(uids.len()),
                By::Uid => uids.partition_point(|uid| *uid < low)..uids.partition_point(|uid| *uid <= high),
            }
        });
        merged(ranges.filter(|range| !range.is_empty()).collect())
    }
}

fn number(cursor: &mut Cursor<'_>) -> Parsed<u32> {
    if cursor.eat(b'*') {
        return Ok(STAR);
    }
    match cursor.number()? {
        0 => Err(Malformed("messages are numbered from 1")),
        number => Ok(number),
    }
}

fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut apart: Vec<Range<usize>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match apart.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

/// The uids at these places, as ranges. A range may span uids that are gone; uids only rise, so none that
/// the session does not know can be between two that it knows.
pub(crate) fn uid_ranges(places: &[Range<usize>], uids: &[u32]) -> Vec<RangeInclusive<u32>> {
    let range = |range: &Range<usize>| {
        let first = uids.get(range.start)?;
        let last = uids.get(range.end.checked_sub(1)?)?;
        Some(*first..=*last)
    };
    places.iter().filter_map(range).collect()
}

/// Writes sorted numbers as a set: `1:3,5`.
pub(crate) fn write(out: &mut Vec<u8>, numbers: impl IntoIterator<Item = u32>) {
    let mut run: Option<(u32, u32)> = None;
    let mut first = true;
    let mut flush = |out: &mut Vec<u8>, (low, high): (u32, u32)| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        out.extend_from_slice(low.to_string().as_bytes());
        if high > low {
            out.push(b':');
            out.extend_from_slice(high.to_string().as_bytes());
        }
    };
    for number in numbers {
        run = match run {
            Some((low, high)) if high.checked_add(1) == Some(number) => Some((low, number)),
            Some(done) => {
                flush(out, done);
                Some((number, number))
            }
            None => Some((number, number)),
        };
    }
    if let Some(done) = run {
        flush(out, done);
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "ranges are what is compared")]
mod tests {
    use super::*;

    fn places(set: &str, by: By, uids: &[u32]) -> Vec<Range<usize>> {
        Set::parse(&mut Cursor::new(set.as_bytes())).unwrap().places(by, uids)
    }

    #[test]
    fn numbers_beyond_the_mailbox_are_left_out_and_a_star_is_the_last() {
        let uids = [10, 20, 30, 40];
        assert_eq!(places("2:3", By::Number, &uids), [1..3]);
        assert_eq!(places("3:9", By::Number, &uids), [2..4]);
        assert_eq!(places("9:*", By::Number, &uids), [3..4]);
        assert_eq!(places("*:3,1", By::Number, &uids), [0..1, 2..4]);
        assert!(places("7", By::Number, &uids).is_empty());
        assert!(places("1:*", By::Number, &[]).is_empty());
    }

    #[test]
    fn uids_are_found_by_value() {
        let uids = [10, 20, 30, 40];
        assert_eq!(places("15:30", By::Uid, &uids), [1..3]);
        assert_eq!(places("50:*", By::Uid, &uids), [3..4]);
        assert_eq!(places("10,20,40,10:20", By::Uid, &uids), [0..2, 3..4]);
        assert!(places("11:19", By::Uid, &uids).is_empty());
        assert_eq!(uid_ranges(&[0..2, 3..4], &uids), [10..=20, 40..=40]);
    }

    #[test]
    fn sets_that_are_none_are_refused() {
        for set in ["", "0", "1:", ":1", "1,,2", "a", "4294967296"] {
            assert!(Set::parse(&mut Cursor::new(set.as_bytes())).is_err(), "{set}");
        }
        let most = vec!["1"; RANGES_MAX].join(",");
        assert!(Set::parse(&mut Cursor::new(most.as_bytes())).is_ok());
        assert!(Set::parse(&mut Cursor::new(format!("{most},1").as_bytes())).is_err());
    }

    #[test]
    fn numbers_are_written_as_runs() {
        let mut out = Vec::new();
        write(&mut out, [1, 2, 3, 5, 7, 8]);
        assert_eq!(out, b"1:3,5,7:8");
    }
}
