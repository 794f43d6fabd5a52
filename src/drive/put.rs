//! One put of the drain: packs go to their archive's shelf, however often it takes, until the store has them whole.

use std::sync::Arc;
use std::time::Duration;

use crate::codec::pack;
use crate::codec::pack::Pack;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::kept::not_kept;
use crate::drive::record::Entry;
use crate::drive::record::Intent;
use crate::drive::repack::Smaller;
use crate::drive::repack::split;
use crate::id::ArchiveNo;
use crate::index::chunk::ChunkPlace;
use crate::store;
use crate::store::Locator;
use crate::store::Object;
use crate::store::Shelf;
use crate::store::Span;

/// How often in a row a put is made again at once that the store does not keep whole, before that is told.
const CUT_OFF_MAX: u32 = 4;

/// First pause before a failed put is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(500);

/// Longest pause before a failed put is tried again.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Puts packs, however often it takes, until they are acknowledged or the drive is closed.
pub(in crate::drive) async fn put_until_done(
    drive: &Arc<Drive>,
    archive: ArchiveNo,
    packs: Vec<Pack>,
) -> Result<(), Error> {
    let mut groups = vec![packs];
    let mut patience = Patience::new(drive);
    let mut doubtful: Vec<Vec<Pack>> = Vec::new();
    let mut cut_off = 0;
    loop {
        if drive.control.stopping() {
            return Err(Error::Closing);
        }
        let shelf = match drive.shelf_of(archive).await {
            Ok(shelf) => shelf,
            Err(Error::Store(error)) => {
                patience.fail(&error.into()).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(packs) = doubtful.pop() {
            match find_put(drive, archive, &shelf, packs.clone()).await {
                Ok(missing) => groups.push(missing),
                Err(Error::Store(store::Error::Missing { .. })) => groups.push(packs),
                Err(error) => {
                    doubtful.push(packs);
                    patience.fail(&error).await;
                    continue;
                }
            }
        }
        let Some(packs) = groups.pop() else { break };
        match put_once(drive, archive, &shelf, &packs).await {
            Ok(Put::Kept) => {
                cut_off = 0;
                patience.renew();
            }
            Ok(Put::CutOff) => {
                groups.push(packs);
                cut_off += 1;
                if cut_off >= CUT_OFF_MAX {
                    patience.fail(&not_kept()).await;
                }
            }
            Err(Error::Store(store::Error::TooLarge { limit_bytes })) => {
                match split(drive, packs, limit_bytes)? {
                    Smaller::Groups(smaller) => groups.extend(smaller),
                    Smaller::Same(packs) => {
                        groups.push(packs);
                        let error = store::Error::TooLarge { limit_bytes };
                        patience.fail(&error.into()).await;
                    }
                }
            }
            Err(Error::Store(store::Error::Missing { what })) => {
                drive.lose_shelf(archive, &shelf, &what)?;
                groups.push(packs);
            }
            Err(Error::Store(error)) => {
                doubtful.push(packs);
                patience.fail(&error.into()).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Pauses between attempts, each twice as long as the one before.
struct Patience<'d> {
    drive: &'d Drive,
    pause: Duration,
}

impl<'d> Patience<'d> {
    fn new(drive: &'d Drive) -> Patience<'d> {
        let pause = RETRY_FIRST;
        Patience { drive, pause }
    }

    /// Tells of a failure, and waits.
    async fn fail(&mut self, error: &Error) {
        self.drive.control.failed(error);
        self.drive.pause(self.pause).await;
        self.pause = (self.pause * 2).min(RETRY_MAX);
    }

    /// Something worked.
    fn renew(&mut self) {
        self.pause = RETRY_FIRST;
        self.drive.control.succeeded();
    }
}

/// What of a group is already on the shelf, although no answer said so.
async fn find_put(
    drive: &Arc<Drive>,
    archive: ArchiveNo,
    shelf: &Shelf,
    packs: Vec<Pack>,
) -> Result<Vec<Pack>, Error> {
    let page = drive.store.list(shelf, Span::Newest).await?;
    let (mut there, mut kept, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for pack in packs {
        let name = pack::pack_name(pack.id);
        let entry = page
            .entries
            .iter()
            .find(|entry| entry.name == name && entry.bytes == pack.body.len());
        match entry {
            Some(entry) => {
                kept.push((entry.locator.clone(), entry.bytes));
                there.push(pack);
            }
            None => missing.push(pack),
        }
    }
    // All or none: what was put together is removed together.
    if !drive.is_kept(&kept).await? {
        missing.append(&mut there);
    }
    for (pack, (locator, _)) in there.iter().zip(kept) {
        acknowledged(drive, &intent(archive, shelf, pack), pack, locator)?;
    }
    Ok(missing)
}

/// What became of packs that the store acknowledged.
enum Put {
    /// They are facts.
    Kept,
    /// It kept less than it was sent, and they are removed again.
    CutOff,
}

async fn put_once(
    drive: &Arc<Drive>,
    archive: ArchiveNo,
    shelf: &Shelf,
    packs: &[Pack],
) -> Result<Put, Error> {
    if packs.is_empty() {
        return Ok(Put::Kept);
    }
    let intents: Vec<Intent> = packs
        .iter()
        .map(|pack| intent(archive, shelf, pack))
        .collect();
    for intent in &intents {
        let entry = Entry::Intent(drive.epoch_under_way(), vec![intent.clone()]);
        drive.take_down(&entry)?;
    }
    let objects = packs
        .iter()
        .map(|pack| Object {
            name: pack::pack_name(pack.id),
            body: pack.body.clone(),
        })
        .collect();
    let locators = drive.store.put(shelf, objects).await?;
    if locators.len() != packs.len() {
        return Err(Error::Malformed);
    }
    let bytes = packs.iter().map(|pack| pack.body.len());
    let kept: Vec<(Locator, u64)> = locators.into_iter().zip(bytes).collect();
    if !drive.is_kept(&kept).await? {
        return Ok(Put::CutOff);
    }
    for ((intent, (locator, _)), pack) in intents.iter().zip(kept).zip(packs) {
        acknowledged(drive, intent, pack, locator)?;
    }
    drive.card_progress(archive).await;
    Ok(Put::Kept)
}

/// The store has a pack: that is a fact from now on, unless its shelf was lost since.
///
/// # Errors
/// [`store::Error::Missing`] then.
fn acknowledged(
    drive: &Drive,
    intent: &Intent,
    pack: &Pack,
    locator: Locator,
) -> Result<(), Error> {
    let batch = intent.places(locator.0)?;
    let held = drive.losses.hold_shelves();
    if !drive.has_shelf(intent.archive, &Shelf(intent.shelf.clone())) {
        return Err(Error::Store(store::Error::Missing {
            what: format!("the thread that pack {} was sent to", pack.id),
        }));
    }
    drive.take_down(&Entry::Fact(drive.epoch_under_way(), batch.clone()))?;
    drive.index.amend(batch)?;
    drop(held);
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
