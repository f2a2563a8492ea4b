//! Sealed mail goes to Home: oldest first, beside live mail, a bounded number at a time.

use std::sync::Arc;
use std::time::Duration;

use content::Content;
use link::{BODY_FRAME_MAX, Frame, OpenSealed};
use mail::ItemId;
use net::contents;
use net::link_session::live::{LinkDown, Live, Stopped};
use spool::{Listed, SpoolError};
use tokio::task::JoinSet;

use super::homes::Home;

/// Items under way at one time: enough to fill Home's commits, few enough that live mail passes quickly.
const IN_FLIGHT_MAX: usize = 64;
/// Items read from the index at one time.
const PAGE: usize = 256;
/// How long an item that Home could not take waits.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// How long Home may be silent about an item: to take more of its body, and to answer when it has all of it. Home's filters
/// and other programs have limits of their own, which are shorter: past this something there is stuck, and only a new link
/// sets it free. All that may be under way, a window of each of [`IN_FLIGHT_MAX`] items, passes in that time at 40 kbit/s: a slow
/// line is not taken for a Home that is stuck.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Sends sealed items as long as the link is up.
pub(crate) async fn run(home: Arc<Home>, live: Arc<Live>) {
    loop {
        let stirred = home.stirred.notified();
        match pass(&home, &live).await {
            Err(LinkDown) => return,
            Ok(0) => stirred.await,
            Ok(_) => tokio::time::sleep(AGAIN_AFTER).await,
        }
    }
}

type Sent = Result<Result<bool, LinkDown>, tokio::task::JoinError>;

/// One pass over all items. Gives the number that Home could not take now.
async fn pass(home: &Arc<Home>, live: &Arc<Live>) -> Result<usize, LinkDown> {
    let mut after = None;
    let mut under_way: JoinSet<Result<bool, LinkDown>> = JoinSet::new();
    let mut left = 0;
    loop {
        let page = home.sealed.list(after, PAGE);
        if page.is_empty() {
            break;
        }
        for listed in page {
            after = Some(listed.id);
            if under_way.len() >= IN_FLIGHT_MAX {
                left += count(under_way.join_next().await)?;
            }
            under_way.spawn(send(Arc::clone(home), Arc::clone(live), listed));
        }
    }
    while let Some(sent) = under_way.join_next().await {
        left += count(Some(sent))?;
    }
    Ok(left)
}

#[allow(clippy::needless_pass_by_value, reason = "what a JoinSet gives is taken as it comes")]
fn count(sent: Option<Sent>) -> Result<usize, LinkDown> {
    match sent {
        Some(Ok(taken)) => taken.map(|taken| usize::from(!taken)),
        Some(Err(_)) => Ok(1),
        None => Ok(0),
    }
}

/// Sends one item and removes it when Home has it. `false` when it stays.
async fn send(home: Arc<Home>, live: Arc<Live>, listed: Listed) -> Result<bool, LinkDown> {
    let body = match home.sealed.body(listed.id) {
        Ok(body) => Content::from(body),
        // A pass begins while what the one before has drained is still being removed.
        Err(SpoolError::NoItem(_)) => return Ok(true),
        Err(error) => {
            tracing::error!(item = %listed.id, %error, "a sealed item can't be opened; it stays in the spool");
            return Ok(false);
        }
    };
    let item = live.begin(listed.id)?;
    item.send(Frame::OpenSealed(OpenSealed { item: listed.id, octets: listed.octets }));
    let mut at = 0;
    while at < body.octets() {
        match contents::read(&body, at, BODY_FRAME_MAX).await {
            Ok(piece) => {
                at += piece.len() as u64;
                match heard(&live, listed.id, item.body(piece, None)).await? {
                    Ok(()) => {}
                    // It gave the item up before it had all of it; the answer says why.
                    Err(Stopped::Over) => break,
                    Err(Stopped::LinkDown) => return Err(LinkDown),
                }
            }
            Err(error) => {
                tracing::error!(item = %listed.id, %error, "a sealed item can't be read; it stays in the spool");
                item.send(Frame::Abort(listed.id));
                return Ok(false);
            }
        }
    }
    let answer = heard(&live, listed.id, item.answer()).await??;
    let taken = answer.replies.iter().all(mail::Reply::is_positive) && !answer.replies.is_empty();
    if taken {
        forget(&home, listed.id);
    } else {
        tracing::warn!(item = %listed.id, reply = ?answer.replies.first(), "Home could not take a sealed item now");
    }
    Ok(taken)
}

