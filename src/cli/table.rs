//! Answers as people read them: columns, times, shares, and what an archive is.

use time::OffsetDateTime;
use time::macros::format_description;

use crate::cli::paint::Paint;
use crate::cli::paint::paint;
use crate::cli::render::counted;
use crate::service::ArchiveInfo;
use crate::service::State;
use crate::size::Bytes;

/// Lines with columns that stand under each other; the last column may be as long as it likes.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..rows.iter().map(Vec::len).max().unwrap_or(0))
        .map(width)
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let blanks = width.saturating_sub(cell.chars().count());
            line.push_str(&format!("{cell}{}  ", " ".repeat(blanks)));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A time as people read it: `2026-11-29 21:05`, UTC.
pub(crate) fn when(seconds: i64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]");
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok();
    time.and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| String::from("?"))
}

/// A day, as [`when`] tells it.
pub(crate) fn day(seconds: i64) -> String {
    let time = when(seconds);
    time.split(' ').next().unwrap_or_default().to_owned()
}

/// A share as people read it.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A state in its colour.
pub(crate) fn state(state: State) -> String {
    let colour = match state {
        State::Stored => Paint::Good,
        State::Uploading => Paint::Busy,
        State::Damaged => Paint::Bad,
        State::Removed => Paint::Faint,
    };
    paint(colour, state.word())
}

/// What an archive is called: its directory, and what a person wrote above it.
pub(crate) fn name(info: &ArchiveInfo) -> String {
    let directory = match info.directory.as_str() {
        "" => "(files of the top directory)",
        directory => directory,
    };
    match info.title.as_str() {
        "" => directory.to_owned(),
        title => format!("{directory} “{title}”"),
    }
}

/// Archives, one on each line.
pub(crate) fn archives(archives: &[ArchiveInfo]) -> String {
    let rows: Vec<Vec<String>> = archives
        .iter()
        .map(|info| {
            vec![
                info.id.clone(),
                when(info.changed_s.unwrap_or(info.created_s)),
                counted(info.files, "file"),
                Bytes(info.bytes).to_string(),
                state(info.state),
                escaped(&name(info)),
                tags(&info.tags),
            ]
        })
        .collect();
    columns(&rows)
}

/// Tags as people write them.
pub(crate) fn tags(tags: &[String]) -> String {
    let tags: Vec<String> = tags
        .iter()
        .map(|tag| format!("[{}]", escaped(tag)))
        .collect();
    tags.join(" ")
}

/// Without characters that do something to a terminal.
pub(crate) fn escaped(text: &str) -> String {
    let safe = |c: char| match c.is_control() {
        true => c.escape_debug().to_string(),
        false => c.to_string(),
    };
    text.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let row = |cells: [&str; 2]| cells.map(String::from).to_vec();
        let text = columns(&[row(["a", "one"]), row(["bcd", ""])]);
        assert_eq!(text, "a    one\nbcd\n");
        assert_eq!(when(1_793_836_800), "2026-11-05 00:00");
        assert_eq!(
            (percent(0.126), escaped("a\x1b[1m\n")),
            ("13 %".into(), "a\\u{1b}[1m\\n".into())
        );
    }
}
