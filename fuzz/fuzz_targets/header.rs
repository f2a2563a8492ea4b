//! Whatever a message holds: fields are found where they are, and address lists are read within limits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mail::{address_list, header};

fuzz_target!(|data: &[u8]| {
    let mut last = 0;
    for field in header::fields(data) {
        assert!(field.offset >= last);
        last = field.offset + field.raw.len();
        assert_eq!(&data[field.offset..last], field.raw);
        let entries = address_list::parse(field.value);
        assert!(address_list::mailboxes(&entries).count() <= address_list::MAILBOXES_MAX);
    }
    assert!(header::body_offset(data) <= data.len());
});
