//! What was learnt of sizes, kept on this machine from one session to the next: else each would begin with small
//! puts, and find out anew what is too large.
//!
//! It is advice. Without the file, or with one that is damaged or of another drive, a session begins as if nothing
//! were known; and whatever it says, what is refused is made smaller, and that is then what it says.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{settings::Settings, sizes::Sizes, wire::in_ms};
use crate::clock::Clock;
use crate::durable;
use crate::size::MIB;

/// A refusal is believed for a week: then it is tried whether more is taken by now.
const REFUSAL_MS: u64 = 7 * 24 * 3600 * 1000;
/// What grew by less is not worth writing down.
const STEP_BYTES: u64 = MIB;

/// What the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    server: u64,
    journal_channel: u64,
    put_bytes_proven: u64,
    put_bytes_max: u64,
    /// When more than that was refused, milliseconds since 1970.
    refused_ms: Option<u64>,
}

/// Sizes, and the file that keeps them.
#[derive(Debug)]
pub(super) struct Learnt {
    sizes: Mutex<Sizes>,
    file: Option<PathBuf>,
    place: (u64, u64),
    clock: Clock,
    /// What the file says, or is about to.
    noted: Mutex<Note>,
    /// Held while the file is written, and `sizes` within it.
    writing: Mutex<()>,
}

impl Learnt {
    /// Sizes as they were known at last, if somebody wrote that down.
    pub(super) fn new(settings: &Settings) -> Arc<Self> {
        let mut sizes = Sizes::new(
            settings.object_bytes_max,
            settings.put_bytes_start,
            settings.put_bytes_ceiling,
        );
        let place = (settings.guild, settings.journal_channel);
        let file = settings.sizes_file.clone();
        let bytes = file.as_ref().and_then(|file| std::fs::read(file).ok());
        let kept = bytes.and_then(|bytes| serde_json::from_slice::<Note>(&bytes).ok());
        if let Some(kept) = kept.filter(|kept| (kept.server, kept.journal_channel) == place) {
            let now_ms = in_ms(settings.clock.now());
            let believed = kept
                .refused_ms
                .filter(|refused_ms| now_ms.abs_diff(*refused_ms) < REFUSAL_MS);
            sizes.recall(kept.put_bytes_proven, kept.put_bytes_max, believed);
        }
        Arc::new(Self {
            noted: Mutex::new(note(place, &sizes)),
            sizes: Mutex::new(sizes),
            file,
            place,
            clock: settings.clock.clone(),
            writing: Mutex::default(),
        })
    }

    pub(super) fn sizes(&self) -> MutexGuard<'_, Sizes> {
        lock(&self.sizes)
    }

    /// A put was too large; see [`Sizes::refused`].
    pub(super) fn refused(&self, count: usize, largest: u64, total: u64) -> u64 {
        let now_ms = in_ms(self.clock.now());
        self.sizes().refused(count, largest, total, now_ms)
    }

    /// Writes down what is new. That it cannot be written changes nothing but the next session's beginning.
    pub(super) async fn keep(self: &Arc<Self>) {
        let Some(file) = self.file.clone() else {
            return;
        };
        let now = note(self.place, &self.sizes());
        {
            let mut noted = lock(&self.noted);
            if !now.is_news_after(&noted) {
                return;
            }
            *noted = now;
        }
        let this = Arc::clone(self);
        let write = move || {
            let _one_by_one = lock(&this.writing);
            let newest = note(this.place, &this.sizes());
            let bytes = serde_json::to_vec(&newest).map_err(std::io::Error::other)?;
            durable::write_file(&file, &bytes)
        };
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::debug!("what Discord takes at once is not kept: {error}"),
            Err(error) => log::debug!("what Discord takes at once is not kept: {error}"),
        }
    }
}

impl Note {
    fn is_news_after(&self, before: &Note) -> bool {
        let grown = self.put_bytes_proven.abs_diff(before.put_bytes_proven);
        grown >= STEP_BYTES
            || self.put_bytes_max != before.put_bytes_max
            || self.refused_ms != before.refused_ms
    }
}

