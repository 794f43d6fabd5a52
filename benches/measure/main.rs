//! `scripts/bench`: measures ods beside what else there is, in one run on one machine, and prints one table.
//!
//! The sides take turns within each round, so that whatever else the machine does meets them all. A
//! ratio is ours divided by theirs, of medians. What cannot be measured here is said, not made up.

mod arithmetic;
mod contestant;
mod emulator;
mod local;
mod machine;
mod noise;
mod remote;
mod scale;
mod table;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use serde_json::json;

use contestant::Contestant;
use contestant::Ods;
use emulator::Emulator;
use table::Row;

/// What all lines have.
pub(crate) struct Ground {
    /// The other sides that could be started.
    pub(crate) contestants: Vec<Contestant>,
    /// Ours, mounted.
    pub(crate) ods: Ods,
    /// Ours stores here.
    pub(crate) _emulator: Emulator,
    /// How often each side has its turn.
    pub(crate) rounds: usize,
    /// How much of everything.
    pub(crate) size: Size,
}

/// How much of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// A quick look.
    Small,
    /// What the goals are about, as far as it fits in a quarter of an hour.
    Usual,
    /// All that the goals are about.
    Full,
}

impl Ground {
    /// The usual amount, or the small one.
    pub(crate) fn bytes(&self, usual: usize, small: usize) -> usize {
        self.size.pick(small, usual, usual)
    }
}

impl Size {
    /// One of three.
    pub(crate) fn pick<T>(self, small: T, usual: T, full: T) -> T {
        match self {
            Size::Small => small,
            Size::Usual => usual,
            Size::Full => full,
        }
    }
}

/// What a line needs.
enum Line {
    /// All sides, mounted.
    Beside(fn(&Ground) -> io::Result<Vec<Row>>),
    /// An emulator and a drive of its own.
    Alone(fn(&Settings) -> io::Result<Vec<Row>>),
}

/// What was asked for.
pub(crate) struct Settings {
    /// For everything that is written.
    pub(crate) dir: PathBuf,
    /// How often.
    pub(crate) rounds: usize,
    /// How much.
    pub(crate) size: Size,
    /// Idle processors may sleep.
    asleep: bool,
    json: bool,
    names: Vec<String>,
}

const LINES: &[(&str, &str, Line)] = &[
    (
        "write",
        "sequential write and fsync",
        Line::Beside(local::write),
    ),
    (
        "reread",
        "reading again what is local",
        Line::Beside(local::reread),
    ),
    (
        "random",
        "random 4 KiB writes and fsync",
        Line::Beside(local::random),
    ),
    (
        "small",
        "10,000 small files: create, stat, read, unlink",
        Line::Beside(local::small),
    ),
    (
        "directory",
        "a directory of 100,000 entries",
        Line::Beside(local::directory),
    ),
    ("fsync", "append and fsync", Line::Beside(local::fsync)),
    (
        "drain-cpu",
        "processor time of an upload",
        Line::Alone(remote::drain_cpu),
    ),
    (
        "drain-speed",
        "an upload under Discord's limits",
        Line::Alone(remote::drain_speed),
    ),
    (
        "requests",
        "requests for 10,000 small files",
        Line::Alone(remote::requests),
    ),
    (
        "cold",
        "reads of what is only on Discord",
        Line::Alone(remote::cold),
    ),
    (
        "rebuild",
        "rebuilding on an empty machine; memory",
        Line::Alone(remote::rebuild),
    ),
];

/// Not among the lines of the table: takes long.
const SCALE: &str = "scale";

const HELP: &str = "\
Measures ods beside plain ext4, gocryptfs and rclone, and against the arithmetic of Discord's limits.

usage: scripts/bench [LINE…] [--rounds N] [--small|--full] [--asleep] [--json] [--dir DIR]
       scripts/bench scale [--small|--full] [--json]

  LINE        only these lines; see --list
  scale       how costs grow with files and bytes, with an exponent for each line
  --rounds N  turns of each side [default: 5; with --small 3]
  --small     a quick look: less of everything
  --full      all of it: a million files, and 50 GiB in `scale`
  --asleep    let idle processors sleep; otherwise root keeps them awake, for all sides alike
  --json      for programs
  --dir DIR   where to work; on the disk that is to be measured [default: a new directory below TMPDIR]
  --list      the lines
";

fn main() -> ExitCode {
    let settings = match settings() {
        Ok(Some(settings)) => settings,
        Ok(None) => return ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}; see --help");
            return ExitCode::from(2);
        }
    };
    match run(&settings) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The command line; none when it was only a question.
fn settings() -> Result<Option<Settings>, String> {
    let mut settings = Settings {
        dir: std::env::temp_dir().join(format!("ods-bench-{}", std::process::id())),
        rounds: 0,
        size: Size::Usual,
        asleep: false,
        json: false,
        names: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            // What cargo says to every benchmark.
            "--bench" => {}
            "-h" | "--help" => {
                print!("{HELP}");
                return Ok(None);
            }
            "--list" => {
                LINES
                    .iter()
                    .for_each(|(name, what, _)| println!("{name:12} {what}"));
                return Ok(None);
            }
            "--rounds" => {
                let rounds = value()?.parse().ok().filter(|rounds| *rounds > 0);
                settings.rounds = rounds.ok_or("--rounds needs a number above 0")?;
            }
            "--small" => settings.size = Size::Small,
            "--full" => settings.size = Size::Full,
            "--asleep" => settings.asleep = true,
            "--json" => settings.json = true,
            "--dir" => settings.dir = PathBuf::from(value()?),
            name if name == SCALE || LINES.iter().any(|line| line.0 == name) => {
                settings.names.push(name.to_owned());
            }
            other => return Err(format!("`{other}` is not known")),
        }
    }
    if settings.rounds == 0 {
        settings.rounds = settings.size.pick(3, 5, 5);
    }
    Ok(Some(settings))
}

