//! What is to be changed in a zone: only what is the domain's mail's own. What somebody else put in its place stays, unless
//! it is said that it may go.

use net::dns::update::{Edit, RecordSet};
use net::dns::{Data, DataKind, Questions, ServerError, Zone, ZoneServer};
use serde::Serialize;

use super::ask::{Found, State};
use super::{Kind, Need, Purpose, TTL_SECS, Wanted, line};

/// Whether what somebody else published may be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// It stays.
    Keep,
    /// It goes.
    Replace,
}

/// The changes of one zone.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The zone.
    pub zone: Zone,
    /// What is to be done, by name and type.
    pub sets: Vec<RecordSet>,
    /// What is not done, and why, in words.
    pub kept: Vec<String>,
}

/// One change, as a hook and a script read it. The form is fixed: docs/src/dns.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// Its number in the plan, from 1.
    pub id: usize,
    /// `add` or `remove`.
    pub action: &'static str,
    /// The name, without its last dot.
    pub name: String,
    /// The type: `MX`, `TXT`, `SRV`, `TLSA`, `CAA`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// For how long others may keep it, in seconds.
    pub ttl: u32,
    /// What it says: names without their last dot, a text without quotes.
    pub value: String,
}

impl Change {
    /// As a line for people.
    pub(crate) fn line(&self) -> String {
        let kind = [Kind::Mx, Kind::Txt, Kind::Srv, Kind::Tlsa, Kind::Caa];
        let kind = kind.into_iter().find(|kind| kind.as_str() == self.kind).unwrap_or(Kind::Txt);
        format!("{:<7} {}", self.action, line::of(&self.name, kind, &self.value))
    }
}

impl Plan {
    /// All changes, numbered.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let edits = self.sets.iter().flat_map(|set| set.edits.iter().map(move |edit| (set, edit)));
        let change = |(at, (set, edit)): (usize, (&RecordSet, &Edit))| {
            let (action, data) = match edit {
                Edit::Add(_, data) => ("add", data),
                Edit::Remove(data) => ("remove", data),
            };
            let kind = name_of(set.kind);
            Change { id: at + 1, action, name: set.name.clone(), kind, ttl: TTL_SECS, value: data.text() }
        };
        edits.enumerate().map(change).collect()
    }

    /// Whether a record is among what is changed.
    pub(crate) fn changes_this(&self, wanted: &Wanted) -> bool {
        self.sets.iter().any(|set| set.name == wanted.name && set.kind == wanted.kind.data())
    }
}

const fn name_of(kind: DataKind) -> &'static str {
    match kind {
        DataKind::A => "A",
        DataKind::Aaaa => "AAAA",
        DataKind::Mx => "MX",
        DataKind::Txt => "TXT",
        DataKind::Ptr => "PTR",
        DataKind::Srv => "SRV",
        DataKind::Tlsa => "TLSA",
        DataKind::Caa => "CAA",
    }
}

/// Who says what is there.
pub(crate) enum Witness {
    /// The server that is to make the changes.
    Server(ZoneServer),
    /// Whoever knows.
    Resolver(Questions),
}

