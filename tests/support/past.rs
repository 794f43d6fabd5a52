//! The past of an emulator that writes down, one line each, everything that happens in it.

use std::path::Path;

use tempfile::TempDir;

fn log(data: &Path) -> Vec<u8> {
    std::fs::read(data.join("state.log")).expect("a log")
}

/// How many things have happened.
pub(crate) fn lines(data: &Path) -> usize {
    log(data).iter().filter(|byte| **byte == b'\n').count()
}

/// Its directory as it was when so many things had happened.
pub(crate) fn until(data: &Path, lines: usize) -> TempDir {
    let then = TempDir::new().expect("a directory");
    let log = log(data);
    let ends = log.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let end = ends.map(|(at, _)| at + 1).nth(lines - 1).expect("a line");
    std::fs::write(then.path().join("state.log"), &log[..end]).expect("written");
    link_all(&data.join("attachments"), &then.path().join("attachments"));
    then
}

fn link_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => link_all(&entry.path(), &target),
            false => std::fs::hard_link(entry.path(), target).expect("linked"),
        }
    }
}
