//! Two machines that publish at the same time, or do not see what the other has stored: what was told to be on Discord
//! is there, or its machine is told otherwise before it publishes anything more.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::drive::Access;
use crate::drive::Begin;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Settings;
use crate::drive::Takeover;
use crate::drive::fixture;
use crate::drive::history::Found;
use crate::drive::history::Gatherer;
use crate::drive::names::Name;
use crate::drive::names::PartName;
use crate::drive::names::Series;
use crate::id::EpochNo;
use crate::store::Locator;
use crate::store::Mark;
use crate::store::Object;
use crate::store::Span;
use crate::store::Store;
use crate::store::faulty::Fault;
use crate::store::faulty::Faulty;
use crate::store::faulty::Rule;
use crate::store::faulty::Verb;
use crate::store::memory::Memory;

/// Some machines and a store.
struct World {
    store: Arc<Faulty<Memory>>,
    dirs: [tempfile::TempDir; 3],
}

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

impl World {
    fn new() -> World {
        World {
            store: Arc::new(Faulty::new(Memory::default())),
            dirs: [(); 3].map(|()| tempfile::tempdir().expect("a directory")),
        }
    }

    fn settings(&self, machine: usize) -> Settings {
        fixture::settings(self.dirs[machine].path())
    }

    async fn open(&self, machine: usize) -> Result<Arc<Drive>, Error> {
        fixture::open(self.settings(machine), &self.store).await
    }

    async fn mounted(&self, machine: usize) -> Arc<Drive> {
        self.open(machine).await.expect("it opens")
    }

    async fn taking_over(&self, machine: usize) -> Arc<Drive> {
        let settings = Settings {
            takeover: Takeover::Force,
            ..self.settings(machine)
        };
        let opened = fixture::open(settings, &self.store).await;
        opened.expect("taken over")
    }

    /// What a machine is shown that only reads.
    async fn read(&self, machine: usize) -> Arc<Drive> {
        let settings = Settings {
            access: Access::Read,
            ..self.settings(machine)
        };
        let opened = fixture::open(settings, &self.store).await;
        let drive = opened.expect("it can be read");
        drive.close().await;
        drive
    }

    /// A machine that has mounted the drive, and its clock.
    async fn with_clock(&self, machine: usize) -> (Arc<Drive>, Arc<AtomicI64>) {
        let time = Arc::new(AtomicI64::new(0));
        let settings = Settings {
            clock: crate::clock::Clock::Manual(Arc::clone(&time)),
            ..self.settings(machine)
        };
        let opened = fixture::open(settings, &self.store).await;
        (opened.expect("it opens"), time)
    }

    /// The hash that an empty machine comes to.
    async fn joined(&self) -> [u8; 32] {
        let dir = tempfile::tempdir().expect("a directory");
        let settings = Settings {
            access: Access::Read,
            ..fixture::settings(dir.path())
        };
        let opened = fixture::open(settings, &self.store).await;
        let drive = opened.expect("it joins");
        drive.close().await;
        drive.journal_head().hash
    }

    /// A machine with the first epoch, mounted.
    async fn with_drive(&self) -> Arc<Drive> {
        let drive = self.mounted(A).await;
        flush(&drive).await.expect("published");
        drive
    }

    /// Mounts, changes something, and publishes it; gives the hash of that epoch.
    async fn session(&self, machine: usize) -> [u8; 32] {
        let drive = self.mounted(machine).await;
        publish(&drive).await;
        drive.close().await;
        drive.journal_head().hash
    }

    async fn is_refused(&self, machine: usize) {
        let refused = self.open(machine).await;
        assert!(matches!(refused, Err(Error::Forked(_))), "{refused:?}");
    }

    async fn segments(&self, epoch: EpochNo) -> Vec<Found> {
        let shelf = self.store.journal();
        let span = Span::After(Mark(0));
        let page = self.store.inner().list(&shelf, span).await;
        let mut gatherer = Gatherer::default();
        let entries = page.expect("listed").entries;
        entries.iter().for_each(|entry| gatherer.add(entry));
        let mut found = gatherer.complete(Series::Segment);
        found.retain(|found| found.epoch == epoch);
        found
    }

    /// Of each of these epochs one attempt is on the shelf.
    async fn one_attempt_each(&self, epochs: &[u64]) {
        for epoch in epochs {
            let attempts = self.segments(EpochNo(*epoch)).await.len();
            assert_eq!(attempts, 1, "epoch {epoch}");
        }
    }

