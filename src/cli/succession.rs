//! Another superblock takes the place of the one that is in effect: in a new place, with a new secret, or pinned again.

use std::path::Path;

use anyhow::Result;

use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::cli::paths;
use crate::cli::remote::Places;
use crate::cli::remote::Site;
use crate::cli::remote::Unlocked;
use crate::codec::superblock::Superblock;
use crate::drive;
use crate::drive::superblock;
use crate::drive::superblock::Found;
use crate::store::Store;

/// Puts the next superblock, which is in effect from then on; then removes those of the drive before it, so that
/// it opens at every moment. Gives why one of these is still there, in which an older secret still fits.
///
/// # Errors
/// With code `Leased` when another machine put one at the same time: then this one is not in effect.
pub(crate) async fn succeed(store: &dyn Store, next: &Unlocked) -> Result<Option<drive::Error>> {
    let before = superblock::find(store).await?;
    if !superblock::put(store, &next.superblock, &next.master).await? {
        return Err(fault(
            Code::Leased,
            "another machine changed the passphrase, the recovery key or the channels of this drive at the same \
             time; open it again and change it once more",
        ));
    }
    let mut left = None;
    for old in before {
        if let Err(error) = remove_old(store, next, &old).await {
            left.get_or_insert(error);
        }
    }
    Ok(left)
}

async fn remove_old(store: &dyn Store, next: &Unlocked, old: &Found) -> Result<(), drive::Error> {
    let before = next.found.as_ref();
    let is_known = before.is_some_and(|before| before.locator == old.locator);
    if is_known || !superblock::is_of_another(store, old, next.drive()).await? {
        // Its pin goes with it: without it, it would not be found again if it stayed.
        store.remove(std::slice::from_ref(&old.locator)).await?;
    }
    Ok(())
}

/// Pins the superblock where none is pinned: whoever put it was killed before, or somebody took the pin away. It is
/// found without it too, so what keeps it from being pinned is a warning.
pub(crate) async fn keep_pinned(store: &dyn Store, unlocked: &Unlocked) {
    let Some(found) = unlocked.found.as_ref().filter(|found| !found.is_pinned) else {
        return;
    };
    match store.pin(&found.locator).await {
        Ok(()) => log::info!("the superblock was not pinned, and is now"),
        Err(error) => log::warn!("the superblock is not pinned, and cannot be: {error}"),
    }
}

/// Tells the superblock where the drive is now, if the configuration says something else: somebody
/// made a new archives channel.
pub(crate) async fn follow_places(
    store: &dyn Store,
    site: &Site,
    unlocked: Unlocked,
) -> Result<Unlocked> {
    let told = Places::of(&unlocked.superblock)?;
    let places = Places {
        archives_channel: site.archives,
        ..told
    };
    if places == told {
        return Ok(unlocked);
    }
    let next = Unlocked {
        superblock: unlocked
            .superblock
            .with_places(&unlocked.master, places.encode()?)?,
        master: unlocked.master,
        found: unlocked.found,
    };
    if let Some(error) = succeed(store, &next).await? {
        log::warn!("an older superblock stays on Discord: {error}");
    }
    log::info!("the drive's archives are in channel {} now", site.archives);
    Ok(next)
}

/// Keeps a copy of the superblock in the state directory of its drive, unless a newer one is there: somebody may have
/// changed the passphrase while a drive was opened.
pub(crate) fn keep_copy(state_dir: &Path, unlocked: &Unlocked) -> Result<()> {
    let bytes = unlocked.superblock.encode(&unlocked.master).to_bytes();
    let path = state_dir.join(superblock::COPY);
    if std::fs::read(&path).is_ok_and(|old| old == bytes || is_newer(&old, unlocked)) {
        return Ok(());
    }
    paths::write_private(&path, &bytes)
        .or_fault(Code::Disk, || format!("cannot write {}", path.display()))
}

