//! Looking on a thread of its own, with a runtime of its own.
//!
//! It happens once a day and takes megabytes for a few seconds: caches of a resolver, roots, handshakes. On the threads of a daemon
//! they would lie among what stays, and the memory would not be given back; a thread that ends gives all of it back.

use tokio::sync::oneshot;

use crate::facts::Fact;

/// Does the work there.
///
/// # Errors
/// When the system gives no thread, or the work ended without a result.
pub async fn apart<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Fact<T>
where
    T: Send + 'static,
    F: Future<Output = Fact<T>>,
{
    let (done, waits) = oneshot::channel();
    let thread = std::thread::Builder::new().name("doctor".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => runtime.block_on(work()),
            Err(error) => Err(error.to_string()),
        };
        // Nobody may wait any more.
        let _ = done.send(result);
    });
    let _thread = thread.map_err(|error| format!("no thread can be started: {error}"))?;
    waits.await.unwrap_or_else(|_| Err("looking ended without a result, by a fault in Postern".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_apart_comes_back_and_a_panic_is_an_error() {
        assert_eq!(apart(|| async { Ok(7) }).await, Ok(7));
        assert_eq!(apart(|| async { Err::<u8, _>("no".to_owned()) }).await, Err("no".to_owned()));
        let broken = apart(|| async { panic!("seen in the test's output") }).await;
        assert!(broken.map(|(): ()| ()).unwrap_err().contains("without a result"));
    }
}
