//! Patience: a spool that is full while Discord is slow makes long work wait, and does not end it.

use crate::drive;
use crate::drive::task::Task;
use crate::fs::Error;

/// Makes a change, again and again while there is no room for it yet, until whoever watches has heard enough.
/// The drive has waited before it says that it is busy, so there is no pause between two attempts.
pub(crate) fn patiently<R>(
    task: &Task<'_>,
    mut change: impl FnMut() -> Result<R, Error>,
) -> Result<R, Error> {
    loop {
        match change() {
            Err(Error::Drive(drive::Error::Busy)) => task.check()?,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::task::Go;

    fn busy() -> Error {
        Error::Drive(drive::Error::Busy)
    }

    #[test]
    fn no_room_yet_is_waited_for() {
        let task = Task::new(&|_| Go::On);
        let mut tries = 0;
        let made = patiently(&task, || {
            tries += 1;
            match tries {
                ..3 => Err(busy()),
                _ => Ok(tries),
            }
        });
        assert_eq!(made.expect("there is room now"), 3);
        let full = patiently(&task, || -> Result<(), Error> {
            Err(Error::Drive(drive::Error::NoSpace))
        });
        assert!(matches!(full, Err(Error::Drive(drive::Error::NoSpace))));
    }

    #[test]
    fn whoever_watches_ends_the_wait() {
        let task = Task::new(&|_| Go::Stop);
        let made = patiently(&task, || -> Result<(), Error> { Err(busy()) });
        assert!(matches!(made, Err(Error::Drive(drive::Error::Interrupted))));
    }
}
