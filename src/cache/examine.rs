//! Examining: every frame that is here is given to somebody who can tell whether it is good.

use std::{fs::File, sync::Arc};

use super::{
    Cache, CachedFrame,
    slab::{self, Listed},
    state::State,
};
use crate::id::ChunkId;

impl Cache {
    /// Gives every frame that is here to be judged, and forgets those that are not good. Answers how many
    /// there were, and how many of them were forgotten.
    ///
    /// # Errors
    /// What `is_good` says.
    pub fn examine<E>(
        &self,
        mut is_good: impl FnMut(&ChunkId, &CachedFrame) -> Result<bool, E>,
    ) -> Result<(u64, u64), E> {
        let slabs: Vec<(u32, Arc<File>, Vec<Listed>)> = {
            let state = self.read();
            let slabs = state.slabs.iter();
            slabs
                .map(|(number, slab)| (*number, Arc::clone(&slab.file), slab.frames.clone()))
                .collect()
        };
        let (mut seen, mut dropped) = (0, 0);
        for (number, file, frames) in slabs {
            // A slab's list also has frames that were forgotten, and came back elsewhere.
            let is_here = |state: &State, at: &Listed| {
                let known = state.frames.get(&at.key);
                known.is_some_and(|frame| frame.slab == number && frame.offset == at.offset)
            };
            for at in frames {
                if !is_here(&self.read(), &at) {
                    continue;
                }
                seen += 1;
                let chunk = slab::chunk_at(&file, at.offset);
                let frame = chunk.and_then(|chunk| slab::read(&file, at, &chunk));
                let good = match (&chunk, &frame) {
                    (Some(chunk), Some(frame)) => is_good(chunk, frame)?,
                    _ => false,
                };
                let mut state = self.write();
                if !good && is_here(&state, &at) {
                    dropped += 1;
                    state.frames.remove(&at.key);
                    slab::spoil(&file, at.offset);
                }
            }
        }
        Ok((seen, dropped))
    }
}
