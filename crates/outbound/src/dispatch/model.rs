//! Sending as a model whose every state is looked at: a message in the queue is delivered once, by one of two edges.
//!
//! It has the steps of a round (`carry.rs`) and of `edge/deliver.rs`: an attempt is recorded, then ordered; Edge carries
//! it out, makes the outcome durable, tells it until Home has recorded it; what is in doubt is asked of the edge that had
//! the order and of no other. Links lose what is on them, both sides may die between any two steps, and what was written
//! and not synced may or may not be there afterwards.
//!
//! Two exceptions are part of the design and of the model. An Edge dies, or loses its disk, after the other host took the
//! message and before Home knows it. Or Home ends the wait for an edge that is away and may have delivered: after `edge_gone`,
//! or at the operator's `queue release` (`give_up_on_gone_edges` in `carry.rs`). Each excuses one attempt, and explains one
//! more copy of the message.

mod steps;

use stateright::{Checker as _, HasDiscoveries, Model, Property};

/// A fault that is put into the model to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// The order leaves before the attempt is on the disk.
    OrderBeforeRecord,
    /// What is in doubt is tried by whatever edge is there.
    AskNobody,
    /// Edge may forget an outcome that Home has not recorded.
    SettledBeforeRecord,
    /// Edge knows attempts that are over, not those that run.
    RunningIsUnknown,
    /// Edge tells what came of an attempt and writes nothing down.
    NoJournal,
    /// Home takes an attempt that runs for one that went well, or for one that failed.
    RunningIsDone(Outcome),
}

const EDGES: usize = 2;

#[derive(Debug, Clone, Copy)]
struct DispatchModel {
    flaw: Option<Flaw>,
    limits: Limits,
}

/// How often each thing still may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Limits {
    attempts: u8,
    links: u8,
    edge_crashes: u8,
    home_crashes: u8,
    lost_disks: u8,
    give_ups: u8,
}

type Attempt = u8;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Messages at the other host.
    delivered: u8,
    /// Attempts that may have delivered without Home's ever knowing, a bit each.
    excused: u8,
    disk: Record,
    home: Home,
    edges: [Edge; EDGES],
    limits: Limits,
}

/// The queue's record of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Record {
    running: Option<(Attempt, usize)>,
    settled: Option<Outcome>,
}

/// Home's memory, which a crash empties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Home {
    record: Record,
    /// Whether the attempt that is running has to be asked about.
    in_doubt: bool,
    writing: Option<Writing>,
}

