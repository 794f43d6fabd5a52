//! Delivering: an epoch's segment goes to the journal whole, and counts once it is certain that no other machine went on
//! without it.
//!
//! A look at the journal before the put is not enough: while the segment is on its way, another machine can take the
//! drive over and publish. So **the segment is put and proven, then the journal is looked at, and only then is it
//! published**: the spool keeps its records until then. Marks tell in which order things came to the shelf, whatever the
//! order in which they are listed, so both machines judge alike:
//!
//! | is there beside our segment | means | what is done |
//! | --- | --- | --- |
//! | another's lease before it | the drive was taken over before it came | it is taken back, the records stay in the spool |
//! | another's lease after it | whoever took over lists the journal after his lease, and follows it | it is published; the next is not |
//! | another's segment of the epoch before it | the other was first | it is taken back |
//! | another's segment of the epoch after it | the other looks later than he put, and finds ours before his | it is published |
//! | another's segment after our lease, which is there still | the other looks later than he put, and finds our lease before his segment | that one is removed |
//! | our own other attempt | its answer was lost, and it is listed only now | that one is removed |
//! | not the state that our segment follows, neither as a segment nor as a checkpoint | it was removed, perhaps by a machine that took it back | a checkpoint of it is put, before ours counts |
//! | another's epoch before this one that we have otherwise | two histories (`branch.rs`) | nothing is put, or it is taken back |
//!
//! Of two segments of one epoch one came first. Whoever put the later one listed after that, so he finds the earlier
//! one and takes his own back; whoever put the earlier one may find both, and keeps his. A lease is put before its holder
//! lists and publishes, so the same holds for a segment and a lease. Where something is listed later than it came,
//! both may believe that theirs counts: the last few segments are listed each time, so both find out before they put
//! anything more, and tell.
//!
//! Killed between put and look, a machine finds its segment when it follows the journal again: there it is what
//! everybody follows, or it comes after a lease or a segment that counts, and then the records are in the spool still.
//!
//! The look after a put serves the next put as the look before it, for as long as [`FRESH_S`]: it is there so that the
//! shelf sees no attempt that is known to be in vain. So an epoch costs one listing, and two after a pause.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use crate::clock::Time;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::branch::Bearing;
use crate::drive::branch::HeadIs;
use crate::drive::branch::is_taken_among;
use crate::drive::freeze::Epoch;
use crate::drive::freeze::Segment;
use crate::drive::history::Found;
use crate::drive::history::Gatherer;
use crate::drive::history::Opened;
use crate::drive::journal::Head;
use crate::drive::kept::not_kept;
use crate::drive::lease::taken_over;
use crate::drive::names::Series;
use crate::drive::status::Phase;
use crate::store::Entry;
use crate::store::Locator;
use crate::store::Mark;

/// How often a segment is made that the store does not keep whole, before that is an error.
const SEGMENTS_MAX: u32 = 4;

/// For so long a look at the journal is as good as one before the put, seconds. Longer than a person's pauses in saving
/// a document, shorter than a laptop sleeps.
const FRESH_S: i64 = 120;

/// How often the journal is listed to find where our segment lies beside others'.
const LISTINGS_MAX: u32 = 5;

/// Pause before it is listed again, doubled each time.
const LATE_PAUSE: Duration = Duration::from_millis(100);

/// When the journal was last looked at, if nothing of others was found.
#[derive(Debug, Default)]
pub(in crate::drive) struct LastLook(Mutex<Option<Time>>);

impl LastLook {
    fn lock(&self) -> MutexGuard<'_, Option<Time>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parts of a segment, where they lie, and their lengths.
type Parts = Vec<(Locator, u64)>;

/// What a look at the journal found.
struct Look {
    /// Our segment, if all of it is there.
    own: Option<Place>,
    /// The first lease of another machine: where it lies, and what it means if that is before our segment.
    lease: Option<(Mark, Error)>,
    /// Others' segments that count.
    rivals: Vec<Rival>,
    /// What nobody follows: our own other attempts, and others' that are in vain.
    useless: Vec<Locator>,
    /// The state that our segment follows.
    head: HeadIs,
}

/// Where our segment lies.
struct Place {
    locators: Vec<Locator>,
    first: Mark,
    last: Mark,
}

struct Rival {
    found: Found,
    previous: [u8; 32],
}

impl Look {
    fn at_nothing() -> Look {
        Look {
            own: None,
            lease: None,
            rivals: Vec::new(),
            useless: Vec::new(),
            head: HeadIs::Listed,
        }
    }

    /// Nobody else is about.
    fn is_quiet(&self) -> bool {
        self.lease.is_none() && self.rivals.is_empty()
    }

    /// Is all listed that is to be: what our segment follows, and where there is something beside it, that itself?
    fn is_whole(&self) -> bool {
        self.head != HeadIs::Missing && (self.is_quiet() || self.own.is_some())
    }

    /// Did this come before our segment? So did everything, as long as that is not listed.
    fn is_before(&self, mark: Mark) -> bool {
        self.own.as_ref().is_none_or(|own| mark < own.last)
    }

