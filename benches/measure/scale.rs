//! How costs grow: the same work at several sizes, and the exponent that fits.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use serde_json::json;

use crate::Settings;
use crate::Told;
use crate::arithmetic::since;
use crate::contestant::Ods;
use crate::local::as_f64;
use crate::local::fill;
use crate::local::timed;
use crate::machine;
use crate::machine::Forget;
use crate::noise::Noise;
use crate::remote::FILES;
use crate::remote::ON_DEMAND;
use crate::remote::World;
use crate::remote::make_files;
use crate::table::figure;

const MIB: usize = 1 << 20;

/// Spool, cache and emulator hold all of it, and the disk is not to be full.
const COPIES: u64 = 4;

/// Bytes of one file of the curves over bytes.
const FILE_BYTES: usize = 256 * MIB;

/// How much an exponent may be above its bound and still be called within: a quarter more over a decade,
/// which is what two runs on one machine differ by.
const NOISE: f64 = 0.1;

/// How a cost may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// Not at all.
    Flat,
    /// As n log n.
    Sorting,
}

/// What something costs at each size.
struct Curve {
    what: &'static str,
    unit: &'static str,
    growth: Growth,
    points: Vec<(f64, f64)>,
}

/// Curves in the order in which they were first met.
#[derive(Default)]
struct Curves(Vec<Curve>);

impl Curves {
    /// A point of a cost that may grow as n log n.
    fn add(&mut self, what: &'static str, unit: &'static str, size: f64, cost: f64) {
        self.point(what, unit, Growth::Sorting, (size, cost));
    }

    /// A point of a cost that may not depend on the size.
    fn add_flat(&mut self, what: &'static str, unit: &'static str, size: f64, cost: f64) {
        self.point(what, unit, Growth::Flat, (size, cost));
    }

    fn point(&mut self, what: &'static str, unit: &'static str, growth: Growth, point: (f64, f64)) {
        match self.0.iter_mut().find(|curve| curve.what == what) {
            Some(curve) => curve.points.push(point),
            None => self.0.push(Curve {
                what,
                unit,
                growth,
                points: vec![point],
            }),
        }
    }
}

impl Curve {
    fn exponent(&self) -> f64 {
        slope(&self.points)
    }

    /// The most that its exponent may be.
    fn exponent_max(&self) -> f64 {
        let sorting = |(size, _): &(f64, f64)| (*size, size * size.ln());
        NOISE
            + match self.growth {
                Growth::Flat => 0.0,
                Growth::Sorting => slope(&self.points.iter().map(sorting).collect::<Vec<_>>()),
            }
    }

    fn verdict(&self) -> &'static str {
        if self.points.len() < 2 {
            return "one size says nothing";
        }
        match (self.exponent() <= self.exponent_max(), self.growth) {
            (true, Growth::Flat) => "does not grow",
            (true, Growth::Sorting) => "within n log n",
            (false, Growth::Flat) => "**grows**",
            (false, Growth::Sorting) => "**above n log n**",
        }
    }

    fn json(&self, of: &str) -> Value {
        json!({
            "what": self.what, "unit": self.unit, "of": of, "points": self.points,
            "exponent": self.exponent(), "exponent_max": self.exponent_max(),
        })
    }
}

/// The slope of the straight line through the logarithms, by least squares: 0 does not grow, 1 grows as
/// the size does.
fn slope(points: &[(f64, f64)]) -> f64 {
    let logs = points.iter().filter(|(_, cost)| *cost > 0.0);
    let logs: Vec<(f64, f64)> = logs.map(|(size, cost)| (size.ln(), cost.ln())).collect();
    let count = as_f64(logs.len());
    let mean = |pick: fn(&(f64, f64)) -> f64| logs.iter().map(pick).sum::<f64>() / count;
    let (x, y) = (mean(|log| log.0), mean(|log| log.1));
    let rise: f64 = logs.iter().map(|log| (log.0 - x) * (log.1 - y)).sum();
    let run: f64 = logs.iter().map(|log| (log.0 - x).powi(2)).sum();
    rise / run
}

