//! Where requests are worked on, so that one that waits never stops the others.
//!
//! A few threads read requests from the kernel. Most requests are answered at once on the thread
//! that read them. A change may have to wait for room in the spool, and a sync for the disk; when
//! all threads but one are at that already, the next goes to the runtime's pool for blocking work,
//! which is bounded, and so is every wait. Reads from the store wait in a task of their own.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;

/// Threads that read requests. More than the processors, because some wait for the disk.
pub(in crate::fuse) const THREADS: usize = 4;

/// Threads that may work on something that can wait, all at once.
const WAITING_MAX: usize = THREADS - 1;

/// How long what may wait a little is put off: so many unlinked files come together meanwhile, and nobody
/// misses their room so soon.
const SOON: Duration = Duration::from_millis(10);

/// Counts the threads that may be waiting.
pub(in crate::fuse) struct Lane {
    inside: AtomicUsize,
    runtime: Handle,
}

/// A thread that may be waiting, until this is dropped.
pub(in crate::fuse) struct Inside<'a>(&'a AtomicUsize);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Lane {
    pub(in crate::fuse) fn new(runtime: Handle) -> Arc<Lane> {
        Arc::new(Lane {
            inside: AtomicUsize::new(0),
            runtime,
        })
    }

    /// May this thread do something that can wait? It says so by keeping the answer meanwhile.
    pub(in crate::fuse) fn enter(&self) -> Option<Inside<'_>> {
        let before = self.inside.fetch_add(1, Ordering::AcqRel);
        let inside = Inside(&self.inside);
        (before < WAITING_MAX).then_some(inside)
    }

    /// Does something that can wait: here if that leaves a thread for others, else in the pool.
    pub(in crate::fuse) fn run(&self, job: impl FnOnce() + Send + 'static) {
        match self.enter() {
            Some(_inside) => guard(job),
            None => drop(self.runtime.spawn_blocking(|| guard(job))),
        }
    }

    /// Does something a little later, in the pool.
    pub(in crate::fuse) fn soon(&self, job: impl FnOnce() + Send + 'static) {
        let runtime = self.runtime.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(SOON).await;
            drop(runtime.spawn_blocking(|| guard(job)));
        });
    }

    /// Waits for the store in a task.
    pub(in crate::fuse) fn wait(&self, job: impl Future<Output = ()> + Send + 'static) {
        let task = self.runtime.spawn(job);
        self.runtime.spawn(async {
            if task.await.is_err_and(|error| error.is_panic()) {
                give_up();
            }
        });
    }
}

/// Runs a handler. A defect in one ends the process: the state in memory cannot be trusted any
/// more, and a mount that hangs is worse than one that ends and recovers.
pub(in crate::fuse) fn guard<R>(work: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| give_up())
}

/// Ends the process after a defect; the panic's own message was printed by its hook.
pub(in crate::fuse) fn give_up() -> ! {
    log::error!(
        "a defect in the filesystem: the mount ends here, and the next one recovers everything that was written"
    );
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn one_thread_is_left_for_others() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let lane = Lane::new(runtime.handle().clone());
        let inside: Vec<_> = (0..WAITING_MAX).map(|_| lane.enter()).collect();
        assert!(inside.iter().all(Option::is_some) && lane.enter().is_none());
        let (tell, told) = mpsc::channel();
        let tell_thread = move || tell.send(std::thread::current().id()).expect("heard");
        lane.run(tell_thread.clone());
        assert_ne!(told.recv(), Ok(std::thread::current().id()));
        drop(inside);
        lane.run(tell_thread);
        assert_eq!(told.recv(), Ok(std::thread::current().id()));
        assert!(lane.enter().is_some());
    }
}
