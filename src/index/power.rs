//! The index's writes to its files, which a test can cut off at any of them.

use std::{fs::File, io, os::unix::fs::FileExt};

#[cfg(test)]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// What lets files be changed. In a test it can run out.
#[derive(Clone, Debug, Default)]
pub(super) struct Power {
    #[cfg(test)]
    left: Option<Arc<AtomicU64>>,
}

impl Power {
    /// Enough for so many changes.
    #[cfg(test)]
    pub(super) fn for_changes(left: &Arc<AtomicU64>) -> Power {
        Power {
            left: Some(Arc::clone(left)),
        }
    }

    /// Is there some left for a change?
    pub(super) fn spend(&self) -> io::Result<()> {
        #[cfg(test)]
        if let Some(left) = &self.left {
            let less = |left: u64| left.checked_sub(1);
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                .map_err(|_| io::Error::other("no power"))?;
        }
        Ok(())
    }

    /// Writes to a file. Where power runs out, half of it is written.
    pub(super) fn write_all_at(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        let is_last = |left: &Arc<AtomicU64>| left.load(Ordering::SeqCst) == 1;
        #[cfg(test)]
        if self.left.as_ref().is_some_and(is_last) {
            file.write_all_at(&bytes[..bytes.len() / 2], at)?;
            self.spend()?;
        }
        self.spend()?;
        file.write_all_at(bytes, at)
    }

    /// Makes what was written to a file durable.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        self.spend()?;
        file.sync_data()
    }

    /// Changes a file's length.
    pub(super) fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        self.spend()?;
        file.set_len(len)
    }
}
