//! Sending as a model whose every state is looked at: a message in the queue is delivered once, by one of two edges.
//!
//! It has the steps of a round (`carry.rs`) and of `edge/deliver.rs`: an attempt is recorded, then ordered; Edge carries
//! it out, makes the outcome durable, tells it until Home has recorded it; what is in doubt is asked of the edge that had
//! the order and of no other. Links lose what is on them, both sides may die between any two steps, and what was written
//! and not synced may or may not be there afterwards.
//!
//! One exception is part of the design and of the model: an Edge that dies, or loses its disk, after the other host took
//! the message and before that is on its disk. Then, and only then, the message may arrive twice.

use stateright::{Checker as _, Model, Property};

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
}

type Attempt = u8;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Messages at the other host.
    delivered: u8,
    /// An Edge died in the moment after a delivery, or lost its disk.
    excused: bool,
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

/// What Home has in memory.
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
    /// On the disk.
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
}

impl State {
    fn edge(&mut self, edge: usize) -> Option<&mut Edge> {
        self.edges.get_mut(edge)
    }

    fn lose_link(&mut self, place: usize) -> Option<()> {
        let edge = self.edge(place)?;
        edge.link_is_up = false;
        edge.to_edge.clear();
        edge.to_home.clear();
        let ordered = self.home.writing != Some(Writing::ThenOrder);
        if self.home.record.running.is_some_and(|(_, of)| of == place) && ordered {
            self.home.in_doubt = true;
        }
        Some(())
    }

    /// Tells the edge, if its link is up.
    fn tell_edge(&mut self, place: usize, what: ToEdge) -> bool {
        let Some(edge) = self.edge(place).filter(|edge| edge.link_is_up) else { return false };
        edge.to_edge.push(what);
        true
    }

    /// What Home does first when it runs or a link comes up.
    fn ask(&mut self, place: usize) {
        if let Some((attempt, of)) = self.home.record.running
            && of == place
            && self.home.in_doubt
        {
            self.tell_edge(place, ToEdge::Ask(attempt));
        }
    }

    fn edge_dies(&mut self, place: usize) -> Option<()> {
        self.lose_link(place)?;
        let edge = self.edge(place)?;
        let unwritten = edge.running.iter().any(|(_, outcome)| *outcome == Some(Outcome::Delivered));
        edge.running.clear();
        self.excused |= unwritten;
        Some(())
    }
}

impl Edge {
    fn take(&mut self, flaw: Option<Flaw>) {
        match self.to_edge.remove(0) {
            ToEdge::Order(attempt) if self.answer(attempt, flaw).is_none() => {
                self.running.push((attempt, None))
            }
            ToEdge::Order(_) => {}
            ToEdge::Ask(attempt) => {
                let answer = self.answer(attempt, flaw).unwrap_or(ToHome::Unknown(attempt));
                self.to_home.push(answer);
            }
            // Should the removal be lost, the outcome is told again, and Home says so again.
            ToEdge::Settled(attempt) => self.journal.retain(|(known, _)| *known != attempt),
        }
    }

    fn answer(&self, attempt: Attempt, flaw: Option<Flaw>) -> Option<ToHome> {
        if let Some((_, outcome)) = self.journal.iter().find(|(known, _)| *known == attempt) {
            return Some(ToHome::Outcome(attempt, *outcome));
        }
        let runs = self.running.iter().any(|(known, _)| *known == attempt);
        (runs && flaw != Some(Flaw::RunningIsUnknown)).then_some(ToHome::Running(attempt))
    }

    fn journalled(&mut self, attempt: Attempt, flaw: Option<Flaw>) -> Option<()> {
        let place = self.running.iter().position(|(known, _)| *known == attempt)?;
        let (_, outcome) = self.running.remove(place);
        let outcome = outcome?;
        if flaw != Some(Flaw::NoJournal) {
            self.journal.push((attempt, outcome));
        }
        if self.link_is_up {
            self.to_home.push(ToHome::Outcome(attempt, outcome));
        }
        Some(())
    }
}

impl DispatchModel {
    fn begin(self, state: &mut State, place: usize) {
        state.limits.attempts -= 1;
        let attempt = self.limits.attempts - state.limits.attempts;
        state.home.record.running = Some((attempt, place));
        state.home.in_doubt = false;
        state.home.writing = Some(Writing::ThenOrder);
        if self.flaw == Some(Flaw::OrderBeforeRecord) {
            state.tell_edge(place, ToEdge::Order(attempt));
        }
    }

    fn written(self, state: &mut State) -> Option<()> {
        state.disk = state.home.record;
        match state.home.writing.take()? {
            Writing::ThenOrder => {
                let (attempt, place) = state.home.record.running?;
                if self.flaw != Some(Flaw::OrderBeforeRecord)
                    && !state.tell_edge(place, ToEdge::Order(attempt))
                {
                    // Nothing has left; the next record will say so.
                    state.home.record.running = None;
                }
            }
            Writing::ThenSettle(attempt, place) => {
                state.tell_edge(place, ToEdge::Settled(attempt));
            }
        }
        Some(())
    }

