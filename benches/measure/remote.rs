//! What goes over the network: against the emulator, and against arithmetic.

use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use crate::Settings;
use crate::arithmetic;
use crate::arithmetic::since;
use crate::contestant::Ods;
use crate::emulator::AT_ONCE;
use crate::emulator::Emulator;
use crate::emulator::FAR;
use crate::local::as_f64;
use crate::local::fill;
use crate::local::fill_fresh;
use crate::machine;
use crate::noise::Noise;
use crate::noise::Stock;
use crate::table::Better;
use crate::table::Row;

const MIB: usize = 1 << 20;

/// Nothing is uploaded before it is asked for.
pub(crate) const ON_DEMAND: &str = "linger=86400,age=86400,epoch=1T";

/// An emulator and a drive on it, in a directory of their own.
pub(crate) struct World {
    pub(crate) ods: Ods,
    pub(crate) emulator: Emulator,
    pub(crate) dir: PathBuf,
}

impl World {
    pub(crate) fn new(settings: &Settings, name: &str) -> io::Result<World> {
        let dir = settings.dir.join(name);
        fs::create_dir_all(&dir)?;
        let emulator = Emulator::start(&dir)?;
        let ods = Ods::init(&dir, "drive", &emulator)?;
        Ok(World { ods, emulator, dir })
    }

    /// Ends it, and takes its files away.
    pub(crate) fn end(self) -> io::Result<()> {
        let World { ods, emulator, dir } = self;
        drop((ods, emulator));
        fs::remove_dir_all(dir)
    }
}

/// Seconds of processor of the daemon for an upload, beside hashing, compressing and sealing alone.
pub(crate) fn drain_cpu(settings: &Settings) -> io::Result<Vec<Row>> {
    let bytes = settings.size.pick(64 * MIB, 256 * MIB, 1024 * MIB);
    let mut world = World::new(settings, "drain-cpu")?;
    world.ods.mount(ON_DEMAND)?;
    let mut row = Row::new(
        &format!(
            "upload of {} MiB, half of it compressible: processor time",
            bytes / MIB
        ),
        "s",
        Better::Less,
    )
    .goal("BLAKE3 + lz4 + ChaCha20-Poly1305", 1.5);
    for round in 0..settings.rounds {
        let content = Noise::new(50 + round as u64).mixed(bytes);
        row.add(
            "BLAKE3 + lz4 + ChaCha20-Poly1305",
            arithmetic::crypto_cpu_s(&content)?,
        );
        fill(&world.ods.path().join(format!("upload-{round}")), &content)?;
        drop(content);
        let before = machine::cpu_s(world.ods.pid())?;
        world.ods.flush()?;
        row.add("ods", machine::cpu_s(world.ods.pid())? - before);
    }
    world.ods.unmount()?;
    world.end()?;
    Ok(vec![row])
}

/// How fast an upload is when Discord's limits are enforced, on a link that is faster than they are.
pub(crate) fn drain_speed(settings: &Settings) -> io::Result<Vec<Row>> {
    // A twentieth less than whole windows hold, which is what the goal leaves for packs that are not full.
    let windows = settings.size.pick(2, 4, 12);
    let possible = windows * arithmetic::MESSAGES_PER_WINDOW * arithmetic::REQUEST_BYTES;
    let bytes = usize::try_from(possible / 20 * 19).map_err(io::Error::other)?;
    let mut world = World::new(settings, "drain-speed")?;
    world.emulator.limits(&json!({
        "rate_limits": "enforced",
        "request_bytes_max": arithmetic::REQUEST_BYTES,
    }))?;
    world.emulator.link(FAR)?;
    world.ods.mount(ON_DEMAND)?;
    let rate = FAR.bytes_per_s.unwrap_or(u64::MAX);
    let ideal_s = arithmetic::upload_s(bytes as u64, rate, 0.08);
    let mut row = Row::new(
        &format!("upload of {} MiB under Discord's limits", bytes / MIB),
        "MiB/s",
        Better::More,
    )
    .goal("arithmetic", 0.95);
    let mut refused = 0;
    for round in 0..settings.rounds {
        let content = Noise::new(80 + round as u64).bytes(bytes);
        fill(&world.ods.path().join(format!("upload-{round}")), &content)?;
        drop(content);
        let before = world.emulator.counts()?;
        let started = Instant::now();
        world.ods.flush()?;
        row.add("ods", as_f64(bytes / MIB) / since(started));
        row.add("arithmetic", as_f64(bytes / MIB) / ideal_s);
        refused += world.emulator.counts()?.since(before).rate_limited;
        // The next round begins with a window of its own.
        std::thread::sleep(std::time::Duration::from_secs_f64(arithmetic::WINDOW_S));
    }
    row.note = format!(
        "5 messages of 25 MiB in 5 s, 80 ms, 25 MiB/s for a connection; {refused} answers 429"
    );
    world.emulator.link(AT_ONCE)?;
    world.ods.unmount()?;
    world.end()?;
    Ok(vec![row])
}

