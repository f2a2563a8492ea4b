//! The stories. Each is told in a world of its own, with both firewalls loaded and every wire of the backbone tapped;
//! at its end nothing of Home may have been seen out there, and nothing readable may be on Edge's disk.

mod bounce_storm;
mod edge_reboots;
mod flood;
mod forged;
mod hidden;
mod house_moves;
mod mailing_list;
mod nat_forgets;
mod neighbours;
mod new_edge;
mod open_relay;
mod port_scan;
mod postfix_edge;
mod postfix_home;
mod receive_only;
mod second_home;
mod three_days_away;
mod two_edges;
mod udp_blocked;
mod unknown_recipients;

use crate::world::{Setting, World};

/// One story.
pub(crate) struct Story {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// The claim that the story shows.
    pub(crate) says: &'static str,
    /// How its world differs from the usual one.
    pub(crate) setting: fn() -> Setting,
    /// What happens, and what must be seen where.
    pub(crate) tell: fn(&mut World),
}

/// All stories.
pub(crate) const STORIES: &[Story] = &[
    Story {
        name: "neighbours",
        says: "mail from Postfix, Exim, OpenSMTPD and chasquid, to each of them, and back as a reply",
        setting: Setting::default,
        tell: neighbours::tell,
    },
    Story {
        name: "receive-only",
        says: "after the first start mail comes in and none goes out",
        setting: receive_only::setting,
        tell: receive_only::tell,
    },
    Story {
        name: "hidden",
        says: "a mail program that tells where it runs: nobody out there hears of it",
        setting: Setting::default,
        tell: hidden::tell,
    },
    Story {
        name: "open-relay",
        says: "nmap, swaks and a list of tricks, from the internet, the router and the house: nothing is relayed",
        setting: open_relay::setting,
        tell: open_relay::tell,
    },
    Story {
        name: "port-scan",
        says: "every port of both hosts from each place: those that are meant are open",
        setting: port_scan::setting,
        tell: port_scan::tell,
    },
    Story {
        name: "flood",
        says: "who begins too many connections is dropped by Edge's kernel, and mail and Home get in meanwhile",
        setting: Setting::default,
        tell: flood::tell,
    },
    Story {
        name: "forged",
        says: "what is forged is refused, what is suspicious goes to Junk, the true sender is believed",
        setting: forged::setting,
        tell: forged::tell,
    },
    Story {
        name: "mailing-list",
        says: "a list changes what its members wrote and loses their signatures: it arrives, in Junk; a spammer's copy does not",
        setting: mailing_list::setting,
        tell: mailing_list::tell,
    },
    Story {
        name: "unknown-recipients",
        says: "who does not exist is refused, with Home connected and away",
        setting: Setting::default,
        tell: unknown_recipients::tell,
    },
    Story {
        name: "bounce-storm",
        says: "reports on forged mail are refused, the one on a true letter comes",
        setting: bounce_storm::setting,
        tell: bounce_storm::tell,
    },
    Story {
        name: "house-moves",
        says: "the house gets another address twice while mail comes in",
        setting: Setting::default,
        tell: house_moves::tell,
    },
    Story {
        name: "udp-blocked",
        says: "the link goes over TCP while UDP is blocked, and over UDP again",
        setting: Setting::default,
        tell: udp_blocked::tell,
    },
    Story {
        name: "nat-forgets",
        says: "the router forgets the link whenever it is silent",
        setting: Setting::default,
        tell: nat_forgets::tell,
    },
    Story {
        name: "edge-reboots",
        says: "Edge is killed in the middle of mail, and while mail rests there; its host starts anew",
        setting: Setting::default,
        tell: edge_reboots::tell,
    },
    Story {
        name: "three-days-away",
        says: "Home is away for three days, by the clock of both hosts",
        setting: three_days_away::setting,
        tell: three_days_away::tell,
    },
    Story {
        name: "two-edges",
        says: "two MX hosts, of which one dies, and then the other",
        setting: Setting::default,
        tell: two_edges::tell,
    },
    Story {
        name: "second-home",
        says: "a second home on the same edge gets and sends its own mail only",
        setting: Setting::default,
        tell: second_home::tell,
    },
    Story {
        name: "new-edge",
        says: "a new edge for a lost one by one code, while letters wait",
        setting: Setting::default,
        tell: new_edge::tell,
    },
    Story {
        name: "postfix-edge",
        says: "a Postfix as the edge: Home has the last word before its 250, and takes mail from it only",
        setting: postfix_edge::setting,
        tell: postfix_edge::tell,
    },
    Story {
        name: "postfix-home",
        says: "Postfix and Dovecot as the home: what they refuse is refused in time, and nothing leaves the house",
        setting: postfix_home::setting,
        tell: postfix_home::tell,
    },
];
