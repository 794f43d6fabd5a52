//! Who is compared: a directory of the disk, and three filesystems that are mounted on the same disk.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use crate::emulator::Emulator;
use crate::machine;

/// For everything that is encrypted here.
const PASSPHRASE: &str = "correct horse battery staple";

/// Writes a process down, for whoever has to clean up after this one.
pub(crate) fn keep_pid(dir: &Path, pid: u32) -> io::Result<()> {
    let mut pids = OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("pids"))?;
    writeln!(pids, "{pid}")
}

/// One side of the comparison.
pub(crate) struct Contestant {
    /// What it is called in the table.
    pub(crate) name: &'static str,
    /// Where to read and write.
    pub(crate) path: PathBuf,
    /// What its cache holds is described here, one file for each of its own: rclone's.
    described: Option<PathBuf>,
    served: Option<Child>,
}

impl Contestant {
    /// The disk itself.
    pub(crate) fn disk(dir: &Path) -> io::Result<Contestant> {
        let path = dir.join("disk");
        fs::create_dir_all(&path)?;
        Ok(Contestant {
            name: "ext4",
            path,
            described: None,
            served: None,
        })
    }

    /// gocryptfs over a directory of the disk.
    pub(crate) fn gocryptfs(dir: &Path) -> io::Result<Contestant> {
        let top = make(dir, "gocryptfs")?;
        let (cipher, plain) = (make(&top, "cipher")?, make(&top, "plain")?);
        let pass = top.join("pass");
        fs::write(&pass, PASSPHRASE)?;
        let program = || {
            let mut command = Command::new("gocryptfs");
            command.arg("-passfile").arg(&pass);
            command
        };
        run(program().args(["-q", "-init"]).arg(&cipher))?;
        let mut mount = program();
        mount.args(["-q", "-fg"]).arg(&cipher).arg(&plain);
        Contestant::mounted(dir, "gocryptfs", plain, mount)
    }

