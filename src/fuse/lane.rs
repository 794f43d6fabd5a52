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

use tokio::runtime::Handle;

/// Threads that read requests. More than the processors, because some wait for the disk.
pub(in crate::fuse) const THREADS: usize = 4;

/// Threads that may work on something that can wait, all at once.
const WAITING_MAX: usize = THREADS - 1;

/// Counts the threads that may be waiting.
pub(in crate::fuse) struct Lane {
    inside: AtomicUsize,
    pool: Handle,
}

struct Inside<'a>(&'a AtomicUsize);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Lane {
    pub(in crate::fuse) fn new(pool: Handle) -> Arc<Lane> {
        Arc::new(Lane { inside: AtomicUsize::new(0), pool })
    }

    /// Does work that may wait: here if a thread is left for others, else in the pool. `own` makes
    /// the work independent of the request's buffer; it is called only when that is needed.
    pub(in crate::fuse) fn run<B, O: Send + 'static>(
        &self,
        borrowed: B,
        own: impl FnOnce(B) -> O,
        here: impl FnOnce(B),
        there: impl FnOnce(O) + Send + 'static,
    ) {
        let before = self.inside.fetch_add(1, Ordering::AcqRel);
        let inside = Inside(&self.inside);
        if before < WAITING_MAX {
            guard(|| here(borrowed));
        } else {
            drop(inside);
            let owned = own(borrowed);
            self.pool.spawn_blocking(move || guard(|| there(owned)));
        }
    }
}

/// Runs a handler. A defect in one ends the process: the state in memory cannot be trusted any
/// more, and a mount that hangs is worse than one that ends and recovers.
pub(in crate::fuse) fn guard<R>(work: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| give_up())
}

/// Ends the process after a defect; the panic's own message was printed by its hook.
pub(in crate::fuse) fn give_up() -> ! {
    log::error!("a defect in the filesystem: the mount ends here, and the next one recovers everything that was written");
    std::process::abort()
}
