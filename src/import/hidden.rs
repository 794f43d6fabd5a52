//! Names of files that are not whole yet: hidden, of their own for each run, and known by their form.

use crate::import::Error;

/// What they end with.
const END: &str = ".ods-import";

/// Digits of each of their parts.
const DIGITS: usize = 16;

/// What the names of one run have in common.
pub(in crate::import) struct Run(String);

impl Run {
    /// One that no other run has.
    pub(in crate::import) fn new() -> Result<Run, Error> {
        let mut random = [0; DIGITS / 2];
        getrandom::fill(&mut random).map_err(|fault| Error::Host {
            path: String::from("random bytes"),
            source: std::io::Error::other(fault.to_string()),
        })?;
        Ok(Run(data_encoding::HEXLOWER.encode(&random)))
    }

    /// The name of what becomes a file of this name. Short, whatever that is.
    pub(in crate::import) fn hide(&self, name: &[u8]) -> Vec<u8> {
        let hash = blake3::hash(name).to_hex();
        format!(".{}-{}{END}", &hash[..DIGITS], self.0).into_bytes()
    }

    /// Is this such a name of another run? Earlier versions had one for all runs.
    pub(in crate::import) fn is_of_another(&self, name: &[u8]) -> bool {
        let middle = std::str::from_utf8(name)
            .ok()
            .and_then(|name| name.strip_prefix('.')?.strip_suffix(END));
        let are_digits = |text: &str| {
            let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            text.len() == DIGITS && text.bytes().all(is_digit)
        };
        match middle.map(|middle| middle.split_once('-').ok_or(middle)) {
            Some(Ok((hash, run))) => are_digits(hash) && are_digits(run) && run != self.0,
            Some(Err(hash)) => are_digits(hash),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_by_their_form_and_each_run_has_its_own() {
        let (one, other) = (Run::new().expect("random"), Run::new().expect("random"));
        let name = one.hide(b"photo.jpg");
        assert!(!one.is_of_another(&name) && other.is_of_another(&name));
        assert_ne!(name, other.hide(b"photo.jpg"));
        assert_eq!(name.len(), one.hide(&[b'x'; 255]).len());
        assert!(one.is_of_another(b".0123456789abcdef.ods-import"));
        for no in [
            &b".ods-import"[..],
            b"0123456789abcdef.ods-import",
            b".0123456789abcdeF.ods-import",
            b".notes.ods-import",
            b".0123456789abcdef-1.ods-import",
            b"\xff",
        ] {
            assert!(!one.is_of_another(no), "{}", no.escape_ascii());
        }
    }
}