    /// `rclone mount --vfs-cache-mode full` over crypt over a directory of the disk.
    pub(crate) fn rclone(dir: &Path) -> io::Result<Contestant> {
        let top = make(dir, "rclone")?;
        let (cipher, plain) = (make(&top, "cipher")?, make(&top, "plain")?);
        let mut obscure = Command::new("rclone")
            .args(["obscure", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = obscure.stdin.take() {
            stdin.write_all(PASSPHRASE.as_bytes())?;
        }
        let password = obscure.wait_with_output()?.stdout;
        let password = String::from_utf8_lossy(&password).trim().to_owned();
        let mut mount = Command::new("rclone");
        mount
            .args(["mount", "bench:"])
            .arg(&plain)
            .args(["--vfs-cache-mode", "full", "--cache-dir"])
            .arg(top.join("cache"))
            .arg("--config")
            .arg(top.join("rclone.conf"))
            .env("RCLONE_CONFIG_BENCH_TYPE", "crypt")
            .env("RCLONE_CONFIG_BENCH_REMOTE", &cipher)
            .env("RCLONE_CONFIG_BENCH_PASSWORD", password);
        let mut contestant = Contestant::mounted(dir, "rclone", plain, mount)?;
        contestant.described = Some(top.join("cache/vfsMeta"));
        Ok(contestant)
    }

    /// Waits until it has written everything to where it belongs. rclone does so some seconds after a file
    /// was closed; the others before `fsync` returns.
    pub(crate) fn until_written_back(&self) -> io::Result<()> {
        let Some(described) = &self.described else {
            return Ok(());
        };
        let mut fault = None;
        machine::until("rclone's write-back", || match has_dirty(described) {
            Ok(is_dirty) => !is_dirty,
            Err(error) => {
                fault = Some(error);
                true
            }
        })?;
        fault.map_or(Ok(()), Err)
    }

    fn mounted(
        dir: &Path,
        name: &'static str,
        path: PathBuf,
        mut command: Command,
    ) -> io::Result<Contestant> {
        let log = dir.join(format!("{name}.log"));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        keep_pid(dir, child.id())?;
        let mut contestant = Contestant {
            name,
            path,
            described: None,
            served: Some(child),
        };
        contestant.wait_until_mounted(&log)?;
        Ok(contestant)
    }

    fn wait_until_mounted(&mut self, log: &Path) -> io::Result<()> {
        let (path, child) = (self.path.clone(), self.served.as_mut());
        let Some(child) = child else { return Ok(()) };
        let mut ended = false;
        machine::until("a mount", || {
            ended = child.try_wait().is_ok_and(|status| status.is_some());
            ended || machine::is_mounted(&path)
        })?;
        match ended {
            true => Err(io::Error::other(format!(
                "{} ended at once: {}",
                self.name,
                fs::read_to_string(log).unwrap_or_default().trim()
            ))),
            false => Ok(()),
        }
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        let Some(child) = &mut self.served else {
            return;
        };
        let _ = Command::new("umount").arg("-i").arg(&self.path).output();
        machine::detach(&self.path);
        // Both end by themselves when their mount goes; what they still wanted to do is not needed.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A drive and the daemon that serves it, on an emulator.
pub(crate) struct Ods {
    dir: PathBuf,
    top: PathBuf,
    served: Option<Child>,
    environment: Vec<(String, String)>,
}

impl Ods {
    /// Makes a drive on this emulator. Its files lie below `dir`.
    pub(crate) fn init(dir: &Path, top: &str, emulator: &Emulator) -> io::Result<Ods> {
        let ods = Ods::machine(dir, top, emulator)?;
        run(ods.command().args(["--quiet", "init", "--json"]))?;
        Ok(ods)
    }

    /// Sets up the drive that the emulator has, as on an empty machine; and the seconds of processor
    /// that this takes.
    pub(crate) fn join_timed(dir: &Path, top: &str, emulator: &Emulator) -> io::Result<(Ods, f64)> {
        let ods = Ods::machine(dir, top, emulator)?;
        let log = File::create(dir.join("join.log"))?;
        let mut child = ods
            .command()
            .args(["--quiet", "init", "--join", "--json"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        keep_pid(dir, child.id())?;
        // What it used can be read until it is waited for.
        machine::until("the end of `ods init --join`", || {
            machine::has_ended(child.id())
        })?;
        let cpu_s = machine::cpu_s(child.id())?;
        match child.wait()?.success() {
            true => Ok((ods, cpu_s)),
            false => Err(io::Error::other(format!(
                "ods init --join: {}",
                fs::read_to_string(dir.join("join.log"))?.trim()
            ))),
        }
    }

    fn machine(dir: &Path, top: &str, emulator: &Emulator) -> io::Result<Ods> {
        let below = make(dir, top)?;
        make(&below, "plain")?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let environment = [
            ("HOME", text(below.clone())),
            ("XDG_CONFIG_HOME", text(below.join("config"))),
            ("XDG_STATE_HOME", text(below.join("state"))),
            ("DISCORD_BOT_TOKEN", emulator.told("token").to_owned()),
            ("ODS_PASSPHRASE", PASSPHRASE.to_owned()),
            ("ODS_API_BASE", emulator.told("url").to_owned()),
            ("ODS_SERVER", emulator.told("server").to_owned()),
        ];
        Ok(Ods {
            dir: dir.to_owned(),
            top: below,
            served: None,
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
        })
    }

    /// Where to read and write.
    pub(crate) fn path(&self) -> PathBuf {
        self.top.join("plain")
    }

    /// The daemon.
    pub(crate) fn pid(&self) -> u32 {
        self.served.as_ref().map_or(0, Child::id)
    }

    fn program(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ODS_")) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null());
        command
    }

    /// `ods`, as on this machine.
    pub(crate) fn command(&self) -> Command {
        self.program(env!("CARGO_BIN_EXE_ods"))
    }

    /// Mounts; returns when it answers.
    pub(crate) fn mount(&mut self, options: &str) -> io::Result<()> {
        let mut command = self.program(env!("CARGO_BIN_EXE_ods-mount"));
        command.arg("--quiet");
        if !options.is_empty() {
            command.args(["-o", options]);
        }
        let (path, log) = (self.path(), self.dir.join("ods.log"));
        let mut child = command
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(OpenOptions::new().create(true).append(true).open(&log)?)
            .spawn()?;
        keep_pid(&self.dir, child.id())?;
        let mut ended = false;
        machine::until("the drive's mount", || {
            ended = child.try_wait().is_ok_and(|status| status.is_some());
            ended || machine::is_mounted(&path)
        })?;
        if ended {
            let why = fs::read_to_string(&log).unwrap_or_default();
            return Err(io::Error::other(format!("ods-mount ended: {}", why.trim())));
        }
        self.served = Some(child);
        Ok(())
    }

    /// Brings everything to the emulator.
    pub(crate) fn flush(&self) -> io::Result<()> {
        run(self.command().args(["--quiet", "flush"]))
    }

    /// Waits until the daemon has nothing to do.
    pub(crate) fn until_idle(&self) -> io::Result<()> {
        let mut fault = None;
        machine::until("an idle daemon", || {
            let output = self.command().args(["status", "--json"]).output();
            let status = output.and_then(|output| {
                serde_json::from_slice::<serde_json::Value>(&output.stdout)
                    .map_err(io::Error::other)
            });
            match status {
                Ok(status) => status["phase"] == "idle",
                Err(error) => fault.insert(error).kind() == io::ErrorKind::Other,
            }
        })?;
        fault.map_or(Ok(()), Err)
    }

    /// Collects garbage, twice: what the first buries, the second removes.
    pub(crate) fn collect(&self) -> io::Result<()> {
        for _ in 0..2 {
            run(self.command().args(["--quiet", "gc", "--delay", "0"]))?;
        }
        Ok(())
    }

    /// Brings everything to the emulator and unmounts.
    pub(crate) fn unmount(&mut self) -> io::Result<()> {
        run(self.command().args(["--quiet", "umount"]))?;
        if let Some(mut child) = self.served.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// Forgets what was read or uploaded, on a drive that is not mounted.
    pub(crate) fn forget_cache(&self) -> io::Result<()> {
        let cache = self.top.join("state/ods/main/cache");
        match fs::remove_dir_all(&cache) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(io::Error::other(
                format!("{} is not there", cache.display()),
            )),
            done => done,
        }
    }
}

impl Drop for Ods {
    fn drop(&mut self) {
        machine::detach(&self.path());
        if let Some(mut child) = self.served.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Does rclone's cache hold, below here, what is not written back yet?
fn has_dirty(described: &Path) -> io::Result<bool> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let entries = match fs::read_dir(described) {
        Err(error) if gone(&error) => return Ok(false),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let is_dirty = match path.is_dir() {
            true => has_dirty(&path)?,
            // rclone replaces these files as it goes.
            false => fs::read_to_string(&path)
                .is_ok_and(|text| text.replace(' ', "").contains(r#""Dirty":true"#)),
        };
        if is_dirty {
            return Ok(true);
        }
    }
    Ok(false)
}

fn make(dir: &Path, name: &str) -> io::Result<PathBuf> {
    let path = dir.join(name);
    fs::create_dir_all(&path)?;
    Ok(path)
}

/// Runs a command to its end; what it said goes into the error.
fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!(
            "{}: {}",
            command.get_program().to_string_lossy(),
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}
