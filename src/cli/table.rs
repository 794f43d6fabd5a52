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
        cells.map(|cell| width_of(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..rows.iter().map(Vec::len).max().unwrap_or(0))
        .map(width)
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let blanks = width.saturating_sub(width_of(cell));
            line.push_str(&format!("{cell}{}  ", " ".repeat(blanks)));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Characters of a cell; what only colours it takes no room.
fn width_of(cell: &str) -> usize {
    let mut is_colour = false;
    let is_seen = |letter: &char| {
        let was_colour = is_colour;
        is_colour = *letter == '\x1b' || is_colour && *letter != 'm';
        !is_colour && !was_colour
    };
    cell.chars().filter(is_seen).count()
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
    columns(&archives.iter().map(short).collect::<Vec<_>>())
}

fn short(info: &ArchiveInfo) -> Vec<String> {
    vec![
        info.id.clone(),
        when(info.changed_s.unwrap_or(info.created_s)),
        counted(info.files, "file"),
        Bytes(info.bytes).to_string(),
        state(info.state),
        escaped(&name(info)),
        tags(&info.tags),
    ]
}

/// The same with everything else that is known of them, below what it is.
pub(crate) fn long(archives: &[ArchiveInfo]) -> String {
    let head = [
        "archive", "changed", "files", "size", "state", "lot", "created", "chunks", "packs",
        "stored", "dedup", "compr", "name", "tags", "where",
    ];
    let mut rows = vec![head.map(String::from).to_vec()];
    for info in archives {
        let mut row = short(info);
        let named = row.split_off(5);
        row.extend([
            info.lot.to_string(),
            day(info.created_s),
            info.chunks.to_string(),
            info.packs.to_string(),
            Bytes(info.pack_bytes).to_string(),
            percent(info.dedup_saving),
            percent(info.compression_saving),
        ]);
        row.extend(named);
        row.push(info.address.clone().unwrap_or_default());
        rows.push(row);
    }
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
        let coloured = columns(&[row(["\x1b[32mab\x1b[0m", "x"]), row(["abc", "y"])]);
        assert_eq!(coloured, "\x1b[32mab\x1b[0m   x\nabc  y\n");
        assert_eq!(when(1_793_836_800), "2026-11-05 00:00");
        assert_eq!(
            (percent(0.126), escaped("a\x1b[1m\n")),
            ("13 %".into(), "a\\u{1b}[1m\\n".into())
        );
    }
}