fn run(settings: &Settings) -> io::Result<usize> {
    std::fs::create_dir_all(&settings.dir)?;
    let began = Instant::now();
    let kind = machine::filesystem(&settings.dir);
    if kind != "ext4" {
        eprintln!(
            "bench: {} is on {kind}, not on ext4: what is called ext4 is that",
            settings.dir.display()
        );
    }
    let awake = match settings.asleep {
        true => Err(io::Error::other("as was asked for")),
        false => machine::Awake::ask(),
    };
    let machine = format!(
        "{}; processors {}; load {:.1} at the start",
        machine::describe(&settings.dir),
        match &awake {
            Ok(_) => String::from("kept awake"),
            Err(why) => format!("not kept awake ({why})"),
        },
        machine::load()
    );
    let mut told = Told::new(settings.json, &machine, settings);
    if settings.names.iter().any(|name| name == SCALE) {
        scale::run(settings, &mut told)?;
    } else {
        lines(settings, &mut told)?;
    }
    told.end(began.elapsed().as_secs());
    Ok(told.failed.len())
}

fn lines(settings: &Settings, told: &mut Told) -> io::Result<()> {
    let wanted =
        |name: &str| settings.names.is_empty() || settings.names.iter().any(|one| one == name);
    let mut ground = None;
    for (name, what, line) in LINES.iter().filter(|line| wanted(line.0)) {
        eprintln!("bench: {name}: {what}");
        let rows = match line {
            Line::Alone(work) => {
                // Its mounts must not see what other mounts still do.
                ground = None;
                work(settings)
            }
            Line::Beside(work) => {
                if ground.is_none() {
                    ground = Some(self::ground(settings, told)?);
                }
                ground.as_ref().map_or(Ok(Vec::new()), work)
            }
        };
        told.line(name, rows);
    }
    Ok(())
}

/// Starts every side; those that cannot be started are named.
fn ground(settings: &Settings, told: &mut Told) -> io::Result<Ground> {
    let dir = settings.dir.clone();
    let emulator = Emulator::start(&dir)?;
    let mut ods = Ods::init(&dir, "ods", &emulator)?;
    ods.mount("")?;
    let mut contestants = vec![Contestant::disk(&dir)?];
    for start in [Contestant::gocryptfs, Contestant::rclone] {
        match start(&dir) {
            Ok(contestant) => contestants.push(contestant),
            Err(error) => told.absent(&error),
        }
    }
    Ok(Ground {
        contestants,
        ods,
        _emulator: emulator,
        rounds: settings.rounds,
        size: settings.size,
    })
}

/// What is printed.
pub(crate) struct Told {
    json: bool,
    rows: Vec<(String, Row)>,
    failed: Vec<String>,
    absent: Vec<String>,
    curves: Vec<serde_json::Value>,
    machine: String,
}

impl Told {
    fn new(json: bool, machine: &str, settings: &Settings) -> Told {
        if !json {
            println!("{machine}; {} rounds", settings.rounds);
            if !settings.names.iter().any(|name| name == SCALE) {
                println!("\n{}", table::HEAD);
            }
        }
        Told {
            json,
            rows: Vec::new(),
            failed: Vec::new(),
            absent: Vec::new(),
            curves: Vec::new(),
            machine: machine.to_owned(),
        }
    }

    /// The rows of a line, as soon as it has them.
    pub(crate) fn line(&mut self, name: &str, rows: io::Result<Vec<Row>>) {
        match rows {
            Ok(rows) => {
                for row in rows {
                    if !self.json {
                        println!("{}", row.markdown());
                    }
                    self.rows.push((name.to_owned(), row));
                }
            }
            Err(error) => {
                if !self.json {
                    println!("| {name} | not measured: {error} | | |");
                }
                self.failed.push(format!("{name}: {error}"));
            }
        }
    }

    /// A table of another form.
    pub(crate) fn text(&mut self, text: &str, values: Vec<serde_json::Value>) {
        if !self.json {
            print!("{text}");
        }
        self.curves.extend(values);
    }

    fn absent(&mut self, error: &io::Error) {
        eprintln!("bench: a side is missing: {error}");
        self.absent.push(error.to_string());
    }

    fn end(&self, took_s: u64) {
        if self.json {
            let rows = self.rows.iter().map(|(name, row)| {
                let mut value = row.json();
                value["line"] = json!(name);
                value
            });
            let all = json!({
                "machine": self.machine, "seconds": took_s, "rows": rows.collect::<Vec<_>>(),
                "failed": self.failed, "absent": self.absent, "curves": self.curves,
            });
            println!("{all:#}");
            return;
        }
        println!();
        for what in self.failed.iter().chain(&self.absent) {
            println!("Not measured: {what}.");
        }
        println!("Load {:.1} at the end; {took_s} s in all.", machine::load());
    }
}
