//! What is known of a half before anything is judged. Facts are gathered by [`crate::look`] and by the daemons; judging them
//! is [`crate::judge`]'s, which asks nobody.

mod edge;
mod fact;
mod home;
mod host;
mod port;
mod round_trip;

pub use edge::{EdgeFacts, HomeSeen, ListSeen, NamesOf, PortOutward};
pub use fact::Fact;
pub use home::{
    DkimKey, DomainFacts, DomainPolicyFacts, EdgeSeen, HomeFacts, LinkSeen, OwnPorts, QueueSeen, Served,
};
pub use host::{Clock, DataDirectory, Disk, HostFacts, Memory, Resolver};
pub use port::{Certificate, MailPort};
pub use round_trip::{House, RoundTrip};
