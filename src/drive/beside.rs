//! Looking beside: what the journal holds of others where this machine's next segment is to stand. What it means is in
//! `deliver.rs`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

use crate::clock::Time;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::bearing::Bearing;
use crate::drive::branch::HeadIs;
use crate::drive::branch::is_taken_among;
use crate::drive::deliver::is_void;
use crate::drive::freeze::Epoch;
use crate::drive::freeze::Segment;
use crate::drive::history::Found;
use crate::drive::history::Gatherer;
use crate::drive::history::Opened;
use crate::drive::journal::Head;
use crate::drive::lease::taken_over;
use crate::drive::names::Series;
use crate::store::Entry;
use crate::store::Locator;
use crate::store::Mark;

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

/// What a look at the journal found.
pub(in crate::drive) struct Look {
    /// Our segment, if all of it is there.
    pub(in crate::drive) own: Option<Place>,
    /// The first lease of another machine: where it lies, and what it means if that is before our segment.
    pub(in crate::drive) lease: Option<(Mark, Error)>,
    /// Others' segments that count.
    pub(in crate::drive) rivals: Vec<Rival>,
    /// What nobody follows: our own other attempts, and others' that are in vain.
    pub(in crate::drive) useless: Vec<Locator>,
    /// The state that our segment follows.
    pub(in crate::drive) head: HeadIs,
    /// Another's checkpoint of our epoch or of a later one is there, which does not hold our segment.
    pub(in crate::drive) is_passed: bool,
    /// What is called a segment of our epoch or of a later one and cannot be read.
    pub(in crate::drive) unclear: Option<Error>,
}

/// Where our segment lies.
pub(in crate::drive) struct Place {
    pub(in crate::drive) locators: Vec<Locator>,
    pub(in crate::drive) first: Mark,
    pub(in crate::drive) last: Mark,
}

pub(in crate::drive) struct Rival {
    pub(in crate::drive) found: Found,
    pub(in crate::drive) previous: [u8; 32],
}

impl Look {
    fn at_nothing() -> Look {
        Look {
            own: None,
            lease: None,
            rivals: Vec::new(),
            useless: Vec::new(),
            head: HeadIs::Listed,
            unclear: None,
            is_passed: false,
        }
    }

    /// Nobody else is about.
    pub(in crate::drive) fn is_quiet(&self) -> bool {
        let is_clear = self.unclear.is_none() && !self.is_passed;
        is_clear && self.lease.is_none() && self.rivals.is_empty()
    }

    /// Is all listed that is to be: what our segment follows, and where there is something beside it, that itself?
    pub(in crate::drive) fn is_whole(&self) -> bool {
        self.head != HeadIs::Missing && (self.is_quiet() || self.own.is_some())
    }

    /// Did this come before our segment? So did everything, as long as that is not listed.
    pub(in crate::drive) fn is_before(&self, mark: Mark) -> bool {
        self.own.as_ref().is_none_or(|own| mark < own.last)
    }

    /// Has history gone on from our segment already?
    pub(in crate::drive) fn is_followed(&self, segment: &Segment) -> bool {
        let mut rivals = self.rivals.iter();
        self.own.is_some() && rivals.any(|rival| rival.previous == segment.hash)
    }
}

impl Drive {
    /// Looks, and again for a while until it is enough: what was stored a moment ago may be listed late.
    pub(in crate::drive) async fn look_until(
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
            let bearing = self.bearing_for_sure(&found, &gatherer, &mut head);
            match bearing.await? {
                Bearing::Settled => {}
                Bearing::Unreadable(error) => look.unclear = Some(error),
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
        let mut checkpoints = gatherer.complete(Series::Checkpoint);
        checkpoints.retain(|found| found.epoch >= epoch.number);
        self.look_at_checkpoints(&checkpoints, segment, &mut look)
            .await?;
        Ok(look)
    }

    /// Whoever wrote a checkpoint of our epoch, or of a later one, has published that.
    async fn look_at_checkpoints(
        &self,
        checkpoints: &[Found],
        segment: &Segment,
        look: &mut Look,
    ) -> Result<(), Error> {
        for found in checkpoints {
            let Some(first) = found.parts.first() else {
                continue;
            };
            match self.open_part(first).await {
                Ok((header, ..)) if header.previous == segment.hash => {}
                Ok(_) if is_void(found, self.lease_mark().await?) => {
                    look.useless.extend(found.locators().cloned());
                }
                Ok(_) => look.is_passed = true,
                // What only has the name of one leads nobody anywhere.
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The journal was looked at, and nobody else is about.
    pub(in crate::drive) fn looked_just_now(&self) {
        *self.last_look.lock() = Some(self.now());
    }

    /// Was the journal looked at lately? Says so once.
    pub(in crate::drive) fn take_fresh_look(&self) -> bool {
        let is_fresh = self.has_fresh_look();
        self.forget_look();
        is_fresh
    }

    /// Somebody may have changed the journal since it was looked at.
    pub(in crate::drive) fn forget_look(&self) {
        self.last_look.lock().take();
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

pub(in crate::drive) fn gone_on() -> Error {
    Error::Forked(String::from(
        "another machine published changes to this drive meanwhile; what is in this machine's spool stays there",
    ))
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
