//! The fields of a header section by name, for signatures that list names.

use std::collections::HashMap;

use mail::header::{self, Field};

/// All fields of a header section.
#[derive(Debug)]
pub(crate) struct HeaderFields<'a> {
    all: Vec<Field<'a>>,
    /// Places in `all` by lower-case name, in the order of the header.
    by_name: HashMap<Vec<u8>, Vec<usize>>,
}

impl<'a> HeaderFields<'a> {
    pub(crate) fn new(header: &'a [u8]) -> Self {
        let all: Vec<Field<'a>> = header::fields(header).collect();
        let mut by_name: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (place, field) in all.iter().enumerate() {
            by_name.entry(field.name.to_ascii_lowercase()).or_default().push(place);
        }
        Self { all, by_name }
    }

    /// The field that starts at `offset`, if it is `raw`.
    pub(crate) fn at(&self, offset: usize, raw: &[u8]) -> Option<&Field<'a>> {
        let place = self.all.binary_search_by_key(&offset, |field| field.offset).ok()?;
        self.all.get(place).filter(|field| field.raw == raw)
    }

    /// The fields that a list of lower-case names means: each time a name comes, the next of its fields from
    /// the bottom up, nothing when there is none left (RFC 6376 section 5.4.2). The field at `own` is not
    /// among them: a signature does not list itself.
    pub(crate) fn select<'b>(
        &'b self,
        names: &'b [String],
        own: usize,
    ) -> impl Iterator<Item = &'b Field<'a>> {
        let mut left: HashMap<&str, usize> = HashMap::new();
        names.iter().filter_map(move |name| {
            let places = self.by_name.get(name.as_bytes())?;
            let left = left.entry(name).or_insert(places.len());
            loop {
                *left = left.checked_sub(1)?;
                let field = self.all.get(*places.get(*left)?)?;
                if field.offset != own {
                    return Some(field);
                }
            }
        })
    }
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