/// Runs all curves.
pub(crate) fn run(settings: &Settings, told: &mut Told) -> io::Result<()> {
    let counts: &[usize] = settings.size.pick(
        &[1_000, 10_000],
        &[10_000, 100_000],
        &[10_000, 100_000, 1_000_000],
    );
    let mut curves = Curves::default();
    for count in counts {
        eprintln!("bench: scale: {count} files");
        files(settings, *count, &mut curves)?;
    }
    show(told, "files", &curves);
    let mib: &[usize] = settings
        .size
        .pick(&[256, 1024], &[1024, 10_240], &[1024, 10_240, 51_200]);
    let mut curves = Curves::default();
    for mib in mib {
        eprintln!("bench: scale: {mib} MiB");
        let (needed, room) = (COPIES * *mib as u64, machine::room(&settings.dir)? >> 20);
        if room < needed {
            let why = format!("{mib} MiB take {needed} MiB of disk, and there are {room}");
            told.line("scale", Err(io::Error::other(why)));
            continue;
        }
        bytes(settings, *mib, &mut curves)?;
    }
    show(told, "MiB", &curves);
    Ok(())
}

fn show(told: &mut Told, of: &str, curves: &Curves) {
    let Some(first) = curves.0.first() else {
        return;
    };
    let sizes = first
        .points
        .iter()
        .map(|(size, _)| format!(" {} {of} |", figure(*size)));
    let mut text = format!(
        "\n| cost |{} exponent | growth |\n",
        sizes.collect::<String>()
    );
    text.push_str(&format!(
        "| --- |{}\n",
        " --- |".repeat(first.points.len() + 2)
    ));
    for curve in &curves.0 {
        let cells = curve
            .points
            .iter()
            .map(|(_, cost)| format!(" {} |", figure(*cost)));
        let cells: String = cells.collect();
        text.push_str(&format!(
            "| {}{} |{cells} {:.2} | {} |\n",
            curve.what,
            match curve.unit {
                "" => String::new(),
                unit => format!(", {unit}"),
            },
            curve.exponent(),
            curve.verdict()
        ));
    }
    told.text(&text, curves.0.iter().map(|curve| curve.json(of)).collect());
}

/// Seconds, and seconds of a process's processor.
fn both(pid: u32, work: impl FnOnce() -> io::Result<()>) -> io::Result<(f64, f64)> {
    let before = machine::cpu_s(pid)?;
    let took = timed(work)?;
    Ok((took, machine::cpu_s(pid)? - before))
}

fn files(settings: &Settings, count: usize, curves: &mut Curves) -> io::Result<()> {
    let size = as_f64(count);
    let mut world = World::new(settings, &format!("files-{count}"))?;
    world.ods.mount("")?;
    let (path, pid) = (world.ods.path(), world.ods.pid());
    let (_, create) = both(pid, || make_files(&path, count))?;
    curves.add("create: processor", "s", size, create);
    let (_, flush) = both(pid, || world.ods.flush())?;
    curves.add("flush of all: processor", "s", size, flush);
    machine::forget(Forget::Everything)?;
    let (_, list) = both(pid, || walk(&path.join(FILES), Depth::Names))?;
    curves.add("readdir of all: processor", "s", size, list);
    machine::forget(Forget::Everything)?;
    let (_, stat) = both(pid, || walk(&path.join(FILES), Depth::Attributes))?;
    curves.add("stat of all: processor", "s", size, stat);
    let one = || fs::write(path.join("one"), "one").and_then(|()| world.ods.flush());
    let (flush_s, flush) = both(pid, one)?;
    curves.add_flat("flush of one file", "s", size, flush_s);
    curves.add_flat("flush of one file: processor", "s", size, flush.max(0.01));
    curves.add(
        "memory, mounted and looked through",
        "MiB",
        size,
        machine::memory_mib(pid, "VmRSS")?,
    );
    world.ods.unmount()?;
    let started = Instant::now();
    world.ods.mount("tail=1")?;
    curves.add_flat("mount", "s", size, since(started));
    curves.add(
        "memory, just mounted",
        "MiB",
        size,
        machine::memory_mib(world.ods.pid(), "VmRSS")?,
    );
    let checkpoint = || {
        fs::write(path.join("two"), "two")?;
        world.ods.flush()?;
        world.ods.until_idle()
    };
    let (_, checkpoint) = both(world.ods.pid(), checkpoint)?;
    curves.add("checkpoint: processor", "s", size, checkpoint.max(0.01));
    world.ods.unmount()?;
    let before = world.emulator.counts()?;
    let (empty, cpu_s) = Ods::join_timed(&world.dir, "empty", &world.emulator)?;
    let asked = world.emulator.counts()?.since(before);
    let asked = asked.requests + asked.cdn_requests;
    curves.add("rebuild: processor", "s", size, cpu_s);
    curves.add(
        "rebuild: requests",
        "",
        size,
        as_f64(usize::try_from(asked).unwrap_or(0)),
    );
    drop(empty);
    world.end()
}