fn note((server, journal_channel): (u64, u64), sizes: &Sizes) -> Note {
    Note {
        server,
        journal_channel,
        put_bytes_proven: sizes.proven(),
        put_bytes_max: sizes.put_max(),
        refused_ms: sizes.refused_ms(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{settings::Token, sizes::SAFE_PUT_BYTES};
    use super::*;
    use crate::store::Limits;

    const START_MS: i64 = 1_700_000_000_000;

    fn settings(file: &Path, ms: u64) -> Settings {
        let now = (START_MS + i64::try_from(ms).expect("small")) * 1_000_000;
        Settings {
            sizes_file: Some(file.to_owned()),
            clock: Clock::Manual(Arc::new(now.into())),
            ..Settings::new(Token::new("token").expect("a token"), 1, 2, 3)
        }
    }

    fn limits(file: &Path) -> Limits {
        Learnt::new(&settings(file, 0)).sizes().limits()
    }

    async fn taken(learnt: &Arc<Learnt>, mib: u64) {
        learnt.sizes().taken(mib * MIB);
        learnt.keep().await;
    }

    #[tokio::test]
    async fn what_was_taken_is_known_in_the_next_session() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("sizes");
        let learnt = Learnt::new(&settings(&file, 0));
        taken(&learnt, 3).await;
        assert!(!file.exists(), "nothing was learnt");
        for mib in [25, 37, 56, 80] {
            taken(&learnt, mib).await;
        }
        let known = learnt.sizes().limits();
        assert_eq!(known.put_bytes_proven, 80 * MIB);
        assert_eq!(limits(&file), known);
    }

    #[tokio::test]
    async fn a_refusal_lowers_it_and_is_believed_for_a_week() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("sizes");
        let learnt = Learnt::new(&settings(&file, 0));
        for mib in [25, 37, 56] {
            taken(&learnt, mib).await;
        }
        assert_eq!(learnt.refused(8, 10 * MIB, 80 * MIB), 56 * MIB);
        learnt.keep().await;
        let after = |ms| {
            let learnt = Learnt::new(&settings(&file, ms));
            learnt.sizes().taken(56 * MIB);
            learnt.sizes().limits()
        };
        assert_eq!(after(REFUSAL_MS - 1).put_bytes_max, 56 * MIB);
        assert_eq!(after(REFUSAL_MS + 1).put_bytes_max, 84 * MIB);
        // What was taken once is not taken any more.
        let learnt = Learnt::new(&settings(&file, 0));
        assert_eq!(learnt.refused(5, 10 * MIB, 50 * MIB), 25 * MIB);
        learnt.keep().await;
        assert_eq!(limits(&file).put_bytes_proven, 25 * MIB);
        assert_eq!(limits(&file).put_bytes_max, 25 * MIB);
    }

    #[test]
    fn a_file_that_is_missing_damaged_or_another_drive_s_says_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("sizes");
        let whole = |server: u64, bytes: u64| {
            format!(
                "{{\"server\":{server},\"journal_channel\":2,\"put_bytes_proven\":{bytes},\"put_bytes_max\":{bytes},\"refused_ms\":null}}"
            )
        };
        let begin = limits(&file);
        assert_eq!(begin.put_bytes_proven, SAFE_PUT_BYTES);
        let text = whole(1, 50 * MIB);
        std::fs::write(&file, &text).expect("written");
        assert_eq!(limits(&file).put_bytes_proven, 50 * MIB);
        let cut = &text[..text.len() / 2];
        let other = whole(9, 50 * MIB);
        for bad in [
            "",
            cut,
            "{}",
            "\0\0\0\0",
            &other,
            &whole(1, 7),
            &whole(1, 0),
        ] {
            std::fs::write(&file, bad).expect("written");
            assert_eq!(limits(&file), begin, "{bad}");
        }
        std::fs::write(&file, whole(1, u64::MAX)).expect("written");
        assert_eq!(limits(&file).put_bytes_max, 100 * MIB, "ten full objects");
    }
}
