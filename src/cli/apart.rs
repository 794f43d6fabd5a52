//! Work that may wait in the kernel where no signal reaches it, done in a process of its own.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::Duration;
use std::time::Instant;

/// Does something in a process of its own, and gives what that says at its end; none when it takes longer than this.
/// It may wait in the kernel where no signal reaches it, and nobody who has started it has to wait for that.
pub(crate) fn apart(
    longest: Option<Duration>,
    work: impl FnOnce() -> Vec<u8>,
) -> io::Result<Option<Vec<u8>>> {
    let (said, mut says) = io::pipe()?;
    // SAFETY: no thread but this one works here, so no lock is held that the child would wait for.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            leave_to_parent();
            let words = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            let told = words.map(|words| says.write_all(&words));
            // SAFETY: ends the child, which must not go on with what its parent does.
            unsafe { libc::_exit(i32::from(!matches!(told, Ok(Ok(()))))) }
        }
        child => {
            drop(says);
            let words = hear(said, longest)?;
            if words.is_some() {
                // SAFETY: waits for the child, which has said its last word, and takes no answer.
                unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            } else {
                // SAFETY: has the child, which was not waited for, do nothing more once the kernel lets it go.
                unsafe { libc::kill(child, libc::SIGKILL) };
            }
            Ok(words)
        }
    }
}

/// Lets go of standard input, output and error: whoever reads them until their end waits for the parent alone.
fn leave_to_parent() {
    let Ok(null) = File::options().read(true).write(true).open("/dev/null") else {
        return;
    };
    for standard in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: takes the numbers of an open file and of one that nobody uses by anything but its number.
        unsafe { libc::dup2(null.as_raw_fd(), standard) };
    }
}

/// All that is said before a pipe is closed, if that begins within this time.
fn hear(mut said: io::PipeReader, longest: Option<Duration>) -> io::Result<Option<Vec<u8>>> {
    let until = longest.map(|longest| Instant::now() + longest);
    loop {
        let mut poll = libc::pollfd {
            fd: said.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let left = until.map(|until| until.saturating_duration_since(Instant::now()).as_millis());
        let left = left.map_or(-1, |left| {
            libc::c_int::try_from(left).unwrap_or(libc::c_int::MAX)
        });
        // SAFETY: one structure that outlives the call.
        match unsafe { libc::poll(&raw mut poll, 1, left) } {
            0 => return Ok(None),
            1 => break,
            _ => match io::Error::last_os_error() {
                // A signal came in between.
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    let mut words = Vec::new();
    said.read_to_end(&mut words)?;
    Ok(Some(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_apart_is_heard_or_goes_on_alone() {
        let said = apart(None, || b"said".to_vec()).expect("a process");
        assert_eq!(said.as_deref(), Some(&b"said"[..]));
        let (mut never, keeps) = io::pipe().expect("a pipe");
        let said = apart(Some(Duration::from_millis(10)), move || {
            // Ends when this process lets go of it, too.
            drop(keeps);
            let mut words = Vec::new();
            drop(never.read_to_end(&mut words));
            words
        });
        assert_eq!(said.expect("a process"), None);
    }
}
