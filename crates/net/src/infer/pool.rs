//! Passes of one prepared network for many callers.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Inference, Number, Prepared};

/// As many passes as run at the same time. No lock is held while one runs: a task of rayon that
/// waits may take up another picture, and would then wait for itself.
pub(crate) struct Pool<T> {
    prepared: Arc<Prepared<T>>,
    idle: Mutex<Vec<Inference<T>>>,
}

impl<T: Number> Pool<T> {
    pub fn new(first: Inference<T>) -> Self {
        Self {
            prepared: first.prepared.clone(),
            idle: Mutex::new(vec![first]),
        }
    }

    /// Calls `work` with a pass that nobody else uses.
    pub fn with<R>(&self, work: impl FnOnce(&mut Inference<T>) -> R) -> R {
        // a panic elsewhere leaves no half-filled list behind
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let free = idle().pop();
        let mut pass = free.unwrap_or_else(|| Inference::of(self.prepared.clone()));
        let result = work(&mut pass);
        idle().push(pass);
        result
    }
}
