//! What tests do to what is kept, as bad disks, bad persons and slow listings do.

use super::Memory;
use super::place::read_locator;
use crate::store::Locator;

impl Memory {
    /// Changes what is kept, as a bad disk or a bad person would. False if it is not there.
    pub fn tamper(&self, locator: &Locator, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.state();
        let Some((mark, at)) = read_locator(locator) else {
            return false;
        };
        let body = state
            .shelves
            .values_mut()
            .find_map(|kept| kept.puts.get_mut(&mark)?.get_mut(at));
        let Some((_, body)) = body else {
            return false;
        };
        let mut bytes = body.to_vec();
        change(&mut bytes);
        *body = bytes.into();
        true
    }

    /// Keeps only so many bytes of an object from now on, and lists it as before. False if it is not there.
    pub fn cut(&self, locator: &Locator, keep_bytes: usize) -> bool {
        let mut before = 0;
        let is_there = self.tamper(locator, |bytes| {
            before = bytes.len() as u64;
            bytes.truncate(keep_bytes);
        });
        if let (true, Some(at)) = (is_there, read_locator(locator)) {
            self.state().claimed.insert(at, before);
        }
        is_there
    }

    /// Lists an object, and what was put together with it, only from [`Memory::list_all`] on. It is there all the same.
    pub fn list_late(&self, locator: &Locator) {
        if let Some((mark, _)) = read_locator(locator) {
            self.state().hidden.insert(mark);
        }
    }

    /// Lists everything from now on.
    pub fn list_all(&self) {
        self.state().hidden.clear();
    }
}
