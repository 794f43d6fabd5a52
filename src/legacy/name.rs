//! Names out of old archives: used only where they name something directly below a directory.

use crate::legacy::Error;

/// Longest name, bytes: what a filesystem takes.
const NAME_BYTES_MAX: usize = 255;

/// Longest path, bytes, and most names in it.
const PATH_BYTES_MAX: usize = 4096;

/// A name of one file or directory.
///
/// # Errors
/// [`Error::UnsafeName`].
pub fn component(name: &[u8]) -> Result<Vec<u8>, Error> {
    match name {
        b"" => Err(Error::UnsafeName("it is empty")),
        b"." | b".." => Err(Error::UnsafeName("it leads elsewhere")),
        _ if name.contains(&b'/') => Err(Error::UnsafeName("it leads elsewhere")),
        _ if name.contains(&0) => Err(Error::UnsafeName("it has a zero byte")),
        _ if name.len() > NAME_BYTES_MAX => Err(Error::UnsafeName("it is too long")),
        _ => Ok(name.to_vec()),
    }
}

/// The names on a relative path, from the top.
///
/// # Errors
/// [`Error::UnsafeName`].
pub fn path(path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    if path.len() > PATH_BYTES_MAX {
        return Err(Error::UnsafeName("it is too long"));
    }
    if path.first() == Some(&b'/') {
        return Err(Error::UnsafeName("it is absolute"));
    }
    let names = path.split(|byte| *byte == b'/');
    let names = names.filter(|name| !matches!(*name, b"" | b"."));
    let names: Vec<Vec<u8>> = names.map(component).collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Err(Error::UnsafeName("it is empty"));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            "./..",
            "a\0b",
            "//x",
        ] {
            assert!(path(bad.as_bytes()).is_err(), "{bad:?}");
        }
        for bad in ["", ".", "..", "a/b", "/a", "a\0", &"x".repeat(256)] {
            assert!(component(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let good = path("./a//b/./..c".as_bytes()).expect("good");
        assert_eq!(good, [b"a".to_vec(), b"b".to_vec(), b"..c".to_vec()]);
    }
}
