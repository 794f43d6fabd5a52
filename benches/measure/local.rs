//! What needs no network: the same work on all sides, one after the other in each round.

use std::fs;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use crate::Ground;
use crate::machine;
use crate::machine::Forget;
use crate::noise::Noise;
use crate::noise::Stock;
use crate::table::Better;
use crate::table::Row;

const MIB: usize = 1 << 20;

/// The sides of a comparison, and how many rounds it has.
pub(crate) struct Sides<'g> {
    ground: &'g Ground,
    /// Name and directory, ours last.
    pub(crate) all: Vec<(&'static str, std::path::PathBuf)>,
}

impl<'g> Sides<'g> {
    /// Those of these names that could be started.
    pub(crate) fn of(ground: &'g Ground, names: &[&str]) -> Sides<'g> {
        let others = ground
            .contestants
            .iter()
            .map(|one| (one.name, one.path.clone()));
        let ours = std::iter::once(("ods", ground.ods.path()));
        Sides {
            ground,
            all: others
                .chain(ours)
                .filter(|(name, _)| names.contains(name))
                .collect(),
        }
    }

    /// Round by round, each side in turn: adds what `work` gives to the rows, in their order. Each round
    /// begins with another side, so that none always follows the same one.
    fn alternate<const N: usize>(
        &self,
        rows: &mut [Row; N],
        rounds: usize,
        mut work: impl FnMut(&Path, usize) -> io::Result<[f64; N]>,
    ) -> io::Result<()> {
        for round in 0..rounds {
            let turns = self.all.iter().cycle().skip(round % self.all.len().max(1));
            for (name, path) in turns.take(self.all.len()) {
                let values = work(path, round)?;
                for (row, value) in rows.iter_mut().zip(values) {
                    row.add(name, value);
                }
                self.settle(name)?;
            }
        }
        Ok(())
    }

    /// Nothing of one side's work may go on in another's turn: neither an upload nor a write-back of
    /// dirty pages.
    fn settle(&self, name: &str) -> io::Result<()> {
        let others = &self.ground.contestants;
        match others.iter().find(|other| other.name == name) {
            Some(other) => other.until_written_back()?,
            None => {
                self.ground.ods.flush()?;
                self.ground.ods.until_idle()?;
            }
        }
        machine::sync();
        Ok(())
    }
}

const ALL: &[&str] = &["ext4", "gocryptfs", "rclone", "ods"];

/// Writes from the beginning to the end, then `fsync`. MiB per second.
pub(crate) fn write(ground: &Ground) -> io::Result<Vec<Row>> {
    let bytes = ground.bytes(1 << 30, 256 << 20);
    let mut rows = [Row::new(
        &format!("sequential write of {} MiB, fsync included", bytes / MIB),
        "MiB/s",
        Better::More,
    )
    .goal("ext4", 0.5)
    .goal("gocryptfs", 2.0)
    .goal("rclone", 3.0)];
    let mut stock = Stock::new(1);
    Sides::of(ground, ALL).alternate(&mut rows, ground.rounds, |path, _| {
        let path = path.join("sequential");
        let started = Instant::now();
        fill_fresh(&path, bytes, &mut stock)?;
        let took = started.elapsed().as_secs_f64();
        // Before anything is uploaded in the background, so that no side pays for it in another's turn.
        fs::remove_file(&path)?;
        Ok([as_f64(bytes / MIB) / took])
    })?;
    Ok(rows.into())
}

/// Writes a file, a mebibyte at a time, and syncs it.
pub(crate) fn fill(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    content
        .chunks(MIB)
        .try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

/// As [`fill`], with so many bytes that no other file has.
pub(crate) fn fill_fresh(path: &Path, bytes: usize, stock: &mut Stock) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut left = bytes;
    while left > 0 {
        let block = stock.block();
        let len = block.len().min(left);
        file.write_all(&block[..len])?;
        left -= len;
    }
    file.sync_all()
}

/// Reads what is local again, from the kernel's memory and without it. MiB per second.
pub(crate) fn reread(ground: &Ground) -> io::Result<Vec<Row>> {
    let bytes = ground.bytes(1 << 30, 256 << 20);
    let mib = bytes / MIB;
    let mut rows = [
        Row::new(
            &format!("re-read of {mib} MiB, uploaded, page cache warm"),
            "MiB/s",
            Better::More,
        )
        .goal("gocryptfs", 3.0),
        Row::new(
            &format!("re-read of {mib} MiB, uploaded, after drop_caches"),
            "MiB/s",
            Better::More,
        )
        .goal("gocryptfs", 1.5),
    ];
    let sides = Sides::of(ground, ALL);
    let mut stock = Stock::new(2);
    for (name, path) in &sides.all {
        fill_fresh(&path.join("reread"), bytes, &mut stock)?;
        sides.settle(name)?;
        read(&path.join("reread"))?;
    }
    sides.alternate(&mut rows, ground.rounds, |path, _| {
        let path = path.join("reread");
        machine::forget(Forget::Pages)?;
        let cold = timed(|| read(&path))?;
        let warm = timed(|| read(&path))?;
        Ok([as_f64(mib) / warm, as_f64(mib) / cold])
    })?;
    for (name, path) in &sides.all {
        fs::remove_file(path.join("reread"))?;
        sides.settle(name)?;
    }
    rows[1].note = String::from("ours decrypts from its cache of frames");
    Ok(rows.into())
}

fn read(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; MIB];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Random writes of 4 KiB in a big file, then `fsync`. Writes per second.
pub(crate) fn random(ground: &Ground) -> io::Result<Vec<Row>> {
    let bytes = ground.bytes(1 << 30, 128 << 20);
    let writes = ground.bytes(20_000, 4_000);
    let mut rows = [Row::new(
        &format!(
            "{writes} random 4 KiB writes in a file of {} MiB, fsync included",
            bytes / MIB
        ),
        "writes/s",
        Better::More,
    )
    .goal("gocryptfs", 3.0)];
    let sides = Sides::of(ground, ALL);
    let mut stock = Stock::new(3);
    for (name, path) in &sides.all {
        fill_fresh(&path.join("random"), bytes, &mut stock)?;
        sides.settle(name)?;
    }
    sides.alternate(&mut rows, ground.rounds, |path, round| {
        let file = OpenOptions::new().write(true).open(path.join("random"))?;
        let mut noise = Noise::new(100 + round as u64);
        let pages = (bytes / 4096) as u64;
        let content = noise.bytes(writes * 4096);
        let started = Instant::now();
        for page in content.chunks(4096) {
            let at = noise.below(pages) * 4096;
            file.write_all_at(page, at)?;
        }
        file.sync_all()?;
        Ok([as_f64(writes) / started.elapsed().as_secs_f64()])
    })?;
    for (name, path) in &sides.all {
        fs::remove_file(path.join("random"))?;
        sides.settle(name)?;
    }
    Ok(rows.into())
}

/// rclone is so slow with small files that it gets this part of them; rates are compared.
const RCLONE_SHARE: usize = 10;

/// Small files: made, looked at, read, removed. Files per second.
pub(crate) fn small(ground: &Ground) -> io::Result<Vec<Row>> {
    let count = ground.bytes(10_000, 2_000);
    let row = |what: &str| {
        let mut row = Row::new(
            &format!("{count} files of 4 KiB: {what}"),
            "files/s",
            Better::More,
        )
        .goal("gocryptfs", 3.0)
        .goal("rclone", 10.0);
        row.note = format!("rclone: {} files", count / RCLONE_SHARE);
        row
    };
    let mut rows = [row("create"), row("stat"), row("read"), row("unlink")];
    let mut noise = Noise::new(4);
    Sides::of(ground, ALL).alternate(&mut rows, ground.rounds, |path, round| {
        let count = match path.ends_with("rclone/plain") {
            true => count / RCLONE_SHARE,
            false => count,
        };
        let content = noise.bytes(count * 4096);
        small_files(&path.join(format!("small-{round}")), count, &content)
    })?;
    Ok(rows.into())
}

/// Files per second for each of the four.
fn small_files(dir: &Path, count: usize, content: &[u8]) -> io::Result<[f64; 4]> {
    fs::create_dir(dir)?;
    let name = |number: usize| dir.join(format!("file-{number:06}"));
    let create = timed(|| {
        let mut pages = content.chunks(4096).enumerate();
        pages.try_for_each(|(number, page)| fs::write(name(number), page))
    })?;
    let stat = timed(|| (0..count).try_for_each(|number| fs::metadata(name(number)).map(drop)))?;
    let read = timed(|| (0..count).try_for_each(|number| fs::read(name(number)).map(drop)))?;
    let unlink = timed(|| (0..count).try_for_each(|number| fs::remove_file(name(number))))?;
    fs::remove_dir(dir)?;
    Ok([create, stat, read, unlink].map(|took| as_f64(count) / took))
}

/// A big directory: all names, and what each is. Entries per second.
pub(crate) fn directory(ground: &Ground) -> io::Result<Vec<Row>> {
    let count = ground.bytes(100_000, 10_000);
    let row = |how: &str| {
        Row::new(
            &format!("a directory of {count} entries: readdir and stat of all, {how}"),
            "entries/s",
            Better::More,
        )
        .goal("ext4", 0.7)
        .goal("gocryptfs", 5.0)
    };
    let mut rows = [row("after drop_caches"), row("again")];
    let sides = Sides::of(ground, &["ext4", "gocryptfs", "ods"]);
    for (name, path) in &sides.all {
        let dir = path.join("big");
        fs::create_dir(&dir)?;
        for number in 0..count {
            File::create(dir.join(format!("entry-{number:06}")))?;
        }
        sides.settle(name)?;
    }
    sides.alternate(&mut rows, ground.rounds, |path, _| {
        let dir = path.join("big");
        machine::forget(Forget::Everything)?;
        let cold = timed(|| list(&dir, count))?;
        let warm = timed(|| list(&dir, count))?;
        Ok([as_f64(count) / cold, as_f64(count) / warm])
    })?;
    for (name, path) in &sides.all {
        fs::remove_dir_all(path.join("big"))?;
        sides.settle(name)?;
    }
    Ok(rows.into())
}

/// As `ls -l` does: all names, then what each is.
fn list(dir: &Path, count: usize) -> io::Result<()> {
    let mut seen = 0;
    for entry in fs::read_dir(dir)? {
        seen += usize::from(entry?.metadata()?.ino() > 0);
    }
    match seen == count {
        true => Ok(()),
        false => Err(io::Error::other(format!("{seen} entries, not {count}"))),
    }
}

/// Appends of 4 KiB, each made durable. Microseconds, the median of many.
pub(crate) fn fsync(ground: &Ground) -> io::Result<Vec<Row>> {
    let count = ground.bytes(300, 100);
    let row = |what: &str| {
        Row::new(
            &format!("append 4 KiB and fsync: {what}"),
            "µs",
            Better::Less,
        )
    };
    let mut rows = [row("median").goal("ext4", 1.5), row("99th percentile")];
    let mut noise = Noise::new(5);
    let sides = Sides::of(ground, &["ext4", "gocryptfs", "ods"]);
    sides.alternate(&mut rows, ground.rounds, |path, _| {
        let path = path.join("log");
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        let mut took = Vec::with_capacity(count);
        let content = noise.bytes(count * 4096);
        for page in content.chunks(4096) {
            let started = Instant::now();
            file.write_all(page)?;
            file.sync_all()?;
            took.push(started.elapsed().as_secs_f64() * 1e6);
        }
        took.sort_by(f64::total_cmp);
        fs::remove_file(&path)?;
        Ok([took[count / 2], took[count * 99 / 100]])
    })?;
    Ok(rows.into())
}

/// How long something takes, in seconds.
pub(crate) fn timed(work: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64().max(1e-9))
}

/// A count, to divide with.
pub(crate) fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
