//! `postern queue`, carried out.

use daemon::control::Refusal;
use daemon::request::QueueRequest;
use outbound::queue::{Queue, QueueError};
use serde_json::{Value, json};

/// Carries out a command on the queue.
///
/// # Errors
/// What can't be done, and what to do about it.
pub(crate) async fn carry_out(queue: &Queue, request: QueueRequest) -> Result<Value, Refusal> {
    done(queue, request).await.map_err(|error| queue_refusal(&error))
}

async fn done(queue: &Queue, request: QueueRequest) -> Result<Value, QueueError> {
    Ok(match request {
        QueueRequest::List => json!(queue.list().await),
        QueueRequest::Show(item) => json!(queue.show(item).await?),
        QueueRequest::Retry(which) => json!({ "tried": queue.retry(which).await? }),
        QueueRequest::Hold(item) => {
            queue.hold(item, true).await?;
            json!({ "held": item })
        }
        QueueRequest::Release(item) => {
            queue.hold(item, false).await?;
            json!({ "released": item })
        }
        QueueRequest::Remove(item) => {
            queue.remove(item).await?;
            json!({})
        }
    })
}

fn queue_refusal(error: &QueueError) -> Refusal {
    (error.to_string(), "see 'postern queue list'".to_owned())
}
