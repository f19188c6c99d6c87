//! Things made ahead of use by threads of their own, which share no pool with whoever uses them.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::{Error, Result};

/// The results of a plan in its order, of which up to `depth` are made before they are asked for. An error, and a panic
/// as [`Error::Panic`], comes where its result would have come, and ends the iteration. Dropped, it stops the threads and waits
/// for them.
pub struct Ahead<P, T> {
    shared: Arc<Shared<P, T>>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared<P, T> {
    state: Mutex<State<P, T>>,
    /// Told after every change of the state.
    changed: Condvar,
    /// Nothing will be asked for any more.
    stop: AtomicBool,
    make: Box<Make<P, T>>,
    /// Most results that are made or being made and not asked for yet.
    depth: usize,
}

type Make<P, T> = dyn Fn(P, &AtomicBool) -> Result<T> + Send + Sync;

struct State<P, T> {
    plan: Box<dyn Iterator<Item = P> + Send>,
    /// Items taken from the plan.
    taken: usize,
    /// Results given away.
    given: usize,
    /// Results not given away, by the number of their item.
    made: BTreeMap<usize, Result<T>>,
    /// The plan has no more items.
    ended: bool,
}

impl<P: Send + 'static, T: Send + 'static> Ahead<P, T> {
    /// Makes `make(item)` for every item of `plan` on up to `workers` threads. With a depth or a number of workers of 0 there
    /// are no threads: each result is made when it is asked for. `make` gets a flag, too: once it is set, nobody will see the
    /// result, and what takes long should end.
    pub fn new(
        plan: impl Iterator<Item = P> + Send + 'static,
        depth: usize,
        workers: usize,
        make: impl Fn(P, &AtomicBool) -> Result<T> + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                plan: Box::new(plan),
                taken: 0,
                given: 0,
                made: BTreeMap::new(),
                ended: false,
            }),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            make: Box::new(make),
            depth: depth.max(1),
        });
        // where the system has no thread to give, those there are do it, or the caller
        let workers = (0..workers.min(depth)).map_while(|_| {
            let shared = shared.clone();
            let work = move || while shared.work() {};
            Builder::new().name("ahead".into()).spawn(work).ok()
        });
        Self {
            workers: workers.collect(),
            shared,
        }
    }

    /// Results that are made and wait to be asked for.
    pub fn ready(&self) -> usize {
        self.shared.lock().made.len()
    }
}

impl<P, T> Shared<P, T> {
    /// The state; it is whole even where a thread has panicked, as nothing is computed under the lock but items of the
    /// plan, whose panics are caught.
    fn lock(&self) -> MutexGuard<'_, State<P, T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<P, T>>) -> MutexGuard<'a, State<P, T>> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Takes the next item when there is room, makes its result and puts it in its place; false where nothing is left
    /// to do.
    fn work(&self) -> bool {
        let mut state = self.lock();
        while !state.ended && !self.is_stopped() && state.taken - state.given >= self.depth {
            state = self.wait(state);
        }
        if state.ended || self.is_stopped() {
            return false;
        }
        let item = caught(|| Ok(state.plan.next())).transpose();
        let Some(item) = item else {
            state.ended = true;
            self.changed.notify_all();
            return false;
        };
        let number = state.taken;
        state.taken += 1;
        drop(state);
        let result = item.and_then(|item| caught(|| (self.make)(item, &self.stop)));
        let mut state = self.lock();
        state.made.insert(number, result);
        self.changed.notify_all();
        true
    }
}

impl<P, T> Iterator for Ahead<P, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let mut state = self.shared.lock();
        while !self.shared.is_stopped() {
            let number = state.given;
            if let Some(result) = state.made.remove(&number) {
                state.given += 1;
                if result.is_err() {
                    self.shared.stop.store(true, Ordering::Relaxed);
                }
                self.shared.changed.notify_all();
                return Some(result);
            }
            if state.ended && state.given == state.taken {
                break;
            }
            state = match self.workers.is_empty() {
                true => {
                    drop(state);
                    self.shared.work();
                    self.shared.lock()
                }
                false => self.shared.wait(state),
            };
        }
        None
    }
}

impl<P, T> Drop for Ahead<P, T> {
    fn drop(&mut self) {
        // under the lock, so that no thread is between looking and waiting
        let state = self.shared.lock();
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        drop(state);
        for worker in self.workers.drain(..) {
            // its panics were caught
            let _ = worker.join();
        }
    }
}