    fn home_takes(self, state: &mut State, place: usize) -> Option<()> {
        let told = state.edge(place)?.to_home.remove(0);
        let home = &mut state.home;
        let runs = |attempt| home.record.running == Some((attempt, place));
        match told {
            ToHome::Outcome(attempt, outcome) if runs(attempt) => {
                home.record.running = None;
                home.in_doubt = false;
                home.record.settled = Some(outcome).filter(|outcome| *outcome != Outcome::Deferred);
                home.writing = Some(Writing::ThenSettle(attempt, place));
                if self.flaw == Some(Flaw::SettledBeforeRecord) {
                    state.tell_edge(place, ToEdge::Settled(attempt));
                }
            }
            ToHome::Outcome(attempt, _) => {
                state.tell_edge(place, ToEdge::Settled(attempt));
            }
            ToHome::Running(attempt) if runs(attempt) => home.in_doubt = false,
            ToHome::Unknown(attempt) if runs(attempt) && home.in_doubt => {
                home.record.running = None;
                home.in_doubt = false;
            }
            ToHome::Running(_) | ToHome::Unknown(_) => {}
        }
        Some(())
    }

    fn link_up(state: &mut State, place: usize) -> Option<()> {
        state.limits.links -= 1;
        let edge = state.edge(place)?;
        edge.link_is_up = true;
        let told: Vec<ToHome> =
            edge.journal.iter().map(|(attempt, outcome)| ToHome::Outcome(*attempt, *outcome)).collect();
        edge.to_home.extend(told);
        state.ask(place);
        Some(())
    }

    fn home_dies(state: &mut State, survived: bool) {
        state.limits.home_crashes -= 1;
        if survived && state.home.writing.is_some() {
            state.disk = state.home.record;
        }
        for place in 0..EDGES {
            state.lose_link(place);
        }
        let in_doubt = state.disk.running.is_some();
        state.home = Home { record: state.disk, in_doubt, writing: None };
    }

    fn home_actions(self, state: &State, actions: &mut Vec<Action>) {
        let Home { record, in_doubt, writing } = state.home;
        if writing.is_some() {
            return actions.push(Action::Written);
        }
        let free = record.running.is_none() || (self.flaw == Some(Flaw::AskNobody) && in_doubt);
        let wants = free && record.settled.is_none() && state.limits.attempts > 0;
        for (place, edge) in state.edges.iter().enumerate() {
            actions.extend((wants && edge.link_is_up).then_some(Action::Begin(place)));
            actions.extend((!edge.to_home.is_empty()).then_some(Action::HomeTakes(place)));
        }
    }

    fn edge_actions(state: &State, place: usize, edge: &Edge, actions: &mut Vec<Action>) {
        actions.extend((!edge.to_edge.is_empty()).then_some(Action::EdgeTakes(place)));
        for (attempt, outcome) in &edge.running {
            match outcome {
                None => actions.extend(
                    [Outcome::Delivered, Outcome::Deferred, Outcome::Failed]
                        .map(|outcome| Action::CarriedOut(place, *attempt, outcome)),
                ),
                Some(_) => actions.push(Action::Journalled(place, *attempt)),
            }
        }
        match edge.link_is_up {
            true => actions.push(Action::LinkDown(place)),
            false if state.limits.links > 0 => actions.push(Action::LinkUp(place)),
            false => {}
        }
        actions.extend((state.limits.edge_crashes > 0).then_some(Action::EdgeDies(place)));
        actions.extend((state.limits.lost_disks > 0).then_some(Action::DiskLost(place)));
    }
}

impl Model for DispatchModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let edge = Edge { link_is_up: true, ..Edge::default() };
        vec![State {
            delivered: 0,
            excused: false,
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
                state.excused |= journal.iter().any(|(_, outcome)| *outcome == Outcome::Delivered);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONCE, |_, state: &State| state.delivered <= 1 || state.excused),
            Property::always(TRUE, |_, state: &State| {
                state.disk.settled != Some(Outcome::Delivered) || state.delivered > 0
            }),
            Property::always("a failure is reported of nothing that was delivered", |_, state: &State| {
                state.disk.settled != Some(Outcome::Failed) || state.delivered == 0 || state.excused
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
            Property::sometimes(WINDOW, |_, state: &State| state.delivered == 2 && state.excused),
        ]
    }
}

const ONCE: &str = "a message is delivered once, unless an edge died over it or lost its disk";
const TRUE: &str = "what counts as delivered was delivered";
const WINDOW: &str = "an edge that dies between a delivery and its record doubles a message";

fn model(flaw: Option<Flaw>) -> DispatchModel {
    let limits = Limits { attempts: 3, links: 2, edge_crashes: 1, home_crashes: 1, lost_disks: 0 };
    DispatchModel { flaw, limits }
}

#[test]
fn in_every_state_a_message_is_delivered_once_and_none_is_lost() {
    let without_disk = DispatchModel {
        limits: Limits { attempts: 2, edge_crashes: 0, lost_disks: 1, ..model(None).limits },
        ..model(None)
    };
    for model in [model(None), without_disk] {
        let checker = model.checker().threads(2).spawn_bfs().join();
        println!("{} states", checker.unique_state_count());
        checker.assert_properties();
    }
}

#[test]
fn each_flaw_is_found() {
    for flaw in [
        Flaw::OrderBeforeRecord,
        Flaw::AskNobody,
        Flaw::SettledBeforeRecord,
        Flaw::RunningIsUnknown,
        Flaw::NoJournal,
    ] {
        let checker = model(Some(flaw)).checker().threads(2).spawn_bfs().join();
        assert!(checker.discovery(ONCE).is_some(), "{flaw:?} was not found");
    }
}
