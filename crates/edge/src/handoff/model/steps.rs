//! What each action of the model does.

use mail::Reply;

use super::super::{Telling, judge};
use super::{
    ACCOUNTS_MAX, Action, Answer, AtEdge, Flaw, HandOffModel, Message, Said, Sent, Size, State, Stored,
    ToEdge, Told, Work,
};

impl Said {
    const fn code(self) -> u16 {
        match self {
            Self::Kept => 250,
            Self::Later => 451,
            Self::Never => 550,
        }
    }
}

const fn told_by(code: u16) -> Told {
    match code {
        ..300 => Told::Taken,
        300..500 => Told::ComeAgain,
        500.. => Told::Refused,
    }
}

impl State {
    /// Whether it is so of each message and account.
    pub(super) fn all(&self, holds: impl Fn(&Message, Told, &Stored) -> bool) -> bool {
        self.messages.iter().enumerate().all(|(place, message)| {
            let accounts = self.store.iter().zip(message.told);
            accounts
                .filter_map(|(account, told)| Some((account.get(place)?, told)))
                .all(|(stored, told)| holds(message, told, stored))
        })
    }

    /// Home knows what it answers for an account.
    pub(super) fn says(&mut self, place: usize, account: usize, said: Said) -> Option<()> {
        *self.at_home.get_mut(place)?.said.get_mut(account)? = Some(said);
        self.at_home.sort_unstable();
        Some(())
    }

    pub(super) fn refuses(&mut self, place: usize, account: usize) -> Option<()> {
        self.limits.refusals -= 1;
        let message = self.at_home.get(place)?.sent.message;
        self.store.get_mut(account)?.get_mut(message)?.refused = true;
        self.says(place, account, Said::Never)
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
            (message.waits, message.has_half) = (false, false);
        }
    }

    /// Whether somebody waits on a link that is up, and nothing of it is on its way or at Home.
    pub(super) fn waits_in_vain(&self) -> bool {
        let is_under_way = |place: usize| {
            self.to_home.iter().any(|sent| sent.message == place)
                || self.at_home.iter().any(|work| work.sent.message == place && work.link == self.link)
                || self.to_edge.iter().any(|said| said.message() == place)
        };
        let waiting = self.messages.iter().enumerate().filter(|(_, message)| message.waits);
        self.link_is_up && waiting.map(|(place, _)| place).any(|place| !is_under_way(place))
    }
}

impl ToEdge {
    const fn message(&self) -> usize {
        match self {
            Self::Answer(answer) => answer.message,
            Self::Credit(message) => *message,
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
            AtEdge::Sealing => {
                actions.push(Action::Sealed(place));
                actions.extend((state.limits.failed_seals > 0).then_some(Action::SealFails(place)));
            }
            AtEdge::Sealed => actions.extend(may_send.then_some(Action::Drain(place))),
            AtEdge::Removing => actions.push(Action::RemovalSynced(place)),
            AtEdge::Gone => {}
        }
    }