/// What `make` returns, a panic as an error.
fn caught<T>(make: impl FnOnce() -> Result<T>) -> Result<T> {
    // what a panic leaves half done is given to nobody: the first error ends everything
    catch_unwind(AssertUnwindSafe(make)).unwrap_or_else(|panic| {
        Err(Error::Panic {
            reason: words(&*panic),
        })
    })
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no words").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    /// Depth and number of threads.
    const WAYS: [(usize, usize); 7] = [(0, 0), (0, 2), (3, 0), (1, 1), (1, 4), (3, 2), (9, 4)];

    fn nap(milliseconds: u64) {
        thread::sleep(Duration::from_millis(milliseconds));
    }

    fn failure() -> Error {
        Error::AllVoid
    }

    #[test]
    fn results_come_in_the_order_of_the_plan() {
        for (depth, workers) in WAYS {
            // the first of every four takes longest
            let ahead = Ahead::new(0..40u64, depth, workers, |i, _| {
                nap(3 - i % 4);
                Ok(i * i)
            });
            let results: Vec<u64> = ahead.map(Result::unwrap).collect();
            assert!(results.into_iter().eq((0..40).map(|i| i * i)));
        }
    }

    #[test]
    fn no_more_than_the_depth_is_made_ahead() {
        for (depth, workers) in WAYS {
            let begun = Arc::new(AtomicUsize::new(0));
            let counter = begun.clone();
            let mut ahead = Ahead::new(0.., depth, workers, move |i: usize, _| {
                counter.fetch_add(1, Ordering::SeqCst);
                Ok(i)
            });
            let most = if workers == 0 { 0 } else { depth };
            for taken in 1..20 {
                assert_eq!(ahead.next().unwrap().unwrap(), taken - 1);
                nap(2);
                let begun = begun.load(Ordering::SeqCst);
                assert!(
                    (taken..=taken + most).contains(&begun),
                    "{depth} {workers} {begun}"
                );
            }
            if most > 0 {
                // left alone, the queue fills
                let end = Instant::now() + Duration::from_secs(20);
                while ahead.ready() < most && Instant::now() < end {
                    nap(1);
                }
            }
            assert_eq!(ahead.ready(), most);
        }
    }

    #[test]
    fn without_depth_the_caller_s_thread_does_the_work() {
        let make = |(), _: &AtomicBool| Ok(thread::current().id());
        let here = Ahead::new([(); 3].into_iter(), 0, 2, make);
        assert!(
            here.map(Result::unwrap)
                .all(|id| id == thread::current().id())
        );
        let there = Ahead::new([(); 3].into_iter(), 1, 1, make);
        assert!(
            there
                .map(Result::unwrap)
                .all(|id| id != thread::current().id())
        );
    }

    #[test]
    fn threads_are_not_those_of_the_pool() {
        let outside = |(), _: &AtomicBool| Ok(rayon::current_thread_index().is_none());
        let ahead = rayon::scope(|_| Ahead::new([(); 3].into_iter(), 2, 2, outside));
        assert_eq!(ahead.map(Result::unwrap).collect::<Vec<bool>>(), [true; 3]);
    }

    #[test]
    fn the_first_error_of_the_plan_comes_in_its_place_and_is_the_last() {
        for (depth, workers) in WAYS {
            // a later error is there long before
            let mut ahead = Ahead::new(0.., depth, workers, |i: u64, _| match i {
                5 => {
                    nap(10);
                    Err(failure())
                }
                6.. => Err(Error::OtherSamples),
                _ => Ok(i),
            });
            assert!((0..5).all(|i| ahead.next().unwrap().unwrap() == i));
            assert!(matches!(ahead.next(), Some(Err(Error::AllVoid))));
            assert!(ahead.next().is_none() && ahead.next().is_none());
        }
    }

    #[test]
    fn panic() {
        for (depth, workers) in WAYS {
            let mut ahead = Ahead::new(0.., depth, workers, |i: u64, _| match i {
                2 => panic!("number {i}"),
                _ => Ok(i),
            });
            assert!((0..2).all(|i| ahead.next().unwrap().unwrap() == i));
            let error = ahead.next().unwrap().unwrap_err();
            assert_eq!(
                error.to_string(),
                "the program failed while it made a batch: number 2"
            );
            assert!(error.hint().unwrap().contains("report"));
            assert!(ahead.next().is_none());
            // in the plan itself
            let plan = (0..).map(|i: u64| if i == 2 { panic!("planned") } else { i });
            let mut ahead = Ahead::new(plan, depth, workers, |i, _| Ok(i));
            assert!((0..2).all(|i| ahead.next().unwrap().unwrap() == i));
            assert!(
                matches!(ahead.next(), Some(Err(Error::Panic { reason })) if reason == "planned")
            );
            assert!(ahead.next().is_none());
        }
    }

    #[test]
    fn dropped_it_stops_at_once_and_leaves_no_thread() {
        for (depth, workers) in WAYS {
            let alive = Arc::new(());
            let held = alive.clone();
            // one that ends only when it is told to, after the first
            let mut ahead = Ahead::new(0.., depth, workers, move |i: u64, stop| {
                let _held = &held;
                while i > 0 && !stop.load(Ordering::Relaxed) {
                    nap(1);
                }
                Ok(i)
            });
            assert_eq!(ahead.next().unwrap().unwrap(), 0);
            nap(3);
            let began = Instant::now();
            drop(ahead);
            assert!(began.elapsed() < Duration::from_secs(5));
            assert_eq!(Arc::strong_count(&alive), 1, "what threads held is free");
        }
    }

    #[test]
    fn an_empty_plan_has_no_results() {
        for (depth, workers) in WAYS {
            let mut ahead = Ahead::new(std::iter::empty::<()>(), depth, workers, |(), _| Ok(()));
            assert!(ahead.next().is_none() && ahead.next().is_none());
        }
    }
}
