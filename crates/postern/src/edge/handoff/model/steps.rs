//! What each action of the model does.

use mail::Reply;

use super::super::{Telling, judge};
use super::{Action, Answer, AtEdge, Flaw, HandOffModel, Message, Sent, State, Told, Work};

impl State {
    pub(super) fn is_everywhere(&self, message: usize) -> bool {
        self.store.iter().all(|account| account.get(message).is_some_and(|stored| stored.copies > 0))
    }

    pub(super) fn lose_link(&mut self) {
        self.link_is_up = false;
        self.to_home.clear();
        self.to_edge.clear();
        for message in &mut self.messages {
            // What was tried and got no answer is sealed.
            if message.waits && message.edge == AtEdge::InMemory {
                message.edge = AtEdge::Sealing;
            }
            message.waits = false;
        }
    }
}

impl HandOffModel {
    pub(super) fn message_actions(self, state: &State, place: usize, actions: &mut Vec<Action>) {
        let Some(message) = state.messages.get(place) else { return };
        let may_send = state.link_is_up && !message.waits;
        match message.edge {
            AtEdge::NotYet => actions.push(Action::Receive(place)),
            AtEdge::InMemory => {
                actions.push(Action::Seal(place));
                actions.extend(may_send.then_some(Action::SendLive(place)));
            }
            AtEdge::Sealing => actions.push(Action::Sealed(place)),
            AtEdge::Sealed => actions.extend(may_send.then_some(Action::Drain(place))),
            AtEdge::Removing => actions.push(Action::RemovalSynced(place)),
            AtEdge::Gone => {}
        }
    }

    pub(super) fn home_actions(state: &State, actions: &mut Vec<Action>) {
        if !state.to_home.is_empty() {
            actions.push(Action::HomeTakes);
        }
        for (place, work) in state.at_home.iter().enumerate() {
            for (account, _) in work.kept.iter().enumerate().filter(|(_, kept)| kept.is_none()) {
                actions.push(Action::Commit(place, account));
                actions
                    .extend((state.limits.failed_commits > 0).then_some(Action::CommitFails(place, account)));
            }
            if work.kept.iter().all(Option::is_some) {
                actions.push(Action::HomeAnswers(place));
            }
        }
    }

    pub(super) fn fault_actions(state: &State, actions: &mut Vec<Action>) {
        match state.link_is_up {
            true => actions.push(Action::LinkDown),
            false if state.limits.links > 0 => actions.push(Action::LinkUp),
            false => {}
        }
        if state.limits.edge_crashes > 0 {
            let unsynced = |message: &Message| matches!(message.edge, AtEdge::Sealing | AtEdge::Removing);
            let bits = state.messages.iter().filter(|message| unsynced(message)).count();
            actions.extend((0..1 << bits).map(Action::EdgeDies));
        }
        if state.limits.home_crashes > 0 {
            actions.push(Action::HomeDies);
        }
    }

    /// The message leaves for Home, from memory or from the spool.
    pub(super) fn send(self, state: &mut State, place: usize) -> Option<()> {
        let message = state.messages.get_mut(place)?;
        let sealed = message.edge == AtEdge::Sealed;
        message.waits = true;
        if sealed && self.flaw == Some(Flaw::ForgetWhenSent) {
            (message.edge, message.waits) = (AtEdge::Gone, false);
        }
        let other_id = sealed && self.flaw == Some(Flaw::NewIdWhenSealed);
        state.to_home.push(Sent { message: place, other_id });
        Some(())
    }

    pub(super) fn seal(self, state: &mut State, place: usize) -> Option<()> {
        let message = state.messages.get_mut(place)?;
        (message.edge, message.waits) = (AtEdge::Sealing, false);
        if self.flaw == Some(Flaw::AckBeforeSealed) {
            message.told = Told::Taken;
        }
        Some(())
    }

    pub(super) fn home_takes(self, state: &mut State) -> Option<()> {
        let sent = state.to_home.remove(0);
        if self.flaw == Some(Flaw::AnswerBeforeCommit) {
            state.to_edge.push(Answer { message: sent.message, kept: vec![true; self.accounts] });
        }
        state.at_home.push(Work { sent, link: state.link, kept: vec![None; self.accounts] });
        // In whatever order Home has them, it may go on with any.
        state.at_home.sort_unstable();
        Some(())
    }

    /// One transaction: the message, unless its id is known, and its id.
    pub(super) fn commit(self, state: &mut State, place: usize, account: usize) -> Option<()> {
        let work = state.at_home.get_mut(place)?;
        *work.kept.get_mut(account)? = Some(true);
        let stored = state.store.get_mut(account)?.get_mut(work.sent.message)?;
        let known = stored.known.get_mut(usize::from(work.sent.other_id))?;
        if !*known || self.flaw == Some(Flaw::HomeForgetsIds) {
            stored.copies += 1;
        }
        *known = true;
        state.at_home.sort_unstable();
        Some(())
    }

    pub(super) fn home_answers(self, state: &mut State, place: usize) -> Option<()> {
        let work = state.at_home.remove(place);
        // What an old link brought is answered to nobody.
        if state.link_is_up && work.link == state.link && self.flaw != Some(Flaw::AnswerBeforeCommit) {
            let kept = work.kept.into_iter().map(|kept| kept == Some(true)).collect();
            state.to_edge.push(Answer { message: work.sent.message, kept });
        }
        Some(())
    }

    pub(super) fn edge_takes(self, state: &mut State) -> Option<()> {
        let answer = state.to_edge.remove(0);
        let message = state.messages.get_mut(answer.message)?;
        if !std::mem::take(&mut message.waits) {
            return Some(());
        }
        match message.edge {
            AtEdge::InMemory => match self.judge(&answer.kept) {
                Some(code) => {
                    message.told = if code < 300 { Told::Taken } else { Told::ComeAgain };
                    message.edge = AtEdge::Gone;
                }
                None => return self.seal(state, answer.message),
            },
            AtEdge::Sealed if answer.kept.iter().all(|kept| *kept) => message.edge = AtEdge::Removing,
            _ => {}
        }
        Some(())
    }

    /// What the real code tells the sender of these replies; `None`: it seals.
    fn judge(self, kept: &[bool]) -> Option<u16> {
        if self.flaw == Some(Flaw::AllOrComeAgain) {
            return Some(if kept.contains(&false) { 451 } else { 250 });
        }
        let reply = |kept: &bool| Reply::bare(if *kept { 250 } else { 451 }, "");
        let replies = kept.iter().map(reply).collect();
        let telling =
            if self.flaw == Some(Flaw::OneAccountWillDo) { Telling::Apart } else { Telling::Together };
        judge(replies, telling).map(|answers| answers.all.code)
    }

    pub(super) fn edge_dies(state: &mut State, survived: u8) {
        state.limits.edge_crashes -= 1;
        state.link_is_up = false;
        state.to_home.clear();
        state.to_edge.clear();
        let mut bit = 0;
        let mut survives = || {
            let survives = survived >> bit & 1 == 1;
            bit += 1;
            survives
        };
        for message in &mut state.messages {
            message.waits = false;
            message.edge = match message.edge {
                AtEdge::InMemory => AtEdge::Gone,
                AtEdge::Sealing if survives() => AtEdge::Sealed,
                AtEdge::Sealing => AtEdge::Gone,
                AtEdge::Removing if survives() => AtEdge::Gone,
                AtEdge::Removing => AtEdge::Sealed,
                other => other,
            };
        }
    }
}
