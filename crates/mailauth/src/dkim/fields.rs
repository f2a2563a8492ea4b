//! The fields of a header section by name, for signatures that list names.

use std::cmp::Ordering;

use mail::header::{self, Field};

/// All fields of a header section.
#[derive(Debug)]
pub(crate) struct HeaderFields<'a> {
    all: Vec<Field<'a>>,
    /// Places in `all`, sorted by name, those of one name in the order of the header. A map would cost a name and a list
    /// for each field of each message.
    by_name: Vec<usize>,
}

impl<'a> HeaderFields<'a> {
    pub(crate) fn new(header: &'a [u8]) -> Self {
        let all: Vec<Field<'a>> = header::fields(header).collect();
        let mut by_name: Vec<usize> = (0..all.len()).collect();
        by_name.sort_by(|a, b| match (all.get(*a), all.get(*b)) {
            (Some(a), Some(b)) => compare(a.name, b.name),
            _ => Ordering::Equal,
        });
        Self { all, by_name }
    }

    /// The field that starts at `offset`, if it is `raw`.
    pub(crate) fn at(&self, offset: usize, raw: &[u8]) -> Option<&Field<'a>> {
        let place = self.all.binary_search_by_key(&offset, |field| field.offset).ok()?;
        self.all.get(place).filter(|field| field.raw == raw)
    }

    /// Where the fields of this name begin and end in `by_name`.
    fn range(&self, name: &[u8]) -> (usize, usize) {
        let order =
            |place: &usize| self.all.get(*place).map_or(Ordering::Less, |field| compare(field.name, name));
        let start = self.by_name.partition_point(|place| order(place) == Ordering::Less);
        let rest = self.by_name.get(start..).unwrap_or_default();
        (start, start + rest.partition_point(|place| order(place) == Ordering::Equal))
    }

    /// The fields that a list of lower-case names means: each time a name comes, the next of its fields from
    /// the bottom up, nothing when there is none left (RFC 6376 section 5.4.2). The field at `own` is not
    /// among them: a signature does not list itself.
    pub(crate) fn select<'b>(
        &'b self,
        names: &'b [String],
        own: usize,
    ) -> impl Iterator<Item = &'b Field<'a>> {
        // By the place where a name's fields begin: how many of them were given out.
        let mut given: Vec<usize> = vec![0; self.by_name.len()];
        names.iter().filter_map(move |name| {
            let (start, end) = self.range(name.as_bytes());
            let given = given.get_mut(start)?;
            loop {
                let place = end.checked_sub(*given + 1).filter(|place| *place >= start)?;
                *given += 1;
                let field = self.all.get(*self.by_name.get(place)?)?;
                if field.offset != own {
                    return Some(field);
                }
            }
        })
    }
}

/// Some order of names, without regard to case.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    a.len()
        .cmp(&b.len())
        .then_with(|| a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_take_fields_from_the_bottom_up_and_then_nothing() {
        let header = b"A: 1\r\nSig: x\r\na : 2\r\nB: 3\r\nSIG: y\r\n\r\nA: body\r\n";
        let fields = HeaderFields::new(header);
        let own = header::find(header, "sig").unwrap();
        let names = ["a", "c", "b", "a", "a", "sig", "sig", "b"].map(str::to_owned);
        let selected: Vec<&[u8]> = fields.select(&names, own.offset).map(|field| field.value).collect();
        assert_eq!(selected, [b" 2", b" 3", b" 1", b" y"]);
        assert_eq!(fields.at(own.offset, own.raw), Some(&own));
        assert_eq!(fields.at(own.offset, b"Sig: z\r\n"), None);
        assert_eq!(fields.at(own.offset + 1, own.raw), None);
    }
}
