//! Where following the journal halts before its end: at an epoch that is missing, or that cannot be read.
//!
//! | | nothing follows it | later epochs are there |
//! | --- | --- | --- |
//! | is | what a machine had sent when it was killed, or its last epoch, harmed since | a journal that somebody harmed |
//! | who reads | is shown the drive as of the epoch before it | the same |
//! | who writes | sends it again, if the spool has what it held and nobody else can have written meanwhile; or gives it up, by taking over; is refused otherwise | is refused |
//!
//! What cannot be read now may be readable in a moment, so attempts that are sent again or given up are passed over, and
//! go from the store only once the epoch that stands in their place is published; whoever finds them beside a whole one
//! passes them over. Those that were given up are noted in the index, for when this machine is killed or closed before
//! that. They are given up no more if they can be read after all before anything was changed here.

use std::time::Duration;

use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Takeover;
use crate::drive::history::Choice;
use crate::drive::history::Found;
use crate::drive::history::Opened;
use crate::drive::journal::Head;
use crate::id::EpochNo;
use crate::id::Seq;
use crate::spool::Replayed;
use crate::store::Locator;

/// How often an epoch is read that is to be given up.
const READS_MAX: u32 = 6;

/// Pause before it is read again, doubled each time.
const LATE_PAUSE: Duration = Duration::from_millis(100);

/// An epoch that the journal cannot be followed beyond.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// The last epoch before it.
    whole: EpochNo,
    /// It, or the last of those that are missing.
    last: EpochNo,
    /// What is wrong with it.
    why: String,
    /// What becomes of that, and what to do.
    what_now: String,
    /// The attempts at it, none of which can be read, if nothing follows it.
    newest: Option<Vec<Locator>>,
    fate: Fate,
    /// Are there attempts at it, none of which can be read?
    is_unreadable: bool,
}

/// What becomes of what the epoch held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unknown,
    SentAgain,
    GivenUp,
}

impl Halt {
    /// Epochs are missing before this one.
    pub(in crate::drive) fn before(next: EpochNo, whole: EpochNo) -> Halt {
        let (first, last) = (whole.0 + 1, EpochNo(next.0.saturating_sub(1)));
        let which = match first == last.0 {
            true => format!("epoch {first}"),
            false => format!("epochs {first} to {last}"),
        };
        Halt {
            whole,
            last,
            why: format!("the journal lacks {which}; later ones are there"),
            what_now: String::new(),
            newest: None,
            fate: Fate::Unknown,
            is_unreadable: false,
        }
    }

    /// None of the attempts at the next epoch is of use.
    pub(in crate::drive) fn at(whole: EpochNo, why: String) -> Halt {
        Halt {
            whole,
            last: EpochNo(whole.0 + 1),
            why,
            what_now: String::new(),
            newest: None,
            fate: Fate::Unknown,
            is_unreadable: false,
        }
    }

    /// None of the attempts at the next epoch can be read.
    pub(in crate::drive) fn unreadable(whole: EpochNo, why: String) -> Halt {
        Halt {
            is_unreadable: true,
            ..Halt::at(whole, why)
        }
    }

    pub(in crate::drive) fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }

    /// Nothing follows these attempts, and none of them can be read.
    pub(in crate::drive) fn at_the_end(self, attempts: &[Found]) -> Halt {
        let parts = attempts.iter().flat_map(Found::locators);
        Halt {
            newest: Some(parts.cloned().collect()),
            ..self
        }
    }

    /// Is it the newest epoch? Then nothing is known to be lost but what it held.
    #[must_use]
    pub fn is_newest(&self) -> bool {
        self.newest.is_some()
    }

    /// What is wrong, and what to do about it.
    #[must_use]
    pub fn told(&self) -> String {
        format!("{}; {}", self.why, self.what_now)
    }

    fn remedy(&self) -> String {
        let last = self.last;
        match self.is_newest() {
            true => String::from(
                "nothing follows it, and what it held is not on Discord: the machine that wrote it may have it still; mount \
                 the drive there, or run `ods repair` there",
            ),
            false => format!(
                "`ods repair` on a machine that has the newest state puts that right; so does it here after `ods restore` \
                 with a backup of epoch {last} or later"
            ),
        }
    }

    fn shown(&self) -> String {
        let whole = self.whole;
        format!(
            "the drive is shown as of epoch {whole}, with what waits on this machine; {}",
            self.remedy()
        )
    }

    /// To whoever is kept out.
    pub(in crate::drive) fn refusal(&self) -> Error {
        let mut text = format!("{}; {}", self.why, self.remedy());
        if self.whole > EpochNo(0) {
            let whole = self.whole;
            text.push_str(&format!(
                "; `ods-mount -o ro` shows the drive as of epoch {whole}"
            ));
        }
        if self.is_newest() {
            let last = self.last;
            text.push_str(&format!("; `ods-mount -o takeover` gives epoch {last} up"));
        }
        Error::Damaged(text)
    }
}

impl Drive {
    /// Where the journal could not be followed further when the drive was opened, if that was so.
    #[must_use]
    pub fn halt(&self) -> Option<Halt> {
        self.control.board().halt.clone()
    }

