//! The superblock on the journal shelf: pinned, so that it is found at once, and put again as a whole
//! in the next generation when it changes.

use crate::codec::Sealed;
use crate::codec::key::MasterKey;
use crate::codec::superblock::Superblock;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::names::Name;
use crate::store::Entry;
use crate::store::Locator;
use crate::store::Mark;
use crate::store::Object;
use crate::store::Span;
use crate::store::Store;
use crate::store::Urgency;

/// Pages at the journal's beginning that are searched for a superblock whose pin was removed: it was
/// the first object of all.
const FIRST_PAGES: usize = 2;

/// A superblock that lies on the journal shelf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it lies.
    pub locator: Locator,
    /// Greater is newer.
    pub generation: u64,
    bytes: u64,
}

fn generation(name: &str) -> Option<u64> {
    match Name::parse(name)? {
        Name::Superblock { generation, .. } => Some(generation),
        Name::Part(_) | Name::Lease { .. } => None,
    }
}

fn newest(entries: Vec<Entry>) -> Vec<Found> {
    let found = entries.into_iter().filter_map(|entry| {
        Some(Found {
            generation: generation(&entry.name)?,
            locator: entry.locator,
            bytes: entry.bytes,
        })
    });
    let mut found: Vec<Found> = found.collect();
    found.sort_by_key(|found| std::cmp::Reverse(found.generation));
    found
}

/// The superblocks of the drive, newest first; none if there is no drive.
///
/// # Errors
/// What the store says.
pub async fn find(store: &dyn Store) -> Result<Vec<Found>, Error> {
    let pinned = newest(store.pinned().await?);
    if !pinned.is_empty() {
        return Ok(pinned);
    }
    let (mut span, mut entries) = (Span::After(Mark(0)), Vec::new());
    for _ in 0..FIRST_PAGES {
        let page = store.list(&store.journal(), span).await?;
        entries.extend(page.entries);
        match page.next {
            Some(next) => span = Span::After(next),
            None => break,
        }
    }
    Ok(newest(entries))
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

/// Puts and pins a superblock.
///
/// # Errors
/// What the store says.
pub async fn put(
    store: &dyn Store,
    superblock: &Superblock,
    master: &MasterKey,
) -> Result<(), Error> {
    let name = Name::Superblock {
        generation: superblock.generation(),
        salt: crate::codec::key::random(),
    };
    let object = Object {
        name: name.text(),
        body: superblock.encode(master),
    };
    let put = store.put(&store.journal(), vec![object]).await?;
    let locator = put.into_iter().next().ok_or(Error::Malformed)?;
    Ok(store.pin(&locator).await?)
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
    let mut span = Span::Newest;
    loop {
        let page = store.list(&store.journal(), span).await?;
        let is_part = |entry: &Entry| matches!(Name::parse(&entry.name), Some(Name::Part(_)));
        if page.entries.iter().any(is_part) {
            return Ok(true);
        }
        match page.next {
            Some(next) => span = Span::Before(next),
            None => return Ok(false),
        }
    }
}
