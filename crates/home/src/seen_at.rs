//! Where the edges see this home: the address of its router, as a rule. What leaves the house must not name it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One address of each edge that told of one, so as many as there are edges. In memory only. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct SeenAt(Arc<Mutex<HashMap<String, IpAddr>>>);

impl SeenAt {
    fn by_edge(&self) -> MutexGuard<'_, HashMap<String, IpAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An edge tells where it sees us. It is believed no further than that mail which names the address does not leave.
    pub(crate) fn tell(&self, edge: &str, ip: IpAddr) {
        self.by_edge().insert(edge.to_owned(), ip.to_canonical());
    }

    /// What the edges said last: with them down as well, for a router keeps its address.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.by_edge().values().copied().collect()
    }
}
