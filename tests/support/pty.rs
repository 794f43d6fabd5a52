//! A person at a terminal: a program on a terminal of its own, what it shows, and what is typed.
#![allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "a terminal is made by hand; descriptors are owned by what they are put into"
)]
#![allow(dead_code, reason = "each suite uses a part of it")]

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread::JoinHandle;

/// A program that believes it talks to a person.
pub(crate) struct Person {
    child: Child,
    terminal: File,
    shown: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    read: usize,
}

impl Person {
    /// Starts the program on a new terminal.
    pub(crate) fn runs(mut command: Command) -> Person {
        let (mut ours, mut theirs) = (-1, -1);
        let none = std::ptr::null_mut();
        let made = unsafe { libc::openpty(&mut ours, &mut theirs, none, none.cast(), none.cast()) };
        assert_eq!(made, 0, "a terminal");
        let (terminal, far) = unsafe { (File::from_raw_fd(ours), File::from_raw_fd(theirs)) };
        unsafe { libc::fcntl(terminal.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        let stdio = || Stdio::from(far.try_clone().expect("a descriptor"));
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().expect("the program starts");
        drop((far, command));
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut reader, all) = (terminal.try_clone().expect("a descriptor"), shown.clone());
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(len @ 1..) = reader.read(&mut piece) {
                let text = String::from_utf8_lossy(&piece[..len]).into_owned();
                all.lock().expect("a lock").push_str(&text);
            }
        });
        Person {
            child,
            terminal,
            shown,
            reader: Some(reader),
            read: 0,
        }
    }

    /// Waits until the program shows this after what was waited for before.
    #[track_caller]
    pub(crate) fn sees(&mut self, words: &str, until: impl Fn(&str, &mut dyn FnMut() -> bool)) {
        let (shown, from) = (self.shown.clone(), self.read);
        let mut at = 0;
        until(&format!("`{words}` on the terminal"), &mut || {
            let shown = shown.lock().expect("a lock");
            let found = shown[from..].find(words);
            at = found.map_or(0, |found| from + found + words.len());
            found.is_some()
        });
        self.read = at;
    }

    /// Does the terminal show what is typed?
    pub(crate) fn echoes(&self) -> bool {
        let mut settings: libc::termios = unsafe { std::mem::zeroed() };
        unsafe { libc::tcgetattr(self.terminal.as_raw_fd(), &mut settings) };
        settings.c_lflag & libc::ECHO != 0
    }

    pub(crate) fn types(&mut self, line: &str) {
        let typed = writeln!(self.terminal, "{line}");
        typed.expect("the terminal takes it");
    }

    /// Everything that was shown, once the program has ended with this code.
    #[track_caller]
    pub(crate) fn ended(mut self, code: i32) -> String {
        let status = self.child.wait().expect("it ends");
        // A terminal that nobody holds any more has an end.
        let reader = self.reader.take().expect("a reader");
        reader.join().expect("it reads to the end");
        let shown = self.shown();
        assert_eq!(status.code(), Some(code), "{shown}");
        shown
    }

    pub(crate) fn shown(&self) -> String {
        self.shown.lock().expect("a lock").clone()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