/// Requests to store many small files.
pub(crate) fn requests(settings: &Settings) -> io::Result<Vec<Row>> {
    let count = settings.size.pick(2_000, 10_000, 10_000);
    let mut world = World::new(settings, "requests")?;
    world.ods.mount(ON_DEMAND)?;
    let dir = world.ods.path().join("small");
    fs::create_dir(&dir)?;
    let mut noise = Noise::new(6);
    for number in 0..count {
        fs::write(dir.join(format!("file-{number:06}")), noise.bytes(4096))?;
    }
    let before = world.emulator.counts()?;
    world.ods.flush()?;
    let counts = world.emulator.counts()?.since(before);
    let mut row = Row::new(
        &format!("requests to store {count} files of 4 KiB"),
        "requests",
        Better::Less,
    )
    .goal("the limit", 1.0);
    row.add("ods", as_f64(usize::try_from(counts.requests).unwrap_or(0)));
    row.add("the limit", 15.0);
    row.add("one for each file", as_f64(count));
    row.note = format!(
        "{} messages, {} attachments",
        counts.messages, counts.attachments
    );
    world.ods.unmount()?;
    world.end()?;
    Ok(vec![row])
}

/// Reads of what is only on Discord, 80 ms away.
pub(crate) fn cold(settings: &Settings) -> io::Result<Vec<Row>> {
    let bytes = settings.size.pick(128 * MIB, 512 * MIB, 1024 * MIB);
    let mut world = World::new(settings, "cold")?;
    world.ods.mount(ON_DEMAND)?;
    let names = ["known", "sequential", "random"];
    for (seed, (name, len)) in names
        .into_iter()
        .zip([4 * MIB, bytes, bytes / 2])
        .enumerate()
    {
        let content = Noise::new(7 + seed as u64).bytes(len);
        fill(&world.ods.path().join(name), &content)?;
    }
    world.ods.unmount()?;
    let mut rows = cold_rows(bytes);
    let rtt_ms = as_f64(usize::try_from(FAR.rtt_ms).unwrap_or(0));
    let link = as_f64(usize::try_from(FAR.bytes_per_s.unwrap_or(0)).unwrap_or(0) / MIB);
    for round in 0..settings.rounds {
        world.ods.forget_cache()?;
        world.emulator.link(FAR)?;
        world.ods.mount("gc=off")?;
        let path = world.ods.path();
        let very_first = first_byte(&path.join("known"))?;
        let first = first_byte(&path.join("sequential"))?;
        let speed = sequential(&path.join("sequential"), bytes)?;
        let before = world.emulator.counts()?;
        let (random, reads) = random(&path.join("random"), bytes / 2, round)?;
        let served = world.emulator.counts()?.since(before).bytes_served;
        let mib = as_f64(usize::try_from(served >> 10).unwrap_or(0) / reads) / 1024.0;
        let ours = [speed, first, very_first, random, mib];
        let theirs = [link * arithmetic::CONNECTIONS, rtt_ms, rtt_ms, rtt_ms, 1.5];
        for ((row, ours), theirs) in rows.iter_mut().zip(ours).zip(theirs) {
            row.add("ods", ours);
            let against = row.goals.first().map_or("one RTT", |goal| goal.against);
            row.add(against, theirs);
        }
        world.emulator.link(AT_ONCE)?;
        world.ods.unmount()?;
    }
    world.end()?;
    Ok(rows)
}

fn cold_rows(bytes: usize) -> Vec<Row> {
    let mut rows = vec![
        Row::new(
            &format!(
                "cold sequential read of {} MiB, 80 ms away, 25 MiB/s for a connection",
                bytes / MIB
            ),
            "MiB/s",
            Better::More,
        )
        .goal("four connections", 0.9),
        Row::new("cold: first byte of a file", "ms", Better::Less).goal("one RTT", 1.3),
        Row::new("cold: first byte after mounting", "ms", Better::Less),
        Row::new("cold random 4 KiB read: median", "ms", Better::Less).goal("one RTT", 1.3),
        Row::new("cold random 4 KiB read: transferred", "MiB", Better::Less).goal("the limit", 1.0),
    ];
    rows[2].note =
        String::from("its addresses have to be asked for first: two round trips at least");
    rows
}

/// Milliseconds until the first bytes of a file are there.
fn first_byte(path: &Path) -> io::Result<f64> {
    let started = Instant::now();
    let mut buffer = [0; 4096];
    File::open(path)?.read_exact(&mut buffer)?;
    Ok(since(started) * 1e3)
}

/// MiB per second over the whole file.
fn sequential(path: &Path, bytes: usize) -> io::Result<f64> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; MIB];
    let started = Instant::now();
    let mut seen = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => seen += read,
        }
    }
    if seen != bytes {
        return Err(io::Error::other(format!("{seen} bytes, not {bytes}")));
    }
    Ok(as_f64(bytes / MIB) / since(started))
}

