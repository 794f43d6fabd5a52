//! The drain's second half: packs that go to the same archive travel together, a few groups at once.

use std::collections::HashMap;

use tokio::task::JoinSet;

use crate::codec::pack::Pack;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::put::put_until_done;
use crate::drive::record::Entry;
use crate::drive::repack::bytes_of;
use crate::id::ArchiveNo;
use crate::spool;

/// Puts that are under way at once: as many as Discord takes in one window. Their bytes have a limit too,
/// [`crate::drive::Settings::flight_bytes_max`].
const PUTS_MAX: usize = 5;

/// Chunks in one pack at most: what is said of a pack must fit one record of the spool.
pub(in crate::drive) const FRAMES_MAX: usize = 8192;

/// Packs on their way, grouped by archive.
pub(in crate::drive) struct Uploads<'d> {
    drive: &'d Drive,
    waiting: HashMap<ArchiveNo, Vec<Pack>>,
    /// Bytes of the packs in `puts`.
    flying: u64,
    /// Is a larger put on its way than any that was taken? Then others are not made so large: were it refused,
    /// all of them would be.
    trial: bool,
    puts: JoinSet<Result<Flight, Error>>,
}

/// A put that arrived.
struct Flight {
    bytes: u64,
    was_trial: bool,
}

impl Drive {
    /// Writes into the spool what is known of the epoch under way. A spool without any room must be published
    /// all the same, or it would never have room again, and so must one whose disk failed: then it is only this
    /// machine's memory that knows, and after a crash packs are put once more.
    pub(in crate::drive) fn take_down(&self, entry: &Entry) -> Result<(), Error> {
        match self.take_down_on_good_disk(entry) {
            Err(Error::Disk(why)) => {
                log::debug!("the spool cannot say what is on its way: {why}");
                Ok(())
            }
            taken => taken,
        }
    }

    /// The same, and an error where the disk fails: for what takes back what the spool says already, so that a crash
    /// must not leave it out.
    pub(in crate::drive) fn take_down_on_good_disk(&self, entry: &Entry) -> Result<(), Error> {
        match self.spool.append(&entry.encode(), &[]) {
            Ok(_) => Ok(()),
            Err(spool::Error::Full) => {
                log::debug!("the spool has no room to say what is on its way");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl<'d> Uploads<'d> {
    pub(in crate::drive) fn new(drive: &'d Drive) -> Uploads<'d> {
        Uploads {
            drive,
            waiting: HashMap::new(),
            flying: 0,
            trial: false,
            puts: JoinSet::new(),
        }
    }

    /// Takes a pack; waits when too much is under way already.
    pub(in crate::drive) fn add(&mut self, archive: ArchiveNo, pack: Pack) -> Result<(), Error> {
        let limits = self.drive.store.limits();
        let group = self.waiting.entry(archive).or_default();
        let bytes = bytes_of(group);
        let most = match self.trial {
            true => limits.put_bytes_proven,
            false => limits.put_bytes_max,
        };
        let full = group.len() >= limits.objects_max || bytes + pack.body.len() > most;
        let ready = if full && !group.is_empty() {
            std::mem::take(group)
        } else {
            Vec::new()
        };
        group.push(pack);
        self.send(archive, ready)?;
        self.relieve()
    }

    /// Sends what waits, because nothing more comes for those archives.
    pub(in crate::drive) fn depart(&mut self) -> Result<(), Error> {
        let mut groups: Vec<_> = std::mem::take(&mut self.waiting).into_iter().collect();
        groups.sort_by_key(|(archive, _)| *archive);
        groups
            .into_iter()
            .try_for_each(|(archive, packs)| self.send(archive, packs))
    }

    /// Sends the biggest group early when the packs that wait use too much memory.
    fn relieve(&mut self) -> Result<(), Error> {
        let waiting: u64 = self.waiting.values().map(|group| bytes_of(group)).sum();
        if waiting > self.drive.settings.flight_bytes_max
            && let Some(archive) = self
                .waiting
                .iter()
                .max_by_key(|(_, group)| bytes_of(group))
                .map(|(archive, _)| *archive)
            && let Some(group) = self.waiting.remove(&archive)
        {
            self.send(archive, group)?;
        }
        Ok(())
    }

    fn send(&mut self, archive: ArchiveNo, packs: Vec<Pack>) -> Result<(), Error> {
        if packs.is_empty() {
            return Ok(());
        }
        let bytes = bytes_of(&packs);
        let bytes_max = self.drive.settings.flight_bytes_max;
        while self.puts.len() >= PUTS_MAX
            || (!self.puts.is_empty() && self.flying + bytes > bytes_max)
        {
            self.reap()?;
        }
        let Some(drive) = self.drive.shared() else {
            return Err(Error::Closing);
        };
        let was_trial = bytes > self.drive.store.limits().put_bytes_proven;
        self.flying += bytes;
        self.trial |= was_trial;
        let put = async move {
            put_until_done(&drive, archive, packs).await?;
            Ok(Flight { bytes, was_trial })
        };
        self.puts.spawn_on(put, &self.drive.runtime);
        Ok(())
    }

    fn reap(&mut self) -> Result<(), Error> {
        let next = self.puts.join_next();
        let Some(done) = self.drive.wait_for(async { Ok(next.await) })? else {
            return Ok(());
        };
        let put = done.map_err(|error| Error::State(format!("an upload task ended: {error}")))?;
        let Flight { bytes, was_trial } = put?;
        self.flying = self.flying.saturating_sub(bytes);
        self.trial &= !was_trial;
        Ok(())
    }

    /// Sends what is left and waits until the store has everything.
    pub(in crate::drive) fn finish(&mut self) -> Result<(), Error> {
        self.depart()?;
        while !self.puts.is_empty() {
            self.reap()?;
        }
        Ok(())
    }
}

impl Drop for Uploads<'_> {
    /// No put goes on after the drain that began it: what it changed then would be in no epoch.
    fn drop(&mut self) {
        if !self.puts.is_empty() {
            self.drive.runtime.block_on(self.puts.shutdown());
        }
    }
}
