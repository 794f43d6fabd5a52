//! A drive whose index is damaged, old or of another version: nothing wrong is read, and it is rebuilt by itself.
#![allow(
    clippy::cast_possible_truncation,
    clippy::unwrap_used,
    reason = "small numbers of a test, and what must not fail in it"
)]

#[path = "support/drives.rs"]
mod drives;

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use drives::*;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::Look;
use ods::id::InodeNo;
use ods::store::memory::Memory;
use tempfile::TempDir;

/// Files of a drive: many that are published, and one that is not.
struct Made {
    store: Arc<Memory>,
    dir: TempDir,
    published: Vec<InodeNo>,
    newer: InodeNo,
}

const NEWER: &[u8] = b"not yet published";

fn told(nth: usize) -> Vec<u8> {
    format!("this is file {nth}").into_bytes()
}

async fn made() -> Made {
    let (store, dir) = (store(), TempDir::new().unwrap());
    let drive = open(dir.path(), &store).await;
    let mut published = Vec::new();
    for nth in 0..2000 {
        let ino = create(&drive);
        write(&drive, ino, 0, &told(nth));
        published.push(ino);
    }
    flush(&drive).await;
    let newer = create(&drive);
    write(&drive, newer, 0, NEWER);
    drive.close().await;
    Made {
        store,
        dir,
        published,
        newer,
    }
}

impl Made {
    fn index(&self) -> std::path::PathBuf {
        self.dir.path().join("index")
    }

    async fn check(&self, drive: &Arc<Drive>) {
        for (nth, ino) in self.published.iter().enumerate() {
            assert_eq!(content(drive, *ino).await, told(nth));
        }
        assert_eq!(content(drive, self.newer).await, NEWER);
        assert_eq!(drive.status().unwrap().last_error, None);
    }
}

/// Opens the drive once nothing of an earlier opening uses its state directory any more.
async fn open_again(made: &Made) -> Arc<Drive> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match try_open(made.dir.path(), &made.store).await {
            Err(Error::State(_)) if Instant::now() < until => tokio::task::yield_now().await,
            result => return result.expect("the drive opens"),
        }
    }
}

/// Writes nonsense over all of a file but its first page.
fn overwrite(path: &Path, bytes: impl Fn(usize) -> u8) {
    let len = std::fs::metadata(path).unwrap().len() as usize;
    let nonsense: Vec<u8> = (4096..len).map(bytes).collect();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&nonsense, 4096).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_damaged_in_use_fails_look_ups_and_is_rebuilt_at_the_next_mount() {
    let made = made().await;
    let drive = open_again(&made).await;
    overwrite(&made.index().join("pages"), |at| (at % 251) as u8);
    let mut refused = 0;
    for ino in &made.published {
        match drive.view().inode(*ino) {
            Ok(inode) => assert!(inode.is_some(), "a file vanished"),
            Err(Error::Disk(_)) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(refused > 0);
    let said = drive.status();
    // The status itself is made from the index.
    let said = said.map_or_else(
        |error| error.to_string(),
        |status| status.last_error.unwrap(),
    );
    assert!(said.contains("unmount and mount again"), "{said}");
    // What is newer is at hand all the same.
    assert_eq!(content(&drive, made.newer).await, NEWER);
    drive.close().await;
    drop(drive);
    let again = open_again(&made).await;
    made.check(&again).await;
    flush(&again).await;
    again.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_found_while_opening_is_repaired_at_once() {
    let made = made().await;
    for name in ["pages", "sums", "newest"] {
        for way in 0..4 {
            let path = made.index().join(name);
            let bytes = std::fs::read(&path).unwrap();
            match way {
                0 => std::fs::remove_file(&path).unwrap(),
                1 => std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
                2 => std::fs::write(&path, vec![0xA5; bytes.len()]).unwrap(),
                _ => std::fs::write(&path, b"").unwrap(),
            }
            let drive = open_again(&made).await;
            made.check(&drive).await;
            drive.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_an_older_version_is_rebuilt_and_the_spool_kept() {
    let made = made().await;
    std::fs::remove_dir_all(made.index()).unwrap();
    std::fs::create_dir_all(made.index().join("base")).unwrap();
    std::fs::write(made.index().join("base/db"), b"of an older version").unwrap();
    std::fs::write(made.index().join("settled"), b"7").unwrap();
    let drive = open_again(&made).await;
    made.check(&drive).await;
    drive.close().await;
}

/// An index that is whole and old: the journal leads on from there.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_index_is_brought_up_to_date() {
    let made = made().await;
    let older = TempDir::new().unwrap();
    copy_tree(&made.index(), older.path());
    let drive = open_again(&made).await;
    for nth in 0..3 {
        write(&drive, made.published[nth], 0, b"THIS");
        flush(&drive).await;
    }
    drive.close().await;
    drop(drive);
    for old in ["pages", "sums", "newest"] {
        let whole = TempDir::new().unwrap();
        copy_tree(&made.index(), whole.path());
        std::fs::copy(older.path().join(old), made.index().join(old)).unwrap();
        let drive = open_again(&made).await;
        let first = content(&drive, made.published[0]).await;
        assert_eq!(first, b"THIS is file 0", "only `{old}` is old");
        drive.close().await;
        drop(drive);
    }
    std::fs::remove_dir_all(made.index()).unwrap();
    copy_tree(older.path(), &made.index());
    let drive = open_again(&made).await;
    for nth in 0..5 {
        let begins = if nth < 3 { "THIS" } else { "this" };
        let expected = format!("{begins} is file {nth}").into_bytes();
        assert_eq!(content(&drive, made.published[nth]).await, expected);
    }
    assert_eq!(content(&drive, made.newer).await, NEWER);
    drive.close().await;
}
