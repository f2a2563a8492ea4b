//! A mailing list breaks its member's signature, and vouches for him.

use testkit::smtp::SmtpClient;

use crate::place::Neighbour;
use crate::world::{PATIENCE, Setting, World, letter};

/// The setting: no sender is greylisted.
pub(crate) fn setting() -> Setting {
    Setting { edge_config: "policy.greylist = false\n".to_owned(), ..Setting::default() }
}

/// Exim's host has a mailing list. A member at postfix.test, whose domain wants everything refused that nobody vouches for,
/// wrote to it; the list adds a footer, so that his signature breaks. What it sends is in order but for that, and reaches
/// bob, who may look for it in Junk. The same from a host without a name is refused.
pub(crate) fn tell(world: &mut World) {
    let author = Neighbour::Postfix.you();
    let host = world.host(Neighbour::Exim.place()).to_owned();
    let mut list = world.connect_as(&host, "mx.exim.test");
    let reply = send(&mut list, &changed(&author, "from the list"));
    assert!(reply.starts_with("250"), "{reply}");
    testkit::until("the list's message", PATIENCE, || {
        (world.mailbox("bob").subjects("Junk") == ["from the list"]).then_some(())
    });
    let spammer = world.host("spammer").to_owned();
    let mut nameless = world.connect_as(&spammer, "mx.exim.test");
    let reply = send(&mut nameless, &changed(&author, "from nowhere"));
    assert!(reply.starts_with("550 5.7.1 The DMARC policy of postfix.test"), "{reply}");
    assert!(reply.contains("; besides no-ptr"), "{reply}");
    assert_eq!(world.mailbox("bob").subjects("Junk"), ["from the list"]);
    assert_eq!(world.mailbox("bob").count("INBOX"), 0);
    world.queue_is_empty();
}

fn send(client: &mut SmtpClient, text: &[u8]) -> String {
    client.message("list-bounces@exim.test", &["bob@example.org"], text).expect("a reply")
}

/// What the list makes of a letter.
fn changed(author: &str, subject: &str) -> Vec<u8> {
    let mut text = b"List-Id: <list.exim.test>\r\n\
        DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=postfix.test; s=sel; h=from:subject;\r\n\
        \tbh=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=; b=AAAA\r\n"
        .to_vec();
    text.extend_from_slice(&letter(author, "list@exim.test", subject));
    text.extend_from_slice(b"-- \r\nto leave, write to list-leave@exim.test\r\n");
    text
}
