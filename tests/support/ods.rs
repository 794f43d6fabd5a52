//! A machine of its own for the programs: home, configuration, state, mount points, and a Discord.

#![allow(dead_code, reason = "each suite uses a part of it")]

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use ods::emulator::Emulator;
use ods::emulator::Limits;
use ods::emulator::Settings;
use serde_json::Value;

/// Longest wait for anything; only a defect takes so long.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// Content that no compressor makes small, the same for the same seed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    next.take(bytes).collect()
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn good(self) -> Ended {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It failed with this code, and said so in words that contain all of these.
    #[track_caller]
    pub(crate) fn bad(self, code: i32, says: &[&str]) -> Ended {
        assert_eq!(self.code, code, "{self:?}");
        for word in says {
            assert!(self.err.contains(word), "no `{word}` in {self:?}");
        }
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect("JSON")
    }
}

/// The emulator, and the runtime it lives in.
pub(crate) struct World {
    runtime: tokio::runtime::Runtime,
    pub(crate) emulator: Emulator,
}

impl World {
    pub(crate) fn new() -> World {
        World::with(Settings::default())
    }

    /// One that keeps what it is given in a directory, not in memory.
    pub(crate) fn on_disk(data: &Path) -> World {
        World::with(Settings {
            data: Some(data.to_owned()),
            ..Settings::default()
        })
    }

    /// One in a directory from which nothing goes that was ever there, so that its past can be had again.
    pub(crate) fn with_a_past(data: &Path) -> World {
        World::start(Settings {
            data: Some(data.to_owned()),
            limits: Limits {
                cdn_keep_deleted_s: 1 << 30,
                ..Limits::unlimited_rates()
            },
            ..Settings::default()
        })
    }

    fn with(settings: Settings) -> World {
        World::start(Settings {
            limits: Limits::unlimited_rates(),
            ..settings
        })
    }

    fn start(settings: Settings) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let emulator = runtime.block_on(Emulator::start(settings));
        World {
            runtime,
            emulator: emulator.expect("an emulator"),
        }
    }

    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// A machine that knows this Discord.
    pub(crate) fn machine(&self) -> Machine {
        let mut machine = Machine::new();
        let token = self.emulator.token().to_owned();
        machine.set("DISCORD_BOT_TOKEN", &token);
        machine.set("ODS_PASSPHRASE", PASSPHRASE);
        machine.set("ODS_API_BASE", &self.emulator.base_url());
        machine
    }
}