    /// Has history gone on from our segment already?
    fn is_followed(&self, segment: &Segment) -> bool {
        let mut rivals = self.rivals.iter();
        self.own.is_some() && rivals.any(|rival| rival.previous == segment.hash)
    }
}

impl Drive {
    /// Makes the segment and puts it; again under other names when the store keeps less of it than it says.
    pub(in crate::drive) fn make_public(&self, epoch: &mut Epoch) -> Result<(), Error> {
        for _ in 0..SEGMENTS_MAX {
            if epoch.segment.is_none() {
                self.prepare(epoch)?;
            }
            self.control.post(|board| board.phase = Phase::Publishing);
            let parts = self.wait_for(self.publish(epoch))?;
            if self.wait_for(self.is_kept(&parts))? {
                return self.wait_for(self.look_after(epoch, &parts));
            }
            epoch.segment = None;
        }
        Err(not_kept())
    }

    /// Puts the segment, unless history is known to have gone on without us. Gives its parts and their lengths.
    async fn publish(&self, epoch: &Epoch) -> Result<Parts, Error> {
        let Some(segment) = &epoch.segment else {
            return Ok(Vec::new());
        };
        let mut own = Vec::new();
        // Whatever fails from here on may have changed the shelf.
        if !self.take_fresh_look() {
            let is_enough = |look: &Look| !look.is_quiet() || look.head != HeadIs::Missing;
            let look = self.look_until(epoch, segment, is_enough).await?;
            let listed = look.own.as_ref();
            own = listed.map_or_else(Vec::new, |own| own.locators.clone());
            self.go_on_or_take_back(epoch, segment, &look, &own).await?;
        }
        let locators = match own.is_empty() {
            true => self.put_journal(segment.objects.clone()).await?,
            // An earlier attempt got through; only its answer was lost.
            false => own,
        };
        let bytes = segment.objects.iter().map(|object| object.body.len());
        Ok(locators.into_iter().zip(bytes).collect())
    }

    /// The segment is on the shelf: does it count?
    async fn look_after(&self, epoch: &mut Epoch, parts: &Parts) -> Result<(), Error> {
        let Some(segment) = &epoch.segment else {
            return Ok(());
        };
        // Which of them came first is not known before ours is listed.
        let look = self.look_until(epoch, segment, Look::is_whole).await?;
        let own: Vec<Locator> = parts.iter().map(|(at, _)| at.clone()).collect();
        self.go_on_or_take_back(epoch, segment, &look, &own).await?;
        if !look.useless.is_empty() {
            self.store.remove(&look.useless).await?;
        }
        if look.is_quiet() {
            self.looked_just_now();
        }
        let mark = look.own.map(|own| own.first);
        if let (Some(segment), Some(mark)) = (&mut epoch.segment, mark) {
            segment.mark = mark;
        }
        Ok(())
    }