    /// Is the drive read as it was before an epoch that the journal cannot be followed beyond?
    pub(in crate::drive) fn is_halted(&self) -> bool {
        self.settings.access == Access::Read && self.control.board().halt.is_some()
    }

    /// Goes on as of the epoch before a halt, if there is one, or refuses that.
    pub(in crate::drive) fn go_on_before(
        &self,
        halt: Option<Halt>,
        head: &Head,
    ) -> Result<(), Error> {
        let halt = halt.map(|halt| self.decide(halt, head)).transpose()?;
        if let Some(halt) = &halt {
            log::warn!("{}", halt.told());
        }
        // Whatever an earlier look found is not so any more.
        self.control.post(|board| board.halt = halt);
        Ok(())
    }

    fn decide(&self, halt: Halt, head: &Head) -> Result<Halt, Error> {
        let (whole, last) = (halt.whole, halt.last);
        let (fate, what_now) = match self.settings.access {
            Access::Read if head.epoch > EpochNo(0) || halt.is_newest() => {
                (Fate::Unknown, halt.shown())
            }
            Access::Write if halt.is_newest() && self.can_send_again(head.through)? => (
                Fate::SentAgain,
                String::from("what this machine had sent of it is sent again"),
            ),
            Access::Write if self.may_give_up(&halt)? => (
                Fate::GivenUp,
                format!("epoch {last} is given up, and the drive goes on from epoch {whole}"),
            ),
            Access::Read | Access::Write => return Err(halt.refusal()),
        };
        Ok(Halt {
            what_now,
            fate,
            ..halt
        })
    }

    /// Is it the newest epoch, and was this machine told to go on without it, now or before?
    fn may_give_up(&self, halt: &Halt) -> Result<bool, Error> {
        match &halt.newest {
            Some(_) if self.settings.takeover == Takeover::Force => Ok(true),
            Some(attempts) => self.are_given_up(attempts.iter()),
            None => Ok(false),
        }
    }

    /// Has the spool all that came after a record, and has nobody else written since it was sent?
    fn can_send_again(&self, through: Seq) -> Result<bool, Error> {
        if !self.is_lease_kept() {
            return Ok(false);
        }
        let mut has_all = true;
        self.spool.replay(|replayed| -> Result<(), Error> {
            if let Replayed::Missing { last, .. } = replayed {
                has_all &= last.is_some_and(|last| last <= through);
            }
            Ok(())
        })?;
        Ok(has_all && self.unpublished(through)?.is_some())
    }

    /// As [`Drive::choose`]; whoever is to write, and would give up the newest epoch or follow another attempt in its
    /// place, reads it again for a while before.
    pub(in crate::drive) async fn choose_patiently<'f>(
        &self,
        candidates: &'f [Found],
        later: &[Found],
        head: &Head,
    ) -> Result<Option<Choice<'f>>, Error> {
        let is_patient = later.is_empty()
            && self.settings.access == Access::Write
            && self.settings.takeover == Takeover::Force;
        let mut pause = LATE_PAUSE;
        for _ in 1..if is_patient { READS_MAX } else { 1 } {
            match self.choose(candidates, later, head).await {
                Err(error) if error.is_damage() => log::info!("{error}; it is read again"),
                chosen => return self.choose_again(chosen?, candidates, later, head).await,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        let chosen = self.choose(candidates, later, head).await?;
        self.choose_again(chosen, candidates, later, head).await
    }

    /// The same choice, unless what was unclear about it can be read after a while.
    async fn choose_again<'f>(
        &self,
        chosen: Option<Choice<'f>>,
        candidates: &'f [Found],
        later: &[Found],
        head: &Head,
    ) -> Result<Option<Choice<'f>>, Error> {
        let unclear = chosen.iter().flat_map(|choice| &choice.unclear);
        for found in unclear.filter(|_| self.settings.access == Access::Write) {
            match self.open_patiently(found).await {
                Err(error) if error.is_damage() => {}
                Err(error) => return Err(error),
                Ok(_) => return self.choose(candidates, later, head).await,
            }
        }
        Ok(chosen)
    }

    /// Opens a segment; reads it again for a while before it counts as one that cannot be read.
    pub(in crate::drive) async fn open_patiently(&self, found: &Found) -> Result<Opened, Error> {
        let mut pause = LATE_PAUSE;
        for _ in 1..READS_MAX {
            match self.open_segment(found).await {
                Err(error) if error.is_damage() => log::info!("{error}; it is read again"),
                opened => return opened,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.open_segment(found).await
    }

    /// The drive is open, and is to be written to: what was passed over is noted, to go when another epoch stands in
    /// its place.
    pub(in crate::drive) fn note_passed_over(&self) -> Result<(), Error> {
        if self.settings.access == Access::Read {
            return Ok(());
        }
        if let Some(halt) = self.halt()
            && let Some(attempts) = halt.newest
        {
            if halt.fate == Fate::GivenUp {
                self.note_given_up(halt.last, &attempts)?;
            }
            self.pass_over(halt.last, attempts);
        }
        self.recall_given_up()
    }
}
