//! Whatever a message is made of: its structure is found within limits and written as the grammar wants it; the message is given to
//! the octet, and each part is a piece of it.
#![no_main]

#[path = "../src/imap_client.rs"]
#[allow(dead_code, reason = "other targets ask more of it")]
mod imap_client;
#[path = "../../crates/imap/tests/memory/mod.rs"]
#[allow(dead_code, reason = "the dialogues of the tests ask more of it")]
mod memory;

use std::collections::BTreeMap;

use imap_client::{Client, Value, responses, value};
use libfuzzer_sys::fuzz_target;
use mailbox::Flags;
use memory::Memory;

/// Lists in lists: parts in parts, 32 deep, each a message in a list of its own, and its fields.
const DEPTH_MAX: usize = 100;
const COMMANDS: [&str; 3] = [
    "t FETCH 1 (RFC822.SIZE BODY.PEEK[] BODY.PEEK[HEADER] BODY.PEEK[TEXT])\r\n",
    "t FETCH 1 (BODYSTRUCTURE BODY ENVELOPE)\r\n",
    "t FETCH 1 (BODY.PEEK[1] BODY.PEEK[1.MIME] BODY.PEEK[2] BODY.PEEK[1.1] BODY.PEEK[1.TEXT] BODY.PEEK[2.2.HEADER])\r\n",
];

fuzz_target!(|data: &[u8]| {
    let memory = Memory::new();
    memory.add("INBOX", data, Flags::default());
    // What a literal can't have.
    let data: Vec<u8> = data.iter().map(|octet| if *octet == 0 { 0x80 } else { *octet }).collect();
    let mut client = Client::selected(&memory);
    let [whole, structure, parts] = COMMANDS.map(|command| items(&client.send(command.as_bytes())));
    let whole = whole.expect("the message");
    assert_eq!(whole["RFC822.SIZE"], Value::Word(data.len().to_string().into_bytes()));
    let text = |name: &str| match &whole[name] {
        Value::Text(text) => &text[..],
        other => panic!("{name} is {other:?}"),
    };
    assert!(text("BODY[]") == data);
    assert!([text("BODY[HEADER]"), text("BODY[TEXT]")].concat() == data);
    let structure = structure.expect("its structure");
    assert!(matches!(&structure["ENVELOPE"], Value::List(fields) if fields.len() == 10));
    for name in ["BODY", "BODYSTRUCTURE"] {
        assert!(matches!(&structure[name], Value::List(fields) if fields.len() >= 2), "{name}");
    }
    // A section that is not there is NIL, and no reason to refuse the rest.
    for (name, part) in parts.expect("the parts that were asked for") {
        if let Value::Text(part) = part {
            assert!(part.is_empty() || data.windows(part.len()).any(|piece| piece == part), "{name}");
        }
    }
});

/// The items that a FETCH of the one message gave; none when the command was refused.
fn items(said: &[u8]) -> Option<BTreeMap<String, Value>> {
    let found = responses(said);
    let mut text = found.iter().find_map(|response| response.strip_prefix(b"* 1 FETCH "))?;
    let Value::List(list) = value(&mut text, DEPTH_MAX) else { panic!("no list") };
    assert!(text.is_empty(), "something stands behind the list");
    let mut items = BTreeMap::new();
    let mut list = list.into_iter();
    while let (Some(Value::Word(name)), Some(value)) = (list.next(), list.next()) {
        items.insert(String::from_utf8(name).expect("an item's name"), value);
    }
    Some(items)
}