    /// Looks, and again for a while until it is enough: what was stored a moment ago may be listed late.
    async fn look_until(
        &self,
        epoch: &Epoch,
        segment: &Segment,
        is_enough: impl Fn(&Look) -> bool,
    ) -> Result<Look, Error> {
        let mut look = self.look_beside(epoch, segment).await?;
        let mut pause = LATE_PAUSE;
        for _ in 1..LISTINGS_MAX {
            if is_enough(&look) {
                break;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
            look = self.look_beside(epoch, segment).await?;
        }
        Ok(look)
    }

    /// Lists the journal, and tells what is there beside our segment.
    async fn look_beside(&self, epoch: &Epoch, segment: &Segment) -> Result<Look, Error> {
        let mut head = self.journal_head();
        let (mut look, mut gatherer) = (Look::at_nothing(), Gatherer::default());
        let mut whole: HashMap<String, Entry> = HashMap::new();
        for entry in self.journal_after(head.mark).await? {
            let mut objects = segment.objects.iter();
            if let Some(object) = objects.find(|object| object.name == entry.name) {
                // One that is shorter is put again, which puts it right.
                if object.body.len() == entry.bytes {
                    whole.insert(entry.name.clone(), entry);
                }
                continue;
            }
            if look.lease.is_none() {
                let leased = self.foreign_lease(&entry).await?;
                look.lease = leased.map(|leased| (entry.mark, taken_over(&leased)));
            }
            gatherer.add(&entry);
        }
        look.own = place(segment, &mut whole);
        if !is_taken_among(&gatherer, &head) {
            look.head = self.head_is(&gatherer, &head).await?;
        }
        let mut past = gatherer.complete(Series::Segment);
        let mut news = past.split_off(past.partition_point(|found| found.epoch < epoch.number));
        self.pass_over_broken(&mut news).await?;
        for found in past.into_iter().chain(news) {
            match self.bearing(&found, &gatherer, &mut head).await? {
                Bearing::Settled => {}
                Bearing::Own(opened) if is_of_use_to_nobody(&found, &opened, epoch, &head) => {
                    look.useless.extend(found.locators().cloned());
                }
                // Asked for only where there is something, which is hardly ever.
                Bearing::Foreign(_) if is_void(&found, self.lease_mark().await?) => {
                    look.useless.extend(found.locators().cloned());
                }
                Bearing::Own(opened) | Bearing::Foreign(opened) => {
                    let previous = opened.previous;
                    look.rivals.push(Rival { found, previous });
                }
            }
        }
        self.set_journal_head(head);
        Ok(look)
    }

    /// Tells what keeps this epoch from being published, if something does; then what is on the shelf of it goes.
    async fn go_on_or_take_back(
        &self,
        epoch: &Epoch,
        segment: &Segment,
        look: &Look,
        own: &[Locator],
    ) -> Result<(), Error> {
        if let Some(obstacle) = self.obstacle(epoch, segment, look) {
            if !own.is_empty() {
                self.store.remove(own).await?;
            }
            return Err(obstacle);
        }
        let mut head = self.journal_head();
        let is_beside = |rival: &&Rival| rival.found.epoch == epoch.number;
        let beside = look.rivals.iter().filter(is_beside);
        beside.for_each(|rival| head.pass_over(&rival.found));
        self.set_journal_head(head);
        if look.head == HeadIs::Missing {
            let epoch = self.journal_head().epoch;
            log::warn!(
                "epoch {epoch} of the journal, which this one follows, is gone: a checkpoint takes its place"
            );
            self.write_checkpoint(&mut None).await?;
        }
        Ok(())
    }

    fn obstacle(&self, epoch: &Epoch, segment: &Segment, look: &Look) -> Option<Error> {
        if let Some((mark, taken_over)) = &look.lease
            && look.is_before(*mark)
        {
            return Some(taken_over.clone());
        }
        if look.head == HeadIs::Replaced {
            return Some(self.parted(self.journal_head().epoch));
        }
        let is_followed = look.is_followed(segment);
        for found in look.rivals.iter().map(|rival| &rival.found) {
            if found.epoch < epoch.number {
                return Some(self.parted(found.epoch));
            }
            let yields = found.epoch == epoch.number && !look.is_before(found.last_mark());
            if !yields && !is_followed {
                return Some(gone_on());
            }
        }
        None
    }

    /// The journal was looked at, and nobody else is about.
    pub(in crate::drive) fn looked_just_now(&self) {
        *self.last_look.lock() = Some(self.now());
    }

    /// Was the journal looked at lately? Says so once.
    fn take_fresh_look(&self) -> bool {
        let is_fresh = self.has_fresh_look();
        self.last_look.lock().take();
        is_fresh
    }

    fn has_fresh_look(&self) -> bool {
        let looked = *self.last_look.lock();
        let age = looked.map(|then| self.now().seconds() - then.seconds());
        age.is_some_and(|age_s| (0..=FRESH_S).contains(&age_s))
    }

    /// Ends with an error if another machine has the drive or went on from this one's head, as far as a look at the
    /// journal tells, or one from a moment ago.
    pub(in crate::drive) async fn refuse_late(&self) -> Result<(), Error> {
        if self.has_fresh_look() {
            return Ok(());
        }
        let (mut head, mut gatherer) = (self.journal_head(), Gatherer::default());
        for entry in self.journal_after(head.mark).await? {
            self.refuse_takeover(&entry).await?;
            gatherer.add(&entry);
        }
        for found in gatherer.complete(Series::Segment) {
            if let Bearing::Foreign(_) = self.bearing(&found, &gatherer, &mut head).await?
                && !is_void(&found, self.lease_mark().await?)
            {
                return Err(match found.epoch <= head.epoch {
                    true => self.parted(found.epoch),
                    false => gone_on(),
                });
            }
        }
        self.set_journal_head(head);
        Ok(())
    }
}

fn gone_on() -> Error {
    Error::Forked(String::from(
        "another machine published changes to this drive meanwhile; what is in this machine's spool stays there",
    ))
}

/// Did another machine's segment come after our lease, which is there still? Then its sender, who looks later than he
/// put, takes it back: whoever takes the drive over from us removes our lease before he publishes anything.
pub(in crate::drive) fn is_void(found: &Found, lease: Option<Mark>) -> bool {
    lease.is_some_and(|lease| found.last_mark() > lease)
}

/// Where our segment lies, if all of it was listed.
fn place(segment: &Segment, listed: &mut HashMap<String, Entry>) -> Option<Place> {
    let objects = segment.objects.iter();
    let entries = objects.map(|object| listed.remove(&object.name));
    let entries = entries.collect::<Option<Vec<Entry>>>()?;
    Some(Place {
        first: entries.iter().map(|entry| entry.mark).min()?,
        last: entries.iter().map(|entry| entry.mark).max()?,
        locators: entries.into_iter().map(|entry| entry.locator).collect(),
    })
}

/// Is an attempt of this state directory, made before it was killed and listed only now, one that this epoch takes the
/// place of? It covers no more.
fn is_of_use_to_nobody(found: &Found, opened: &Opened, epoch: &Epoch, head: &Head) -> bool {
    let is_older = found.epoch <= head.epoch;
    let is_same = found.epoch == epoch.number && opened.previous == head.hash;
    is_older || (is_same && opened.preamble.through <= epoch.through)
}
