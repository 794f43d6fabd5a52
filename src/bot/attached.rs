//! What attachments are called in the drive.

use std::collections::HashSet;

use crate::bot::wire::Attachment;
use crate::fs::NAME_BYTES_MAX;

/// Longest ending of a name that a number is put before, bytes.
const ENDING_BYTES_MAX: usize = 32;

/// The names of what came in one message. Several may have the same: `image.png`, `image (2).png`.
pub(in crate::bot) fn names(files: &[Attachment]) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut one = |file: &Attachment| {
        let name = file_name(file);
        let numbered = (2..).map(|number| numbered(&name, number));
        let free = std::iter::once(name.clone())
            .chain(numbered)
            .find(|name| taken.insert(name.clone()));
        free.unwrap_or(name)
    };
    files.iter().map(&mut one).collect()
}

/// The same name with a number before its ending.
fn numbered(name: &str, number: u64) -> String {
    let ending = name
        .rfind('.')
        .filter(|at| *at > 0 && name.len() - at <= ENDING_BYTES_MAX)
        .unwrap_or(name.len());
    let (stem, ending) = name.split_at(ending);
    let ending = format!(" ({number}){ending}");
    let mut stem = stem.to_owned();
    while stem.len() + ending.len() > NAME_BYTES_MAX {
        stem.pop();
    }
    stem + &ending
}

/// What an attachment is called in the drive: its last name, and nothing that leads elsewhere.
fn file_name(file: &Attachment) -> String {
    let extension = file
        .filename
        .rsplit_once('.')
        .map(|(_, extension)| extension);
    // Discord keeps the original name as title, without its extension.
    let name = match (
        file.title.as_deref().filter(|title| !title.is_empty()),
        extension,
    ) {
        (Some(title), Some(extension)) if !title.ends_with(&format!(".{extension}")) => {
            format!("{title}.{extension}")
        }
        (Some(title), _) => title.to_owned(),
        (None, _) => file.filename.clone(),
    };
    let mut name: String = name
        .chars()
        .map(|c| if c == '/' || c.is_control() { '_' } else { c })
        .collect();
    while name.len() > NAME_BYTES_MAX {
        name.pop();
    }
    match name.as_str() {
        "" | "." | ".." => String::from("attachment"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(filename: &str, title: Option<&str>) -> Attachment {
        Attachment {
            filename: filename.into(),
            size: 0,
            url: String::new(),
            title: title.map(str::to_owned),
        }
    }

    #[test]
    fn what_comes_together_has_names_of_its_own() {
        let together = |names_of: &[&str]| {
            let files: Vec<Attachment> =
                names_of.iter().map(|name| attachment(name, None)).collect();
            names(&files)
        };
        assert_eq!(
            together(&[
                "image.png",
                "image.png",
                "image (2).png",
                "image.png",
                "x",
                "x"
            ]),
            [
                "image.png",
                "image (2).png",
                "image (2) (2).png",
                "image (3).png",
                "x",
                "x (2)"
            ]
        );
        assert_eq!(together(&[".env", ".env"]), [".env", ".env (2)"]);
        let long = "ä".repeat(400);
        let long = together(&[&long, &long]);
        assert!(long[1].ends_with(" (2)") && long[1].len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn an_attachment_cannot_choose_where_it_goes() {
        let named = |filename: &str, title: Option<&str>| file_name(&attachment(filename, title));
        assert_eq!(named("a.txt", None), "a.txt");
        assert_eq!(named("a_b.txt", Some("ä b")), "ä b.txt");
        assert_eq!(named("..", None), "attachment");
        assert_eq!(named("x", Some("../../etc/passwd")), ".._.._etc_passwd");
        assert!(named(&"ä".repeat(400), None).len() <= 255);
    }
}
