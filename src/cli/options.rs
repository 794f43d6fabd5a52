//! Mount options, in the words of mount(8).

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::drive::Access;
use crate::drive::Copies;
use crate::drive::Names;
use crate::drive::Settings;
use crate::drive::Takeover;
use crate::drive::gc::Collecting;
use crate::fs;
use crate::fuse::MountOptions;
use crate::size;

/// What can be said after `-o`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// For the mount itself.
    pub(crate) mount: MountOptions,
    uid: Option<u32>,
    gid: Option<u32>,
    umask: Option<u16>,
    atime: fs::Atime,
    cache: Option<u64>,
    spool: Option<u64>,
    reserve: Option<u64>,
    memory: Option<u64>,
    changes: Option<u64>,
    cache_dir: Option<PathBuf>,
    spool_dir: Option<PathBuf>,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    linger: Option<Duration>,
    age: Option<Duration>,
    epoch: Option<u64>,
    tail: Option<u32>,
    names: Names,
    takeover: Takeover,
    /// Is the bot wanted?
    pub(crate) bot: bool,
    gc: Collecting,
    gc_delay: Option<Duration>,
    /// The configuration file.
    pub(crate) config: Option<PathBuf>,
    /// The state directory.
    pub(crate) state: Option<PathBuf>,
    /// How long one call to Discord goes on trying.
    pub(crate) patience: Option<Duration>,
}

/// The page that `--help` shows.
pub(crate) const HELP_PAGE: &str = "\
Mount options (-o a,b=c):
  ro, rw               read only; read and write (default)
  allow_other          let other users in (needs user_allow_other in /etc/fuse.conf, unless root)
  [no_]default_permissions  let the kernel check permissions (default: on)
  uid=N, gid=N         everything belongs to this user or group
  umask=OCTAL          permission bits that are not shown
  dev, suid, noexec    device files and set-id bits work; programs do not
  nonempty             mount over a directory that has entries
  cache=SIZE           local cache of what was read (10G)
  spool=SIZE           local space for what is not on Discord yet (10G, at least 16M); writers wait
                       when it is full
  reserve=SIZE         disk space the spool leaves free (1G)
  memory=SIZE          memory for chunks that were read (64M)
  changes=SIZE         memory for changes of names and attributes that are not on Discord yet (64M, at
                       least 1M): some 120,000 new files while Discord is away; then writers wait
  cache_dir=, spool_dir=  directories for them, if not in the state directory
  read_timeout=S       a read waits so long for Discord, then fails (60)
  write_timeout=S      with a full spool, a write waits so long for Discord, then fails (60)
  patience=S           how long one call to Discord goes on trying (60)
  linger=S, age=S      what was written is published after so many seconds without another change
                       (3), or when it is so old although writing goes on (30); 0.5 is allowed
  epoch=SIZE           so much is published without waiting for either (512M)
  tail=N               segments of the journal after which a checkpoint is written (400)
  names                show the names of top-level directories on the archives' cards
  bot                  run the drive's bot in its Discord server too (nobot: not)
  takeover             take the drive although another machine holds it
  gc=auto|off          whether what no file needs any more is removed by itself, once a day (auto)
  gc_delay=TIME        how long it stays before that: a number and s, m, h or d (24h)
  noatime, relatime    whether reading leaves a trace (noatime)
  volname=NAME         what Finder calls the volume; with local, noappledouble, noapplexattr, nobrowse and
                       defer_permissions for macFUSE, without effect elsewhere
  config=FILE, state=DIR  configuration file and state directory
  nofail, noauto, _netdev, user, x-...  accepted for /etc/fstab, without effect

";

/// A smaller spool does not hold what one pack is made of, and writers wait for ever.
const SPOOL_BYTES_MIN: u64 = 16 << 20;

/// Less does not hold the one change that has most in it.
const CHANGES_BYTES_MIN: u64 = 1 << 20;

/// Words that fstab and mount(8) use and that mean nothing to a mount.
const IGNORED: &[&str] = &[
    "defaults",
    "nofail",
    "_netdev",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "async",
    "nodev",
    "nosuid",
    "exec",
    "diratime",
    "nodiratime",
    "fg",
];

/// Words for macFUSE. Elsewhere they mean nothing, so that one configuration serves all machines.
const APPLE: &[&str] = &[
    "local",
    "noappledouble",
    "noapplexattr",
    "nobrowse",
    "defer_permissions",
];

