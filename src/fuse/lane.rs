//! Where requests are worked on, so that one that waits never stops the others.
//!
//! A few threads read requests from the kernel. Most requests are answered at once on the thread
//! that read them. A change may have to wait for room in the spool, and a sync for the disk; when
//! all threads but one are at that already, the next goes to the runtime's pool for blocking work,
//! which is bounded. Of each kind of change ([`Room`]) only so many are in the pool at once, and the rest
//! queues without a thread: however many wait for room, there are threads for what never does, such as a sync.
//! Reads from the store wait in a task of their own.
//!
//! What tells the kernel of changes that it did not make may wait for locks that requests hold which wait here
//! (see [`crate::fuse::Session`]), so it is never done on the threads that read requests: each command has a
//! thread of its own, and the bot has two of the pool at most.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Threads that read requests. More than the processors, because some wait for the disk.
pub(in crate::fuse) const THREADS: usize = 4;

/// Threads that may work on something that can wait, all at once.
const WAITING_MAX: usize = THREADS - 1;

/// Changes in the pool that may all wait for room: half of the 512 threads that the runtime gives it.
const TAKING_MAX: usize = 256;

/// The same of those that take hardly any: a quarter.
const SPARING_MAX: usize = 128;

/// The same of pages of mappings. The kernel sends very many at once, and nobody waits for a single one.
const HANDED_OVER_MAX: usize = 16;

/// Whether something takes room, for which it may have to wait long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fuse) enum Room {
    /// It does.
    Taken,
    /// Hardly any: it goes on when others wait for room, as long as there is any.
    Spared,
    /// It does, for pages of a mapping, which may wait for minutes: so never on a thread that reads requests.
    HandedOver,
    /// None at all.
    Untouched,
}

/// How long what may wait a little is put off: so many unlinked files come together meanwhile, and nobody
/// misses their room so soon.
const SOON: Duration = Duration::from_millis(10);

/// Counts the threads that may be waiting.
pub(in crate::fuse) struct Lane {
    inside: AtomicUsize,
    taking: Arc<Semaphore>,
    sparing: Arc<Semaphore>,
    handed_over: Arc<Semaphore>,
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
            taking: Arc::new(Semaphore::new(TAKING_MAX)),
            sparing: Arc::new(Semaphore::new(SPARING_MAX)),
            handed_over: Arc::new(Semaphore::new(HANDED_OVER_MAX)),
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
    pub(in crate::fuse) fn run(&self, room: Room, job: impl FnOnce() + Send + 'static) {
        if room == Room::HandedOver {
            return self.queue(&self.handed_over, job);
        }
        match (self.enter(), room) {
            (Some(_inside), _) => guard(job),
            (None, Room::Taken) => self.queue(&self.taking, job),
            (None, Room::Spared) => self.queue(&self.sparing, job),
            (None, Room::HandedOver | Room::Untouched) => self.aside(job),
        }
    }

    /// Does something in the pool when it is its turn among its like.
    fn queue(&self, turns: &Arc<Semaphore>, job: impl FnOnce() + Send + 'static) {
        let (runtime, turns) = (self.runtime.clone(), Arc::clone(turns));
        self.runtime.spawn(async move {
            let turn = turns.acquire_owned().await;
            drop(runtime.spawn_blocking(move || {
                let _turn = turn;
                guard(job);
            }));
        });
    }

    /// Does something in the pool that waits for nothing but the disk.
    fn aside(&self, job: impl FnOnce() + Send + 'static) {
        drop(self.runtime.spawn_blocking(|| guard(job)));
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
    use std::sync::RwLock;
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
        lane.run(Room::Spared, tell_thread.clone());
        assert_ne!(told.recv(), Ok(std::thread::current().id()));
        drop(inside);
        lane.run(Room::Spared, tell_thread);
        assert_eq!(told.recv(), Ok(std::thread::current().id()));
        assert!(lane.enter().is_some());
    }

    #[test]
    fn changes_that_all_wait_for_room_leave_threads_to_others() {
        // More than the pool has threads.
        const CHANGES: usize = 600;
        const ROOMS: [Room; 3] = [Room::Taken, Room::Spared, Room::HandedOver];
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let lane = Lane::new(runtime.handle().clone());
        let _inside: Vec<_> = (0..WAITING_MAX).map(|_| lane.enter()).collect();
        let room = Arc::new(RwLock::new(()));
        let none = room.write().expect("nobody panicked");
        let (tell, told) = mpsc::channel();
        for nth in 0..CHANGES * ROOMS.len() {
            let (room, tell) = (Arc::clone(&room), tell.clone());
            lane.run(ROOMS[nth / CHANGES], move || {
                drop(room.read());
                tell.send(nth).expect("heard");
            });
        }
        let (synced, syncs) = mpsc::channel();
        lane.run(Room::Untouched, move || synced.send(()).expect("heard"));
        let is_synced = syncs.recv_timeout(Duration::from_secs(30));
        drop(none);
        let mut made: Vec<_> = told.iter().take(CHANGES * ROOMS.len()).collect();
        made.sort_unstable();
        assert_eq!(made, Vec::from_iter(0..CHANGES * ROOMS.len()));
        assert_eq!(is_synced, Ok(()));
    }
}