/// What Home says to something. A Home that says nothing for too long loses the link: the item is sent again on the next.
async fn heard<T>(live: &Live, item: ItemId, said: impl Future<Output = T>) -> Result<T, LinkDown> {
    tokio::time::timeout(PATIENCE, said).await.map_err(|_| {
        let minutes = PATIENCE.as_secs() / 60;
        tracing::error!(%item, minutes, "Home said nothing of a sealed item; it stays here, and the link is made anew");
        live.close();
        LinkDown
    })
}

/// Removes an item that Home has. Should this be lost in a crash, the item is sent again and Home drops it.
fn forget(home: &Home, item: ItemId) {
    home.sealed.remove(
        item,
        Box::new(move |removed| {
            if let Err(error) = removed {
                tracing::warn!(%item, %error, "a drained item could not be removed; it will be sent again");
            }
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::homes::Homes;
    use spool::Done;
    use tokio::sync::oneshot;

    /// Waits until the spool is done with what it is told.
    async fn done(begin: impl FnOnce(Done)) {
        let (sender, receiver) = oneshot::channel();
        begin(Box::new(move |result| drop(sender.send(result.map(drop)))));
        receiver.await.unwrap().unwrap();
    }

    /// Symptom: a Home that was stuck over an item had no other sealed mail for as long as the link was up, and nobody was
    /// told. Cause: the wait for its answer had no limit. Analysis: read, the waits that have none.
    #[tokio::test(start_paused = true)]
    async fn a_home_that_says_nothing_of_an_item_loses_the_link_and_the_item_stays() {
        let dir = tempfile::tempdir().unwrap();
        let homes = Homes::open(&dir.path().join("homes"), 1 << 30, daemon::system::now()).unwrap();
        let home = homes.pair([7; 32], &super::super::homes::Grant::Free, &[], mail::UnixTime(1)).unwrap();
        // One is smaller than the window, the other waits for Home to take more.
        for octets in [6, 2 * usize::try_from(link::WINDOW_OCTETS).unwrap()] {
            let item = daemon::system::new_item_id();
            done(|done| home.sealed.append(item, Vec::new(), vec![vec![b's'; octets].into()], done)).await;
            let listed = home.sealed.list(None, 9).pop().unwrap();
            let (frames, _queue) = net::link_session::frame_queue();
            let live = Live::new(frames);
            let sent = tokio::time::timeout(PATIENCE * 2, send(Arc::clone(&home), Arc::clone(&live), listed));
            assert_eq!(sent.await.unwrap(), Err(LinkDown));
            live.closed().await;
            assert!(home.sealed.body(item).is_ok(), "it stays");
        }
    }

    /// Symptom: "a sealed item can't be opened; it stays in the spool" of items that had been drained, and what was sealed
    /// next waited for half a minute with the link up. Cause: an item that is removed between the reading of a page and
    /// its turn counted as one that Home could not take. Analysis: a pass that was stirred begins at once, while removals of
    /// the pass before are on their way to the disk.
    #[tokio::test]
    async fn an_item_that_was_removed_since_it_was_listed_is_not_left() {
        let dir = tempfile::tempdir().unwrap();
        let homes = Homes::open(&dir.path().join("homes"), 1 << 30, daemon::system::now()).unwrap();
        let home = homes.pair([7; 32], &super::super::homes::Grant::Free, &[], mail::UnixTime(1)).unwrap();
        let item = daemon::system::new_item_id();
        done(|done| home.sealed.append(item, Vec::new(), vec![b"sealed".to_vec().into()], done)).await;
        let listed = home.sealed.list(None, 1).pop().unwrap();
        done(|done| home.sealed.remove(item, done)).await;
        let (frames, _queue) = net::link_session::frame_queue();
        assert!(matches!(send(home, Live::new(frames), listed).await, Ok(true)));
    }
}
