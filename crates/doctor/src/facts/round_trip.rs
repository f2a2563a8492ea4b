//! A message that was sent round: out through Edge, back through its port 25.

use std::net::IpAddr;

use mail::UnixTime;

/// What came of it, and what must not be in it. Filled by whoever sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundTrip {
    /// When it was sent.
    pub sent_at: UnixTime,
    /// The octets that Home handed to Edge.
    pub sent: Vec<u8>,
    /// The octets that came back: what the world saw; `None` when nothing came in time.
    pub returned: Option<Vec<u8>>,
    /// The value of the `Authentication-Results` field that Edge's test address wrote (RFC 8601), if it wrote one.
    pub authentication_results: Option<String>,
    /// What names the house.
    pub house: House,
}

/// Everything that names the house, for the search in what came back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct House {
    /// Host names of Home's machine and of the machines of its users.
    pub host_names: Vec<String>,
    /// Addresses of Home, private and public, and of the users' programs.
    pub addresses: Vec<IpAddr>,
    /// Login names that are not the address which the message is from.
    pub logins: Vec<String>,
}
