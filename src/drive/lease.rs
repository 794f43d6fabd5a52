//! One writer at a time: who mounts a drive says so on the journal shelf, pinned so that it is found at once.
//!
//! A lease is never taken away by time alone: a laptop that slept for a week may wake with unpublished
//! changes. Taking over is explicit, and [`crate::drive::publish`] notices it before it publishes anything. It takes
//! nothing away before the drive is open: others' leases go last, and a takeover that fails gives back its own.

use std::collections::HashSet;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Time;
use crate::codec;
use crate::codec::note;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Takeover;
use crate::drive::branch::HeadIs;
use crate::drive::names::Name;
use crate::drive::rebuild::Watch;
use crate::store;
use crate::store::Entry;
use crate::store::Locator;
use crate::store::Mark;
use crate::store::Object;
use crate::store::Span;
use crate::store::Urgency;

/// How often a lease is renewed while mounted, seconds. Four requests each time.
pub(in crate::drive) const RENEW_S: u64 = 30 * 60;

const LABEL: &str = "lease";

/// The text of a lease is filled up to a multiple of so many bytes.
const TEXT_STEP: usize = 512;

/// Our lease.
#[derive(Clone, Debug)]
pub(in crate::drive) struct Held {
    /// Where it lies, and those before it that could not be removed yet.
    pub(in crate::drive) locators: Vec<Locator>,
    /// When the drive was mounted.
    pub(in crate::drive) since: Time,
    /// Leases of other machines that are to go once the drive is open here.
    displaces: Vec<Locator>,
    /// Did this opening put one?
    is_put: bool,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Text {
    holder: String,
    since_ns: i64,
    seen_ns: i64,
    /// Where the holder keeps what waits, as its machine calls it.
    #[serde(default)]
    state_dir: String,
}

/// What a lease says of its holder, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::drive) struct Told {
    pub(in crate::drive) holder: String,
    pub(in crate::drive) since: String,
    pub(in crate::drive) seen: String,
    pub(in crate::drive) state_dir: String,
}

