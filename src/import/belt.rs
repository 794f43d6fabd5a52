//! Work that runs ahead of whoever takes its results, on a few threads, in order, and never far ahead.

use std::collections::BTreeMap;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// Bytes that lie on a belt or are worked on at once. One result that is larger has it for itself.
const BYTES_MAX: u64 = 64 << 20;

/// Results that wait, in the order of their jobs.
pub(in crate::import) struct Belt<R> {
    /// Bytes of each job's result.
    weights: Vec<u64>,
    ahead: usize,
    state: Mutex<State<R>>,
    bell: Condvar,
}

struct State<R> {
    begun: usize,
    taken: usize,
    /// Bytes of what was begun, until whoever takes has done with it.
    bytes: u64,
    /// Bytes of what was taken last.
    held: u64,
    done: BTreeMap<usize, R>,
    workers: usize,
    is_over: bool,
}

impl<R> Belt<R> {
    fn lock(&self) -> MutexGuard<'_, State<R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<R>>) -> MutexGuard<'a, State<R>> {
        self.bell
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The next result; none when all were taken. The one before is not needed any more, which makes room
    /// for others.
    pub(in crate::import) fn next(&self) -> Option<R> {
        let mut state = self.lock();
        state.bytes -= std::mem::take(&mut state.held);
        self.bell.notify_all();
        loop {
            let at = state.taken;
            if let Some(result) = state.done.remove(&at) {
                state.taken += 1;
                state.held = self.weights[at];
                self.bell.notify_all();
                return Some(result);
            }
            if at == self.weights.len() || state.workers == 0 {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// A job to do; none when there are no more, or nobody wants them.
    fn begin(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            let weight = *self.weights.get(state.begun).filter(|_| !state.is_over)?;
            let has_room = state.bytes == 0 || state.bytes.saturating_add(weight) <= BYTES_MAX;
            if has_room && state.begun < state.taken + self.ahead {
                state.bytes = state.bytes.saturating_add(weight);
                state.begun += 1;
                return Some(state.begun - 1);
            }
            state = self.wait(state);
        }
    }
}

/// Counts a worker out, however it ends.
struct Shift<'a, R>(&'a Belt<R>);

impl<R> Drop for Shift<'_, R> {
    fn drop(&mut self) {
        self.0.lock().workers -= 1;
        self.0.bell.notify_all();
    }
}

/// Does `work` for each job on `workers` threads while `take` takes the results. No more than two for
/// each worker wait, nor more than [`BYTES_MAX`], as `weigh` tells what a result will have. When `take` returns, what was not begun is not done.
pub(in crate::import) fn run<J: Sync, R: Send, T>(
    jobs: &[J],
    workers: usize,
    (weigh, work): (impl Fn(&J) -> u64, impl Fn(&J) -> R + Sync),
    take: impl FnOnce(&Belt<R>) -> T,
) -> T {
    let belt = Belt {
        weights: jobs.iter().map(weigh).collect(),
        ahead: 2 * workers.max(1),
        state: Mutex::new(State {
            begun: 0,
            taken: 0,
            bytes: 0,
            held: 0,
            done: BTreeMap::new(),
            workers: workers.max(1),
            is_over: false,
        }),
        bell: Condvar::new(),
    };
    std::thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            scope.spawn(|| {
                let _shift = Shift(&belt);
                while let Some(at) = belt.begin() {
                    let result = work(&jobs[at]);
                    belt.lock().done.insert(at, result);
                    belt.bell.notify_all();
                }
            });
        }
        let _end = End(&belt);
        take(&belt)
    })
}

/// Tells the workers that nobody takes anything any more.
struct End<'a, R>(&'a Belt<R>);

impl<R> Drop for End<'_, R> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.bell.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering;

    #[test]
    fn results_come_in_order_and_no_more_is_done_than_is_wanted() {
        let jobs: Vec<usize> = (0..100).collect();
        let done = AtomicUsize::new(0);
        let work = |job: &usize| {
            done.fetch_add(1, Ordering::SeqCst);
            job * 2
        };
        let light = |_: &usize| 1;
        let all = run(&jobs, 4, (light, work), |belt| {
            std::iter::from_fn(|| belt.next()).collect::<Vec<_>>()
        });
        assert_eq!(all, (0..100).map(|job| job * 2).collect::<Vec<_>>());
        done.store(0, Ordering::SeqCst);
        run(&jobs, 2, (light, work), |belt| {
            assert_eq!(belt.next(), Some(0))
        });
        assert!(done.load(Ordering::SeqCst) <= 1 + 4);
        assert_eq!(run(&[0; 0], 2, (light, work), Belt::next), None);
    }

    #[test]
    fn no_more_bytes_are_in_flight_than_may_be_but_for_one_that_is_larger() {
        for (weight, at_once) in [(BYTES_MAX / 3, 3), (BYTES_MAX, 1), (u64::MAX, 1)] {
            let (alive, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let work = |_: &usize| {
                most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            };
            let seen = run(&[0; 50], 4, (|_: &usize| weight, work), |belt| {
                let mut seen = 0;
                while belt.next().is_some() {
                    seen += 1;
                    // Whoever works ahead has time for it.
                    std::thread::yield_now();
                    alive.fetch_sub(1, Ordering::SeqCst);
                }
                seen
            });
            assert_eq!(seen, 50);
            assert!(most.load(Ordering::SeqCst) <= at_once, "{weight}: {most:?}");
        }
    }
}