/// How closely to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Names,
    Attributes,
}

fn walk(path: &Path, depth: Depth) -> io::Result<()> {
    for dir in fs::read_dir(path)? {
        for entry in fs::read_dir(dir?.path())? {
            let entry = entry?;
            if depth == Depth::Attributes {
                entry.metadata()?;
            }
        }
    }
    Ok(())
}

fn bytes(settings: &Settings, mib: usize, curves: &mut Curves) -> io::Result<()> {
    let size = as_f64(mib);
    let mut world = World::new(settings, &format!("bytes-{mib}"))?;
    // Room for all of it, so that writing and uploading can be told apart.
    world
        .ods
        .mount(&format!("{ON_DEMAND},spool=80G,cache=80G,gc=off"))?;
    let (path, pid) = (world.ods.path(), world.ods.pid());
    machine::reset_peak(pid);
    let part = FILE_BYTES.min(mib * MIB / 4);
    let names: Vec<_> = (0..mib * MIB / part)
        .map(|number| path.join(format!("part-{number:04}")))
        .collect();
    let write = || {
        let mut noise = Noise::new(1);
        names
            .iter()
            .try_for_each(|name| fill(name, &noise.bytes(part)))
    };
    let (_, cpu_s) = both(pid, write)?;
    curves.add("write: processor", "s", size, cpu_s);
    let (_, cpu_s) = both(pid, || world.ods.flush())?;
    curves.add("drain: processor", "s", size, cpu_s);
    machine::forget(Forget::Pages)?;
    let mut buffer = vec![0; MIB];
    let read = || {
        names.iter().try_for_each(|name| {
            let mut file = fs::File::open(name)?;
            while io::Read::read(&mut file, &mut buffer)? > 0 {}
            Ok(())
        })
    };
    let (_, cpu_s) = both(pid, read)?;
    curves.add(
        "read, uploaded and in the cache: processor",
        "s",
        size,
        cpu_s,
    );
    names
        .iter()
        .skip(1)
        .step_by(2)
        .try_for_each(fs::remove_file)?;
    world.ods.flush()?;
    let before = world.emulator.counts()?;
    let (took, cpu_s) = both(pid, || world.ods.collect())?;
    curves.add("gc of half", "s", size, took);
    curves.add("gc of half: processor", "s", size, cpu_s.max(0.01));
    let asked = world.emulator.counts()?.since(before).requests;
    curves.add(
        "gc of half: requests",
        "",
        size,
        as_f64(usize::try_from(asked).unwrap_or(0)),
    );
    curves.add_flat(
        "memory, at most",
        "MiB",
        size,
        machine::memory_mib(pid, "VmHWM")?,
    );
    world.ods.unmount()?;
    world.end()
}