/// Is this the drive's superblock of a later generation?
fn is_newer(copy: &[u8], unlocked: &Unlocked) -> bool {
    Superblock::decode(copy).is_ok_and(|copy| {
        copy.is_by(&unlocked.master)
            && copy.drive() == unlocked.drive()
            && copy.generation() > unlocked.superblock.generation()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cli::remote::unlock;
    use crate::codec::key::Secret;
    use crate::codec::superblock::Cost;
    use crate::store::discord::Token;
    use crate::store::faulty::Fault;
    use crate::store::faulty::Faulty;
    use crate::store::faulty::Rule;
    use crate::store::faulty::Verb;
    use crate::store::memory::Memory;

    fn secret(text: &str) -> Secret {
        Secret::passphrase(text.into()).expect("long enough")
    }

    fn first() -> Unlocked {
        let made = Superblock::create(&secret("the first one"), Cost::LEAST, Vec::new());
        let (superblock, master, _) = made.expect("made");
        Unlocked {
            superblock,
            master,
            found: None,
        }
    }

    fn with_passphrase(from: &Unlocked, text: &str) -> Unlocked {
        let (superblock, master) = (&from.superblock, &from.master);
        let changed = superblock.with_passphrase(master, &secret(text), Cost::LEAST);
        Unlocked {
            superblock: changed.expect("sealed"),
            master: master.clone(),
            found: None,
        }
    }

    fn nowhere() -> Site {
        Site {
            token: Token::new("x.y.z").expect("a token"),
            api_base: String::new(),
            guild: 0,
            journal: 0,
            archives: 0,
            attachment_bytes: None,
            patience: None,
        }
    }

    async fn opens(store: &dyn Store, text: &str) -> bool {
        let state = tempfile::tempdir().expect("a directory");
        unlock(store, &nowhere(), state.path(), &secret(text))
            .await
            .is_ok()
    }

    #[test]
    fn an_older_superblock_takes_no_newer_one_s_place_in_the_state_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(superblock::COPY);
        let older = first();
        let newer = with_passphrase(&older, "the second one");
        let bytes = |of: &Unlocked| of.superblock.encode(&of.master).to_bytes().to_vec();
        for (kept, expected) in [(&older, &older), (&newer, &newer), (&older, &newer)] {
            keep_copy(dir.path(), kept).expect("written");
            assert_eq!(std::fs::read(&path).expect("there"), bytes(expected));
        }
        // What only looks like a newer one is none.
        let mut harmed = bytes(&newer);
        *harmed.last_mut().expect("not empty") ^= 1;
        for other in [harmed, bytes(&with_passphrase(&first(), "another drive"))] {
            std::fs::write(&path, other).expect("written");
            keep_copy(dir.path(), &older).expect("written");
            assert_eq!(std::fs::read(&path).expect("there"), bytes(&older));
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_two_changes_at_the_same_time_one_at_most_is_in_effect_and_the_other_is_told() {
        for verb in [Verb::Put, Verb::Pin] {
            let store = Arc::new(Faulty::new(Memory::default()));
            let first = first();
            succeed(&*store, &first).await.expect("put");
            let (one, two) = (
                with_passphrase(&first, "this one"),
                with_passphrase(&first, "that one"),
            );
            // Both have looked before either is there.
            let gate = Arc::new(tokio::sync::Semaphore::new(0));
            store.add(Rule::next(verb, Fault::Held(Arc::clone(&gate))));
            let held = Arc::clone(&store);
            let late = tokio::spawn(async move { succeed(&*held, &two).await });
            while store.struck() == 0 {
                tokio::task::yield_now().await;
            }
            succeed(&*store, &one).await.expect("it is alone");
            gate.add_permits(1);
            let told = late
                .await
                .expect("no panic")
                .expect_err("the later one is told");
            assert_eq!(crate::cli::exit::code_of(&told), Code::Leased);
            assert!(opens(&*store, "this one").await);
            assert!(!opens(&*store, "that one").await);
            let left = superblock::find(&*store).await.expect("listed");
            assert_eq!(left.len(), 1, "{verb:?} {left:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_change_that_died_before_it_was_taken_back_locks_nobody_out() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let first = first();
        succeed(&*store, &first).await.expect("put");
        let (one, two) = (
            with_passphrase(&first, "this one"),
            with_passphrase(&first, "that one"),
        );
        let (gate, shut) = (
            Arc::new(tokio::sync::Semaphore::new(0)),
            tokio::sync::Semaphore::new(0),
        );
        store.add(Rule::next(Verb::Pin, Fault::Held(Arc::clone(&gate))));
        store.add(Rule::always(Verb::Remove, Fault::Held(Arc::new(shut))));
        let held = Arc::clone(&store);
        let late = tokio::spawn(async move { succeed(&*held, &two).await });
        while store.struck() == 0 {
            tokio::task::yield_now().await;
        }
        let beside = Arc::clone(&store);
        let early = tokio::spawn(async move { succeed(&*beside, &one).await });
        while store.struck() < 2 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(1);
        while store.struck() < 3 {
            tokio::task::yield_now().await;
        }
        late.abort();
        early.abort();
        assert!(opens(&*store, "this one").await);
        assert!(opens(&*store, "that one").await);
        assert!(!opens(&*store, "the first one").await);
    }
}