impl Options {
    /// Adds a comma-separated list; later words win.
    pub(crate) fn add(&mut self, list: &str) -> Result<()> {
        split(list).into_iter().try_for_each(|word| {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word.as_str(), None),
            };
            self.set(name, value)
        })
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        if IGNORED.contains(&name) || name.starts_with("x-") || name == "comment" {
            return Ok(());
        }
        match value {
            None => self.set_word(name),
            Some(value) => self.set_value(name, value),
        }
    }

    fn set_word(&mut self, name: &str) -> Result<()> {
        let mount = &mut self.mount;
        match name {
            "" => {}
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "allow_other" => mount.allow_other = true,
            "default_permissions" => mount.default_permissions = true,
            "no_default_permissions" | "nodefault_permissions" => mount.default_permissions = false,
            "dev" => mount.devices = true,
            "suid" => mount.set_ids = true,
            "noexec" => mount.execute = false,
            "nonempty" => mount.nonempty = true,
            "names" => self.names = Names::Shown,
            "nonames" => self.names = Names::Private,
            "bot" => self.bot = true,
            "nobot" => self.bot = false,
            "takeover" => self.takeover = Takeover::Force,
            "noatime" => self.atime = fs::Atime::Never,
            "relatime" | "atime" => self.atime = fs::Atime::Relative,
            _ if mount.apple.iter().any(|word| word == name) => {}
            _ if APPLE.contains(&name) => mount.apple.push(name.to_owned()),
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    fn set_value(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "uid" => self.uid = Some(number(name, value, 10)?),
            "gid" => self.gid = Some(number(name, value, 10)?),
            "umask" => {
                let bits = number(name, value, 8)?;
                let bits = u16::try_from(bits).ok().filter(|bits| *bits <= 0o777);
                self.umask = Some(bits.ok_or_else(|| wrong(name, value, "at most 777"))?);
            }
            "cache" => self.cache = Some(bytes(name, value)?),
            "spool" => {
                let size = Some(bytes(name, value)?).filter(|size| *size >= SPOOL_BYTES_MIN);
                self.spool = Some(size.ok_or_else(|| wrong(name, value, "at least 16M"))?);
            }
            "reserve" => self.reserve = Some(bytes(name, value)?),
            "memory" => self.memory = Some(bytes(name, value)?),
            "changes" => {
                let size = Some(bytes(name, value)?).filter(|size| *size >= CHANGES_BYTES_MIN);
                self.changes = Some(size.ok_or_else(|| wrong(name, value, "at least 1M"))?);
            }
            "cache_dir" => self.cache_dir = Some(absolute(value)?),
            "spool_dir" => self.spool_dir = Some(absolute(value)?),
            "read_timeout" => self.read_timeout = Some(seconds(name, value)?),
            "write_timeout" => self.write_timeout = Some(seconds(name, value)?),
            "linger" => self.linger = Some(fraction(name, value)?),
            "age" => self.age = Some(fraction(name, value)?),
            "epoch" => self.epoch = Some(bytes(name, value)?),
            "tail" => {
                let segments = Some(number(name, value, 10)?).filter(|segments| *segments > 0);
                self.tail = Some(segments.ok_or_else(|| wrong(name, value, "at least 1"))?);
            }
            "patience" => self.patience = Some(seconds(name, value)?),
            "gc" => {
                self.gc = match value {
                    "auto" => Collecting::Auto,
                    "off" => Collecting::Off,
                    _ => return Err(wrong(name, value, "auto or off")),
                }
            }
            "gc_delay" => {
                self.gc_delay = Some(time(value).ok_or_else(|| wrong(name, value, TIME))?);
            }
            "fsname" => value.clone_into(&mut self.mount.fsname),
            "volname" => self.mount.volname = Some(value.to_owned()),
            "config" => self.config = Some(absolute(value)?),
            "state" => self.state = Some(absolute(value)?),
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    /// For the engine.
    pub(crate) fn settings(&self, state_dir: PathBuf) -> Settings {
        let mut settings = Settings::new(state_dir);
        let set = |target: &mut u64, value: Option<u64>| *target = value.unwrap_or(*target);
        set(&mut settings.cache_bytes_max, self.cache);
        set(&mut settings.spool_bytes_max, self.spool);
        set(&mut settings.reserve_bytes, self.reserve);
        set(&mut settings.memory_bytes_max, self.memory);
        set(&mut settings.epoch_bytes, self.epoch);
        let changes = self.changes.and_then(|bytes| usize::try_from(bytes).ok());
        settings.changes_bytes_max = changes.unwrap_or(settings.changes_bytes_max);
        settings.linger = self.linger.unwrap_or(settings.linger);
        settings.age_max = self.age.unwrap_or(settings.age_max);
        settings.tail_segments_max = self.tail.unwrap_or(settings.tail_segments_max);
        settings.cache_dir.clone_from(&self.cache_dir);
        settings.spool_dir.clone_from(&self.spool_dir);
        settings.read_timeout = self.read_timeout.unwrap_or(settings.read_timeout);
        settings.write_timeout = self.write_timeout.unwrap_or(settings.write_timeout);
        settings.names = self.names;
        settings.takeover = self.takeover;
        settings.copies = Copies::Notice;
        settings.gc = self.gc;
        settings.gc_delay = self.gc_delay.unwrap_or(settings.gc_delay);
        if self.mount.read_only {
            settings.access = Access::Read;
        }
        settings
    }

    /// For the filesystem.
    pub(crate) fn presentation(&self) -> fs::Options {
        fs::Options {
            uid: self.uid,
            gid: self.gid,
            umask: self.umask,
            atime: self.atime,
            read_only: self.mount.read_only,
        }
    }
}

/// Splits at commas; `\,` is a comma within a value.
fn split(list: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        match (letter, letters.peek(), words.last_mut()) {
            ('\\', Some(&next @ (',' | '\\')), Some(word)) => {
                word.push(next);
                letters.next();
            }
            (',', ..) => words.push(String::new()),
            (letter, _, Some(word)) => word.push(letter),
            (_, _, None) => {}
        }
    }
    words
}

fn unknown(name: &str) -> anyhow::Error {
    fault(
        Code::Usage,
        format!(
            "unknown mount option `{}`; see `ods-mount --help`",
            name.escape_debug()
        ),
    )
}

fn wrong(name: &str, value: &str, why: &str) -> anyhow::Error {
    let value = value.escape_debug();
    fault(Code::Usage, format!("mount option {name}={value}: {why}"))
}

fn number(name: &str, value: &str, radix: u32) -> Result<u32> {
    u32::from_str_radix(value, radix).map_err(|error| wrong(name, value, &error.to_string()))
}

fn bytes(name: &str, value: &str) -> Result<u64> {
    size::parse(value).map_err(|error| wrong(name, value, &error.to_string()))
}

fn seconds(name: &str, value: &str) -> Result<Duration> {
    match value.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong(name, value, "seconds are needed, 1 to 86400")),
    }
}

