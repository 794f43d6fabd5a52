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

/// Shows a notification on the desktop, if there is one. Waits for the program to end.
pub(in crate::bot) fn notify(title: &str, text: &str) {
    let mut command = command("notify-send");
    command
        .args(["--app-name=ods", "--", title, text])
        .stdin(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => log::debug!("bot: notify-send ended with {status}"),
        Err(error) => log::debug!("bot: no notify-send: {error}"),
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
