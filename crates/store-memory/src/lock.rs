//! Locks that outlive a panic of who held them.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for the lock; one that a panic left behind is taken all the same.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
