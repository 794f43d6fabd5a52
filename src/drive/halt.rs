//! Where following the journal halts before its end: at an epoch that is missing, or that cannot be read.
//!
//! | | nothing follows it | later epochs are there |
//! | --- | --- | --- |
//! | is | what a machine had sent when it was killed, or its last epoch, harmed since | a journal that somebody harmed |
//! | who reads | is shown the drive as of the epoch before it | the same |
//! | who writes | sends it again, if the spool has what it held and nobody else can have written meanwhile; or gives it up, by taking over; is refused otherwise | is refused |
//!
//! Attempts that are sent again or given up go from the store once the drive is open; until then nothing is changed,
//! and whoever finds them beside a whole one passes them over.

use crate::drive::Access;
use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::Takeover;
use crate::drive::history::Found;
use crate::drive::journal::Head;
use crate::id::EpochNo;
use crate::id::Seq;
use crate::spool::Replayed;
use crate::store::Locator;

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
        }
    }

    /// Nothing follows these attempts, and none of them can be read.
    pub(in crate::drive) fn at_the_end(self, attempts: &[Found]) -> Halt {
        let parts = attempts.iter().flat_map(|found| &found.parts);
        Halt {
            newest: Some(parts.map(|part| part.locator.clone()).collect()),
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

    /// Goes on as of the epoch before a halt, or refuses that.
    pub(in crate::drive) fn go_on_before(&self, halt: Halt, head: &Head) -> Result<(), Error> {
        let what_now = match self.settings.access {
            Access::Read if head.epoch > EpochNo(0) || halt.is_newest() => halt.shown(),
            Access::Write if halt.is_newest() && self.can_send_again(head.through)? => {
                String::from("what this machine had sent of it is sent again")
            }
            Access::Write if halt.is_newest() && self.settings.takeover == Takeover::Force => {
                let (whole, last) = (halt.whole, halt.last);
                format!("epoch {last} is given up, and the drive goes on from epoch {whole}")
            }
            Access::Read | Access::Write => return Err(halt.refusal()),
        };
        let halt = Halt { what_now, ..halt };
        log::warn!("{}", halt.told());
        self.control.post(|board| board.halt = Some(halt));
        Ok(())
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

    /// The drive is open, and is to be written to: attempts that are sent again or were given up go.
    pub(in crate::drive) async fn drop_given_up(&self) -> Result<(), Error> {
        let attempts = self.halt().and_then(|halt| halt.newest);
        match attempts.filter(|_| self.settings.access == Access::Write) {
            Some(attempts) => Ok(self.store.remove(&attempts).await?),
            None => Ok(()),
        }
    }
}