/// A machine. When it goes, its mounts and daemons go.
pub(crate) struct Machine {
    pub(crate) dir: tempfile::TempDir,
    env: HashMap<String, String>,
    said: std::sync::Mutex<String>,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        let dir = tempfile::tempdir().expect("a directory");
        let mut machine = Machine {
            dir,
            env: HashMap::new(),
            said: std::sync::Mutex::default(),
        };
        for (variable, below) in [
            ("HOME", "home"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_STATE_HOME", "state"),
        ] {
            let path = machine.path(below);
            machine.set(variable, path.to_str().expect("text"));
        }
        std::fs::create_dir(machine.path("mnt")).expect("a directory");
        machine
    }

    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.env.insert(variable.to_owned(), value.to_owned());
    }

    pub(crate) fn unset(&mut self, variable: &str) {
        self.env.remove(variable);
    }

    pub(crate) fn path(&self, below: &str) -> PathBuf {
        let top = self.dir.path().canonicalize().expect("a directory");
        top.join(below)
    }

    pub(crate) fn mnt(&self) -> PathBuf {
        self.path("mnt")
    }

    pub(crate) fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(&self.env);
        command
    }

    pub(crate) fn end(&self, mut command: Command) -> Ended {
        let output = command.output().expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ended = Ended {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        };
        let mut said = self.said.lock().expect("a lock");
        said.push_str(&ended.out);
        said.push_str(&ended.err);
        ended
    }

    /// Everything the programs said so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().expect("a lock").clone()
    }

    pub(crate) fn ods(&self, args: &[&str]) -> Ended {
        self.end(self.command(Path::new(env!("CARGO_BIN_EXE_ods")), args))
    }

    /// `ods-mount --daemon … MOUNTPOINT`
    pub(crate) fn mount(&self, args: &[&str]) -> Ended {
        self.mount_at(&self.mnt(), args)
    }

    pub(crate) fn mount_at(&self, mountpoint: &Path, args: &[&str]) -> Ended {
        let mut words = args.to_vec();
        words.extend(["--daemon", mountpoint.to_str().expect("text")]);
        self.end(self.command(Path::new(env!("CARGO_BIN_EXE_ods-mount")), &words))
    }

    /// The program under the name of a helper of mount(8).
    pub(crate) fn helper(&self, name: &str, args: &[&str]) -> Ended {
        let link = self.path(name);
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ods-mount"), &link).expect("a link");
        }
        self.end(self.command(&link, args))
    }

    /// A program that stays in the foreground.
    pub(crate) fn start(&self, program: &str, args: &[&str]) -> Foreground {
        self.start_logged(program, args, "foreground.log")
    }

    /// A program beside the one in the foreground.
    pub(crate) fn start_beside(&self, program: &str, args: &[&str]) -> Foreground {
        self.start_logged(program, args, "beside.log")
    }

    fn start_logged(&self, program: &str, args: &[&str], log: &str) -> Foreground {
        let program = match program {
            "ods" => env!("CARGO_BIN_EXE_ods"),
            _ => env!("CARGO_BIN_EXE_ods-mount"),
        };
        let log = self.path(log);
        let file = std::fs::File::create(&log).expect("a log");
        let mut command = self.command(Path::new(program), args);
        command.stdout(Stdio::piped()).stderr(file);
        Foreground {
            child: command.spawn().expect("the program starts"),
            log,
        }
    }

    /// The state of the drive called so.
    pub(crate) fn state(&self, drive: &str) -> PathBuf {
        self.path("state/ods").join(drive)
    }

    /// The process that serves the mount.
    pub(crate) fn daemon(&self) -> i32 {
        let status = self.ods(&["status", "--json"]).good().json();
        i32::try_from(status["pid"].as_i64().expect("a process")).expect("small")
    }

    fn daemons(&self) -> Vec<i32> {
        let running = std::fs::read_dir(self.path("state/ods/.running"));
        let files = running.into_iter().flatten().flatten();
        files
            .filter_map(|file| file.path().file_stem()?.to_str()?.parse().ok())
            .collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Only processes that this machine's registry names, and that are ods.
        for pid in self.daemons() {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
            if name.is_ok_and(|name| name.trim_end() == "ods-mount") {
                kill(pid, "KILL");
            }
        }
        let top = self.path("");
        for mount in mounts().iter().rev() {
            if mount.starts_with(&top) {
                let mut umount = Command::new("umount");
                drop(umount.args(["-i", "-l"]).arg(mount).output());
            }
        }
    }
}

/// A program that runs in the foreground, and is killed when nobody waits for it.
pub(crate) struct Foreground {
    child: Child,
    log: PathBuf,
}

impl Foreground {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("small")
    }

    pub(crate) fn signal(&self, name: &str) {
        kill(self.pid(), name);
    }

    pub(crate) fn err(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Ends it at once.
    pub(crate) fn stop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Waits until it has said this.
    #[track_caller]
    pub(crate) fn says(&mut self, words: &str) {
        until(&format!("`{words}` in {}", self.log.display()), || {
            assert_eq!(
                self.child.try_wait().expect("a child"),
                None,
                "{}",
                self.err()
            );
            self.err().contains(words)
        });
    }

    #[track_caller]
    pub(crate) fn ended(mut self) -> Ended {
        let mut status = None;
        until("the end of the program", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        let mut out = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut out).expect("text");
        }
        Ended {
            code: status.and_then(|status| status.code()).unwrap_or(-1),
            out,
            err: self.err(),
        }
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn kill(pid: i32, name: &str) {
    let mut kill = Command::new("kill");
    drop(kill.args([&format!("-{name}"), &pid.to_string()]).output());
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "waited too long for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Where something is mounted.
pub(crate) fn mounts() -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").expect("a table");
    let fields = table.lines().filter_map(|line| line.split(' ').nth(4));
    fields.map(PathBuf::from).collect()
}

pub(crate) fn is_mounted(path: &Path) -> bool {
    mounts().iter().any(|mount| mount == path)
}
