//! What other programs left where the drive is, for whoever brings it into the drive.

use std::ops::Range;

use bytes::Bytes;

use crate::drive::Drive;
use crate::drive::Error;
use crate::drive::task::Task;
use crate::store;
use crate::store::Locator;
use crate::store::Span;
use crate::store::Urgency;
use crate::store::strangers::Notes;
use crate::store::strangers::Room;
use crate::store::strangers::Strangers;

impl Drive {
    fn strangers(&self) -> Result<&dyn Strangers, Error> {
        self.store.strangers().ok_or_else(|| {
            Error::Store(store::Error::Missing {
                what: String::from("a place where others could have left something"),
            })
        })
    }

    /// Places where others leave something. Not to be called where async code runs, like all of these.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Interrupted`], [`Error::Closing`].
    pub fn rooms(&self, task: &Task<'_>) -> Result<Vec<Room>, Error> {
        let strangers = self.strangers()?;
        self.wait_with(task, async { Ok(strangers.rooms().await?) })
    }

    /// A page of what others left in a place.
    ///
    /// # Errors
    /// As [`Drive::rooms`].
    pub fn notes(&self, room: u64, span: Span, task: &Task<'_>) -> Result<Notes, Error> {
        let strangers = self.strangers()?;
        self.wait_with(task, async { Ok(strangers.notes(room, span).await?) })
    }

    /// Reads an object of theirs; what it holds is for the caller to judge.
    ///
    /// # Errors
    /// As [`Drive::rooms`].
    pub fn strange(
        &self,
        locator: &Locator,
        range: Range<u64>,
        task: &Task<'_>,
    ) -> Result<Bytes, Error> {
        self.wait_with(task, async {
            Ok(self.store.get(locator, range, Urgency::Background).await?)
        })
    }
}
