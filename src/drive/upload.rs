//! The drain's second half: packs travel together to their archive's shelf, and what the store acknowledges is kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::codec::pack;
use crate::codec::pack::Pack;
use crate::codec::pack::PackBuilder;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::record::Entry;
use crate::drive::record::Intent;
use crate::id::ArchiveNo;
use crate::index::chunk::ChunkPlace;
use crate::store;
use crate::store::Locator;
use crate::store::Object;
use crate::store::Shelf;
use crate::store::Span;

/// Puts that are under way at once. One is on the wire while the next is answered.
const PUTS_MAX: usize = 3;

/// Chunks in one pack at most: what is said of a pack must fit one record of the spool.
pub(in crate::drive) const FRAMES_MAX: usize = 8192;

/// Longest pause before a failed put is tried again.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Packs on their way, grouped by archive.
pub(in crate::drive) struct Uploads<'d> {
    drive: &'d Drive,
    waiting: HashMap<ArchiveNo, Vec<Pack>>,
    flight: Arc<Semaphore>,
    puts: JoinSet<Result<(ArchiveNo, u64, u64), Error>>,
    put: HashMap<ArchiveNo, (u64, u64)>,
}

impl<'d> Uploads<'d> {
    pub(in crate::drive) fn new(drive: &'d Drive) -> Uploads<'d> {
        Uploads {
            drive,
            waiting: HashMap::new(),
            flight: Arc::new(Semaphore::new(PUTS_MAX)),
            puts: JoinSet::new(),
            put: HashMap::new(),
        }
    }

    /// Takes a pack; waits when too much is under way already.
    pub(in crate::drive) fn add(&mut self, archive: ArchiveNo, pack: Pack) -> Result<(), Error> {
        let limits = self.drive.store.limits();
        let group = self.waiting.entry(archive).or_default();
        let bytes: u64 = group.iter().map(|pack| pack.body.len()).sum();
        let full =
            group.len() >= limits.objects_max || bytes + pack.body.len() > limits.put_bytes_max;
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
        let size = |group: &Vec<Pack>| group.iter().map(|pack| pack.body.len()).sum::<u64>();
        let waiting: u64 = self.waiting.values().map(size).sum();
        if waiting > self.drive.settings.flight_bytes_max
            && let Some(archive) = self
                .waiting
                .iter()
                .max_by_key(|(_, group)| size(group))
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
        while self.puts.len() >= PUTS_MAX {
            self.reap()?;
        }
        let Some(drive) = self.drive.shared() else {
            return Err(Error::Closing);
        };
        let flight = Arc::clone(&self.flight);
        let put = async move {
            let _permit = flight.acquire_owned().await.map_err(|_| Error::Closing)?;
            let (count, bytes) = put_until_done(&drive, archive, packs).await?;
            Ok((archive, count, bytes))
        };
        self.puts.spawn_on(put, &self.drive.runtime);
        Ok(())
    }

    fn reap(&mut self) -> Result<(), Error> {
        let next = self.puts.join_next();
        let Some(done) = self.drive.wait_for(async { Ok(next.await) })? else {
            return Ok(());
        };
        let (archive, count, bytes) =
            done.map_err(|error| Error::State(format!("an upload task ended: {error}")))??;
        let total = self.put.entry(archive).or_default();
        total.0 += count;
        total.1 += bytes;
        Ok(())
    }

    /// Sends what is left and waits until the store has everything. Gives packs and bytes by archive.
    pub(in crate::drive) fn finish(&mut self) -> Result<HashMap<ArchiveNo, (u64, u64)>, Error> {
        self.depart()?;
        while !self.puts.is_empty() {
            self.reap()?;
        }
        Ok(std::mem::take(&mut self.put))
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

/// Puts packs, however often it takes, until they are acknowledged or the drive is closed.
async fn put_until_done(
    drive: &Arc<Drive>,
    archive: ArchiveNo,
    packs: Vec<Pack>,
) -> Result<(u64, u64), Error> {
    let mut groups = vec![packs];
    let (mut count, mut bytes) = (0, 0);
    let mut pause = Duration::from_millis(500);
    let mut doubtful: Vec<Vec<Pack>> = Vec::new();
    loop {
        if drive.control.stopping() {
            return Err(Error::Closing);
        }
        if let Some(packs) = doubtful.pop() {
            let (all, all_bytes) = measure(&packs);
            match find_put(drive, archive, packs.clone()).await {
                Ok(missing) => {
                    let (left, left_bytes) = measure(&missing);
                    (count, bytes) = (count + all - left, bytes + all_bytes - left_bytes);
                    groups.push(missing);
                }
                Err(Error::Store(store::Error::Missing { .. })) => groups.push(packs),
                Err(error) => {
                    drive.control.failed(&error);
                    doubtful.push(packs);
                    drive.pause(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                    continue;
                }
            }
        }
        let Some(packs) = groups.pop() else { break };
        match put_once(drive, archive, &packs).await {
            Ok(()) => {
                let (done, done_bytes) = measure(&packs);
                (count, bytes) = (count + done, bytes + done_bytes);
                pause = Duration::from_millis(500);
                drive.control.succeeded();
            }
            Err(Error::Store(store::Error::TooLarge { limit_bytes })) => {
                let smaller = split(drive, packs, limit_bytes)?;
                if smaller.len() < 2 {
                    drive
                        .control
                        .failed(&store::Error::TooLarge { limit_bytes }.into());
                    drive.pause(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                groups.extend(smaller);
            }
            Err(Error::Store(store::Error::Missing { what })) => {
                log::warn!("{what} is gone; the archive gets a new shelf");
                drive.forget_shelf(archive);
                groups.push(packs);
                drive.pause(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
            }
            Err(Error::Store(error)) => {
                drive.control.failed(&error.into());
                drive.pause(pause).await;
                pause = (pause * 2).min(RETRY_MAX);
                doubtful.push(packs);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((count, bytes))
}

/// Splits a group that is too big for one put; packs that are too big alone are packed anew.
fn split(drive: &Drive, packs: Vec<Pack>, limit_bytes: u64) -> Result<Vec<Vec<Pack>>, Error> {
    let object_max = drive.store.limits().object_bytes_max;
    let total: u64 = packs.iter().map(|pack| pack.body.len()).sum();
    log::info!(
        "{total} bytes were too much for one message (limit {limit_bytes}); sending less at once"
    );
    let mut repacked = Vec::new();
    for pack in packs {
        if pack.body.len() <= object_max && pack.body.len() < total {
            repacked.push(vec![pack]);
        } else {
            repacked.extend(
                repack(
                    drive,
                    &pack,
                    object_max
                        .min(pack.body.len() / 2)
                        .max(PackBuilder::CAPACITY_BYTES_MIN),
                )?
                .into_iter()
                .map(|pack| vec![pack]),
            );
        }
    }
    Ok(repacked)
}

/// Opens a pack and puts its chunks into smaller ones, each with a new id and so with new keys.
fn repack(drive: &Drive, old: &Pack, capacity: u64) -> Result<Vec<Pack>, Error> {
    let whole: Vec<u8> = old.body.parts().concat();
    let mut packs = Vec::new();
    let mut builder = PackBuilder::new(&drive.keys, capacity);
    for frame in &old.frames {
        let sealed = &whole[frame.offset as usize..][..frame.sealed_len as usize];
        let plain = pack::open_frame(&drive.keys, old.id, frame, sealed)?;
        if !builder.fits(plain.len()) && !builder.frames().is_empty() {
            packs.push(
                std::mem::replace(&mut builder, PackBuilder::new(&drive.keys, capacity)).finish(),
            );
        }
        builder.push(frame.chunk, &plain)?;
    }
    packs.push(builder.finish());
    Ok(packs)
}

/// How many packs, and their bytes.
fn measure(packs: &[Pack]) -> (u64, u64) {
    (
        packs.len() as u64,
        packs.iter().map(|pack| pack.body.len()).sum(),
    )
}

/// What of a group is already on the shelf, although no answer said so.
async fn find_put(
    drive: &Arc<Drive>,
    archive: ArchiveNo,
    packs: Vec<Pack>,
) -> Result<Vec<Pack>, Error> {
    let shelf = drive.shelf_of(archive).await?;
    let page = drive.store.list(&shelf, Span::Newest).await?;
    let mut missing = Vec::new();
    for pack in packs {
        let name = pack::pack_name(pack.id);
        match page
            .entries
            .iter()
            .find(|entry| entry.name == name && entry.bytes == pack.body.len())
        {
            Some(entry) => acknowledged(
                drive,
                &intent(archive, &shelf, &pack),
                &pack,
                entry.locator.clone(),
            )?,
            None => missing.push(pack),
        }
    }
    Ok(missing)
}

async fn put_once(drive: &Arc<Drive>, archive: ArchiveNo, packs: &[Pack]) -> Result<(), Error> {
    if packs.is_empty() {
        return Ok(());
    }
    let shelf = drive.shelf_of(archive).await?;
    let intents: Vec<Intent> = packs
        .iter()
        .map(|pack| intent(archive, &shelf, pack))
        .collect();
    for intent in &intents {
        let entry = Entry::Intent(drive.epoch_under_way(), vec![intent.clone()]);
        drive.spool.append(&entry.encode(), &[])?;
    }
    let objects = packs
        .iter()
        .map(|pack| Object {
            name: pack::pack_name(pack.id),
            body: pack.body.clone(),
        })
        .collect();
    let locators = drive.store.put(&shelf, objects).await?;
    if locators.len() != packs.len() {
        return Err(Error::Malformed);
    }
    for ((intent, locator), pack) in intents.iter().zip(locators).zip(packs) {
        acknowledged(drive, intent, pack, locator)?;
    }
    drive.card_progress(archive).await;
    Ok(())
}

/// The store has a pack: that is a fact from now on.
fn acknowledged(
    drive: &Drive,
    intent: &Intent,
    pack: &Pack,
    locator: Locator,
) -> Result<(), Error> {
    let batch = intent.places(locator.0)?;
    drive.spool.append(
        &Entry::Fact(drive.epoch_under_way(), batch.clone()).encode(),
        &[],
    )?;
    drive.index.amend(batch)?;
    drive.keep_frames(pack);
    let plain: u64 = pack
        .frames
        .iter()
        .map(|frame| u64::from(frame.plain_len))
        .sum();
    drive.control.post(|board| {
        board.epoch_done_bytes += plain;
        board.packs += 1;
        board.pack_bytes += pack.body.len();
    });
    Ok(())
}

fn intent(archive: ArchiveNo, shelf: &Shelf, pack: &Pack) -> Intent {
    let place = |frame: &pack::Frame| ChunkPlace {
        pack: pack.id,
        slot: frame.slot,
        offset: frame.offset,
        sealed_len: frame.sealed_len,
        plain_len: frame.plain_len,
    };
    Intent {
        shelf: shelf.0.clone(),
        archive,
        bytes: pack.body.len(),
        frames: pack
            .frames
            .iter()
            .map(|frame| (frame.chunk, place(frame)))
            .collect(),
    }
}
