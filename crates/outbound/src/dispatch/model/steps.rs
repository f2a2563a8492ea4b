//! What each action of the model does.

use super::{
    Action, Attempt, DispatchModel, EDGES, Edge, Flaw, Home, Outcome, State, ToEdge, ToHome, Writing,
};

impl State {
    pub(super) fn edge(&mut self, edge: usize) -> Option<&mut Edge> {
        self.edges.get_mut(edge)
    }

    pub(super) fn lose_link(&mut self, place: usize) -> Option<()> {
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

    pub(super) fn edge_dies(&mut self, place: usize) -> Option<()> {
        self.lose_link(place)?;
        let edge = self.edge(place)?;
        let running = std::mem::take(&mut edge.running);
        for (attempt, _) in running.iter().filter(|(_, outcome)| *outcome == Some(Outcome::Delivered)) {
            self.excuse(*attempt);
        }
        Some(())
    }

    /// The attempt may have delivered, and Home will not know.
    pub(super) fn excuse(&mut self, attempt: Attempt) {
        self.excused |= 1 << attempt;
    }

    pub(super) fn excuses(&self) -> u8 {
        u8::try_from(self.excused.count_ones()).unwrap_or(u8::MAX)
    }
}

impl Edge {
    pub(super) fn take(&mut self, flaw: Option<Flaw>) {
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

    pub(super) fn journalled(&mut self, attempt: Attempt, flaw: Option<Flaw>) -> Option<()> {
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
    pub(super) fn begin(self, state: &mut State, place: usize) {
        state.limits.attempts -= 1;
        let attempt = self.limits.attempts - state.limits.attempts;
        state.home.record.running = Some((attempt, place));
        state.home.in_doubt = false;
        state.home.writing = Some(Writing::ThenOrder);
        if self.flaw == Some(Flaw::OrderBeforeRecord) {
            state.tell_edge(place, ToEdge::Order(attempt));
        }
    }

    pub(super) fn written(self, state: &mut State) -> Option<()> {
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

    pub(super) fn home_takes(self, state: &mut State, place: usize) -> Option<()> {
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
            ToHome::Running(attempt) if runs(attempt) => {
                home.in_doubt = false;
                if let Some(Flaw::RunningIsDone(outcome)) = self.flaw {
                    home.record.settled = Some(outcome);
                    home.writing = Some(Writing::ThenSettle(attempt, place));
                }
            }
            ToHome::Unknown(attempt) if runs(attempt) && home.in_doubt => {
                home.record.running = None;
                home.in_doubt = false;
            }
            ToHome::Running(_) | ToHome::Unknown(_) => {}
        }
        Some(())
    }

    pub(super) fn link_up(state: &mut State, place: usize) -> Option<()> {
        state.limits.links -= 1;
        let edge = state.edge(place)?;
        edge.link_is_up = true;
        let told: Vec<ToHome> =
            edge.journal.iter().map(|(attempt, outcome)| ToHome::Outcome(*attempt, *outcome)).collect();
        edge.to_home.extend(told);
        state.ask(place);
        Some(())
    }

    pub(super) fn home_dies(state: &mut State, survived: bool) {
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

    /// The recipients are tried again; the next record says so. An edge that has the attempt goes on with it.
    pub(super) fn give_up(state: &mut State) -> Option<()> {
        state.limits.give_ups -= 1;
        let (attempt, place) = state.home.record.running.take()?;
        state.home.in_doubt = false;
        let edge = state.edge(place)?;
        let may_deliver = |outcome: &Option<Outcome>| outcome.is_none_or(|it| it == Outcome::Delivered);
        let runs = edge.running.iter().any(|(known, outcome)| *known == attempt && may_deliver(outcome));
        if runs || edge.journal.contains(&(attempt, Outcome::Delivered)) {
            state.excuse(attempt);
        }
        Some(())
    }

    pub(super) fn home_actions(self, state: &State, actions: &mut Vec<Action>) {
        let Home { record, in_doubt, writing } = state.home;
        if writing.is_some() {
            return actions.push(Action::Written);
        }
        let free = record.running.is_none() || (self.flaw == Some(Flaw::AskNobody) && in_doubt);
        let wants = free && record.settled.is_none() && state.limits.attempts > 0;
        for (place, edge) in state.edges.iter().enumerate() {
            actions.extend((wants && edge.link_is_up).then_some(Action::Begin(place)));
            actions.extend((!edge.to_home.is_empty()).then_some(Action::HomeTakes(place)));
            let is_gone = in_doubt && !edge.link_is_up && record.running.is_some_and(|(_, of)| of == place);
            actions.extend((is_gone && state.limits.give_ups > 0).then_some(Action::GiveUp));
        }
    }

    pub(super) fn edge_actions(state: &State, place: usize, edge: &Edge, actions: &mut Vec<Action>) {
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
