//! The end of a round: what the sender is told, and what the item waits for.

use daemon::mail_line::{MailLine, Way};
use link::TraceStep;
use mail::UnixTime;

use super::super::schedule::Rest;
use super::{Abroad, Ending, Round};
use crate::carriers::Carriers;
use crate::house::House;
use crate::queue::{RecipientState, Turn};
use crate::reporter::{Reporter, Told};

impl<C: Carriers, H: House, R: Reporter> Round<C, H, R> {
    /// The round is over: settles the item, or says when it is due.
    pub(super) async fn conclude(mut self, abroad: &Abroad) -> Ending {
        let now = self.shared.clock.now();
        let deadline = self.shared.settings.deadline(self.state.submitted);
        if now >= deadline && !self.state.held {
            self.say_why_it_waited();
            self.state.expire();
        }
        if self.state.is_settled() {
            return self.finish().await;
        }
        self.tell_of_a_delay(now, deadline).await;
        let rest = self.rest(abroad, now, deadline);
        if self.unsaved
            && let Err(error) = self.shared.queue.update(&self.state).await
        {
            return self.rest_a_while("record a round", &error);
        }
        Ending::Rests(rest, self.state.turn())
    }

    /// What it waits for: whatever comes first of the next try, the report on a delay, and the end.
    fn rest(&mut self, abroad: &Abroad, now: UnixTime, deadline: UnixTime) -> Rest {
        if self.state.held {
            return Rest::Held;
        }
        let delay = self.shared.settings.delay(self.state.submitted);
        let latest = if self.state.delay_told || delay <= now { deadline } else { deadline.min(delay) };
        if matches!(abroad, Abroad::NoEdge) {
            return Rest::EdgeOrUntil(latest);
        }
        let waiting = self.state.waiting_by_domain();
        let full = waiting.keys().find(|domain| self.full.contains(*domain)).cloned();
        let nothing_tried = waiting.keys().all(|domain| self.full.contains(domain));
        if nothing_tried && let Some(until) = self.cold {
            let until = until.min(latest);
            let until_text = until.rfc5322();
            self.trace(
                TraceStep::HeldBack,
                format!("the edge is new and has sent its share of today; until {until_text}"),
            );
            self.state.next_due = until;
            self.unsaved = true;
            return Rest::Until(until);
        }
        if nothing_tried && let Some(domain) = full {
            // The operator wanted it tried before its time: so it is due when there is room.
            if !self.early && self.state.next_due > now {
                self.state.next_due = now;
                self.unsaved = true;
            }
            return Rest::RoomOrUntil(domain, latest);
        }
        if !self.early {
            self.state.next_due = UnixTime(now.0.saturating_add(self.backoff())).min(deadline);
            self.unsaved = true;
        }
        match full {
            // Room would not help what a new edge may not send today.
            Some(domain) if self.cold.is_none() => Rest::RoomOrUntil(domain, self.state.next_due),
            _ => Rest::Until(self.state.next_due),
        }
    }

    /// Recipients that had no attempt of their own, since their domain rested: why it did.
    fn say_why_it_waited(&mut self) {
        for queued in &mut self.state.recipients {
            if queued.state == RecipientState::Pending && queued.last.is_none() {
                queued.last = self.shared.rooms.why(queued.recipient.address.domain());
            }
        }
    }

    /// Tells the sender once that a message is late.
    async fn tell_of_a_delay(&mut self, now: UnixTime, deadline: UnixTime) {
        if self.state.held || self.state.delay_told || now < self.shared.settings.delay(self.state.submitted)
        {
            return;
        }
        self.say_why_it_waited();
        if self.state.submitted().is_none() {
            return;
        }
        let told = match self.shared.queue.content(self.state.item) {
            Ok(original) => self.shared.reporter.report_delay(&self.state, original, deadline).await,
            Err(error) => Err(error.to_string()),
        };
        match told {
            Ok(told) => {
                if let Some(whom) = told {
                    self.trace(TraceStep::Delayed, format!("reported to {whom}"));
                }
                self.state.delay_told = true;
                self.unsaved = true;
            }
            Err(error) => {
                tracing::error!(item = %self.state.item, %error, "a sender could not be told of a delay; he is in the next round");
            }
        }
    }

    /// Nothing is owed to any recipient: tells the sender, then removes the item.
    async fn finish(mut self) -> Ending {
        match self.report().await {
            Ok(Some(Told { action, whom })) => {
                self.trace(TraceStep::Bounced, format!("{action:?} reported to {whom}"))
            }
            Ok(None) => {}
            Err(cause) => return self.keep(&cause).await,
        }
        if let Err(error) = self.shared.queue.erase(self.state.item).await {
            if !self.unrecorded.is_empty() {
                // Nobody may be asked twice to carry what was delivered.
                self.save_in_the_end().await;
            }
            return self.rest_a_while("remove a settled message", &error);
        }
        self.recorded();
        let delivered =
            self.state.recipients.iter().filter(|queued| queued.state == RecipientState::Delivered);
        let count = delivered.count();
        self.trace(TraceStep::Settled, format!("{count} of {} delivered", self.state.recipients.len()));
        self.passed(count);
        Ending::Gone
    }

    /// Writes the log's line: somebody has it, or nobody.
    fn passed(&self, delivered: usize) {
        let (step, code) = if delivered > 0 { (TraceStep::Delivered, 250) } else { (TraceStep::Failed, 0) };
        let to = self.state.recipients.first();
        self.shared.trace.passed(&MailLine {
            item: Some(self.state.item),
            to: to.map_or("-", |queued| queued.recipient.address.domain().as_str()),
            recipients: self.state.recipients.len(),
            octets: self.state.octets,
            verdict: step.word(),
            code,
            ..MailLine::of(Way::Out, &self.state.envelope)
        });
    }

    async fn report(&self) -> Result<Option<Told>, String> {
        if !self.shared.reporter.owes(&self.state) {
            return Ok(None);
        }
        let original = self.shared.queue.content(self.state.item).map_err(|error| error.to_string())?;
        self.shared.reporter.report(&self.state, original).await
    }

    /// A report could not be committed: the original stays, with all that is known of it.
    async fn keep(mut self, cause: &str) -> Ending {
        if !self.unrecorded.is_empty() {
            // Nothing was owed when the outcome came, and something is now: a domain became ours meanwhile.
            self.save_in_the_end().await;
        } else if let Err(error) = self.shared.queue.update(&self.state).await {
            tracing::error!(item = %self.state.item, %error, "a settled message could not be recorded");
        }
        self.rest_a_while("commit a report to its sender", &cause)
    }

    pub(super) fn rest_a_while(&self, what: &str, error: &dyn std::fmt::Display) -> Ending {
        tracing::error!(item = %self.state.item, %error, "could not {what}; the message stays and is tried again");
        Ending::Rests(Rest::Until(self.shared.after_pause()), Turn::Patient)
    }
}
