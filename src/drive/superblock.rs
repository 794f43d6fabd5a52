//! The superblock on the journal shelf: pinned, so that it is found at once, and put again as a whole
//! in the next generation when it changes.

use crate::codec::Sealed;
use crate::codec::key::MasterKey;
use crate::codec::superblock::Superblock;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::names::Name;
use crate::id::DriveId;
use crate::store::Entry;
use crate::store::Locator;
use crate::store::Mark;
use crate::store::Object;
use crate::store::Span;
use crate::store::Store;
use crate::store::Urgency;

/// A superblock that lies on the journal shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it lies.
    pub locator: Locator,
    /// Greater is newer.
    pub generation: u64,
    /// One that is not was found by looking through the journal.
    pub is_pinned: bool,
    bytes: u64,
}

fn generation(name: &str) -> Option<u64> {
    match Name::parse(name)? {
        Name::Superblock { generation, .. } => Some(generation),
        Name::Part(_) | Name::Lease { .. } => None,
    }
}

/// Of several of one generation, the one that was put last: whoever put another was killed before it was in effect.
fn newest(mut entries: Vec<Entry>, is_pinned: bool) -> Vec<Found> {
    entries.sort_by_key(|entry| std::cmp::Reverse((generation(&entry.name), entry.mark)));
    let found = entries.into_iter().filter_map(|entry| {
        Some(Found {
            generation: generation(&entry.name)?,
            locator: entry.locator,
            is_pinned,
            bytes: entry.bytes,
        })
    });
    found.collect()
}

/// The superblocks of the drive, newest first; none if there is no drive. When somebody removed the pin, all of
/// the journal is looked through: each change puts the superblock again, behind what the journal holds by then.
///
/// # Errors
/// What the store says.
pub async fn find(store: &dyn Store) -> Result<Vec<Found>, Error> {
    let pinned = newest(store.pinned().await?, true);
    if !pinned.is_empty() {
        return Ok(pinned);
    }
    let (mut span, mut entries) = (Span::After(Mark(0)), Vec::new());
    loop {
        let page = store.list(&store.journal(), span).await?;
        let superblocks = page.entries.into_iter();
        entries.extend(superblocks.filter(|entry| generation(&entry.name).is_some()));
        match page.next {
            Some(next) => span = Span::After(next),
            None => return Ok(newest(entries, false)),
        }
    }
}

/// Fetches a superblock.
///
/// # Errors
/// [`Error::Newer`], [`Error::Damaged`], or what the store says.
pub async fn fetch(store: &dyn Store, found: &Found) -> Result<Superblock, Error> {
    let bytes = store
        .get(&found.locator, 0..found.bytes, Urgency::Foreground)
        .await?;
    Ok(Superblock::decode(&bytes)?)
}

