//! Programs of this machine: a notification on its desktop, and whatever keeps it awake. Both are a favour:
//! where they are missing nothing is said.

use std::process::Child;
use std::process::Command;
use std::process::Stdio;

/// What a desktop program needs of the environment. Nothing else is passed on: secrets may be in it.
const PASSED_ON: [&str; 8] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
];

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// What shows notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Desktop {
    /// macOS.
    Mac,
    /// Whatever speaks with `notify-send`.
    Free,
}

/// The program of a desktop that shows a notification, and what it is given. Title and text are arguments of
/// their own and no part of a script, so nothing in them is understood as one.
fn announcing<'a>(desktop: Desktop, title: &'a str, text: &'a str) -> (&'static str, Vec<&'a str>) {
    match desktop {
        Desktop::Mac => {
            let show = "display notification (item 2 of argv) with title (item 1 of argv)";
            let script = ["-e", "on run argv", "-e", show, "-e", "end run", "--"];
            ("osascript", [&script[..], &[title, text]].concat())
        }
        Desktop::Free => ("notify-send", vec!["--app-name=ods", "--", title, text]),
    }
}

/// Shows a notification on the desktop, if there is one. Waits for the program to end.
pub(in crate::bot) fn notify(title: &str, text: &str) {
    let desktop = match cfg!(target_os = "macos") {
        true => Desktop::Mac,
        false => Desktop::Free,
    };
    let (program, arguments) = announcing(desktop, title, text);
    let mut command = command(program);
    command.args(arguments).stdin(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => log::debug!("bot: {program} ended with {status}"),
        Err(error) => log::debug!("bot: no {program}: {error}"),
    }
}

/// The machine does not fall asleep while this lives.
#[derive(Debug)]
pub(in crate::bot) struct Awake(Child);

impl Awake {
    /// Begins, where the system offers it. Ends with this process too, however that ends.
    pub(in crate::bot) fn begin(why: &str) -> Option<Awake> {
        let pid = std::process::id().to_string();
        let why = format!("--why={why}");
        let mut begun = match cfg!(target_os = "macos") {
            true => command("caffeinate"),
            false => command("systemd-inhibit"),
        };
        match cfg!(target_os = "macos") {
            true => begun.args(["-i", "-w", &pid]),
            // `cat` ends when the other end of its pipe does.
            false => begun.args(["--what=sleep", "--who=ods", &why, "--mode=block", "cat"]),
        };
        match begun.stdin(Stdio::piped()).spawn() {
            Ok(child) => Some(Awake(child)),
            Err(error) => {
                log::debug!("bot: nothing keeps this machine awake: {error}");
                None
            }
        }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        // Closing the pipe ends `cat`, and the program around it; what is left then is ended.
        drop(self.0.stdin.take());
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notification_s_words_are_arguments_and_no_script() {
        let (title, text) = ("ods: a\" & \"b", "-e do shell script \"rm\"");
        for desktop in [Desktop::Mac, Desktop::Free] {
            let (_, arguments) = announcing(desktop, title, text);
            let end = arguments.iter().position(|one| *one == "--");
            let (script, words) = arguments.split_at(end.expect("an end of the options"));
            assert_eq!(words, ["--", title, text]);
            assert!(!script.join(" ").contains("rm"), "{script:?}");
        }
        let (program, arguments) = announcing(Desktop::Mac, title, text);
        assert_eq!((program, arguments[1]), ("osascript", "on run argv"));
    }
}
