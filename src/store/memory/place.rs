//! Where an object is in memory: which put, which object of it, and how many it has.

use bytes::Bytes;

use crate::store::{Entry, Error, Locator, Mark, Shelf, Together};

pub(super) fn missing(shelf: &Shelf) -> Error {
    Error::Missing {
        what: format!("the shelf `{}`", shelf.0),
    }
}

pub(super) fn locator(mark: u64, at: usize, count: usize) -> Locator {
    let short = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes();
    Locator([&mark.to_be_bytes()[..], &short(at), &short(count)].concat())
}

pub(super) fn read_locator(locator: &Locator) -> Option<(u64, usize)> {
    let (mark, at) = locator.0.split_first_chunk()?;
    Some((u64::from_be_bytes(*mark), short(at)?))
}

pub(super) fn read_together(locator: &Locator) -> Option<Together> {
    let (key, objects) = (locator.0.get(..8)?.to_vec(), short(locator.0.get(10..)?)?);
    Some(Together { key, objects })
}

fn short(bytes: &[u8]) -> Option<usize> {
    Some(u16::from_be_bytes(*bytes.first_chunk()?).into())
}

pub(super) fn entries_of(mark: u64, put: &[(String, Bytes)]) -> Vec<Entry> {
    let entry = |(at, (name, body)): (usize, &(String, Bytes))| Entry {
        name: name.clone(),
        locator: locator(mark, at, put.len()),
        bytes: body.len() as u64,
        mark: Mark(mark),
    };
    put.iter().enumerate().map(entry).collect()
}
