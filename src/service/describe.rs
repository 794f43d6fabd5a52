//! Title, tags and description of archives: the drive's own data, sealed like everything else.

use serde::Deserialize;
use serde::Serialize;

use crate::drive::catalogue::write_caption;
use crate::drive::change::Change;
use crate::index::caption;
use crate::index::caption::Caption;
use crate::service::ArchiveInfo;
use crate::service::Desk;
use crate::service::Error;
use crate::service::Target;
use crate::service::archives;

/// What to write about an archive; what is not given stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// One line, at most [`caption::TITLE_BYTES_MAX`] bytes; empty for none.
    pub title: Option<String>,
    /// All of its tags, at most [`caption::TAGS_MAX`] of [`caption::TAG_BYTES_MAX`] bytes.
    pub tags: Option<Vec<String>>,
    /// Any text of at most [`caption::DESCRIPTION_BYTES_MAX`] bytes; empty for none.
    pub description: Option<String>,
}

impl Words {
    /// Is nothing given?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Words::default()
    }

    /// Looks whether it can be kept.
    ///
    /// # Errors
    /// [`Error::Usage`] says what is too long.
    pub fn check(&self) -> Result<(), Error> {
        let fits = |what: &str, text: &str, bytes_max: usize| match text.len() {
            bytes if bytes > bytes_max => Err(Error::Usage(format!(
                "the {what} has {bytes} bytes; at most {bytes_max} are kept"
            ))),
            _ => Ok(()),
        };
        let title = self.title.as_deref().unwrap_or_default();
        fits("title", title, caption::TITLE_BYTES_MAX)?;
        if title.contains('\n') {
            return Err(Error::Usage(String::from("a title is one line")));
        }
        let description = self.description.as_deref().unwrap_or_default();
        fits("description", description, caption::DESCRIPTION_BYTES_MAX)?;
        let tags = self.tags.as_deref().unwrap_or_default();
        if tags.len() > caption::TAGS_MAX {
            return Err(Error::Usage(format!(
                "{} tags; at most {} are kept",
                tags.len(),
                caption::TAGS_MAX
            )));
        }
        tags.iter()
            .try_for_each(|tag| fits("tag", tag, caption::TAG_BYTES_MAX))
    }

    fn over(&self, before: Caption) -> Caption {
        let tidy = |tags: &Vec<String>| {
            let mut kept: Vec<String> = Vec::new();
            for tag in tags.iter().map(|tag| tag.trim()) {
                if !tag.is_empty() && !kept.iter().any(|other| other == tag) {
                    kept.push(tag.to_owned());
                }
            }
            kept
        };
        let trimmed = |text: &String| text.trim().to_owned();
        Caption {
            title: self.title.as_ref().map_or(before.title, trimmed),
            tags: self.tags.as_ref().map_or(before.tags, tidy),
            description: self
                .description
                .as_ref()
                .map_or(before.description, trimmed),
        }
    }
}

/// Writes about the archives that are meant; a path means the archive it belongs to. Gives them as they
/// are then.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Usage`] for what is too long, or when the drive takes no changes.
pub fn describe(desk: &Desk, target: &Target, words: &Words) -> Result<Vec<ArchiveInfo>, Error> {
    words.check()?;
    let drive = desk.drive();
    let mut told = Vec::new();
    for spot in target.find(drive)? {
        let no = match &spot.archive {
            Some(entry) => entry.no,
            None => match drive.archive_of(spot.ino)? {
                Some(no) => no,
                None => continue,
            },
        };
        let Some(entry) = drive.catalogued(no)? else {
            continue;
        };
        let caption = words.over(entry.caption);
        drive.change(|change: &mut Change<'_>| {
            write_caption(change, no, &caption).map_err(Error::from)
        })?;
        told.push(no.0);
    }
    let mut known = archives::all(drive)?;
    known.retain(|info| told.contains(&info.lot));
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_replaces_and_the_rest_stays() {
        let before = Caption {
            title: String::from("old"),
            tags: vec![String::from("a")],
            description: String::from("kept"),
        };
        let words = Words {
            title: Some(String::from(" new ")),
            tags: Some(vec![" b".into(), "b".into(), String::new()]),
            description: None,
        };
        let after = words.over(before);
        assert_eq!(
            (after.title.as_str(), after.tags),
            ("new", vec![String::from("b")])
        );
        assert_eq!(after.description, "kept");
        let long = |text: String| Words {
            title: Some(text),
            ..Words::default()
        };
        assert!(long("x".repeat(200)).check().is_ok());
        assert!(long("x".repeat(201)).check().is_err() && long("a\nb".into()).check().is_err());
    }
}