/// Is this the superblock of another drive? One that cannot be read is nobody's.
///
/// # Errors
/// What the store says, but for damage.
pub async fn is_of_another(
    store: &dyn Store,
    found: &Found,
    drive: DriveId,
) -> Result<bool, Error> {
    match fetch(store, found).await {
        Ok(fetched) => Ok(fetched.drive() != drive),
        Err(error) if error.is_damage() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Puts and pins a superblock, unless another machine puts one of the same drive that is as new at the same time.
/// Gives whether it is in effect; if not, it is gone again. Of machines that pin at the same time, whoever pins last
/// sees the others: so one of them at most succeeds, and it can be that none does. One that cannot be pinned is not
/// in effect either.
///
/// # Errors
/// What the store says.
pub async fn put(
    store: &dyn Store,
    superblock: &Superblock,
    master: &MasterKey,
) -> Result<bool, Error> {
    let own = send(store, superblock, master).await?;
    let settled = async {
        store.pin(&own).await?;
        Ok(rivals(store, superblock, &own).await?.is_empty())
    };
    let in_effect = settled.await;
    if !matches!(in_effect, Ok(true)) {
        withdraw(store, own).await;
    }
    in_effect
}

/// Puts and pins the superblock of a new drive, unless the shelf has one already; was it put? Of two drives that are
/// made at once, the one whose superblock arrives first is there, and the other never was.
///
/// # Errors
/// What the store says.
pub async fn put_first(
    store: &dyn Store,
    superblock: &Superblock,
    master: &MasterKey,
) -> Result<bool, Error> {
    let locator = send(store, superblock, master).await?;
    let pin_first = async {
        let is_first = oldest(store).await?.as_ref() == Some(&locator);
        if is_first {
            store.pin(&locator).await?;
        }
        Ok(is_first)
    };
    let put = pin_first.await;
    if !matches!(put, Ok(true)) {
        withdraw(store, locator).await;
    }
    put
}

async fn send(
    store: &dyn Store,
    superblock: &Superblock,
    master: &MasterKey,
) -> Result<Locator, Error> {
    let name = Name::Superblock {
        generation: superblock.generation(),
        salt: crate::codec::key::random(),
    };
    let object = Object {
        name: name.text(),
        body: superblock.encode(master),
    };
    let put = store.put(&store.journal(), vec![object]).await?;
    put.into_iter().next().ok_or(Error::Malformed)
}

async fn withdraw(store: &dyn Store, locator: Locator) {
    if let Err(error) = store.remove(&[locator]).await {
        log::warn!("a superblock that is not in effect stays on the store: {error}");
    }
}

/// The other superblocks of this drive that are as new as this one, or newer.
async fn rivals(
    store: &dyn Store,
    superblock: &Superblock,
    own: &Locator,
) -> Result<Vec<(Superblock, Found)>, Error> {
    let mut rivals = Vec::new();
    for found in find(store).await? {
        if found.locator == *own || found.generation < superblock.generation() {
            continue;
        }
        match fetch(store, &found).await {
            Ok(other) if is_as_new(&other, superblock) => rivals.push((other, found)),
            Ok(_) => {}
            // It was taken back just now, or never counted.
            Err(error) if error.is_damage() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(rivals)
}

fn is_as_new(other: &Superblock, than: &Superblock) -> bool {
    other.drive() == than.drive() && other.generation() >= than.generation()
}

/// The other superblocks of this generation and drive, if they are pinned. A machine that died before it could take
/// its own back leaves one: then the secret of either opens the drive.
///
/// # Errors
/// What the store says.
pub async fn twins(
    store: &dyn Store,
    superblock: &Superblock,
    own: &Found,
) -> Result<Vec<(Superblock, Found)>, Error> {
    let mut twins = rivals(store, superblock, &own.locator).await?;
    twins.retain(|(_, found)| found.is_pinned && found.generation == superblock.generation());
    Ok(twins)
}

/// The superblock that arrived before all others, of whatever drive.
async fn oldest(store: &dyn Store) -> Result<Option<Locator>, Error> {
    let mut span = Span::After(Mark(0));
    loop {
        let page = store.list(&store.journal(), span).await?;
        let mut entries = page.entries.into_iter();
        if let Some(first) = entries.find(|entry| generation(&entry.name).is_some()) {
            return Ok(Some(first.locator));
        }
        match page.next {
            Some(next) => span = Span::After(next),
            None => return Ok(None),
        }
    }
}

/// Name of the superblock's copy in a state directory.
pub const COPY: &str = "superblock";

impl Drive {
    /// The copy of the superblock that this machine keeps, and its bytes as they can be put again.
    pub(in crate::drive) fn kept_superblock(&self) -> Option<(Superblock, Sealed)> {
        let bytes = std::fs::read(self.settings.state_dir.join(COPY)).ok()?;
        let (kept, sealed) = Superblock::again(&bytes).ok()?;
        (kept.drive() == self.id).then_some((kept, sealed))
    }
}

/// Has anything been published on this drive? One that has just been made has no journal to follow.
///
/// # Errors
/// What the store says.
pub async fn has_history(store: &dyn Store) -> Result<bool, Error> {
    holds(store, |name| matches!(name, Name::Part(_))).await
}

/// Is anything of a drive on the journal shelf, be it without its superblock?
///
/// # Errors
/// What the store says.
pub async fn is_taken(store: &dyn Store) -> Result<bool, Error> {
    holds(store, |_| true).await
}

/// Is there an object of ours on the journal shelf that is so?
async fn holds(store: &dyn Store, is_so: fn(Name) -> bool) -> Result<bool, Error> {
    let mut span = Span::Newest;
    loop {
        let page = store.list(&store.journal(), span).await?;
        let mut names = page.entries.iter().map(|entry| Name::parse(&entry.name));
        if names.any(|name| name.is_some_and(is_so)) {
            return Ok(true);
        }
        match page.next {
            Some(next) => span = Span::Before(next),
            None => return Ok(false),
        }
    }
}
