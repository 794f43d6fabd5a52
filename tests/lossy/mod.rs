//! The lossy disk as a mounted filesystem, in a process of its own: whoever waits for it may be the one
//! who would have to serve it otherwise.
//!
//! The process is this test's own program, told by the environment what to be. It takes orders, one a line:
//! `arm N` (the power goes at the Nth change from now: it and all that follow wait), `off` (whatever waits
//! fails), `cut SEED` (forget; the power is back). It says `tripped` when an armed change comes.

mod disk;
mod face;

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::path::Path;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

pub(crate) use disk::Forget;
pub(crate) use disk::Names;

use crate::chaos::machine::Foreground;
use crate::chaos::machine::Machine;
use crate::chaos::machine::World;
use crate::chaos::sys;

/// Names the mount point to the process that is to be a disk.
const MOUNTPOINT: &str = "ODS_TEST_LOSSY";
/// Says how its names become durable.
const DURABILITY: &str = "ODS_TEST_LOSSY_NAMES";
/// Begins each line of the disk, among those of the test's program.
const MARK: &str = "lossy: ";
/// Longest wait for an answer; only a defect takes so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// The process, as the test sees it. It ends with its standard input.
pub(crate) struct Lossy {
    child: Child,
    orders: Option<ChildStdin>,
    words: mpsc::Receiver<String>,
}

impl Lossy {
    /// `test` is the name of the test that calls [`serve`].
    pub(crate) fn start(test: &str, mountpoint: &Path, names: Names) -> Lossy {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command
            .args([test, "--exact", "--ignored", "--nocapture"])
            .env(MOUNTPOINT, mountpoint)
            .env(DURABILITY, format!("{names:?}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the disk starts");
        let (tell, words) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Some((_, word)) = line.split_once(MARK) {
                    drop(tell.send(word.to_owned()));
                }
            }
        });
        let orders = child.stdin.take();
        let lossy = Lossy {
            child,
            orders,
            words,
        };
        lossy.hear("mounted");
        lossy
    }

    fn order(&mut self, order: &str) {
        let orders = self.orders.as_mut().expect("not ended");
        writeln!(orders, "{order}").expect("the disk listens");
    }

    #[track_caller]
    fn hear(&self, wanted: &str) {
        loop {
            let word = self.words.recv_timeout(DEADLINE);
            if word.expect("the disk answers") == wanted {
                return;
            }
        }
    }

    /// The power will go at the `nth` change from now.
    pub(crate) fn arm(&mut self, nth: u64) {
        self.order(&format!("arm {nth}"));
        self.hear("armed");
    }

    /// Waits so long for an armed change.
    pub(crate) fn has_tripped(&self, most: Duration) -> bool {
        self.words
            .recv_timeout(most)
            .is_ok_and(|word| word == "tripped")
    }

    /// Nothing works any more; whoever waited for a change is told so.
    pub(crate) fn off(&mut self) {
        self.order("off");
        self.hear("is off");
    }

    /// The same while a program runs: whoever waits for the disk dies waiting.
    pub(crate) fn off_under(&mut self, running: &mut Foreground) {
        if running.is_running() {
            let _ = sys::kill(running.pid());
        }
        self.off();
        running.stop();
    }

    /// Forgets, and works again.
    pub(crate) fn cut(&mut self, forget: Forget, seed: u64) {
        self.order(&format!("cut {forget:?} {seed}"));
        self.hear("is back");
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        drop(self.orders.take());
        drop(self.child.wait());
    }
}

/// A machine whose configuration and state lie on a disk that forgets.
pub(crate) fn on_a_lossy_disk(names: Names) -> (World, Machine, Lossy) {
    let world = World::new();
    let mut machine = world.machine();
    let disk = machine.path("disk");
    std::fs::create_dir(&disk).expect("a directory");
    let lossy = Lossy::start("a_disk_that_forgets", &disk, names);
    for (variable, below) in [("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state")] {
        let path = disk.join(below);
        machine.set(variable, path.to_str().expect("text"));
    }
    (world, machine, lossy)
}

/// Makes a file or a directory durable.
pub(crate) fn sync(path: &Path) {
    let file = std::fs::File::open(path).expect("there");
    file.sync_all().expect("synced");
}

/// In the other process: serves until standard input ends.
pub(crate) fn serve() {
    let Some(mountpoint) = std::env::var_os(MOUNTPOINT) else {
        return;
    };
    let names = match std::env::var(DURABILITY).as_deref() {
        Ok("ByAny") => Names::ByAny,
        _ => Names::ByDirectory,
    };
    let (face, control) = face::new(names, Box::new(|| say("tripped")));
    let session = face::mount(face, Path::new(&mountpoint)).expect("the disk is mounted");
    say("mounted");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["arm", nth] => {
                control.arm(nth.parse().expect("a number"));
                say("armed");
            }
            ["off"] => {
                control.off();
                say("is off");
            }
            ["cut", forget, seed] => {
                let forget = match forget {
                    "Everything" => Forget::Everything,
                    "Nothing" => Forget::Nothing,
                    "AllButHoles" => Forget::AllButHoles,
                    _ => Forget::Some,
                };
                control.cut(forget, seed.parse().expect("a number"));
                say("is back");
            }
            _ => panic!("no order: {line}"),
        }
    }
    control.off();
    drop(session);
}

fn say(word: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{word}").expect("the test listens");
    out.flush().expect("the test listens");
}
