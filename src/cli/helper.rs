//! The helpers of mount(8) and umount(8): the same program under other names.
//!
//! mount(8) calls `mount.fuse.ods SPEC DIR [-sfnv] [-N ns] [-t type] [-o options]`, umount(8) calls
//! `umount.fuse.ods DIR [-fnrlv] [-N ns] [-t type]`.

use std::ffi::OsString;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;

use crate::cli::args;
use crate::cli::ask;
use crate::cli::config::Config;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::exit::fault;
use crate::cli::mounts;
use crate::cli::paths::Paths;
use crate::cli::registry;
use crate::cli::sys;
use crate::cli::sys::Unmount;

/// As what this program was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// By a person, as `ods-mount`.
    Person,
    /// By mount(8).
    Mount,
    /// By umount(8).
    Umount,
}

impl Role {
    pub(crate) fn of(program: Option<&OsString>) -> Role {
        let name = program.map(Path::new).and_then(Path::file_name);
        match name.and_then(|name| name.to_str()) {
            Some(name) if name.starts_with("mount.") => Role::Mount,
            Some(name) if name.starts_with("umount.") => Role::Umount,
            _ => Role::Person,
        }
    }
}

/// Arguments of a helper, sorted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Called {
    places: Vec<OsString>,
    letters: String,
    options: Vec<OsString>,
}

impl Called {
    fn read(args: impl Iterator<Item = OsString>) -> Called {
        let mut called = Called::default();
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("-o") => called.options.extend(args.next()),
                Some("-N" | "-t") => drop(args.next()),
                Some(flag) if flag.starts_with('-') && flag.len() > 1 => {
                    called.letters.push_str(&flag[1..]);
                }
                _ => called.places.push(arg),
            }
        }
        called
    }

    fn has(&self, letter: char) -> bool {
        self.letters.contains(letter)
    }
}

/// What mount(8) asks, in the words of `ods-mount`; none when it only asks whether it would.
pub(crate) fn mount_args(args: impl Iterator<Item = OsString>) -> Result<Option<Vec<OsString>>> {
    let called = Called::read(args);
    let [spec, mountpoint] = &called.places[..] else {
        return Err(fault(
            Code::Usage,
            "mount.fuse.ods DRIVE MOUNTPOINT [-sfnv] [-o OPTIONS]",
        ));
    };
    if called.has('f') {
        return Ok(None);
    }
    let options: Vec<_> = called
        .options
        .iter()
        .map(|list| list.to_string_lossy())
        .collect();
    let asked = || options.iter().flat_map(|list| list.split(','));
    if asked().any(|word| word == "remount") {
        let path = mounts::resolve(Path::new(mountpoint));
        return sys::remount(&path, asked())
            .or_fault(Code::Mountpoint, || {
                format!("cannot remount {}", path.display())
            })
            .map(|()| None);
    }
    let mut words = vec![OsString::from("ods-mount"), OsString::from("--daemon")];
    for list in &called.options {
        words.extend([OsString::from("-o"), list.clone()]);
    }
    let spec = spec.to_string_lossy();
    let name = spec.strip_prefix("ods#").unwrap_or(&spec).to_owned();
    // `none` and `ods` are what people write when there is nothing to say.
    let is_nothing = |name: &str| {
        ["none", "ods", ""].contains(&name)
            && Paths::find(None)
                .and_then(|paths| Config::load(&paths.config))
                .is_ok_and(|config| !config.drive.contains_key(name))
    };
    if !is_nothing(&name) {
        words.push(name.into());
    }
    words.push(mountpoint.clone());
    Ok(Some(words))
}

/// What umount(8) asks: wait until everything is on Discord, then unmount.
pub(crate) fn umount(args: impl Iterator<Item = OsString>) -> Result<()> {
    let called = Called::read(args);
    let [mountpoint] = &called.places[..] else {
        return Err(fault(Code::Usage, "umount.fuse.ods MOUNTPOINT [-fnrlv]"));
    };
    let path = mounts::resolve(&PathBuf::from(mountpoint));
    let paths = Paths::find(None)?;
    let detach = |how| {
        sys::unmount(&path, how).or_fault(Code::Mountpoint, || {
            format!("cannot unmount {}", path.display())
        })
    };
    // Lazily means at once; the daemon brings the rest to Discord all the same.
    if registry::stuck_at(&paths, &path).is_some() {
        return ask_umount(&path, &called);
    }
    match registry::of_mount(&paths, &path) {
        _ if called.has('l') => detach(Unmount::Detach),
        None => {
            detach(Unmount::Clean)?;
            Err(fault(
                Code::Kept,
                format!(
                    "{}: unmounted, but its daemon is not known here: it was gone, or belongs to another user or \
                     home directory; what had not come to Discord by then is kept",
                    path.display()
                ),
            ))
        }
        Some(_) => ask_umount(&path, &called),
    }
}

fn ask_umount(path: &Path, called: &Called) -> Result<()> {
    let args = args::Umount {
        target: Some(path.to_string_lossy().into_owned()),
        timeout: None,
        force: called.has('f'),
        json: false,
    };
    ask::umount(&args, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> impl Iterator<Item = OsString> {
        let words: Vec<OsString> = text.split(' ').map(OsString::from).collect();
        words.into_iter()
    }

    #[test]
    fn what_mount_8_says_is_understood() {
        let args = mount_args(words("photos /mnt -n -o rw,nofail -t fuse.ods"));
        let args = args.expect("good").expect("to do");
        assert_eq!(
            args,
            words("ods-mount --daemon -o rw,nofail photos /mnt").collect::<Vec<_>>()
        );
        assert_eq!(mount_args(words("photos /mnt -f")).expect("good"), None);
        assert!(mount_args(words("photos")).is_err());
    }

    #[test]
    fn a_program_knows_its_role_by_its_name() {
        let role = |name: &str| Role::of(Some(&OsString::from(name)));
        assert_eq!(role("/sbin/mount.fuse.ods"), Role::Mount);
        assert_eq!(role("/sbin/umount.fuse.ods"), Role::Umount);
        assert_eq!(role("/usr/bin/ods-mount"), Role::Person);
    }
}
