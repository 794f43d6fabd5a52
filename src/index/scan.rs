//! Merged views: the changes in memory over what is stored, as one ordered key space.

use std::{collections::VecDeque, ops::Bound, sync::Arc};

use super::{
    Error, Index, Key, Value,
    delta::Delta,
    kv::{Kv, Range, is_empty},
};

/// Entries taken at once. Writers wait for one page at most.
const PAGE_MAX: usize = 256;
/// The first page is short: most scans want a few entries.
const PAGE_MIN: usize = 16;
/// Keys looked at for one page: a long run of deleted keys must not keep writers waiting either.
const STEPS_MAX: usize = 4096;

/// Which layers are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// All.
    Now,
    /// As of the freeze: without what was gathered since.
    Frozen,
    /// Only what is stored.
    Base,
}

/// Entries of a range, ascending. Holds no lock between two of them: each page is a state that the index
/// really had, and a later page may see a later one.
pub struct Scan<'a> {
    index: &'a Index,
    view: View,
    from: Bound<Key>,
    to: Bound<Key>,
    page: VecDeque<(Key, Value)>,
    page_len: usize,
    end: End,
}

#[derive(PartialEq, Eq)]
enum End {
    Ahead,
    Reached,
}

impl<'a> Scan<'a> {
    pub(super) fn new(index: &'a Index, view: View, (from, to): Range<'_>) -> Scan<'a> {
        Scan {
            index,
            view,
            from: from.map(Key::from),
            to: to.map(Key::from),
            page: VecDeque::new(),
            page_len: PAGE_MIN,
            end: End::Ahead,
        }
    }

    fn fill(&mut self) -> Result<(), Error> {
        while self.page.is_empty() && self.end == End::Ahead {
            let range = (as_slice(&self.from), as_slice(&self.to));
            let next = self.index.layers(self.view, |deltas, base| {
                page(deltas, base, range, self.page_len, &mut self.page)
            })?;
            self.index.looked(self.page.len());
            match next {
                Some(last) => self.from = Bound::Excluded(last),
                None => self.end = End::Reached,
            }
            self.page_len = (self.page_len * 2).min(PAGE_MAX);
        }
        Ok(())
    }
}

impl Iterator for Scan<'_> {
    type Item = Result<(Key, Value), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.is_empty()
            && let Err(fault) = self.fill()
        {
            self.end = End::Reached;
            return Some(Err(fault));
        }
        self.page.pop_front().map(Ok)
    }
}

pub(super) fn as_slice(bound: &Bound<Key>) -> Bound<&[u8]> {
    bound.as_ref().map(|key| &key[..])
}

/// Merges one page of a range into `out`. Answers the last key that was looked at if there may be more.
fn page(
    deltas: &[&Delta],
    base: &dyn Kv,
    range: Range<'_>,
    most: usize,
    out: &mut VecDeque<(Key, Value)>,
) -> Result<Option<Key>, Error> {
    if is_empty(range) {
        return Ok(None);
    }
    let stored = base.page(range, most)?;
    // Behind the last stored entry of a full page there may be others that are not known here.
    let horizon = (stored.len() == most).then(|| stored[most - 1].0.clone());
    let mut stored = stored.into_iter().peekable();
    let mut layers: Vec<_> = deltas
        .iter()
        .map(|delta| delta.range(range).peekable())
        .collect();
    for step in 1.. {
        let in_layers = layers
            .iter_mut()
            .filter_map(|layer| layer.peek().map(|(key, _)| &key[..]))
            .min();
        let least = match (in_layers, stored.peek()) {
            (None, None) => return Ok(None),
            (Some(key), None) => key,
            (None, Some((key, _))) => key,
            (Some(one), Some((other, _))) => one.min(other),
        };
        let least = Key::from(least);
        let mut value = stored
            .next_if(|(key, _)| *key == least)
            .map(|(_, value)| value);
        // The topmost layer comes first, so it has the last word.
        for layer in layers.iter_mut().rev() {
            if let Some((_, change)) = layer.next_if(|(key, _)| **key == least) {
                value.clone_from(change);
            }
        }
        let at_horizon = horizon.as_ref() == Some(&least);
        let is_end = at_horizon || out.len() + 1 >= most || step >= STEPS_MAX;
        let last = is_end.then(|| least.clone());
        if let Some(value) = value {
            out.push_back((least, value));
        }
        if is_end {
            return Ok(last);
        }
    }
    Ok(None)
}

/// The greatest entry of a range.
pub(super) fn last(
    deltas: &[&Delta],
    base: &dyn Kv,
    (from, to): Range<'_>,
) -> Result<Option<(Key, Value)>, Error> {
    let mut to: Bound<Key> = to.map(Key::from);
    let mut stored = Stored::Unknown;
    loop {
        let range = (from, as_slice(&to));
        if is_empty(range) {
            return Ok(None);
        }
        let candidate = match stored {
            Stored::Unknown => base.last(range)?,
            Stored::Known(entry) => entry,
        };
        let changed = deltas
            .iter()
            .filter_map(|delta| delta.range(range).next_back())
            // Of equal keys the topmost layer's counts; `max_by` answers the last of equals.
            .rev()
            .max_by(|(one, _), (other, _)| one.cmp(other));
        match (changed, candidate) {
            (None, candidate) => return Ok(candidate),
            (Some((key, _)), Some(entry)) if entry.0 > *key => return Ok(Some(entry)),
            (Some((key, Some(value))), _) => return Ok(Some((key.clone(), value.clone()))),
            (Some((key, None)), candidate) => {
                stored = match candidate {
                    Some(entry) if entry.0 == *key => Stored::Unknown,
                    other => Stored::Known(other),
                };
                to = Bound::Excluded(key.clone());
            }
        }
    }
}

/// The greatest stored entry that is left, where looking it up again can be spared.
enum Stored {
    Unknown,
    Known(Option<(Key, Value)>),
}

/// The changes that are being published, ascending.
pub struct Publishing {
    delta: Option<Arc<Delta>>,
    after: Option<Key>,
    page: std::vec::IntoIter<(Key, Option<Value>)>,
}

impl Publishing {
    pub(super) fn new(delta: Option<Arc<Delta>>) -> Publishing {
        Publishing {
            delta,
            after: None,
            page: Vec::new().into_iter(),
        }
    }
}

impl Iterator for Publishing {
    type Item = (Key, Option<Value>);

    fn next(&mut self) -> Option<Self::Item> {
        const PAGE: usize = 1024;
        if self.page.len() == 0 {
            let from = self
                .after
                .as_deref()
                .map_or(Bound::Unbounded, Bound::Excluded);
            let page: Vec<_> = self
                .delta
                .as_ref()?
                .range((from, Bound::Unbounded))
                .take(PAGE)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            if let Some((key, _)) = page.last() {
                self.after = Some(key.clone());
            }
            self.page = page.into_iter();
        }
        self.page.next()
    }
}

/// The end of the range of all keys that begin with `prefix`.
pub(super) fn after_prefix(prefix: &[u8]) -> Bound<Key> {
    match prefix.iter().rposition(|byte| *byte < u8::MAX) {
        Some(at) => {
            let mut end = prefix[..=at].to_vec();
            end[at] += 1;
            Bound::Excluded(end.into())
        }
        None => Bound::Unbounded,
    }
}
