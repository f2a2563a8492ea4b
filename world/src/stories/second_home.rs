//! Two homes behind one edge, each with domains of its own.

use std::net::Ipv4Addr;

use testkit::pair::{MorePlace, PASSWORD};
use testkit::submission::{Security, Sent, Submission};
use testkit::until;

use crate::place::{Neighbour, at};
use crate::world::{PATIENCE, World, keys, letter};
use crate::zones;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 77, 4);

/// A friend's home takes its mail by the same edge. It gets its own and sends its own; when it claims the first one's
/// domain, it gets nothing and sends nothing.
pub(crate) fn tell(world: &mut World) {
    let namespace = world.add_house_host("home2", ADDRESS);
    let place =
        MorePlace { namespace: Some(namespace.clone()), listen: [at(ADDRESS, 465), at(ADDRESS, 993)] };
    let mut second = world.pair.add_home("other.test", "carol", &place);
    let all: Vec<_> = keys(&world.pair.home).into_iter().chain(keys(&second.role)).collect();
    world.names.serve(&zones::records(&all));
    let carol = second.account("carol@other.test");

    world.neighbour_writes(Neighbour::Exim, "carol@other.test", "for carol");
    until("carol has it", PATIENCE, || (carol.count("INBOX") == 1).then_some(()));
    world.neighbour_writes(Neighbour::Exim, "bob@example.org", "for bob");
    world.reaches("bob", "for bob");
    let submission = |user: &str| Submission {
        namespace: Some(namespace.clone()),
        server: at(ADDRESS, 465),
        security: Security::Tls,
        login: Some((user.to_owned(), PASSWORD.to_owned())),
    };
    let hand_in = |user: &str, subject: &str| {
        let text = letter(user, "you@exim.test", subject);
        let (mail_options, rcpt_options) = ("", "");
        submission(user).send(Sent {
            from: user,
            to: "you@exim.test",
            mail_options,
            rcpt_options,
            message: &text,
        });
    };
    hand_in("carol@other.test", "from carol");
    world.reaches_neighbour(Neighbour::Exim, "from carol");

    second.role.configure("domains = [\"other.test\", \"example.org\"]");
    second.role.restart();
    second.wait_for_link();
    let eve = "eve@example.org";
    second.role.command_ok(&["user", "add", eve, "--password-stdin"], &format!("{PASSWORD}\n"));
    world.neighbour_writes(Neighbour::Exim, "bob@example.org", "still for bob");
    world.reaches("bob", "still for bob");
    let reply =
        world.stranger_sends("spammer", "a@exim.example", eve, &letter("a@exim.example", eve, "for eve"));
    assert!(reply.starts_with("550 5.1.1"), "{reply}");
    hand_in(eve, "forged by the second");
    let told = second.account(eve);
    until("eve is told that it can't be sent", PATIENCE, || (told.count("INBOX") == 1).then_some(()));
    let report = String::from_utf8_lossy(&told.messages("INBOX")[0]).into_owned();
    assert!(report.contains("may not send for that domain"), "{report}");
    assert!(world.neighbour_has(Neighbour::Exim, "forged by the second").is_empty());
    assert_eq!(carol.count("INBOX"), 1);
    world.bob_has(2);
}
