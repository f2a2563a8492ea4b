//! What is told when a forwarded message fails: its sender if that is proven, else the operator. Never both.

use content::Content;
use mail::dsn::{Action, ReportedRecipient};
use mail::{Address, BodyType, Envelope, ReversePath, header};
use outbound::queue::{Forwarded, QueueState};

use super::Forwarder;
use crate::reports::bounce::{self, Mailboxes, Reported};

impl Forwarder {
    /// A forwarded message is settled: whoever is to know of a failure is told, durably, then the message is
    /// remembered. Only after this may it leave the queue.
    ///
    /// # Errors
    /// The failure could not be told, in words; the message has to stay.
    pub(crate) async fn conclude(
        &self,
        state: &QueueState,
        forwarded: &Forwarded,
        original: Content,
        mailboxes: &Mailboxes<'_>,
    ) -> Result<Option<Action>, String> {
        let failed = bounce::failed(state);
        let action = failed.first().map(|recipient| recipient.action);
        if action.is_some() {
            match forwarded.told() {
                Some(sender) => self.tell_sender(state, forwarded, sender, &failed, original).await?,
                None => self.tell_operator(state, forwarded, &failed, original, mailboxes).await?,
            }
        }
        let (remembered, id, now) = (self.remembered.clone(), state.item, self.parts.clock.now());
        let kept = tokio::task::spawn_blocking(move || remembered.insert(id, now)).await;
        kept.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        Ok(action)
    }

    /// Queues a report to the sender. It names the alias only: where that leads is not the sender's to know.
    async fn tell_sender(
        &self,
        state: &QueueState,
        forwarded: &Forwarded,
        sender: &Address,
        failed: &[ReportedRecipient],
        original: Content,
    ) -> Result<(), String> {
        if failed.iter().all(|recipient| recipient.recipient.notify.is_some_and(|notify| !notify.failure)) {
            return Ok(());
        }
        let Some(first) = failed.first() else { return Ok(()) };
        let mut named = first.clone();
        named.recipient.address = forwarded.alias.clone();
        named.why.cause = "an address that it was forwarded to does not take it".to_owned();
        named.why.mta = None;
        named.why.reply = None;
        let domain = forwarded.alias.domain();
        let reported = Reported {
            kind: "postern forward report",
            domain,
            to: sender,
            recipients: std::slice::from_ref(&named),
        };
        let (id, message) = bounce::compose(state, &reported, original, self.parts.clock.now()).await?;
        let (head, body) = message.split_at(header::body_offset(&message));
        let signed = self.parts.keys.signed(domain, head, body, self.parts.clock.now());
        let signed = signed.map_err(|error| error.to_string())?.unwrap_or_else(|| head.to_vec());
        let envelope = Envelope {
            reverse_path: ReversePath::Null,
            recipients: vec![sender.clone().into()],
            body: BodyType::SevenBit,
            smtputf8: !sender.local().is_ascii(),
            require_tls: false,
            ret: None,
            envid: None,
            client: None,
        };
        let mut report = QueueState::new(id, String::new(), envelope, self.parts.clock.now());
        report.utf8_header = !head.is_ascii();
        report.eight_bit = !message.is_ascii();
        let content = Content::from(body.to_vec());
        self.parts.queue.append(report, signed, content).await.map_err(|error| error.to_string())?;
        Ok(())
    }

    async fn tell_operator(
        &self,
        state: &QueueState,
        forwarded: &Forwarded,
        failed: &[ReportedRecipient],
        original: Content,
        mailboxes: &Mailboxes<'_>,
    ) -> Result<(), String> {
        let domain = forwarded.alias.domain();
        let to = Address::at("postmaster", domain).map_err(|error| error.to_string())?;
        let reported = Reported { kind: "postern forward report", domain, to: &to, recipients: failed };
        let (id, message) = bounce::compose(state, &reported, original, self.parts.clock.now()).await?;
        bounce::commit_to_postmaster(id, message, mailboxes).await
    }
}
