//! Paths of this machine in what people are told: as they are for admins, their last part for others.

use std::path::Path;

use crate::bot::Bot;
use crate::bot::permit::Shown;
use crate::import;
use crate::service::Error;

/// A path of this machine, or its last part.
pub(in crate::bot) fn path(path: &str, shown: Shown) -> &str {
    match shown {
        Shown::Paths => path,
        Shown::Names | Shown::Ids => last(path),
    }
}

fn last(path: &str) -> &str {
    let name = Path::new(path).file_name().and_then(|name| name.to_str());
    name.unwrap_or("a file of the machine")
}

/// An error in words; what the system says stays.
pub(in crate::bot) fn error(bot: &Bot, error: &Error, shown: Shown) -> String {
    match error {
        Error::Host { path: of, source }
        | Error::Import(import::Error::Host { path: of, source }) => {
            format!("{}: {source}", path(of, shown))
        }
        error => words(bot, &error.to_string(), shown),
    }
}

/// Words about files of this machine, which name them as they lie below the directories that the bot knows.
pub(in crate::bot) fn words(bot: &Bot, words: &str, shown: Shown) -> String {
    let settings = &bot.settings;
    let dirs = settings.download_dir.iter().chain(&settings.upload_dirs);
    let dirs = dirs.chain([&bot.state_dir]).chain(&bot.mountpoint);
    match shown {
        Shown::Paths => words.to_owned(),
        Shown::Names | Shown::Ids => below(dirs.map(|dir| dir.as_path()), words),
    }
}

fn below<'d>(dirs: impl Iterator<Item = &'d Path>, words: &str) -> String {
    let mut words = words.to_owned();
    for dir in dirs {
        let whole = dir.display().to_string();
        let whole = whole.trim_end_matches('/');
        if !whole.is_empty() {
            words = words.replace(&format!("{whole}/"), "");
            words = words.replace(whole, last(whole));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_last_part_for_who_may_not_see_the_machine() {
        assert_eq!(path("/srv/in/a.txt", Shown::Paths), "/srv/in/a.txt");
        assert_eq!(path("/srv/in/a.txt", Shown::Names), "a.txt");
        let told = |words: &str| {
            let dirs = [Path::new("/srv/out"), Path::new("/"), Path::new("/mnt/x/")];
            below(dirs.into_iter(), words)
        };
        assert_eq!(
            told("1 file, /srv/out/a/b among them"),
            "1 file, a/b among them"
        );
        assert_eq!(
            told("/srv/out is no directory; /mnt/x/y"),
            "out is no directory; y"
        );
        assert_eq!(told("/photos/a"), "/photos/a");
    }
}
