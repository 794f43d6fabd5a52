//! What can be chosen while something is typed: archives, and for admins names in a directory.

use crate::bot::Bot;
use crate::bot::looks;
use crate::bot::permit::Shown;
use crate::service;

/// Most choices that Discord takes.
const CHOICES_MAX: usize = 25;

/// Names that are looked at in one directory.
const NAMES_MAX: usize = 2000;

/// Choices for what was typed so far: what is shown, and what it stands for.
pub(in crate::bot) fn choices(bot: &Bot, typed: &str, shown: Shown) -> Vec<(String, String)> {
    let typed = typed.trim();
    let mut choices = Vec::new();
    if let Ok(found) = looks::find(bot, typed, 0, CHOICES_MAX, shown) {
        choices.extend(found.archives.iter().map(|info| {
            let named = match shown {
                Shown::Paths | Shown::Names => looks::called(info),
                Shown::Ids => String::new(),
            };
            let label = format!("{} {named}", info.id);
            (label.trim().to_owned(), info.id.clone())
        }));
    }
    if shown != Shown::Ids && !typed.starts_with('#') {
        choices.extend(names(bot, typed));
    }
    choices.truncate(CHOICES_MAX);
    choices
}

/// Entries of the directory that is being typed.
fn names(bot: &Bot, typed: &str) -> Vec<(String, String)> {
    let (directory, begun) = typed.rsplit_once('/').unwrap_or(("", typed));
    let listed = service::list(bot.desk.drive(), directory.as_bytes(), 0, NAMES_MAX);
    let Ok(listing) = listed else {
        return Vec::new();
    };
    let begun = begun.to_lowercase();
    let fitting = listing.entries.into_iter().filter(|entry| {
        // Discord takes values of 100 characters, and a path cut off leads nowhere.
        let path_chars = directory.chars().count() + 1 + entry.name.chars().count();
        entry.name.to_lowercase().starts_with(&begun) && path_chars <= 100
    });
    let paths = fitting.map(|entry| match directory {
        "" => entry.name,
        directory => format!("{directory}/{}", entry.name),
    });
    paths
        .map(|path| (path.clone(), path))
        .take(CHOICES_MAX)
        .collect()
}
