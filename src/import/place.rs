//! Places of files: each is given once, and a second file of the same name gets a number.

use std::collections::HashMap;
use std::collections::HashSet;

use crate::fs::NAME_BYTES_MAX;
use crate::import::target::Path;

/// Room that a number takes at the end of a name, bytes.
const NUMBER_BYTES: usize = 16;

/// What this run has given away.
#[derive(Default)]
pub(in crate::import) struct Places {
    taken: HashSet<Path>,
    /// The next number to try, so that many files of one name are not compared with each other.
    next: HashMap<Path, u32>,
}

impl Places {
    /// The path, with a number if it was given to another.
    pub(in crate::import) fn give(&mut self, path: Path) -> Path {
        if path.is_empty() || self.taken.insert(path.clone()) {
            return path;
        }
        let mut stem = path;
        if let Some(last) = stem.last_mut() {
            last.truncate(NAME_BYTES_MAX - NUMBER_BYTES);
        }
        let next = self.next.entry(stem.clone()).or_insert(2);
        loop {
            let mut unique = stem.clone();
            if let Some(last) = unique.last_mut() {
                last.extend_from_slice(format!(" ({next})").as_bytes());
            }
            *next += 1;
            if self.taken.insert(unique.clone()) {
                return unique;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use std::time::Instant;

    fn path(name: &str) -> Path {
        vec![b"in".to_vec(), name.as_bytes().to_vec()]
    }

    #[test]
    fn a_second_file_of_the_same_name_gets_a_number() {
        let mut places = Places::default();
        let mut give = |name: &str| places.give(path(name));
        assert_eq!(give("a"), path("a"));
        assert_eq!(give("a (2)"), path("a (2)"));
        assert_eq!(give("a"), path("a (3)"));
        assert_eq!(give("a (2)"), path("a (2) (2)"));
        let long = "x".repeat(NAME_BYTES_MAX);
        assert_eq!(give(&long), path(&long));
        assert_eq!(give(&long), path(&format!("{} (2)", &long[..239])));
    }

    #[test]
    fn many_files_of_the_same_name_cost_no_more_than_others() {
        let mut places = Places::default();
        let started = Instant::now();
        // Of the same name, and of long names that are the same but for their end.
        for number in 0..100_000 {
            places.give(path("same"));
            let long = format!("{}{number:010}", "x".repeat(NAME_BYTES_MAX - 10));
            places.give(path(&long));
            places.give(path(&long));
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
}