    async fn locators(&self, epoch: EpochNo) -> Vec<Locator> {
        let found = self.segments(epoch).await;
        found.iter().flat_map(Found::locators).cloned().collect()
    }

    async fn lease_listed_late(&self) {
        let shelf = self.store.journal();
        let newest = self.store.inner().list(&shelf, Span::Newest);
        let entries = newest.await.expect("listed").entries;
        let lease = entries.iter().find(|entry| entry.name.starts_with("l-"));
        let lease = lease.expect("there is one");
        self.store.inner().list_late(&lease.locator);
    }

    fn listings(&self) -> u64 {
        let requests = self.store.status().requests_by_kind;
        let lists = requests.iter().find(|(kind, _)| kind == "list");
        lists.map_or(0, |(_, count)| *count)
    }

    async fn list_late(&self, epoch: EpochNo) {
        for locator in self.locators(epoch).await {
            self.store.inner().list_late(&locator);
        }
    }
}

fn change(drive: &Arc<Drive>) {
    let make = |change: &mut crate::drive::Change<'_>| crate::drive::archive::create_first(change);
    drive.change(make).expect("there is room");
}

fn flushing(drive: &Arc<Drive>) -> JoinHandle<Result<(), Error>> {
    let drive = Arc::clone(drive);
    tokio::task::spawn_blocking(move || drive.flush(|| true))
}

async fn flush(drive: &Arc<Drive>) -> Result<(), Error> {
    flushing(drive).await.expect("no panic")
}

async fn publish(drive: &Arc<Drive>) {
    change(drive);
    flush(drive).await.expect("published");
}