/// A record that is being written, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Writing {
    ThenOrder,
    ThenSettle(Attempt, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    Delivered,
    Deferred,
    Failed,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Edge {
    link_is_up: bool,
    to_edge: Vec<ToEdge>,
    to_home: Vec<ToHome>,
    /// In memory: attempts, and what came of them once it is known.
    running: Vec<(Attempt, Option<Outcome>)>,
    /// On the disk: attempts and their outcomes.
    journal: Vec<(Attempt, Outcome)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ToEdge {
    Order(Attempt),
    Ask(Attempt),
    Settled(Attempt),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ToHome {
    Outcome(Attempt, Outcome),
    Running(Attempt),
    Unknown(Attempt),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Begin(usize),
    Written,
    HomeTakes(usize),
    EdgeTakes(usize),
    /// The attempt ends like this; a message that is delivered is at the other host now.
    CarriedOut(usize, Attempt, Outcome),
    Journalled(usize, Attempt),
    LinkUp(usize),
    LinkDown(usize),
    /// Whether what was being written is there.
    HomeDies(bool),
    EdgeDies(usize),
    DiskLost(usize),
    /// Home waits no longer for the edge that has the attempt.
    GiveUp,
}

impl Model for DispatchModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let edge = Edge { link_is_up: true, ..Edge::default() };
        vec![State {
            delivered: 0,
            excused: 0,
            disk: Record::default(),
            home: Home::default(),
            edges: [edge.clone(), edge],
            limits: self.limits,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        self.home_actions(state, actions);
        for (place, edge) in state.edges.iter().enumerate() {
            Self::edge_actions(state, place, edge, actions);
        }
        if state.limits.home_crashes > 0 {
            actions.push(Action::HomeDies(false));
            actions.extend(state.home.writing.map(|_| Action::HomeDies(true)));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Begin(place) => self.begin(&mut state, place),
            Action::Written => self.written(&mut state)?,
            Action::HomeTakes(place) => self.home_takes(&mut state, place)?,
            Action::EdgeTakes(place) => state.edge(place)?.take(self.flaw),
            Action::CarriedOut(place, attempt, outcome) => {
                state.delivered += u8::from(outcome == Outcome::Delivered);
                let running = &mut state.edge(place)?.running;
                running.iter_mut().find(|(known, _)| *known == attempt)?.1 = Some(outcome);
            }
            Action::Journalled(place, attempt) => state.edge(place)?.journalled(attempt, self.flaw)?,
            Action::LinkUp(place) => Self::link_up(&mut state, place)?,
            Action::LinkDown(place) => state.lose_link(place)?,
            Action::HomeDies(survived) => Self::home_dies(&mut state, survived),
            Action::EdgeDies(place) => {
                state.limits.edge_crashes -= 1;
                state.edge_dies(place)?;
            }
            Action::DiskLost(place) => {
                state.limits.lost_disks -= 1;
                state.edge_dies(place)?;
                let journal = std::mem::take(&mut state.edge(place)?.journal);
                for (attempt, _) in journal.iter().filter(|(_, outcome)| *outcome == Outcome::Delivered) {
                    state.excuse(*attempt);
                }
            }
            Action::GiveUp => Self::give_up(&mut state)?,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONCE, |_, state: &State| state.delivered <= 1 + state.excuses()),
            Property::always(TRUE, |_, state: &State| {
                state.disk.settled != Some(Outcome::Delivered) || state.delivered > 0
            }),
            Property::always(NOT_BOTH, |_, state: &State| {
                state.disk.settled != Some(Outcome::Failed) || state.delivered <= state.excuses()
            }),
            Property::sometimes("a message is delivered and nothing is left", |_, state: &State| {
                let empty = |edge: &Edge| edge.journal.is_empty() && edge.running.is_empty();
                state.disk.settled == Some(Outcome::Delivered) && state.edges.iter().all(empty)
            }),
            Property::sometimes(
                "a later attempt delivers what an earlier one did not",
                |model, state: &State| {
                    let attempts = model.limits.attempts - state.limits.attempts;
                    state.disk.settled == Some(Outcome::Delivered) && state.delivered == 1 && attempts > 1
                },
            ),
            Property::sometimes(WINDOW, |_, state: &State| state.delivered == 2 && state.excuses() > 0),
        ]
    }
}

const ONCE: &str = "a message is delivered once, and once more for each attempt that is excused";
const TRUE: &str = "what counts as delivered was delivered";
const NOT_BOTH: &str =
    "a failure is reported of nothing that was delivered, but by attempts that are excused";
const WINDOW: &str = "an attempt that is excused doubles a message";

fn model(flaw: Option<Flaw>) -> DispatchModel {
    let limits =
        Limits { attempts: 3, links: 3, edge_crashes: 1, home_crashes: 1, lost_disks: 0, give_ups: 0 };
    DispatchModel { flaw, limits }
}

#[test]
fn in_every_state_a_message_is_delivered_once_and_none_is_lost() {
    let usual = model(None);
    let without = |limits: Limits| DispatchModel { limits: Limits { edge_crashes: 0, ..limits }, ..usual };
    let without_disk = without(Limits { lost_disks: 1, ..usual.limits });
    let given_up = without(Limits { give_ups: 1, links: 2, ..usual.limits });
    for model in [usual, without_disk, given_up] {
        let checker = model.checker().threads(2).spawn_bfs().join();
        println!("{} states", checker.unique_state_count());
        checker.assert_properties();
    }
}

#[test]
fn each_flaw_is_found() {
    let flaws = [
        (Flaw::OrderBeforeRecord, ONCE),
        (Flaw::AskNobody, ONCE),
        (Flaw::SettledBeforeRecord, ONCE),
        (Flaw::RunningIsUnknown, ONCE),
        (Flaw::NoJournal, ONCE),
        (Flaw::RunningIsDone(Outcome::Delivered), TRUE),
        (Flaw::RunningIsDone(Outcome::Failed), NOT_BOTH),
    ];
    for (flaw, broken) in flaws {
        let found = HasDiscoveries::AnyOf([broken].into());
        let checker = model(Some(flaw)).checker().finish_when(found).threads(2).spawn_bfs().join();
        assert!(checker.discovery(broken).is_some(), "{flaw:?} was not found");
    }
}
