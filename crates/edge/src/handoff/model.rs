//! The hand-off as a model whose every state is looked at: what a sender was told 250 is safe, and comes once.
//!
//! It has the steps of `handoff.rs`, `drain.rs`, `live.rs`, the spool, `home/arrive` and the store, one action for each
//! thing that can happen at a moment of its own, and what the real code computes where that is a function ([`super::judge`]).
//! The link loses what is on it; Home may go on with what it has; Edge and Home may die between any two steps, and what
//! was written and not synced may or may not be there afterwards. An account may take a message, put it off or refuse it.
//!
//! One exception is part of the design and of the model: Edge's disk takes nothing more when a message has to be sealed
//! that went to Home before, and whose answer did not come or put an account off. The sender is told to come again, and Home
//! may have it: then, and only then, it may come twice, under two ids.
//!
//! Not in it: disks that lose what was synced, and the sender that hears no reply and sends a new message.

mod steps;

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use super::Telling;

/// A fault that is put into the model to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// Edge answers 250 when sealing begins.
    AckBeforeSealed,
    /// Home answers when it has the message, not when it has committed it.
    AnswerBeforeCommit,
    /// Home does not know a message again.
    HomeForgetsIds,
    /// What is sealed after a try has another id.
    NewIdWhenSealed,
    /// The spool lets go of what was sent, not of what was answered.
    ForgetWhenSent,
    /// 250 as soon as one account has it, and nothing is kept for the others.
    OneAccountWillDo,
    /// 451 when one account does not have it, and nothing is kept for it.
    AllOrComeAgain,
    /// 250 although sealing failed.
    AckWhenNotSealed,
    /// Who hears of each recipient hears 250 of one that has to wait.
    WaitingIsTaken,
    /// An answer that comes while more of the body may not be sent is not looked at.
    AnswerUnheardInMidBody,
}

/// Accounts that a message can be for.
const ACCOUNTS_MAX: usize = 2;

/// The size of the model, and the fault that is put into it.
#[derive(Debug, Clone, Copy)]
struct HandOffModel {
    messages: usize,
    accounts: usize,
    size: Size,
    telling: Telling,
    flaw: Option<Flaw>,
    limits: Limits,
}

/// How much of a body may be sent at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// All of it may be sent.
    Small,
    /// Half of it; for the rest Home has to give credit.
    Large,
}

/// How often each thing that goes wrong still may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Limits {
    links: u8,
    edge_crashes: u8,
    home_crashes: u8,
    failed_commits: u8,
    refusals: u8,
    failed_seals: u8,
    /// Home can't take the rest of a body: its disk is full.
    given_up: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    messages: Vec<Message>,
    /// How often each account has each message, and under which ids it knows it.
    store: Vec<Vec<Stored>>,
    link_is_up: bool,
    /// The number of the link: it grows with each one.
    link: u8,
    to_home: Vec<Sent>,
    to_edge: Vec<ToEdge>,
    /// What Home has and has not answered, from whatever link.
    at_home: Vec<Work>,
    limits: Limits,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Message {
    /// What the sender was told for each account.
    told: [Told; ACCOUNTS_MAX],
    edge: AtEdge,
    /// Whether an answer from the present link is waited for.
    waits: bool,
    /// Whether the rest of the body waits for credit.
    has_half: bool,
    /// Whether it was on the link before it was sealed.
    was_live: bool,
    /// Whether the sender may have to come again with what Home has: sealing failed, and it was on the link before.
    excused: bool,
}