    pub(super) fn home_actions(state: &State, actions: &mut Vec<Action>) {
        if let Some(first) = state.to_home.first() {
            actions.push(Action::HomeTakes);
            let may_give_up = first.half && state.limits.given_up > 0;
            actions.extend(may_give_up.then_some(Action::HomeGivesUp));
        }
        for (place, work) in state.at_home.iter().enumerate() {
            let may_refuse = state.limits.refusals > 0 && !work.sent.sealed;
            for (account, _) in work.said.iter().enumerate().filter(|(_, said)| said.is_none()) {
                actions.push(Action::Commit(place, account));
                actions.extend(may_refuse.then_some(Action::Refuse(place, account)));
                actions
                    .extend((state.limits.failed_commits > 0).then_some(Action::CommitFails(place, account)));
            }
            if work.said.iter().all(Option::is_some) {
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
        message.has_half = self.size == Size::Large;
        message.was_live |= !sealed;
        if sealed && self.flaw == Some(Flaw::ForgetWhenSent) {
            (message.edge, message.waits) = (AtEdge::Gone, false);
        }
        let other_id = sealed && self.flaw == Some(Flaw::NewIdWhenSealed);
        state.to_home.push(Sent { message: place, sealed, other_id, half: self.size == Size::Large });
        Some(())
    }

    pub(super) fn seal(self, state: &mut State, place: usize) -> Option<()> {
        let message = state.messages.get_mut(place)?;
        (message.edge, message.waits, message.has_half) = (AtEdge::Sealing, false, false);
        if self.flaw == Some(Flaw::AckBeforeSealed) {
            self.tell_all(message, Told::Taken);
        }
        Some(())
    }

    /// The sender is told to come again, and Edge keeps nothing.
    pub(super) fn seal_fails(self, state: &mut State, place: usize) -> Option<()> {
        state.limits.failed_seals -= 1;
        let message = state.messages.get_mut(place)?;
        message.edge = AtEdge::Gone;
        message.excused = message.was_live;
        let told = if self.flaw == Some(Flaw::AckWhenNotSealed) { Told::Taken } else { Told::ComeAgain };
        self.tell_all(message, told);
        Some(())
    }

    /// One reply stands for all accounts.
    pub(super) fn tell_all(self, message: &mut Message, told: Told) {
        message.told = [told; ACCOUNTS_MAX];
    }

    pub(super) fn home_takes(self, state: &mut State) -> Option<()> {
        let sent = state.to_home.remove(0);
        if sent.half {
            state.to_edge.push(ToEdge::Credit(sent.message));
            return Some(());
        }
        if self.flaw == Some(Flaw::AnswerBeforeCommit) {
            let said = vec![Said::Kept; self.accounts];
            state.to_edge.push(ToEdge::Answer(Answer { message: sent.message, said }));
        }
        state.at_home.push(Work { sent, link: state.link, said: vec![None; self.accounts] });
        // In whatever order Home has them, it may go on with any.
        state.at_home.sort_unstable();
        Some(())
    }

    /// What it has of it is forgotten, and Edge hears that it has to come again.
    pub(super) fn home_gives_up(self, state: &mut State) -> Option<()> {
        state.limits.given_up -= 1;
        let message = state.to_home.remove(0).message;
        let said = vec![Said::Later; self.accounts];
        state.to_edge.push(ToEdge::Answer(Answer { message, said }));
        Some(())
    }

    /// One transaction: the message, unless its id is known, and its id.
    pub(super) fn commit(self, state: &mut State, place: usize, account: usize) -> Option<()> {
        let sent = state.at_home.get(place)?.sent;
        let stored = state.store.get_mut(account)?.get_mut(sent.message)?;
        let known = stored.known.get_mut(usize::from(sent.other_id))?;
        if !*known || self.flaw == Some(Flaw::HomeForgetsIds) {
            stored.copies += 1;
        }
        *known = true;
        state.says(place, account, Said::Kept)
    }

    pub(super) fn home_answers(self, state: &mut State, place: usize) -> Option<()> {
        let work = state.at_home.remove(place);
        // What an old link brought is answered to nobody.
        if state.link_is_up && work.link == state.link && self.flaw != Some(Flaw::AnswerBeforeCommit) {
            let said = work.said.into_iter().map(|said| said.unwrap_or(Said::Later)).collect();
            state.to_edge.push(ToEdge::Answer(Answer { message: work.sent.message, said }));
        }
        Some(())
    }

    /// The rest of a body may be sent, if it is still waited for.
    fn credited(state: &mut State, place: usize) -> Option<()> {
        let message = state.messages.get_mut(place)?;
        if std::mem::take(&mut message.has_half) && message.waits {
            let sealed = message.edge == AtEdge::Sealed;
            state.to_home.push(Sent { message: place, sealed, other_id: false, half: false });
        }
        Some(())
    }

    pub(super) fn edge_takes(self, state: &mut State) -> Option<()> {
        let answer = match state.to_edge.remove(0) {
            ToEdge::Answer(answer) => answer,
            ToEdge::Credit(message) => return Self::credited(state, message),
        };
        let message = state.messages.get_mut(answer.message)?;
        if message.has_half && self.flaw == Some(Flaw::AnswerUnheardInMidBody) {
            return Some(());
        }
        message.has_half = false;
        if !std::mem::take(&mut message.waits) {
            return Some(());
        }
        match message.edge {
            AtEdge::InMemory => match self.judge(&answer.said) {
                Some(told) => {
                    message.told = told;
                    message.edge = AtEdge::Gone;
                }
                None => return self.seal(state, answer.message),
            },
            AtEdge::Sealed if answer.said.iter().all(|said| *said == Said::Kept) => {
                message.edge = AtEdge::Removing;
            }
            _ => {}
        }
        Some(())
    }

    /// What the sender is told of each account by the real code; `None`: it seals.
    fn judge(self, said: &[Said]) -> Option<[Told; ACCOUNTS_MAX]> {
        if self.flaw == Some(Flaw::AllOrComeAgain) {
            let code = if said.contains(&Said::Later) { 451 } else { 250 };
            return Some([told_by(code); ACCOUNTS_MAX]);
        }
        let apart = self.telling == Telling::Apart;
        let careless = self.flaw == Some(Flaw::OneAccountWillDo);
        let telling = if careless { Telling::Apart } else { self.telling };
        let replies = said.iter().map(|said| Reply::bare(said.code(), "")).collect();
        let answers = judge(replies, telling)?;
        let mut told = [told_by(answers.all.code); ACCOUNTS_MAX];
        if apart && self.flaw != Some(Flaw::WaitingIsTaken) {
            told.iter_mut().zip(answers.each).for_each(|(told, reply)| *told = told_by(reply.code));
        }
        Some(told)
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
            (message.waits, message.has_half) = (false, false);
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
