//! Rounds of sending with an edge that does as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};

use daemon::system;
use mail::Address;
use spool::{RealDisk, Spool};
use tempfile::TempDir;
use tlspolicy::report::{AppliedPolicy, PolicyType};

use super::*;
use crate::config::HomeConfig;

/// What the edge says of errands, and how many it was given.
struct FakeEdge {
    reporting: Result<&'static str, &'static str>,
    posted: Result<(), &'static str>,
    finds: AtomicUsize,
    posts: AtomicUsize,
}

impl FakeEdge {
    fn new(rua: &'static str) -> Self {
        Self {
            reporting: Ok(rua),
            posted: Ok(()),
            finds: AtomicUsize::default(),
            posts: AtomicUsize::default(),
        }
    }

    fn run(&self, errand: &Errand) -> ErrandResult {
        let failed = |cause: &&str| ErrandResult::Failed((*cause).to_owned());
        match errand {
            Errand::FindReporting(_) => {
                self.finds.fetch_add(1, Ordering::Relaxed);
                let records = self.reporting.map(|rua| vec![format!("v=TLSRPTv1;rua={rua}")]);
                records.map_or_else(|cause| failed(&cause), ErrandResult::Reporting)
            }
            Errand::Status => failed(&"no errand of a report"),
            Errand::PostReport { .. } => {
                self.posts.fetch_add(1, Ordering::Relaxed);
                self.posted.map_or_else(|cause| failed(&cause), |()| ErrandResult::Posted)
            }
            Errand::Examine { .. } | Errand::Hear(_) => failed(&"reports have nothing to do with that"),
        }
    }

    fn asked(&self) -> (usize, usize) {
        (self.finds.load(Ordering::Relaxed), self.posts.load(Ordering::Relaxed))
    }
}

/// `edge` is away when there is none.
fn reports(dir: &TempDir, edge: Option<Arc<FakeEdge>>, more: &str) -> TlsReports {
    let data = dir.path();
    let text = format!("domains = [\"example.org\"]\noutbound = \"on\"\ndata = {data:?}\n{more}");
    let config: HomeConfig = toml::from_str(&text).unwrap();
    let spool = Spool::open(&data.join("queue"), spool::Options::default(), Arc::new(RealDisk)).unwrap();
    let parts = Parts {
        clock: daemon::clock::SystemClock::shared(),
        directory: crate::databases::open_directory(&config).unwrap(),
        queue: Queue::new(spool).0,
        run_errand: Box::new(move |errand| {
            let done = edge.as_ref().map(|edge| edge.run(&errand)).ok_or(NoEdge);
            Box::pin(std::future::ready(done))
        }),
        keys: DomainKeys::open(data, &config.domains, system::now()).unwrap(),
        trace: Trace::open(&data.join("trace"), link::Role::Home).unwrap(),
    };
    TlsReports::open(data, parts).unwrap()
}

fn count(reports: &TlsReports, domain: &str) {
    let mut results = Results::default();
    results.success(AppliedPolicy::without_content(PolicyType::Sts, "elsewhere.example"));
    reports.count(&Domain::parse(domain).unwrap(), results);
    reports.save();
}

async fn sent(reports: &TlsReports) -> Vec<(String, usize)> {
    let sent = reports.carry_out(&TlsReportRequest::Send).await.unwrap();
    let of = |sent: &Value| {
        let left = sent["waiting"].as_array().map_or(0, Vec::len);
        (sent["state"].as_str().unwrap().to_owned(), left)
    };
    sent.as_array().unwrap().iter().map(of).collect()
}

fn is(state: &str, left: usize) -> Vec<(String, usize)> {
    vec![(state.to_owned(), left)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_goes_once_to_each_place_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut edge =
        FakeEdge::new("mailto:a@b.example,https://b.example/,mailto:no address@,mailto:c@b.example");
    edge.posted = Err("busy");
    let edge = Arc::new(edge);
    let one = reports(&dir, Some(Arc::clone(&edge)), "");
    count(&one, "b.example");
    assert_eq!(sent(&one).await, is("open", 1), "the server was busy");
    let queue = &one.0.parts.queue;
    let mut to = Vec::new();
    for id in queue.ids(None, 9) {
        let state = queue.read(id).unwrap();
        assert!(
            state.tls_optional
                && state.submitted().is_none()
                && state.envelope.reverse_path.address().is_none()
        );
        to.push(state.recipients[0].recipient.address.clone());
    }
    to.sort_by_key(Address::to_string);
    assert_eq!(to, ["a@b.example", "c@b.example"].map(|address| Address::parse(address).unwrap()));
    drop(one);
    let two = reports(&dir, Some(Arc::new(FakeEdge::new(""))), "");
    assert_eq!(sent(&two).await, is("sent", 0), "what is left is posted");
    assert_eq!(two.0.parts.queue.count(), 2, "and nothing is mailed again");
    assert_eq!(sent(&two).await, [], "nor posted");
    assert_eq!(edge.asked(), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_five_times_and_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Arc::new(FakeEdge { reporting: Err("no answer"), ..FakeEdge::new("") });
    let reports = reports(&dir, Some(Arc::clone(&edge)), "");
    count(&reports, "b.example");
    assert_eq!(sent(&reports).await, is("open", 0));
    let next = |secs: u64| reports.0.ledger.due(system::now().plus_secs(secs), 9).unwrap().len();
    assert_eq!((next(590), next(610)), (0, 1), "not before ten minutes");
    for tries in 2..=5 {
        let state = if tries < 5 { "open" } else { "dropped" };
        assert_eq!((sent(&reports).await, edge.asked()), (is(state, 0), (tries, 0)));
    }
    assert_eq!(sent(&reports).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_edge_a_report_waits_and_no_try_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let alone = reports(&dir, None, "");
    count(&alone, "b.example");
    for _ in 0..9 {
        let (what, todo) = alone.carry_out(&TlsReportRequest::Send).await.unwrap_err();
        assert!(what.contains("no edge") && todo.contains("postern status"), "{what}: {todo}");
    }
    assert_eq!(alone.0.ledger.entries(None).unwrap()[0].tries, 0);
    drop(alone);
    let edge = Arc::new(FakeEdge::new("ftp://b.example/"));
    assert_eq!(sent(&reports(&dir, Some(edge), "")).await, is("unwanted", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_counted_or_sent_when_it_is_off() {
    let dir = tempfile::tempdir().unwrap();
    let edge = Arc::new(FakeEdge::new("mailto:a@b.example"));
    for more in ["[tls_reports]\nsend = \"off\"", ""] {
        let reports = reports(&dir, Some(Arc::clone(&edge)), more);
        count(&reports, "b.example");
        count(&reports, "[192.0.2.1]");
        let off = !more.is_empty();
        assert_eq!(reports.0.ledger.entries(None).unwrap().len(), usize::from(!off));
        assert_eq!(reports.carry_out(&TlsReportRequest::Send).await.is_err(), off);
        let shown = reports.carry_out(&TlsReportRequest::Show { domain: "b.example".to_owned() }).await;
        let domain = shown.map(|shown| shown["reports"][0]["policies"][0]["policy"]["policy-domain"].clone());
        assert_eq!(domain.ok(), (!off).then(|| "b.example".into()), "whatever Edge says");
    }
    assert_eq!(edge.asked(), (1, 0));
}
