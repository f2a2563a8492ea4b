//! The questions of mail authentication: answers are cached by the resolver for as long as their TTL says,
//! and a question that is under way is asked once, however many messages wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, RecordType as Kind};
use mailauth::dns::{Answer, LookupError, Record, RecordType, Resolver};
use tokio::sync::OnceCell;

use super::data::{Data, DataKind};
use super::name;

/// How long one question may take, tries and aliases included.
const PATIENCE: Duration = Duration::from_secs(12);
/// Most records of an answer that are looked at. None that is meant well has as many.
pub(super) const RECORDS_MAX: usize = 256;

type UnderWay = Mutex<HashMap<(String, RecordType), Arc<OnceCell<Answer>>>>;

/// Asks DNS for mail authentication. Clones share cache and questions.
#[derive(Clone)]
pub struct Questions {
    resolver: TokioResolver,
    under_way: Arc<UnderWay>,
}

impl Questions {
    pub(super) fn new(resolver: TokioResolver) -> Self {
        Self { resolver, under_way: Arc::default() }
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Answer {
        let Some(absolute) = name::to_wire(name) else { return Err(LookupError::NoSuchName) };
        let asked = self.resolver.lookup(absolute, wire_type(kind));
        let answer = match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(meaning(&error)),
            Err(_) => {
                return Err(LookupError::Temporary(format!("nothing heard for {} s", PATIENCE.as_secs())));
            }
        };
        let records = answer.answers().iter().filter_map(|record| translate(&record.data, kind));
        let records: Vec<Record> = records.take(RECORDS_MAX).collect();
        if records.is_empty() { Err(LookupError::NoRecords) } else { Ok(records.into()) }
    }

    /// The records of one kind as they stand in the zone, aliases followed: at least one.
    ///
    /// # Errors
    /// Why there are none.
    pub async fn data(&self, name: &str, kind: DataKind) -> Result<Vec<Data>, LookupError> {
        let absolute = name::to_wire(name).ok_or(LookupError::NoSuchName)?;
        let asked = self.resolver.lookup(absolute, kind.wire());
        let Ok(answer) = tokio::time::timeout(PATIENCE, asked).await else {
            return Err(LookupError::Temporary(format!("nothing heard for {} s", PATIENCE.as_secs())));
        };
        let answer = answer.map_err(|error| meaning(&error))?;
        let records = answer.answers().iter().filter(|record| record.record_type() == kind.wire());
        let records: Vec<Data> = records.take(RECORDS_MAX).map(|record| Data(record.data.clone())).collect();
        if records.is_empty() { Err(LookupError::NoRecords) } else { Ok(records) }
    }
}

impl Resolver for Questions {
    async fn lookup(&self, name: &str, kind: RecordType) -> Answer {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let key = (name.clone(), kind);
        let cell = {
            let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(under_way.entry(key.clone()).or_default())
        };
        let waiting = Waiting { under_way: &self.under_way, key, cell };
        // Whoever comes first asks; if it gives up, the next one does.
        waiting.cell.get_or_init(|| self.ask(&name, kind)).await.clone()
    }
}

/// Somebody who waits for an answer. The last one forgets the question, also when it gives up.
struct Waiting<'q> {
    under_way: &'q UnderWay,
    key: (String, RecordType),
    cell: Arc<OnceCell<Answer>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let same = under_way.get(&self.key).is_some_and(|known| Arc::ptr_eq(known, &self.cell));
        // One is in the table, one is ours. New ones are only made under the lock.
        if same && Arc::strong_count(&self.cell) <= 2 {
            under_way.remove(&self.key);
        }
    }
}

pub(super) fn wire_type(kind: RecordType) -> Kind {
    match kind {
        RecordType::A => Kind::A,
        RecordType::Aaaa => Kind::AAAA,
        RecordType::Mx => Kind::MX,
        RecordType::Txt => Kind::TXT,
        RecordType::Ptr => Kind::PTR,
    }
}

fn meaning(error: &NetError) -> LookupError {
    if error.is_nx_domain() {
        LookupError::NoSuchName
    } else if error.is_no_records_found() {
        LookupError::NoRecords
    } else {
        LookupError::Temporary(super::words::of(error))
    }
}

/// A record of the type asked for; aliases on the way are left out.
pub(super) fn translate(data: &RData, kind: RecordType) -> Option<Record> {
    match (data, kind) {
        (RData::A(a), RecordType::A) => Some(Record::A(a.0)),
        (RData::AAAA(aaaa), RecordType::Aaaa) => Some(Record::Aaaa(aaaa.0)),
        (RData::MX(mx), RecordType::Mx) => Some(Record::Mx(mx.preference, name::to_text(&mx.exchange))),
        (RData::TXT(txt), RecordType::Txt) => Some(Record::Txt(txt.txt_data.concat())),
        (RData::PTR(ptr), RecordType::Ptr) => Some(Record::Ptr(name::to_text(&ptr.0))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::dns::Dns;

    #[tokio::test]
    async fn a_question_is_asked_once_and_forgotten_when_nobody_waits_any_more() {
        // It takes what it is asked and never answers.
        let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
        silent.set_nonblocking(true).unwrap();
        let questions = Dns::new(&[silent.local_addr().unwrap()]).unwrap().questions();
        let ask = || {
            let questions = questions.clone();
            tokio::spawn(async move { questions.lookup("a.test", RecordType::Txt).await })
        };
        let (first, second) = (ask(), ask());
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut datagrams = 0;
        while silent.recv_from(&mut [0; 512]).is_ok() {
            datagrams += 1;
        }
        assert_eq!(datagrams, 1);
        assert_eq!(questions.under_way.lock().unwrap().len(), 1);
        first.abort();
        assert!(first.await.is_err());
        assert_eq!(questions.under_way.lock().unwrap().len(), 1, "the second still waits");
        second.abort();
        assert!(second.await.is_err());
        assert!(questions.under_way.lock().unwrap().is_empty());
    }
}