/// What a time must look like.
pub(crate) const TIME: &str = "a number and s, m, h or d is needed, at most a year";

/// A time as people write it.
pub(crate) fn time(text: &str) -> Option<Duration> {
    let at = text.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = text.split_at(at.unwrap_or(text.len()));
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (seconds <= 366 * 24 * 3600).then(|| Duration::from_secs(seconds))
}

fn fraction(name: &str, value: &str) -> Result<Duration> {
    let seconds = value.parse::<f64>().ok();
    let seconds = seconds.filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| wrong(name, value, "seconds are needed, 0 to 86400"))
}

fn absolute(value: &str) -> Result<PathBuf> {
    crate::cli::paths::expand(std::path::Path::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_mount_8_are_understood() {
        let mut options = Options::default();
        options.add("gc=off,gc_delay=36h").expect("good");
        let list = "rw,nofail,x-systemd.automount,allow_other,no_default_permissions,umask=027,cache=2G,uid=7,linger=0.5,changes=2M,write_timeout=9";
        options.add(list).expect("good");
        options.add("ro,cache=3G").expect("good");
        assert!(options.mount.allow_other && !options.mount.default_permissions);
        assert_eq!(options.presentation().umask, Some(0o027));
        let settings = options.settings(PathBuf::from("/s"));
        assert_eq!(settings.cache_bytes_max, 3 * size::GIB);
        assert_eq!(settings.access, Access::Read);
        assert_eq!(settings.gc, Collecting::Off);
        assert_eq!(settings.gc_delay, Duration::from_secs(36 * 3600));
        assert_eq!(settings.linger, Duration::from_millis(500));
        assert_eq!(settings.write_timeout, Duration::from_secs(9));
        assert_eq!(settings.changes_bytes_max, 2 << 20);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (list, says) in [
            ("ro,frobnicate", "frobnicate"),
            ("cache=lots", "cache=lots"),
            ("umask=999", "umask=999"),
            ("umask=1777", "777"),
            ("cache", "cache"),
            ("read_timeout=0", "read_timeout"),
            ("spool=0", "at least 16M"),
            ("changes=4K", "at least 1M"),
            ("gc=maybe", "auto or off"),
            ("gc_delay=soon", "gc_delay=soon"),
            ("gc_delay=99999999999999999999d", "a year"),
            ("linger=-1", "0 to 86400"),
            ("age=soon", "0 to 86400"),
            ("tail=0", "at least 1"),
        ] {
            let error = Options::default().add(list).expect_err(list);
            assert!(error.to_string().contains(says), "{error}");
        }
        assert_eq!(split(r"a=b\,c,d"), ["a=b,c", "d"]);
    }
}
