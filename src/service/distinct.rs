//! Things that are copied into one directory, and would have the same name there.

use std::collections::HashMap;
use std::hash::Hash;

use crate::service::Error;

/// Something that is copied.
pub(in crate::service) struct Comer<K> {
    /// What it is called where it goes.
    pub(in crate::service) name: Vec<u8>,
    /// What it is: the same thing twice is no harm.
    pub(in crate::service) what: K,
    /// As people know it.
    pub(in crate::service) shown: String,
}

/// Fails when two of them would have the same name: the second would replace the first. `advice` says what to
/// do then.
pub(in crate::service) fn check<K: Eq + Hash>(
    comers: impl IntoIterator<Item = Comer<K>>,
    advice: &str,
) -> Result<(), Error> {
    let mut taken: HashMap<Vec<u8>, Comer<K>> = HashMap::new();
    for comer in comers {
        let first = match taken.get(&comer.name) {
            Some(first) if first.what == comer.what => continue,
            Some(first) => &first.shown,
            None => {
                taken.insert(comer.name.clone(), comer);
                continue;
            }
        };
        let name = String::from_utf8_lossy(&comer.name).into_owned();
        let second = &comer.shown;
        return Err(Error::Usage(format!(
            "{first} and {second} would both be called `{}` there; {advice}",
            name.escape_debug()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_things_of_one_name_are_refused_and_one_thing_twice_is_not() {
        let comer = |name: &str, what: u8| Comer {
            name: name.into(),
            what,
            shown: format!("/{what}/{name}"),
        };
        assert!(check([comer("a", 1), comer("b", 2), comer("a", 1)], "do not").is_ok());
        let error = check([comer("a", 1), comer("b", 1), comer("a", 2)], "do not");
        let text = error.expect_err("two of a name").to_string();
        assert_eq!(text, "/1/a and /2/a would both be called `a` there; do not");
    }
}
