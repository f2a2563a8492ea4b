//! Whatever a message holds: fields are found where they are, and address lists are read within limits; a date that is
//! read is one that can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mail::{UnixTime, address_list, header};

fuzz_target!(|data: &[u8]| {
    let mut last = 0;
    for field in header::fields(data) {
        assert!(field.offset >= last);
        last = field.offset + field.raw.len();
        assert_eq!(&data[field.offset..last], field.raw);
        if let Some(date) = UnixTime::parse_rfc5322(field.value) {
            let written = date.rfc5322_without_zone();
            assert_eq!(UnixTime::parse_rfc5322(written.as_bytes()), Some(date), "{written}");
        }
        let entries = address_list::parse(field.value);
        assert!(address_list::mailboxes(&entries).count() <= address_list::MAILBOXES_MAX);
    }
    assert!(header::body_offset(data) <= data.len());
});