/// The median in milliseconds, and how many reads there were.
fn random(path: &Path, bytes: usize, round: usize) -> io::Result<(f64, usize)> {
    const READS: usize = 15;
    let file = File::open(path)?;
    let mut noise = Noise::new(200 + round as u64);
    let mut took = Vec::with_capacity(READS);
    let mut buffer = [0; 4096];
    for _ in 0..READS {
        let at = noise.below((bytes / 4096) as u64) * 4096;
        let started = Instant::now();
        file.read_exact_at(&mut buffer, at)?;
        took.push(since(started) * 1e3);
    }
    took.sort_by(f64::total_cmp);
    Ok((took[READS / 2], READS))
}

/// A drive of many files, rebuilt on an empty machine; what that costs, and the daemon's memory.
pub(crate) fn rebuild(settings: &Settings) -> io::Result<Vec<Row>> {
    let files = settings.size.pick(20_000, 100_000, 1_000_000);
    let mut world = World::new(settings, "rebuild")?;
    world.ods.mount("")?;
    make_files(&world.ods.path(), files)?;
    world.ods.unmount()?;
    let stored = world.emulator.counts()?;
    let mut rows = rebuild_rows(files, stored.attachments);
    let rounds = settings.rounds.min(settings.size.pick(3, 5, 1));
    for round in 0..rounds {
        let before = world.emulator.counts()?;
        let name = format!("empty-{round}");
        let (mut other, cpu_s) = Ods::join_timed(&world.dir, &name, &world.emulator)?;
        let joined = world.emulator.counts()?.since(before);
        let started = Instant::now();
        other.mount("")?;
        let mount_s = since(started);
        let pages = stored.messages.div_ceil(100);
        let asked = joined.requests + joined.cdn_requests;
        let count = |number: u64| as_f64(usize::try_from(number).unwrap_or(0));
        rows[0].add("ods", count(asked));
        rows[0].add("arithmetic", count(pages + stored.attachments));
        rows[1].add("ods", cpu_s);
        rows[1].add("the limit", 60.0);
        rows[2].add("ods", mount_s);
        rows[2].add("the limit", 1.0);
        idle_memory(&other, &mut rows[3])?;
        other.unmount()?;
    }
    // Only now: what is uploaded would be more to rebuild.
    world.ods.mount("")?;
    for round in 0..rounds {
        busy_memory(&world.ods, &mut rows[4], round)?;
    }
    world.ods.unmount()?;
    world.end()?;
    Ok(rows)
}

fn rebuild_rows(files: usize, attachments: u64) -> Vec<Row> {
    let mut rows = vec![
        Row::new(
            &format!("rebuild of {files} files: requests"),
            "requests",
            Better::Less,
        )
        .goal("arithmetic", 1.2),
        Row::new(
            &format!("rebuild of {files} files: processor time"),
            "s",
            Better::Less,
        )
        .goal("the limit", 1.0),
        Row::new(&format!("then mounting, {files} files"), "s", Better::Less)
            .goal("the limit", 1.0),
        Row::new(
            &format!("memory with {files} files: idle"),
            "MiB",
            Better::Less,
        )
        .goal("the limit", 1.0),
        Row::new(
            &format!("memory with {files} files: uploading"),
            "MiB",
            Better::Less,
        )
        .goal("the limit", 1.0),
    ];
    rows[0].note = format!("pages of 100 messages and all {attachments} attachments");
    rows
}

/// The archive of the many files: each archive has a thread, of which a server has a thousand at most.
pub(crate) const FILES: &str = "files";

/// Directories of a thousand empty files, in one archive.
pub(crate) fn make_files(path: &Path, files: usize) -> io::Result<()> {
    let path = path.join(FILES);
    fs::create_dir(&path)?;
    for dir in 0..files.div_ceil(1000) {
        let dir_path = path.join(format!("dir-{dir:04}"));
        fs::create_dir(&dir_path)?;
        for number in 0..1000.min(files - dir * 1000) {
            File::create(dir_path.join(format!("file-{number:04}")))?;
        }
    }
    Ok(())
}

/// Memory of the daemon after a look at everything.
fn idle_memory(ods: &Ods, row: &mut Row) -> io::Result<()> {
    let mut seen = 0;
    for dir in fs::read_dir(ods.path().join(FILES))? {
        seen += fs::read_dir(dir?.path())?.count();
    }
    std::hint::black_box(seen);
    row.add("ods", machine::memory_mib(ods.pid(), "VmRSS")?);
    row.add("the limit", 256.0);
    Ok(())
}

/// Memory of the daemon at most while much is uploaded, after a look at everything.
fn busy_memory(ods: &Ods, row: &mut Row, round: usize) -> io::Result<()> {
    for dir in fs::read_dir(ods.path().join(FILES))? {
        std::hint::black_box(fs::read_dir(dir?.path())?.count());
    }
    machine::reset_peak(ods.pid());
    let mut stock = Stock::new(300 + round as u64);
    for number in 0..8 {
        let path = ods.path().join(format!("load-{number}"));
        fill_fresh(&path, 64 * MIB, &mut stock)?;
    }
    ods.flush()?;
    row.add("ods", machine::memory_mib(ods.pid(), "VmHWM")?);
    row.add("the limit", 512.0);
    for number in 0..8 {
        fs::remove_file(ods.path().join(format!("load-{number}")))?;
    }
    Ok(())
}
