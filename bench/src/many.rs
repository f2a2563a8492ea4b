//! Many domains that mail goes to, and how their hosts are.

use std::net::Ipv4Addr;

use testkit::dns::Record;

/// The number of domains.
pub(crate) const DOMAINS: usize = 1000;
/// Where somebody takes connections and says nothing.
pub(crate) const SILENT: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 8);

/// What the bench's name server has to know of them.
pub(crate) fn records() -> Vec<(String, Record)> {
    let mx = |number: usize| match state(number) {
        State::Healthy => "mx.remote.test",
        State::Refuses => "mx.dead.test",
        State::Silent => "mx.silent.test",
    };
    let domains = (0..DOMAINS).map(|number| (domain(number), Record::Mx(10, mx(number).to_owned())));
    domains.chain([("mx.silent.test".to_owned(), Record::A(SILENT))]).collect()
}

#[derive(PartialEq, Eq)]
pub(crate) enum State {
    Healthy,
    Refuses,
    Silent,
}

/// One in twenty refuses connections, one in twenty takes them and says nothing.
pub(crate) const fn state(number: usize) -> State {
    match number % 20 {
        3 => State::Refuses,
        13 => State::Silent,
        _ => State::Healthy,
    }
}

pub(crate) fn domain(number: usize) -> String {
    format!("d{number}.many.test")
}