impl Witness {
    async fn read(&self, name: &str, kind: DataKind) -> Result<Vec<Data>, String> {
        match self {
            Self::Server(server) => {
                server.held(name, kind).await.map_err(|error: ServerError| error.to_string())
            }
            Self::Resolver(questions) => match questions.data(name, kind).await {
                Ok(data) => Ok(data),
                Err(error) if error.is_void() => Ok(Vec::new()),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

/// Makes the plan of one zone, out of what was found of its records.
///
/// # Errors
/// When what is there now can't be read.
pub(crate) async fn make(
    zone: Zone,
    found: &[Found],
    witness: &Witness,
    foreign: Foreign,
) -> Result<Plan, String> {
    let mut plan = Plan { zone, sets: Vec::new(), kept: Vec::new() };
    for group in groups(found) {
        let Some(first) = group.first().map(|found| &found.wanted) else { continue };
        let seen = witness.read(&first.name, first.kind.data()).await?;
        match decide(&group, seen, foreign) {
            Some(Ok(set)) => plan.sets.push(set),
            Some(Err(kept)) => plan.kept.push(kept),
            None => {}
        }
    }
    Ok(plan)
}

/// The records at one name and of one purpose together: they are one to DNS.
fn groups(found: &[Found]) -> Vec<Vec<&Found>> {
    let mut groups: Vec<Vec<&Found>> = Vec::new();
    for found in found.iter().filter(|found| can_be_written(&found.wanted)) {
        let same = |group: &&mut Vec<&Found>| {
            group.first().is_some_and(|first| {
                first.wanted.name == found.wanted.name && first.wanted.purpose == found.wanted.purpose
            })
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(found),
            None => groups.push(vec![found]),
        }
    }
    groups
}

/// An address is Edge's operator's to know, and its name its provider's to set.
fn can_be_written(wanted: &Wanted) -> bool {
    wanted.need != Need::Later && !matches!(wanted.kind, Kind::A | Kind::Ptr)
}

/// What is to be done with the records at a name: something, or why not, or nothing since all is well.
fn decide(group: &[&Found], seen: Vec<Data>, foreign: Foreign) -> Option<Result<RecordSet, String>> {
    let first = &group.first()?.wanted;
    let (name, kind) = (first.name.clone(), first.kind);
    if group.iter().all(|found| matches!(found.state, State::Good | State::Unknown)) {
        return None;
    }
    let ours: Vec<&str> =
        group.iter().filter(|found| !found.wanted.is_to_go()).map(|found| &*found.wanted.value).collect();
    let others: Vec<&Data> = seen.iter().filter(|data| is_in_the_way(first.purpose, data, &ours)).collect();
    // Names of keys are made here; nobody else has any.
    if !others.is_empty() && foreign == Foreign::Keep && first.purpose != Purpose::Dkim {
        let there: Vec<String> = others.iter().map(|data| line::written(kind, &data.text())).collect();
        return Some(Err(format!(
            "{name}. {} stays as it is, somebody else's: {} (--replace takes its place)",
            kind.as_str(),
            there.join(", ")
        )));
    }
    let removed = others.into_iter().map(|data| Edit::Remove(data.clone()));
    let is_there = |value: &str| seen.iter().any(|data| same(first.purpose, &data.text(), value));
    let added = ours.iter().filter(|value| !is_there(value));
    let added =
        added.filter_map(|value| Data::parse(kind.data(), value).ok()).map(|data| Edit::Add(TTL_SECS, data));
    let edits: Vec<Edit> = removed.chain(added).collect();
    (!edits.is_empty()).then_some(Ok(RecordSet { name, kind: kind.data(), seen, edits }))
}

/// Whether a record that is there can't be beside ours.
fn is_in_the_way(purpose: Purpose, data: &Data, ours: &[&str]) -> bool {
    let text = data.text();
    if ours.iter().any(|value| same(purpose, &text, value)) {
        return false;
    }
    match purpose {
        Purpose::Spf | Purpose::EdgeSpf => text.starts_with("v=spf1"),
        Purpose::Dmarc => text.starts_with("v=DMARC1"),
        Purpose::TlsReports => text.starts_with("v=TLSRPTv1"),
        // Others may issue certificates, too.
        Purpose::Caa => false,
        _ => true,
    }
}

/// Whether a record that is there is ours: preference, priority and weight are the operator's own.
fn same(purpose: Purpose, there: &str, ours: &str) -> bool {
    let skipped = match purpose {
        Purpose::Mx => 1,
        Purpose::Programs | Purpose::NotOffered => 2,
        _ => return there == ours,
    };
    there.split(' ').skip(skipped).eq(ours.to_ascii_lowercase().split(' ').skip(skipped))
}

#[cfg(test)]
mod tests {
    use super::*;
    use home::dkim::Stage;

    fn found(purpose: Purpose, kind: Kind, value: &str, state: State) -> Found {
        Found {
            wanted: Wanted::new("a.test", kind, value, purpose),
            state,
            found: Vec::new(),
            should_be: None,
        }
    }

    /// What is decided of one record where these are there.
    fn of(found: &[Found], there: &[&str], foreign: Foreign) -> Option<Result<Vec<String>, String>> {
        let kind = found[0].wanted.kind.data();
        let seen = there.iter().map(|text| Data::parse(kind, text).unwrap()).collect();
        let decided = decide(&found.iter().collect::<Vec<_>>(), seen, foreign)?;
        Some(decided.map(|set| {
            let plan = Plan {
                zone: Zone { name: "test".to_owned(), primary: String::new(), servers: Vec::new() },
                sets: vec![set],
                kept: Vec::new(),
            };
            plan.changes().iter().map(|change| format!("{} {}", change.action, change.value)).collect()
        }))
    }

    fn steps(steps: &[&str]) -> Option<Result<Vec<String>, String>> {
        Some(Ok(steps.iter().map(|step| (*step).to_owned()).collect()))
    }

    #[test]
    fn what_is_missing_is_added_beside_what_does_not_concern_mail() {
        let spf = [found(Purpose::Spf, Kind::Txt, "v=spf1 a:mx.test -all", State::Missing)];
        assert_eq!(of(&spf, &[], Foreign::Keep), steps(&["add v=spf1 a:mx.test -all"]));
        assert_eq!(of(&spf, &["site=1"], Foreign::Keep), steps(&["add v=spf1 a:mx.test -all"]));
        let good = [found(Purpose::Spf, Kind::Txt, "v=spf1 a:mx.test -all", State::Good)];
        assert_eq!(of(&good, &["v=spf1 ip4:192.0.2.1 -all"], Foreign::Replace), None);
    }

    #[test]
    fn somebody_elses_policy_and_hosts_stay_unless_they_are_to_be_replaced() {
        let cases = [
            (
                found(Purpose::Spf, Kind::Txt, "v=spf1 a:mx.test -all", State::Wrong),
                "v=spf1 include:b.test ~all",
            ),
            (found(Purpose::Dmarc, Kind::Txt, "v=DMARC1; p=quarantine", State::Wrong), "v=DMARC1; p=none"),
            (found(Purpose::Mx, Kind::Mx, "10 mx.test", State::Wrong), "5 mail.b.test"),
            (found(Purpose::Tlsa, Kind::Tlsa, "3 1 1 00", State::Wrong), "3 1 1 01"),
            (found(Purpose::Programs, Kind::Srv, "0 1 993 m.test", State::Wrong), "0 1 993 b.test"),
        ];
        for (wanted, there) in cases {
            let value = wanted.wanted.value.clone();
            let kept = of(std::slice::from_ref(&wanted), &[there], Foreign::Keep).unwrap().unwrap_err();
            assert!(kept.contains("--replace"), "{kept}");
            let replaced = of(&[wanted], &[there], Foreign::Replace);
            assert_eq!(replaced, steps(&[&format!("remove {there}"), &format!("add {value}")]));
        }
    }

    #[test]
    fn a_second_edge_is_added_and_the_first_one_is_not_taken_for_a_stranger() {
        let both = [
            found(Purpose::Mx, Kind::Mx, "10 mx.test", State::Good),
            found(Purpose::Mx, Kind::Mx, "10 mx2.test", State::Wrong),
        ];
        assert_eq!(of(&both, &["20 MX.test"], Foreign::Keep), steps(&["add 10 mx2.test"]));
    }

    #[test]
    fn a_keys_name_is_ours_alone() {
        let key = || found(Purpose::Dkim, Kind::Txt, "v=DKIM1; p=A", State::Wrong);
        assert_eq!(
            of(&[key()], &["v=DKIM1; p=B"], Foreign::Keep),
            steps(&["remove v=DKIM1; p=B", "add v=DKIM1; p=A"])
        );
        let mut gone = key();
        gone.wanted.stage = Some(Stage::Remove);
        gone.state = State::Remove;
        assert_eq!(of(&[gone], &["v=DKIM1; p=A"], Foreign::Keep), steps(&["remove v=DKIM1; p=A"]));
    }

    #[test]
    fn another_authority_may_issue_certificates_beside_ours() {
        let caa = [found(Purpose::Caa, Kind::Caa, "0 issue \"ca.test\"", State::Wrong)];
        assert_eq!(of(&caa, &["0 issue \"b.test\""], Foreign::Keep), steps(&["add 0 issue \"ca.test\""]));
    }

    #[test]
    fn what_only_others_can_set_is_in_no_plan() {
        let address = found(Purpose::EdgeAddress, Kind::A, "", State::Missing);
        let name = found(Purpose::Ptr, Kind::Ptr, "a.test", State::Missing);
        let later = found(Purpose::MtaSts, Kind::Txt, "v=STSv1; id=1", State::Later);
        assert!(groups(&[address, name, later]).is_empty());
    }
}