/// The last reply that the sender got for an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    Nothing,
    /// 250: the message is taken.
    Taken,
    /// 451: try again later.
    ComeAgain,
    /// 550: refused for good.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum AtEdge {
    NotYet,
    InMemory,
    /// Written to the spool, not synced.
    Sealing,
    Sealed,
    /// Removed from the spool, not synced.
    Removing,
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Stored {
    copies: u8,
    /// The message's id, and the other one that only a flaw gives it.
    known: [bool; 2],
    /// Whether the account has refused it while the sender waited.
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Sent {
    message: usize,
    /// What was sealed is refused by nobody: it goes to the quarantine.
    sealed: bool,
    other_id: bool,
    /// More of the body is to come.
    half: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum ToEdge {
    Answer(Answer),
    /// More of this message may come.
    Credit(usize),
}

/// Home's answer for one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Said {
    Kept,
    Later,
    Never,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Answer {
    message: usize,
    said: Vec<Said>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Work {
    sent: Sent,
    link: u8,
    /// Home's answer for each account; `None` while there is none.
    said: Vec<Option<Said>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// The sender has given the whole message.
    Receive(usize),
    /// It is sent to Home from memory.
    SendLive(usize),
    /// Home is away or took too long.
    Seal(usize),
    /// The spool has synced.
    Sealed(usize),
    /// The spool has no room, or its disk fails.
    SealFails(usize),
    /// It is sent to Home from the spool.
    Drain(usize),
    RemovalSynced(usize),
    HomeTakes,
    /// It can't take more than what it has.
    HomeGivesUp,
    /// An account's transaction, of the work at this place.
    Commit(usize, usize),
    CommitFails(usize, usize),
    /// The account's filter or mailbox server says no.
    Refuse(usize, usize),
    HomeAnswers(usize),
    EdgeTakes,
    LinkDown,
    LinkUp,
    /// The bits say which unsynced writes survived.
    EdgeDies(u8),
    HomeDies,
}

impl Model for HandOffModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let message = Message {
            told: [Told::Nothing; ACCOUNTS_MAX],
            edge: AtEdge::NotYet,
            waits: false,
            has_half: false,
            was_live: false,
            excused: false,
        };
        vec![State {
            messages: vec![message; self.messages],
            store: vec![vec![Stored::default(); self.messages]; self.accounts],
            link_is_up: true,
            link: 0,
            to_home: Vec::new(),
            to_edge: Vec::new(),
            at_home: Vec::new(),
            limits: self.limits,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for place in 0..self.messages {
            self.message_actions(state, place, actions);
        }
        Self::home_actions(state, actions);
        if !state.to_edge.is_empty() {
            actions.push(Action::EdgeTakes);
        }
        Self::fault_actions(state, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Receive(place) => state.messages.get_mut(place)?.edge = AtEdge::InMemory,
            Action::SendLive(place) | Action::Drain(place) => self.send(&mut state, place)?,
            Action::Seal(place) => self.seal(&mut state, place)?,
            Action::Sealed(place) => {
                let message = state.messages.get_mut(place)?;
                message.edge = AtEdge::Sealed;
                self.tell_all(message, Told::Taken);
            }
            Action::SealFails(place) => self.seal_fails(&mut state, place)?,
            Action::RemovalSynced(place) => state.messages.get_mut(place)?.edge = AtEdge::Gone,
            Action::HomeTakes => self.home_takes(&mut state)?,
            Action::HomeGivesUp => self.home_gives_up(&mut state)?,
            Action::Commit(place, account) => self.commit(&mut state, place, account)?,
            Action::CommitFails(place, account) => {
                state.limits.failed_commits -= 1;
                state.says(place, account, Said::Later)?;
            }
            Action::Refuse(place, account) => state.refuses(place, account)?,
            Action::HomeAnswers(place) => self.home_answers(&mut state, place)?,
            Action::EdgeTakes => self.edge_takes(&mut state)?,
            Action::LinkDown => state.lose_link(),
            Action::LinkUp => {
                state.limits.links -= 1;
                state.link += 1;
                state.link_is_up = true;
            }
            Action::EdgeDies(survived) => Self::edge_dies(&mut state, survived),
            Action::HomeDies => {
                state.limits.home_crashes -= 1;
                state.lose_link();
                state.at_home.clear();
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |_, state: &State| {
                state.all(|message, told, stored| {
                    told != Told::Taken
                        || message.edge == AtEdge::Sealed
                        || stored.copies > 0
                        || stored.refused
                })
            }),
            Property::always(ONCE, |_, state: &State| state.all(|_, _, stored| stored.copies <= 1)),
            Property::always(NOT_BOTH, |_, state: &State| {
                state.all(|message, told, stored| {
                    !matches!(told, Told::ComeAgain | Told::Refused) || stored.copies == 0 || message.excused
                })
            }),
            Property::always(NOT_STUCK, |_, state: &State| !state.waits_in_vain()),
            Property::sometimes(DONE, |_, state: &State| {
                state.all(|message, told, stored| {
                    told == Told::Taken && message.edge == AtEdge::Gone && stored.copies > 0
                })
            }),
            Property::sometimes("a message comes again and is known", |_, state: &State| {
                let known = |work: &Work| {
                    let account =
                        |account: &Vec<Stored>| account.get(work.sent.message).is_some_and(|s| s.copies > 0);
                    state.store.iter().all(account) && work.said.iter().all(Option::is_none)
                };
                state.at_home.iter().any(known)
            }),
            Property::sometimes(WINDOW, |_, state: &State| {
                !state.all(|message, told, stored| {
                    !(message.excused && told == Told::ComeAgain && stored.copies > 0)
                })
            }),
        ]
    }
}

const SAFE: &str = "what was answered 250 is at Home or in the spool";
const ONCE: &str = "no account has a message twice";
const NOT_BOTH: &str =
    "who is to come again or was refused has not been served, unless sealing failed after a try";
const NOT_STUCK: &str = "who waits on a link that is up waits for something that is under way";
const DONE: &str = "all messages arrive and Edge keeps nothing";
const WINDOW: &str = "an Edge that can't seal has a sender come again with what Home has";

/// A message for two accounts, and all that may go wrong.
fn one_for_two(telling: Telling, flaw: Option<Flaw>) -> HandOffModel {
    let limits = Limits {
        links: 2,
        edge_crashes: 1,
        home_crashes: 1,
        failed_commits: 1,
        refusals: 1,
        failed_seals: 1,
        given_up: 0,
    };
    HandOffModel { messages: 1, accounts: 2, size: Size::Small, telling, flaw, limits }
}

/// Two messages for one account, and fewer links: there are many more orders in which things may happen.
fn two_for_one() -> HandOffModel {
    let limits = Limits {
        links: 1,
        edge_crashes: 1,
        home_crashes: 1,
        failed_commits: 1,
        refusals: 0,
        failed_seals: 1,
        given_up: 0,
    };
    HandOffModel {
        messages: 2,
        accounts: 1,
        size: Size::Small,
        telling: Telling::Together,
        flaw: None,
        limits,
    }
}

/// A message of which Home may take a half and no more, twice.
fn a_large_one(flaw: Option<Flaw>) -> HandOffModel {
    let limits = Limits {
        links: 2,
        edge_crashes: 1,
        home_crashes: 1,
        failed_commits: 1,
        refusals: 1,
        failed_seals: 1,
        given_up: 2,
    };
    HandOffModel { messages: 1, accounts: 1, size: Size::Large, telling: Telling::Together, flaw, limits }
}

#[test]
fn in_every_state_what_was_acknowledged_is_safe_and_comes_once() {
    let small = [one_for_two(Telling::Together, None), one_for_two(Telling::Apart, None), two_for_one()];
    for model in small.into_iter().chain([a_large_one(None)]) {
        let checker = model.checker().threads(2).spawn_bfs().join();
        println!("{} messages: {} states", model.messages, checker.unique_state_count());
        checker.assert_properties();
    }
}

#[test]
fn each_flaw_is_found() {
    let flaws = [
        (Flaw::AckBeforeSealed, Telling::Together, SAFE),
        (Flaw::AnswerBeforeCommit, Telling::Together, SAFE),
        (Flaw::HomeForgetsIds, Telling::Together, ONCE),
        (Flaw::NewIdWhenSealed, Telling::Together, ONCE),
        (Flaw::ForgetWhenSent, Telling::Together, SAFE),
        (Flaw::OneAccountWillDo, Telling::Together, SAFE),
        (Flaw::AllOrComeAgain, Telling::Together, NOT_BOTH),
        (Flaw::AckWhenNotSealed, Telling::Together, SAFE),
        (Flaw::WaitingIsTaken, Telling::Apart, SAFE),
    ];
    for (flaw, telling, broken) in flaws {
        let found = HasDiscoveries::AnyOf([broken].into());
        let model = one_for_two(telling, Some(flaw));
        let checker = model.checker().finish_when(found).threads(2).spawn_bfs().join();
        assert!(checker.discovery(broken).is_some(), "{flaw:?} was not found");
    }
    let flaw = Flaw::AnswerUnheardInMidBody;
    let found = HasDiscoveries::AnyOf([NOT_STUCK].into());
    let checker = a_large_one(Some(flaw)).checker().finish_when(found).threads(2).spawn_bfs().join();
    assert!(checker.discovery(NOT_STUCK).is_some(), "{flaw:?} was not found");
}