fn shown(nanoseconds: i64) -> String {
    let seconds = Time(nanoseconds).seconds();
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

/// Who holds a lease, since when, and when it was last seen, in words.
pub(in crate::drive) fn read(text: &[u8]) -> Option<Told> {
    let text: Text = serde_json::from_slice(text).ok()?;
    Some(Told {
        holder: text.holder,
        since: shown(text.since_ns),
        seen: shown(text.seen_ns),
        state_dir: text.state_dir,
    })
}

/// What another machine's lease means to whoever had the drive.
pub(in crate::drive) fn taken_over(leased: &Error) -> Error {
    let who = match leased {
        Error::Leased { holder, since, .. } => format!(" ({holder}, since {since})"),
        _ => String::new(),
    };
    Error::TakenOver(format!(
        "another machine took the drive over{who}; what waits here stays in the spool; to take the drive back, unmount it \
         there and mount it here again, or mount it with --takeover"
    ))
}

impl Drive {
    /// Takes the lease, or says who has it. What is taken over stays until [`Drive::displace_others`]. Tells what was
    /// found of the state that the index had, if the journal was followed for that.
    pub(in crate::drive) async fn take_lease(&self, watch: Watch<'_>) -> Result<HeadIs, Error> {
        self.refuse_copy()?;
        let mut head_is = HeadIs::Listed;
        let (own, foreign) = self.leases().await?;
        if !foreign.is_empty() {
            *self.lock_lease() = Some(Held {
                locators: own.clone(),
                since: self.now(),
                displaces: foreign.clone(),
                is_put: false,
            });
            // Whoever cannot follow the journal, because of a fork perhaps, disturbs nobody.
            self.note_lease(false)?;
            head_is = self.catch_up(watch).await?;
        }
        self.note_lease(!own.is_empty() && foreign.is_empty())?;
        self.take_name()?;
        self.put_lease(self.now()).await?;
        if !own.is_empty() {
            self.store.remove(&own).await?;
            self.forget_but_last();
        }
        // Two machines that mount at the same moment both see no lease at first.
        for entry in self.store.pinned().await? {
            if !foreign.contains(&entry.locator)
                && let Some(refused) = self.foreign_lease(&entry).await?
            {
                return Err(refused);
            }
        }
        Ok(head_is)
    }

    /// Where the leases lie: this state directory's own, and those of others, if they may be taken over.
    async fn leases(&self) -> Result<(Vec<Locator>, Vec<Locator>), Error> {
        let mut entries = self.store.pinned().await?;
        // Somebody may have removed the pin; a lease that is held is renewed, so it is among the newest.
        let newest = self.store.list(&self.store.journal(), Span::Newest).await?;
        entries.extend(newest.entries);
        let mut seen = HashSet::new();
        entries.retain(|entry| seen.insert(entry.locator.clone()));
        let (mut own, mut foreign) = (Vec::new(), Vec::new());
        for entry in entries {
            match self.foreign_lease(&entry).await? {
                Some(refused) if self.settings.takeover == Takeover::Refuse => return Err(refused),
                Some(_) => foreign.push(entry.locator),
                None if self.is_own_lease(&entry) => own.push(entry.locator),
                None => {}
            }
        }
        Ok((own, foreign))
    }

    /// The drive is open: the leases that were taken over go.
    pub(in crate::drive) async fn displace_others(&self) -> Result<(), Error> {
        let others = self.held().map_or_else(Vec::new, |held| held.displaces);
        if others.is_empty() {
            return Ok(());
        }
        self.store.remove(&others).await?;
        if let Some(held) = &mut *self.lock_lease() {
            held.displaces.clear();
        }
        Ok(())
    }

    /// Are there still leases of other machines that were to be taken over?
    pub(in crate::drive) fn is_taking_over(&self) -> bool {
        self.held().is_some_and(|held| !held.displaces.is_empty())
    }

    /// What keeps this machine out, if this entry of the journal shelf is a lease of another one. The name alone
    /// makes no lease: its text must open. It is read only where a name says so, which costs nothing otherwise.
    pub(in crate::drive) async fn foreign_lease(
        &self,
        entry: &Entry,
    ) -> Result<Option<Error>, Error> {
        match Name::parse(&entry.name) {
            Some(Name::Lease { instance, .. }) if !self.lineage.has(&instance) => {}
            _ => return Ok(None),
        }
        let opened = match self.open_lease(entry).await {
            Err(Error::Store(store::Error::Missing { .. })) => return Ok(None),
            Err(error @ (Error::Damaged(_) | Error::Store(store::Error::Broken { .. }))) => {
                let at = self.store.address_of(&entry.locator).unwrap_or_default();
                log::warn!("{} {at} is no lease of this drive: {error}", entry.name);
                return Ok(None);
            }
            // A newer ods says something else in it.
            Err(Error::Newer(_)) => None,
            opened => read(&opened?),
        };
        let unknown = || String::from("an unknown time");
        let told = opened.unwrap_or_else(|| Told {
            holder: String::from("another machine"),
            since: unknown(),
            seen: unknown(),
            state_dir: String::new(),
        });
        Ok(Some(Error::Leased {
            holder: told.holder,
            since: told.since,
            seen: told.seen,
            state_dir: told.state_dir,
        }))
    }

    async fn open_lease(&self, entry: &Entry) -> Result<Vec<u8>, Error> {
        let (at, whole) = (&entry.locator, 0..entry.bytes);
        let bytes = self
            .store
            .get(at, whole.clone(), Urgency::Foreground)
            .await?;
        match note::open_note(&self.keys, LABEL, &bytes) {
            Err(error @ codec::Error::NewerVersion { .. }) => Err(error.into()),
            Err(_) => {
                let again = self.store.get_again(at, whole).await?;
                Ok(note::open_note(&self.keys, LABEL, &again)?)
            }
            Ok(text) => Ok(text),
        }
    }

    /// Ends with an error if this entry of the journal shelf shows that another machine took the drive over.
    pub(in crate::drive) async fn refuse_takeover(&self, entry: &Entry) -> Result<(), Error> {
        match self.foreign_lease(entry).await? {
            None => Ok(()),
            Some(leased) => Err(taken_over(&leased)),
        }
    }

    async fn put_lease(&self, since: Time) -> Result<(), Error> {
        let text = Text {
            holder: self.settings.holder.clone(),
            since_ns: since.0,
            seen_ns: self.now().0,
            state_dir: self.settings.state_dir.to_string_lossy().into_owned(),
        };
        let mut text = serde_json::to_vec(&text).map_err(|_| Error::Malformed)?;
        // The length of a note shows, and would tell how long the names of machine and user are.
        text.resize(text.len().next_multiple_of(TEXT_STEP), b' ');
        let name = Name::Lease {
            instance: self.lineage.name(),
            salt: codec::key::random(),
        }
        .text();
        let object = Object {
            name,
            body: note::seal_note(&self.keys, LABEL, &text)?,
        };
        let mut locators = self.store.put(&self.store.journal(), vec![object]).await?;
        let locator = locators.first().cloned().ok_or(Error::Malformed)?;
        let mut displaces = Vec::new();
        if let Some(old) = self.held() {
            locators.extend(old.locators);
            displaces = old.displaces;
        }
        // Before it is pinned: it keeps others out all the same, and is to be given back.
        *self.lock_lease() = Some(Held {
            locators,
            since,
            displaces,
            is_put: true,
        });
        Ok(self.store.pin(&locator).await?)
    }

    fn lock_lease(&self) -> MutexGuard<'_, Option<Held>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> Option<Held> {
        self.lock_lease().clone()
    }

    /// Says again that the drive is in use here, unless another machine has taken it over; tells whether
    /// there was a lease to renew. Whoever took it over and gave it back has left none, but ours is gone then.
    pub(in crate::drive) async fn renew_lease(&self) -> Result<bool, Error> {
        let goes_on = self.control.board().barred().is_none();
        let Some(old) = self.held().filter(|_| goes_on) else {
            return Ok(false);
        };
        let pinned = self.store.pinned().await?;
        for entry in &pinned {
            self.refuse_takeover(entry).await?;
        }
        if !pinned
            .iter()
            .any(|entry| old.locators.contains(&entry.locator))
        {
            log::warn!(
                "this machine's lease is gone; another machine may have had the drive since"
            );
            self.note_lease(false)?;
            self.forget_look();
        }
        self.put_lease(old.since).await?;
        self.store.remove(&old.locators).await?;
        self.forget_but_last();
        Ok(true)
    }

    /// Our older leases are gone.
    fn forget_but_last(&self) {
        if let Some(held) = &mut *self.lock_lease() {
            held.locators.truncate(1);
        }
    }

    /// Gives the lease back.
    pub(in crate::drive) async fn drop_lease(&self) -> Result<(), Error> {
        let held = self.held().map_or_else(Vec::new, |held| held.locators);
        if !held.is_empty() {
            self.store.remove(&held).await?;
        }
        *self.lock_lease() = None;
        Ok(())
    }

    /// Gives back a lease that was on its way when nobody waited for it any more.
    pub(in crate::drive) async fn drop_unheard_lease(&self) -> Result<(), Error> {
        let (own, _) = self.leases().await?;
        match own.is_empty() {
            true => Ok(()),
            false => Ok(self.store.remove(&own).await?),
        }
    }

    fn is_own_lease(&self, entry: &Entry) -> bool {
        matches!(Name::parse(&entry.name), Some(Name::Lease { instance, .. }) if self.lineage.has(&instance))
    }

    /// Did this opening put a lease, which is to be listed?
    pub(in crate::drive) fn has_put_lease(&self) -> bool {
        self.held().is_some_and(|held| held.is_put)
    }

    /// Was this machine's lease there when it was opened, and has been since it last followed the journal?
    pub(in crate::drive) fn is_lease_kept(&self) -> bool {
        self.lease_kept.load(Ordering::Acquire)
    }

    /// Has this machine had the lease since before it last followed the journal, and has it still? Then nobody
    /// else has published meanwhile.
    pub(in crate::drive) async fn has_kept_lease(&self) -> Result<bool, Error> {
        if !self.is_lease_kept() {
            return Ok(false);
        }
        Ok(self.lease_mark().await?.is_some())
    }

    /// Where this machine's lease lies, if it is there still: whoever takes the drive over removes it before he
    /// publishes anything.
    pub(in crate::drive) async fn lease_mark(&self) -> Result<Option<Mark>, Error> {
        let held = self.held().map_or_else(Vec::new, |held| held.locators);
        let mut own = self.store.pinned().await?;
        own.retain(|entry| held.contains(&entry.locator));
        Ok(own.iter().map(|entry| entry.mark).max())
    }

    /// Where the lease lies that this opening has just put, if it is among these.
    pub(in crate::drive) fn lease_among(&self, listed: &[Entry]) -> Option<Mark> {
        let is_it = |entry: &&Entry| {
            let name = Name::parse(&entry.name);
            matches!(name, Some(Name::Lease { instance, .. }) if instance == self.lineage.name())
        };
        listed.iter().find(is_it).map(|entry| entry.mark)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;

    use super::*;
    use crate::drive::Settings;
    use crate::drive::fixture;
    use crate::store::Store;
    use crate::store::faulty::Fault;
    use crate::store::faulty::Faulty;
    use crate::store::faulty::Rule;
    use crate::store::faulty::Verb;
    use crate::store::memory::Memory;

    async fn open(
        dir: &std::path::Path,
        store: &Arc<Faulty<Memory>>,
        takeover: Takeover,
    ) -> Result<Arc<Drive>, Error> {
        let settings = Settings {
            takeover,
            ..fixture::settings(dir)
        };
        fixture::open(settings, store).await
    }

    async fn flush(drive: &Arc<Drive>) {
        let drive = Arc::clone(drive);
        let flushed = tokio::task::spawn_blocking(move || drive.flush(|| true));
        flushed.await.expect("no panic").expect("it is published");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_closes_with_changes_left_keeps_the_lease() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
        let first = open(dirs[0].path(), &store, Takeover::Refuse).await;
        // A new drive's root is such a change.
        first.expect("a new drive").close().await;
        let refused = open(dirs[1].path(), &store, Takeover::Refuse).await;
        assert!(matches!(refused, Err(Error::Leased { .. })), "{refused:?}");
        let again = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let again = again.expect("the lease is its own");
        flush(&again).await;
        again.close().await;
        drop(again);
        let other = open(dirs[1].path(), &store, Takeover::Refuse).await;
        other.expect("nothing waits any more").close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_change_is_taken_once_the_lease_may_be_given_back() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
        let first = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let first = first.expect("a new drive");
        flush(&first).await;
        first.close().await;
        let change =
            |change: &mut crate::drive::Change<'_>| crate::drive::archive::create_first(change);
        let refused = first.change(change);
        assert!(matches!(refused, Err(Error::Closing)), "{refused:?}");
        // What was taken before is as durable as ever.
        first.sync().expect("it is on the disk");
        let other = open(dirs[1].path(), &store, Takeover::Refuse).await;
        other.expect("nothing waits").close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lease_that_was_taken_over_is_not_renewed() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
        let old = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let old = old.expect("a new drive");
        old.renew_lease().await.expect("it is ours");
        let new = open(dirs[1].path(), &store, Takeover::Force).await;
        let new = new.expect("taken over");
        let refused = old.renew_lease().await;
        assert!(matches!(refused, Err(Error::TakenOver(_))), "{refused:?}");
        old.close().await;
        new.close().await;
    }

    /// A machine that has the drive with a change that waits, and one that was forked by it.
    async fn forked(store: &Arc<Faulty<Memory>>, dirs: &[tempfile::TempDir]) -> Arc<Drive> {
        let first = open(dirs[0].path(), store, Takeover::Refuse).await;
        let first = first.expect("a new drive");
        flush(&first).await;
        note(&first);
        first.close().await;
        drop(first);
        let second = open(dirs[1].path(), store, Takeover::Force).await;
        let second = second.expect("taken over");
        note(&second);
        flush(&second).await;
        note(&second);
        second
    }

    fn note(drive: &Arc<Drive>) {
        let change =
            |change: &mut crate::drive::Change<'_>| crate::drive::archive::create_first(change);
        drive.change(change).expect("there is room");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_spool_that_cannot_be_read_for_a_moment_gives_no_lease_away() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
        let first = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let first = first.expect("a new drive");
        flush(&first).await;
        note(&first);
        first.close().await;
        drop(first);
        // The index is made anew, and while it is, the spool's disk goes away.
        std::fs::remove_dir_all(dirs[0].path().join("index")).expect("removed");
        let [spool, away] = ["spool", "away"].map(|name| dirs[0].path().join(name));
        let hide = |_| drop(std::fs::rename(&spool, &away));
        let settings = fixture::settings(dirs[0].path());
        let failed = fixture::open_watched(settings, &store, &hide).await;
        assert!(matches!(failed, Err(Error::Disk(_))), "{failed:?}");
        std::fs::rename(&away, &spool).expect("it is back");
        let refused = open(dirs[1].path(), &store, Takeover::Refuse).await;
        assert!(matches!(refused, Err(Error::Leased { .. })), "{refused:?}");
        let again = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let again = again.expect("the lease is its own");
        flush(&again).await;
        again.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_takeover_that_fails_leaves_the_drive_to_whom_it_was_to_be_taken_from() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 4].map(|()| tempfile::tempdir().expect("temporary directory"));
        let second = forked(&store, &dirs).await;
        let refused = open(dirs[0].path(), &store, Takeover::Force).await;
        assert!(matches!(refused, Err(Error::Forked(_))), "{refused:?}");
        // Nor does one take anything that fails once its own lease is there.
        store.add(Rule::next(Verb::Pin, Fault::Unavailable));
        let refused = open(dirs[2].path(), &store, Takeover::Force).await;
        assert!(refused.is_err(), "the lease is not pinned");
        let refused = open(dirs[3].path(), &store, Takeover::Refuse).await;
        assert!(matches!(refused, Err(Error::Leased { .. })), "{refused:?}");
        flush(&second).await;
        second.renew_lease().await.expect("it is ours");
        second.close().await;
    }

    /// Interrupts an opening that has put its lease, and waits for this; gives how it ended.
    async fn interrupted(
        dir: &std::path::Path,
        store: &Arc<Faulty<Memory>>,
        rule: Rule,
    ) -> Result<Arc<Drive>, Error> {
        store.add(rule);
        let interrupt = Arc::new(Notify::new());
        let opening = tokio::spawn({
            let (settings, store) = (fixture::settings(dir), Arc::clone(store));
            let interrupt = Arc::clone(&interrupt);
            async move { fixture::open_until(settings, &store, &|_| {}, &interrupt).await }
        });
        let is_lease = |entry: &Entry| matches!(Name::parse(&entry.name), Some(Name::Lease { .. }));
        loop {
            let listed = store.list(&store.journal(), Span::Newest).await;
            if listed.expect("listed").entries.iter().any(is_lease) {
                break;
            }
            tokio::task::yield_now().await;
        }
        interrupt.notify_one();
        let ended = opening.await.expect("no panic");
        store.clear();
        ended
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_opening_that_is_interrupted_gives_back_the_lease_unless_changes_wait() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 3].map(|()| tempfile::tempdir().expect("temporary directory"));
        let first = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let first = first.expect("a new drive");
        flush(&first).await;
        first.close().await;
        let never = || Arc::new(tokio::sync::Semaphore::new(0));
        // While the journal is read, and while the lease is on its way.
        for rule in [
            Rule::always(Verb::Get, Fault::Held(never())),
            Rule::next(Verb::Put, Fault::HeldAnswer(never())),
        ] {
            let ended = interrupted(dirs[1].path(), &store, rule).await;
            assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
            let other = open(dirs[2].path(), &store, Takeover::Refuse).await;
            other.expect("nobody holds the drive").close().await;
        }
        let second = open(dirs[1].path(), &store, Takeover::Refuse).await;
        let second = second.expect("nobody holds the drive");
        note(&second);
        second.close().await;
        drop(second);
        let rule = Rule::always(Verb::Pinned, Fault::Held(never()));
        let ended = interrupted(dirs[1].path(), &store, rule).await;
        assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
        let refused = open(dirs[2].path(), &store, Takeover::Refuse).await;
        assert!(matches!(refused, Err(Error::Leased { .. })), "{refused:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_name_alone_makes_no_lease() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
        let first = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let first = first.expect("a new drive");
        let master = codec::key::MasterKey::from_bytes([8; 32]);
        let strange = codec::key::Keys::derive(&master, first.id);
        let name = Name::Lease {
            instance: [1; 8],
            salt: [2; 8],
        };
        let object = Object {
            name: name.text(),
            body: note::seal_note(&strange, LABEL, b"{}").expect("short"),
        };
        let put = store.put(&store.journal(), vec![object]).await;
        let at = put.expect("taken");
        store.pin(&at[0]).await.expect("pinned");
        flush(&first).await;
        first.renew_lease().await.expect("it is ours");
        first.close().await;
        let second = open(dirs[1].path(), &store, Takeover::Refuse).await;
        second.expect("nobody holds the drive").close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_old_lease_is_left_behind() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
        let first = open(dirs[0].path(), &store, Takeover::Refuse).await;
        let first = first.expect("a new drive");
        flush(&first).await;
        store.add(Rule::next(Verb::Remove, Fault::Unavailable));
        assert!(first.renew_lease().await.is_err(), "the old one stays");
        first.close().await;
        let second = open(dirs[1].path(), &store, Takeover::Refuse).await;
        second.expect("nobody holds the drive").close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lease_that_could_not_be_pinned_keeps_nobody_out() {
        let store = Arc::new(Faulty::new(Memory::default()));
        let dirs = [(); 2].map(|()| tempfile::tempdir().expect("temporary directory"));
        store.add(Rule::next(Verb::Pin, Fault::Unavailable));
        let first = open(dirs[0].path(), &store, Takeover::Refuse).await;
        assert!(first.is_err(), "the lease is not pinned");
        let second = open(dirs[1].path(), &store, Takeover::Refuse).await;
        second.expect("nobody holds the drive").close().await;
    }
}
