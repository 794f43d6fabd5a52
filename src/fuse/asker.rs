//! Whether who waits for an answer has been killed: the kernel does not let it end before it has one.
//!
//! The kernel would tell of every signal with `FUSE_INTERRUPT`, which fuser does not pass on. That a thread is to
//! die can be seen in `/proc`, for every signal that ends a process. Nothing that it has asked for is ever seen
//! then, so any answer does; pages that others wait for they ask for again.

use std::time::Duration;

use tokio::sync::Semaphore;

/// How long a killed process may wait for us to notice.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Threads that are looked at in turn: with thousands of reads under way, which the kernel does by itself and nobody
/// waits for, looking at all would cost more than it gives. The next is looked at when one of these has its answer.
static LOOKED_AT: Semaphore = Semaphore::const_new(64);

/// The bit of `SIGKILL` among the signals that wait for a thread; every signal that ends its process sets it.
const KILL: u64 = 1 << (libc::SIGKILL - 1);

/// Ends when this thread has been killed; never on systems that do not tell.
pub(in crate::fuse) async fn killed(thread: u32) {
    tokio::time::sleep(LOOK_EVERY).await;
    // Nobody closes it.
    let _turn = LOOKED_AT.acquire().await;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{thread}/status"));
        if status.is_ok_and(|status| tells_of_kill(&status)) {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn tells_of_kill(status: &str) -> bool {
    let waiting = |line: &str| {
        let signals = line
            .strip_prefix("SigPnd:")
            .or_else(|| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(signals.trim(), 16).ok()
    };
    let mut waiting = status.lines().filter_map(waiting);
    waiting.any(|signals| signals & KILL != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_is_seen_among_the_signals_that_wait() {
        let status = |own: &str, shared: &str| {
            format!(
                "Name:\tcat\nSigQ:\t1/9\nSigPnd:\t{own}\nShdPnd:\t{shared}\nSigBlk:\t0000000000000100\n"
            )
        };
        let (none, kill) = ("0000000000000000", "0000000000000100");
        assert!(!tells_of_kill(&status(none, none)));
        assert!(!tells_of_kill(&status("0000000000004003", none)));
        assert!(tells_of_kill(&status(kill, none)));
        assert!(tells_of_kill(&status(none, kill)));
        assert!(!tells_of_kill(&status("nonsense", "")) && !tells_of_kill(""));
    }
}
