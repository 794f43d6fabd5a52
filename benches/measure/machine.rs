//! The machine: what it is, its page cache, its processes and its mounts.

use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// Ticks of `/proc/PID/stat` in a second; the kernel shows this many whatever it counts with.
const TICKS: f64 = 100.0;

/// How long anything may take to begin or to end.
const PATIENCE: Duration = Duration::from_secs(900);

/// One sentence about the machine.
pub(crate) fn describe(dir: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (cpus, release) = (read("/proc/cpuinfo"), read("/proc/sys/kernel/osrelease"));
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(':').nth(1))
            .map_or(String::from("?"), |value| value.trim().to_owned())
    };
    let count = thread::available_parallelism().map_or(1, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kib: f64 = memory
        .split(' ')
        .next()
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0.0);
    format!(
        "{count} × {}, {:.0} GiB, Linux {}, {} below {}",
        field(&cpus, "model name"),
        kib / f64::from(1 << 20),
        release.trim().split('-').next().unwrap_or_default(),
        filesystem(dir),
        dir.display(),
    )
}

/// The machine's load over the last minute.
pub(crate) fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next();
    first.and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

/// The type of the filesystem that holds a path.
pub(crate) fn filesystem(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = table.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = PathBuf::from(before.split(' ').nth(4)?);
        let kind = after.split(' ').next()?;
        path.starts_with(&point)
            .then(|| (point.as_os_str().len(), kind.to_owned()))
    });
    mounts
        .max_by_key(|(len, _)| *len)
        .map_or(String::from("?"), |(_, kind)| kind)
}

/// Is something mounted just here?
pub(crate) fn is_mounted(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|point| point.as_bytes() == path.as_os_str().as_bytes())
}

/// Takes a mount away, however busy it is.
pub(crate) fn detach(path: &Path) {
    if is_mounted(path) {
        let _ = Command::new("umount").args(["-i", "-l"]).arg(path).status();
    }
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) -> io::Result<()> {
    let started = Instant::now();
    while !is_so() {
        if started.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("waited too long for {what}")));
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Processors that do not go to sleep, for as long as this lives.
pub(crate) struct Awake {
    _asked: fs::File,
}

impl Awake {
    /// Asks the kernel to let idle processors wait in a loop: an idle state that takes 0 µs to leave. Only
    /// root may ask, and not every kernel has the file.
    pub(crate) fn ask() -> io::Result<Awake> {
        let path = "/dev/cpu_dma_latency";
        let mut asked = fs::OpenOptions::new().write(true).open(path)?;
        asked.write_all(&0_i32.to_ne_bytes())?;
        Ok(Awake { _asked: asked })
    }
}

/// Bytes that may be written below a directory.
pub(crate) fn room(dir: &Path) -> io::Result<u64> {
    let output = Command::new("df")
        .args(["--output=avail", "-B1"])
        .arg(dir)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let last = text
        .lines()
        .last()
        .and_then(|line| line.trim().parse().ok());
    last.ok_or_else(|| io::Error::other(format!("df says nothing of {}", dir.display())))
}

/// Waits until the disks have whatever was written to any file.
pub(crate) fn sync() {
    let _ = Command::new("sync").status();
}

/// What the kernel is to forget.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Forget {
    /// Content.
    Pages,
    /// Content, names and attributes.
    Everything,
}

/// Makes the kernel forget what it read. Only root may.
pub(crate) fn forget(what: Forget) -> io::Result<()> {
    // What is dirty cannot be forgotten.
    sync();
    let word = match what {
        Forget::Pages => "1",
        Forget::Everything => "3",
    };
    fs::write("/proc/sys/vm/drop_caches", word)
        .map_err(|error| io::Error::new(error.kind(), format!("drop_caches: {error}")))
}

/// Seconds of processor that a process has used.
pub(crate) fn cpu_s(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
    match (ticks(11), ticks(12)) {
        (Some(user), Some(system)) => Ok((user + system) / TICKS),
        _ => Err(io::Error::other("/proc/PID/stat is not understood")),
    }
}

/// Has a child ended that nobody has waited for yet?
pub(crate) fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    matches!(after.split_whitespace().next(), None | Some("Z"))
}

/// Seconds of processor that this thread has used.
pub(crate) fn own_cpu_s() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let ns = text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    ns.map(|ns| ns / 1e9)
        .ok_or_else(|| io::Error::other("/proc/thread-self/schedstat is not understood"))
}

/// MiB of memory that a process has now (`VmRSS`) or had at most (`VmHWM`).
pub(crate) fn memory_mib(pid: u32, field: &str) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0)
        .ok_or_else(|| io::Error::other(format!("no {field}")))
}

/// Begins a new maximum of a process's memory.
pub(crate) fn reset_peak(pid: u32) {
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
}