/// Changes wait in this machine's spool.
fn waits(drive: &Arc<Drive>) -> bool {
    drive.unpublished_through() > drive.control.board().published
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

/// Changes something, and holds the next call of this kind at publishing it.
async fn held(
    world: &World,
    drive: &Arc<Drive>,
    verb: Verb,
) -> (JoinHandle<Result<(), Error>>, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let struck = world.store.struck();
    change(drive);
    world
        .store
        .add(Rule::next(verb, Fault::Held(Arc::clone(&gate))));
    let flushing = flushing(drive);
    until(|| world.store.struck() > struck).await;
    (flushing, gate)
}

fn was_taken_over(flushed: Result<Result<(), Error>, tokio::task::JoinError>) {
    let flushed = flushed.expect("no panic");
    assert!(matches!(flushed, Err(Error::TakenOver(_))), "{flushed:?}");
}

/// Whoever publishes after another machine had the drive is told so, takes back what he put, and keeps it here.
async fn is_too_late(world: &World, first: &Arc<Drive>, other: &Drive) {
    change(first);
    let flushed = flush(first).await;
    assert!(matches!(flushed, Err(Error::Forked(_))), "{flushed:?}");
    assert!(waits(first));
    first.close().await;
    assert_eq!(world.segments(EpochNo(2)).await.len(), 1);
    assert_eq!(world.joined().await, other.journal_head().hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_comes_after_a_takeover_does_not_count() {
    for is_second in [false, true] {
        let world = World::new();
        let first = world.with_drive().await;
        let (flushing, gate) = held(&world, &first, Verb::Put).await;
        let other = world.taking_over(B).await;
        if is_second {
            publish(&other).await;
        }
        gate.add_permits(1);
        was_taken_over(flushing.await);
        assert!(waits(&first));
        publish(&other).await;
        first.close().await;
        other.close().await;
        world
            .one_attempt_each(&[2, other.journal_head().epoch.0])
            .await;
        assert_eq!(world.joined().await, other.journal_head().hash);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_came_before_a_takeover_counts() {
    let world = World::new();
    let first = world.with_drive().await;
    let (flushing, gate) = held(&world, &first, Verb::List).await;
    let other = world.taking_over(B).await;
    assert_eq!(other.journal_head().epoch, EpochNo(2), "it is followed");
    publish(&other).await;
    gate.add_permits(1);
    flushing.await.expect("no panic").expect("it is published");
    change(&first);
    let flushed = flush(&first).await;
    assert!(matches!(flushed, Err(Error::TakenOver(_))), "{flushed:?}");
    other.close().await;
    assert_eq!(first.journal_head().epoch, EpochNo(2));
    assert_eq!(other.journal_head().epoch, EpochNo(3));
    world.one_attempt_each(&[2, 3]).await;
    assert_eq!(world.joined().await, other.journal_head().hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_took_over_removes_what_came_after_his_lease() {
    let world = World::new();
    let first = world.with_drive().await;
    let (flushing, gate) = held(&world, &first, Verb::Put).await;
    let other = world.taking_over(B).await;
    // It comes, and is not looked after: that machine may have been killed.
    let look = Arc::new(Semaphore::new(0));
    world
        .store
        .add(Rule::next(Verb::List, Fault::Held(Arc::clone(&look))));
    let struck = world.store.struck();
    gate.add_permits(1);
    until(|| world.store.struck() > struck).await;
    assert_eq!(world.segments(EpochNo(2)).await.len(), 1);
    publish(&other).await;
    let hash = other.journal_head().hash;
    assert_eq!(world.segments(EpochNo(2)).await.len(), 1);
    assert_eq!(world.joined().await, hash);
    look.add_permits(1);
    was_taken_over(flushing.await);
    publish(&other).await;
    other.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_taken_over_takes_nothing_back_but_his_own() {
    for is_renewed in [false, true] {
        let world = World::new();
        let first = world.with_drive().await;
        let other = world.taking_over(B).await;
        publish(&other).await;
        other.close().await;
        // The lease is gone, and with it what tells of the takeover.
        if is_renewed {
            first.renew_lease().await.expect("nobody has it");
        }
        is_too_late(&world, &first, &other).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_published_what_another_could_not_read_is_told() {
    let world = World::new();
    world.with_drive().await.close().await;
    world.session(A).await;
    for locator in world.locators(EpochNo(2)).await {
        assert!(world.store.inner().tamper(&locator, |bytes| bytes[0] ^= 1));
    }
    let other = world.taking_over(B).await;
    assert_eq!(
        other.journal_head().epoch,
        EpochNo(1),
        "epoch 2 is given up"
    );
    publish(&other).await;
    other.close().await;
    let hash = other.journal_head().hash;
    world.is_refused(A).await;
    let shown = world.read(A).await;
    assert_ne!(shown.journal_head().hash, hash, "its own side is shown");
    let told = shown.control.board().forked.clone();
    assert!(told.is_some_and(|told| told.contains("ods sync --reset")));
    drop((shown, other));
    assert_eq!(world.session(B).await, world.joined().await);
    // As it is told.
    let state = world.dirs[A].path();
    std::fs::remove_dir_all(state.join("spool")).expect("removed");
    std::fs::remove_file(state.join("spool.end")).expect("removed");
    world.is_refused(A).await;
    let settings = Settings {
        begin: Begin::Anew,
        ..world.settings(A)
    };
    let anew = fixture::open(settings, &world.store).await;
    anew.expect("it has nothing of its own any more")
        .close()
        .await;
    let again = world.session(A).await;
    assert_eq!(again, world.joined().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_newest_segment_was_removed_is_told_when_another_went_on() {
    let world = World::new();
    world.with_drive().await.close().await;
    world.session(A).await;
    let gone = world.locators(EpochNo(2)).await;
    world.store.inner().remove(&gone).await.expect("removed");
    let other = world.session(B).await;
    world.is_refused(A).await;
    assert_eq!(world.joined().await, other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_newest_segment_was_removed_or_harmed_puts_its_state_back() {
    for is_removed in [false, true] {
        let world = World::new();
        world.with_drive().await.close().await;
        world.read(B).await;
        let hash = world.session(A).await;
        let gone = world.locators(EpochNo(2)).await;
        match is_removed {
            true => world.store.inner().remove(&gone).await.expect("removed"),
            false => assert!(world.store.inner().tamper(&gone[0], |bytes| bytes[99] ^= 1)),
        }
        world.mounted(A).await.close().await;
        assert_eq!(world.joined().await, hash);
        let other = world.session(B).await;
        assert_eq!(world.session(A).await, world.joined().await);
        assert_ne!(world.joined().await, other);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_listed_after_the_next_machine_published_keeps_that_machine_out() {
    let world = World::new();
    world.with_drive().await.close().await;
    world.session(A).await;
    world.list_late(EpochNo(2)).await;
    let other = world.mounted(B).await;
    publish(&other).await;
    world.store.inner().list_all();
    change(&other);
    let flushed = flush(&other).await;
    assert!(matches!(flushed, Err(Error::Forked(_))), "{flushed:?}");
    other.close().await;
    drop(other);
    world.is_refused(B).await;
    // Who was first, and who has no part in it, is kept out by neither.
    for machine in [A, C, A] {
        assert_eq!(world.session(machine).await, world.joined().await);
    }
    world.is_refused(B).await;
}

/// A machine whose second epoch came to the shelf after another machine had published its own and left, and which was
/// killed before it looked.
async fn with_late_attempt(is_checkpoint: bool) -> World {
    let world = World::new();
    let first = world.with_drive().await;
    let other = world.taking_over(B).await;
    publish(&other).await;
    if is_checkpoint {
        other.checkpoint(&mut None).await.expect("written");
    }
    other.close().await;
    cut_off_after_put(&world, &first).await;
    assert_eq!(world.segments(EpochNo(2)).await.len(), 2);
    world
}

/// Its segment comes to the shelf, and the journal is not looked at after that.
async fn cut_off_after_put(world: &World, drive: &Arc<Drive>) {
    world
        .store
        .add(Rule::always(Verb::List, Fault::Unavailable));
    change(drive);
    fails(drive).await;
    drive.close().await;
    world.store.clear();
}

/// A flush that is given up once a step of it has failed; gives why.
async fn fails(drive: &Arc<Drive>) -> Error {
    let failures = drive.control.board().failures;
    let (waiting, board) = (Arc::clone(drive), Arc::clone(drive));
    let is_patient = move || board.control.board().failures == failures;
    let flushing = tokio::task::spawn_blocking(move || waiting.flush(is_patient));
    let flushed = flushing.await.expect("no panic");
    assert!(flushed.is_err(), "it cannot be published");
    let error = drive.control.board().error.clone();
    error.expect("it is told")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_came_too_late_keeps_out_its_sender_alone() {
    for is_checkpoint in [false, true] {
        for machines in [[B, C], [C, B]] {
            let world = with_late_attempt(is_checkpoint).await;
            for machine in machines {
                let drive = world.mounted(machine).await;
                publish(&drive).await;
                publish(&drive).await;
                drive.close().await;
                assert_eq!(world.joined().await, drive.journal_head().hash);
            }
            world.is_refused(A).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_attempt_that_its_sender_went_on_from_is_another_history() {
    let world = World::new();
    world.with_drive().await.close().await;
    world.session(A).await;
    world.list_late(EpochNo(2)).await;
    let other = world.mounted(B).await;
    publish(&other).await;
    publish(&other).await;
    other.close().await;
    world.store.inner().list_all();
    drop(other);
    for machine in [A, B] {
        world.is_refused(machine).await;
    }
}

/// So many reads of either kind show a wrong bit; this many pass before.
fn harm_reads(store: &Faulty<Memory>, times: u64, skip: u64) {
    let again = Rule {
        times,
        ..Rule::next(Verb::GetAgain, Fault::FlippedBit)
    };
    store.add(Rule {
        verb: Verb::Get,
        skip,
        ..again.clone()
    });
    store.add(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_beside_what_cannot_be_read() {
    for times in [3, u64::MAX] {
        let world = World::new();
        let first = world.with_drive().await;
        let other = world.taking_over(B).await;
        publish(&other).await;
        other.close().await;
        // The first read is of what it sends itself.
        harm_reads(&world.store, times, 1);
        if times == u64::MAX {
            change(&first);
            let error = fails(&first).await;
            assert!(matches!(error, Error::Damaged(_)), "{error:?}");
            assert_eq!(world.segments(EpochNo(2)).await.len(), 1);
            world.store.clear();
        }
        is_too_late(&world, &first, &other).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_lease_does_not_hide_that_another_machine_had_the_drive() {
    for is_killed in [false, true] {
        let world = World::new();
        let first = world.with_drive().await;
        change(&first);
        first.close().await;
        drop(first);
        let again = world.mounted(A).await;
        assert!(again.is_lease_kept());
        flush(&again).await.expect("published");
        let epoch = EpochNo(again.journal_head().epoch.0 + 1);
        let other = world.taking_over(B).await;
        publish(&other).await;
        other.close().await;
        again.renew_lease().await.expect("nobody has it");
        assert!(!again.is_lease_kept());
        change(&again);
        if is_killed {
            again.close().await;
            drop(again);
            let opened = world.open(A).await;
            assert!(matches!(opened, Err(Error::Forked(_))), "{opened:?}");
            harm_reads(&world.store, u64::MAX, 0);
            let opened = world.open(A).await;
            assert!(opened.is_err(), "it is not sent beside the other");
        } else {
            harm_reads(&world.store, u64::MAX, 0);
            let error = fails(&again).await;
            assert!(matches!(error, Error::Damaged(_)), "{error:?}");
            world.store.clear();
            let flushed = flush(&again).await;
            assert!(matches!(flushed, Err(Error::Forked(_))), "{flushed:?}");
            again.close().await;
        }
        world.store.clear();
        assert_eq!(world.segments(epoch).await.len(), 1);
        assert_eq!(world.joined().await, other.journal_head().hash);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_listed_late_was_first_all_the_same() {
    let world = World::new();
    world.with_drive().await.close().await;
    world.session(A).await;
    world.list_late(EpochNo(2)).await;
    let other = world.mounted(B).await;
    world.store.inner().list_all();
    change(&other);
    let flushed = flush(&other).await;
    assert!(matches!(flushed, Err(Error::Forked(_))), "{flushed:?}");
    assert!(waits(&other));
    other.close().await;
    assert_eq!(world.segments(EpochNo(2)).await.len(), 1);
    assert_eq!(world.session(A).await, world.joined().await);
}

/// A machine that sent its second epoch, never heard of it, and ended; it is not listed yet.
async fn without_answer(world: &World) {
    let first = world.with_drive().await;
    change(&first);
    world.store.add(Rule::next(Verb::Put, Fault::LostAnswer));
    world.store.add(Rule::always(Verb::Put, Fault::Unavailable));
    let struck = world.store.struck();
    let waiting = Arc::clone(&first);
    let store = Arc::clone(&world.store);
    let flushing = tokio::task::spawn_blocking(move || waiting.flush(|| store.struck() == struck));
    assert!(flushing.await.expect("no panic").is_err());
    first.close().await;
    world.store.clear();
    world.list_late(EpochNo(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_attempts_of_one_machine_the_one_it_went_on_with_is_followed() {
    let world = World::new();
    without_answer(&world).await;
    let again = world.mounted(A).await;
    flush(&again).await.expect("it is sent again");
    world.store.inner().list_all();
    assert_eq!(world.segments(EpochNo(2)).await.len(), 2);
    assert_eq!(world.joined().await, again.journal_head().hash);
    publish(&again).await;
    assert_eq!(
        world.segments(EpochNo(2)).await.len(),
        1,
        "the other is gone"
    );
    assert_eq!(world.joined().await, again.journal_head().hash);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_of_one_s_own_that_is_listed_late_is_removed() {
    let world = World::new();
    without_answer(&world).await;
    let again = world.mounted(A).await;
    world.store.inner().list_all();
    flush(&again).await.expect("it is sent again");
    assert_eq!(world.segments(EpochNo(2)).await.len(), 1);
    assert_eq!(world.joined().await, again.journal_head().hash);
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_without_what_a_machine_published_does_not_replace_its_state() {
    let world = World::new();
    world.with_drive().await.close().await;
    world.session(B).await;
    world.read(C).await;
    // One of an epoch that is still to come, with the state of the first.
    let forger = World::new();
    let stale = forger.with_drive().await;
    let mut head = stale.journal_head();
    head.epoch = EpochNo(9);
    stale.set_journal_head(head);
    stale.checkpoint(&mut None).await.expect("written");
    let entries = stale.journal_after(Mark(0)).await.expect("listed");
    let checkpoint = entries.iter().find(|entry| entry.name.starts_with("c-"));
    let checkpoint = checkpoint.expect("one").clone();
    let whole = 0..checkpoint.bytes;
    let bytes = stale.store.get(
        &checkpoint.locator,
        whole,
        crate::store::Urgency::Background,
    );
    let (header, plain) =
        crate::codec::segment::open_part(&stale.keys, &bytes.await.expect("there")).expect("ours");
    let object = Object {
        name: checkpoint.name,
        body: crate::codec::segment::seal_part(&stale.keys, &header, &plain).expect("short"),
    };
    stale.close().await;
    let put = world.store.put(&world.store.journal(), vec![object]).await;
    put.expect("taken");
    world.is_refused(B).await;
    // Who published nothing has nothing to lose.
    assert_eq!(world.read(C).await.journal_head().epoch, EpochNo(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_has_the_name_of_a_segment_is_no_fork() {
    let world = World::new();
    let drive = world.with_drive().await;
    for epoch in 1..=3 {
        let name = PartName {
            series: Series::Segment,
            epoch: EpochNo(epoch),
            attempt: [1; 8],
            part: 0,
            last: true,
        };
        let body = crate::codec::note::seal_note(&drive.keys, "no segment", &[0; 512]);
        let object = Object {
            name: Name::Part(name).text(),
            body: body.expect("short"),
        };
        let put = world.store.put(&world.store.journal(), vec![object]).await;
        put.expect("taken");
        publish(&drive).await;
    }
    drive.close().await;
    drop(drive);
    let hash = world.session(A).await;
    assert_eq!(world.joined().await, hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_a_lease_that_is_listed_late_is_not_followed() {
    let world = World::new();
    let first = world.with_drive().await;
    let (flushing, put) = held(&world, &first, Verb::Put).await;
    let [pin, look] = [(); 2].map(|()| Arc::new(Semaphore::new(0)));
    let strike = |verb, gate: &Arc<Semaphore>| {
        world
            .store
            .add(Rule::next(verb, Fault::Held(Arc::clone(gate))));
        world.store.struck()
    };
    let struck = strike(Verb::Pin, &pin);
    let settings = Settings {
        takeover: Takeover::Force,
        ..world.settings(B)
    };
    let store = Arc::clone(&world.store);
    let opening = tokio::spawn(async move { fixture::open(settings, &store).await });
    until(|| world.store.struck() > struck).await;
    world.lease_listed_late().await;
    let struck = strike(Verb::List, &look);
    put.add_permits(1);
    until(|| world.store.struck() > struck).await;
    assert_eq!(
        world.segments(EpochNo(2)).await.len(),
        1,
        "it came after the lease"
    );
    let listings = world.listings();
    pin.add_permits(1);
    until(|| world.listings() > listings).await;
    world.store.inner().list_all();
    let other = opening.await.expect("no panic").expect("taken over");
    assert_eq!(other.journal_head().epoch, EpochNo(1));
    look.add_permits(1);
    was_taken_over(flushing.await);
    publish(&other).await;
    other.close().await;
    first.close().await;
    assert_eq!(world.joined().await, other.journal_head().hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_epoch_follows_is_put_back_before_that_is_published() {
    for pause_s in [0, 3600] {
        let world = World::new();
        let (drive, time) = world.with_clock(A).await;
        publish(&drive).await;
        publish(&drive).await;
        let gone = world.locators(EpochNo(2)).await;
        world.store.inner().remove(&gone).await.expect("removed");
        time.fetch_add(pause_s * 1_000_000_000, Ordering::SeqCst);
        publish(&drive).await;
        let hash = drive.journal_head().hash;
        assert_eq!(world.joined().await, hash);
        for _ in 0..2 {
            assert_eq!(world.read(C).await.journal_head().hash, hash);
        }
        publish(&drive).await;
        drive.close().await;
        assert_eq!(world.session(C).await, world.joined().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_epoch_follows_is_put_back_when_its_machine_was_killed_before() {
    for machine in [A, B] {
        let world = World::new();
        world.with_drive().await.close().await;
        let first = world.mounted(A).await;
        publish(&first).await;
        world.read(B).await;
        let gone = world.locators(EpochNo(2)).await;
        world.store.inner().remove(&gone).await.expect("removed");
        let struck = world.store.struck();
        world
            .store
            .add(Rule::always(Verb::List, Fault::Unavailable));
        change(&first);
        let (waiting, store) = (Arc::clone(&first), Arc::clone(&world.store));
        let is_patient = move || store.struck() == struck;
        let flushing = tokio::task::spawn_blocking(move || waiting.flush(is_patient));
        assert!(flushing.await.expect("no panic").is_err());
        first.close().await;
        drop(first);
        world.store.clear();
        let again = world.taking_over(machine).await;
        assert_eq!(again.journal_head().epoch, EpochNo(3));
        publish(&again).await;
        again.close().await;
        assert_eq!(world.joined().await, again.journal_head().hash);
    }
}

/// The first machine has published a second epoch, which cannot be read any more, and was cut off when it had put a
/// checkpoint in its place.
async fn with_harmed_epoch() -> World {
    let world = World::new();
    world.with_drive().await.close().await;
    world.read(B).await;
    world.session(A).await;
    let harmed = world.locators(EpochNo(2)).await;
    assert!(
        world
            .store
            .inner()
            .tamper(&harmed[0], |bytes| bytes[99] ^= 1)
    );
    world
        .store
        .add(Rule::always(Verb::Remove, Fault::Unavailable));
    let opened = world.open(A).await;
    assert!(opened.is_err(), "the harmed one cannot be removed");
    world.store.clear();
    assert_eq!(world.segments(EpochNo(2)).await.len(), 1);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_leads_around_an_epoch_that_cannot_be_read() {
    for machines in [[A, B], [B, A]] {
        let world = with_harmed_epoch().await;
        for machine in machines {
            // It still holds the lease.
            let drive = world.taking_over(machine).await;
            assert_eq!(drive.halt(), None);
            publish(&drive).await;
            drive.close().await;
            assert_eq!(world.joined().await, drive.journal_head().hash);
        }
        assert_eq!(world.read(C).await.journal_head().epoch, EpochNo(4));
    }
    let world = with_harmed_epoch().await;
    world.taking_over(A).await.close().await;
    world.one_attempt_each(&[1]).await;
    assert!(world.segments(EpochNo(2)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_not_left_behind_for_a_checkpoint() {
    let world = World::new();
    world.with_drive().await.close().await;
    let waiting = world.mounted(B).await;
    change(&waiting);
    waiting.close().await;
    drop(waiting);
    let other = world.taking_over(A).await;
    publish(&other).await;
    other.checkpoint(&mut None).await.expect("written");
    other.close().await;
    let harmed = world.locators(EpochNo(2)).await;
    assert!(
        world
            .store
            .inner()
            .tamper(&harmed[0], |bytes| bytes[99] ^= 1)
    );
    world.is_refused(B).await;
    let shown = world.read(B).await;
    assert_eq!(shown.journal_head().epoch, EpochNo(1));
    assert!(waits(&shown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_listed_late_tells_that_its_epoch_was_published() {
    let world = with_harmed_epoch().await;
    let shelf = world.store.journal();
    let page = world.store.inner().list(&shelf, Span::After(Mark(0)));
    let entries = page.await.expect("listed").entries;
    let checkpoint = entries.iter().find(|entry| entry.name.starts_with("c-"));
    let checkpoint = checkpoint.expect("there is one");
    world.store.inner().list_late(&checkpoint.locator);
    let other = world.taking_over(B).await;
    assert!(other.halt().is_some(), "it is given up");
    world.store.inner().list_all();
    change(&other);
    let flushed = flush(&other).await;
    assert!(matches!(flushed, Err(Error::Forked(_))), "{flushed:?}");
    other.close().await;
    drop(other);
    let hash = world.joined().await;
    let first = world.taking_over(A).await;
    assert_eq!(first.journal_head().hash, hash);
    publish(&first).await;
    first.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_was_given_up_makes_no_fork() {
    let world = World::new();
    world.with_drive().await.close().await;
    world.session(A).await;
    let other = world.mounted(B).await;
    for _ in 0..4 {
        publish(&other).await;
        other.checkpoint(&mut None).await.expect("written");
    }
    other.close().await;
    let state = world.dirs[A].path();
    std::fs::remove_dir_all(state.join("spool")).expect("removed");
    std::fs::remove_file(state.join("spool.end")).expect("removed");
    for _ in 0..2 {
        assert_eq!(world.session(A).await, world.joined().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_back_and_followed_all_the_same_is_no_fork() {
    let world = World::new();
    let first = world.with_drive().await;
    let (flushing, look) = held(&world, &first, Verb::List).await;
    let other = world.taking_over(B).await;
    assert_eq!(other.journal_head().epoch, EpochNo(2), "it is followed");
    world.list_late(EpochNo(2)).await;
    look.add_permits(1);
    was_taken_over(flushing.await);
    assert!(waits(&first));
    first.close().await;
    drop(first);
    world.store.inner().list_all();
    assert!(world.segments(EpochNo(2)).await.is_empty());
    publish(&other).await;
    other.close().await;
    assert_eq!(world.joined().await, other.journal_head().hash);
    let again = world.mounted(A).await;
    assert_eq!(again.journal_head().hash, other.journal_head().hash);
    assert!(!waits(&again), "all of it is in the drive");
    publish(&again).await;
    again.close().await;
    assert_eq!(world.joined().await, again.journal_head().hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_not_kept_as_it_was_sent_is_sent_again() {
    let world = World::new();
    let drive = world.with_drive().await;
    let (flushing, proof) = held(&world, &drive, Verb::Get).await;
    let sent = world.locators(EpochNo(2)).await;
    assert!(world.store.inner().tamper(&sent[0], |bytes| bytes[99] ^= 1));
    proof.add_permits(1);
    flushing.await.expect("no panic").expect("published");
    drive.close().await;
    world.one_attempt_each(&[2]).await;
    assert_ne!(world.locators(EpochNo(2)).await, sent);
    assert_eq!(world.joined().await, drive.journal_head().hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_in_vain_is_not_followed_for_one_that_cannot_be_read_for_a_moment() {
    let world = with_late_attempt(false).await;
    let hash = world.joined().await;
    // The first read is of the first epoch.
    harm_reads(&world.store, 1, 1);
    let struck = world.store.struck();
    let drive = world.mounted(C).await;
    assert_eq!(world.store.struck() - struck, 2);
    assert_eq!(drive.journal_head().hash, hash);
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_not_kept_by_whoever_never_followed_the_journal() {
    let world = World::new();
    world.with_drive().await.close().await;
    // It looks for leases first.
    world.store.add(Rule {
        skip: 1,
        ..Rule::always(Verb::List, Fault::Unavailable)
    });
    world
        .store
        .add(Rule::always(Verb::Remove, Fault::Unavailable));
    assert!(world.open(C).await.is_err(), "the journal cannot be listed");
    world.store.clear();
    let again = world.mounted(C).await;
    assert!(!again.is_lease_kept());
    again.close().await;
}

/// More than a page of a listing holds.
const MANY: u64 = 108;

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_a_machine_wrote_late_hides_nothing_that_others_published() {
    for published in [3, MANY] {
        let world = World::new();
        let first = world.with_drive().await;
        let other = world.taking_over(B).await;
        for _ in 0..published {
            publish(&other).await;
        }
        other.close().await;
        let hash = other.journal_head().hash;
        // It looked a moment ago, when there was nothing of the other's.
        first.checkpoint(&mut None).await.expect("written");
        first.close().await;
        assert_eq!(world.joined().await, hash);
        for machine in [C, C] {
            assert_eq!(world.read(machine).await.journal_head().hash, hash);
        }
        assert_eq!(world.session(C).await, world.joined().await);
        let epoch = world.read(C).await.journal_head().epoch;
        assert_eq!(epoch, EpochNo(published + 2));
        drop(other);
        assert_eq!(world.session(B).await, world.joined().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_was_passed_writes_no_checkpoint() {
    for is_open in [true, false] {
        let world = World::new();
        let (first, time) = world.with_clock(A).await;
        publish(&first).await;
        let other = world.taking_over(B).await;
        publish(&other).await;
        if !is_open {
            other.close().await;
        }
        time.fetch_add(3600 * 1_000_000_000, Ordering::SeqCst);
        let refused = first.checkpoint(&mut None).await;
        match is_open {
            true => assert!(matches!(refused, Err(Error::TakenOver(_))), "{refused:?}"),
            false => assert!(matches!(refused, Err(Error::Forked(_))), "{refused:?}"),
        }
        let entries = first.journal_after(Mark(0)).await.expect("listed");
        assert!(!entries.iter().any(|entry| entry.name.starts_with("c-")));
        first.close().await;
        other.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_costs_one_listing_and_two_after_a_pause() {
    let world = World::new();
    let (drive, time) = world.with_clock(A).await;
    for (pause_s, expected) in [(0, 1), (60, 1), (3600, 2), (-60, 2), (0, 1)] {
        time.fetch_add(pause_s * 1_000_000_000, Ordering::SeqCst);
        let before = world.listings();
        publish(&drive).await;
        assert_eq!(world.listings() - before, expected, "after {pause_s} s");
    }
    drive.close().await;
}
