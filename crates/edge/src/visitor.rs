//! What DNS says about a client: the names of its address, the name it calls itself by, the lists it is on.
//!
//! The questions begin when the client connects and are waited for when it names a recipient. An answer that
//! does not come makes no sign: these checks fail open.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use daemon::clock::Clock;
use mail::{Client, Domain, Sign};
use mailauth::dns::{LookupError, Record, RecordType, Resolver, address_name};
use net::dns::Questions;

use super::begun::Begun;
use super::lists::Lists;
use super::score::Table;

/// How long a recipient waits for them at most.
const PATIENCE: Duration = Duration::from_secs(6);
/// Names of an address that are looked at.
const NAMES_MAX: usize = 5;

/// The means to find out about a client: DNS, lists, points.
pub(crate) struct Visitors {
    /// Questions to DNS.
    pub questions: Questions,
    /// The lists of addresses in DNS.
    pub lists: Lists,
    /// The points of each sign.
    pub table: Arc<Table>,
    /// This host's name.
    pub hostname: String,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// What is known of a client's address.
#[derive(Debug, Clone, Default)]
pub(crate) struct Visitor {
    /// Its name, if that leads back to it.
    pub name: Option<String>,
    /// Signs for or against the client.
    pub signs: Vec<Sign>,
}

impl Visitors {
    /// Begins to ask about an address; dropped, it is asked no further.
    pub(crate) fn begin(self: &Arc<Self>, ip: IpAddr) -> Begun<Visitor> {
        let this = Arc::clone(self);
        Begun::begin(async move {
            let (mut visitor, listed) =
                tokio::join!(this.names(ip), this.lists.ask(&this.questions, ip, this.clock.now().as_secs()));
            visitor.signs.extend(listed);
            visitor
        })
    }

    /// Forward-confirmed reverse DNS (RFC 8601 section 3's `iprev`).
    async fn names(&self, ip: IpAddr) -> Visitor {
        let answer = self.questions.lookup(&address_name(ip), RecordType::Ptr).await;
        let records = match answer {
            Ok(records) => records,
            Err(error) if error.is_void() => {
                let signs = self.table.sign("no-ptr", ip.to_string()).into_iter().collect();
                return Visitor { name: None, signs };
            }
            Err(_) => return Visitor::default(),
        };
        let names = records.iter().filter_map(|record| match record {
            Record::Ptr(name) => Some(name.clone()),
            _ => None,
        });
        let names: Vec<String> = names.take(NAMES_MAX).collect();
        for name in &names {
            match self.leads_to(name, ip).await {
                Ok(true) => return Visitor { name: Some(name.clone()), signs: Vec::new() },
                Ok(false) => {}
                Err(_) => return Visitor::default(),
            }
        }
        let sign = self.table.sign("ptr-mismatch", names.join(" "));
        Visitor { name: None, signs: sign.into_iter().collect() }
    }

    async fn leads_to(&self, name: &str, ip: IpAddr) -> Result<bool, LookupError> {
        let kind = if ip.to_canonical().is_ipv4() { RecordType::A } else { RecordType::Aaaa };
        match self.questions.lookup(name, kind).await {
            Ok(records) => Ok(records.iter().any(|record| address(record) == Some(ip.to_canonical()))),
            Err(error) if error.is_void() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Signs of the name that a client calls itself by.
    pub(crate) async fn helo(&self, client: &Client) -> Vec<Sign> {
        let helo = client.helo.as_str();
        let row = match Domain::parse(helo) {
            Err(_) => Some("helo-bare"),
            Ok(name) if name.as_str() == self.hostname => Some("helo-ours"),
            Ok(name) if name.is_literal() => None,
            Ok(name) if !name.as_str().contains('.') => Some("helo-bare"),
            Ok(name) => {
                let unknown = self.has_no_address(name.as_str()).await;
                unknown.then_some("helo-unknown")
            }
        };
        row.and_then(|row| self.table.sign(row, helo)).into_iter().collect()
    }

    async fn has_no_address(&self, name: &str) -> bool {
        let (v4, v6) = tokio::join!(
            self.questions.lookup(name, RecordType::A),
            self.questions.lookup(name, RecordType::Aaaa)
        );
        let void = |answer: &mailauth::dns::Answer| answer.as_ref().is_err_and(LookupError::is_void);
        void(&v4) && void(&v6)
    }
}

/// Waits for what was begun, but not for long.
pub(crate) async fn wait(asking: Begun<Visitor>) -> Visitor {
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok(visitor)) => visitor,
        _ => Visitor::default(),
    }
}

fn address(record: &Record) -> Option<IpAddr> {
    match record {
        Record::A(ip) => Some((*ip).into()),
        Record::Aaaa(ip) => Some((*ip).into()),
        _ => None,
    }
}
