//! What a fuzzer does with the engine's own formats: heads of spool records, the journal's first bytes, names,
//! the lease; and with a drive whose spool says anything.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::drive::Drive;
use crate::drive::Look;
use crate::drive::Settings;
use crate::drive::dirty::Dirty;
use crate::drive::journal::Head;
use crate::drive::journal::Preamble;
use crate::drive::journal::Share;
use crate::drive::lease;
use crate::drive::names::Name;
use crate::drive::record;
use crate::drive::record::Entry;
use crate::id::InodeNo;
use crate::index::Batch;
use crate::spool;
use crate::spool::Place;
use crate::spool::Spool;
use crate::store::memory::Memory;

/// Any bytes as the head of a spool record; what it says about content is laid over files as a replay does.
pub fn record(data: &[u8]) {
    let Ok(entry) = Entry::decode(data) else {
        return;
    };
    let bytes = entry.encode();
    let is_old = data.first().is_some_and(|tag| record::OLD.contains(tag));
    assert!(
        is_old || bytes.len() <= data.len(),
        "there is one shortest form"
    );
    let again = Entry::decode(&bytes).map(|again| again.encode());
    assert_eq!(again, Ok(bytes));
    let Entry::Change(record) = entry else {
        return;
    };
    let mut dirty = Dirty::default();
    let place = Place::from_bytes([0; Place::BYTES]);
    for change in &record.content {
        dirty.put(InodeNo(1), change.start, change.piece(place));
        let end = change.start.saturating_add(change.len);
        let within = dirty.within(InodeNo(1), change.start, end);
        let covered: u64 = within.map(|(_, piece)| piece.len).sum();
        assert_eq!(covered, change.len, "what was put is there");
    }
    let referred: u64 = dirty.references().map(|(_, _, len)| u64::from(len)).sum();
    assert_eq!(referred, dirty.spooled_bytes());
}

/// A drive whose spool holds records of any heads opens, or says why not, and what it then shows can be asked for.
/// A head follows its length.
pub fn replay(data: &[u8]) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let builder = builder.worker_threads(1).enable_all();
        builder.build().expect("threads to work with")
    });
    let dir = directory();
    spooled(&dir.join("spool"), data);
    let settings = Settings {
        reserve_bytes: 0,
        linger: Duration::from_secs(3600),
        age_max: Duration::from_secs(3600),
        ..Settings::new(dir.clone())
    };
    let keys = crate::codec::fuzzing::keys().clone();
    let (id, store) = (keys.drive(), Arc::new(Memory::default()));
    let opened = runtime.block_on(Drive::open(settings, id, keys, store, &|_| {}));
    if let Ok(drive) = opened {
        for ino in (1..8).chain([u64::MAX]).map(InodeNo) {
            drop(drive.view().inode(ino));
            drop(drive.read_local(ino, 0, 1 << 16));
            drop(drive.read_local(ino, u64::MAX - 5, 5));
        }
        drop(drive.status());
        runtime.block_on(drive.close());
    }
    drop(std::fs::remove_dir_all(&dir));
}

/// A spool with a record for each head, and a body with each.
fn spooled(dir: &Path, mut data: &[u8]) {
    let filled = Spool::open(dir, spool::Settings::default()).and_then(|spool| {
        while let Some((len, rest)) = data.split_first() {
            let (head, rest) = rest.split_at(rest.len().min(usize::from(*len)));
            spool.append(head, &[*len; 300])?;
            data = rest;
        }
        spool.close()
    });
    assert!(filled.is_ok(), "a directory to write to: {}", dir.display());
}

fn directory() -> PathBuf {
    let thread = format!("{:?}", std::thread::current().id());
    let name = format!("ods-fuzz-drive-{}-{thread}", std::process::id());
    let dir = std::env::temp_dir().join(name);
    drop(std::fs::remove_dir_all(&dir));
    dir
}

/// Any bytes as a plain part of the journal, and as what the index notes of it.
pub fn journal(data: &[u8]) {
    if let Ok((_, rest)) = Preamble::decode(data) {
        drop(Batch::decode(rest));
    }
    if let Some(head) = Head::decode(data) {
        assert_eq!(Head::decode(&head.encode()), Some(head));
    }
    if let Some(share) = Share::decode(data) {
        assert_eq!(share.encode(), data);
    }
}

/// Any text as the name of an object: each thing has one name.
pub fn name(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(name) = Name::parse(&text) {
        assert_eq!(name.text(), text);
    }
}

/// Any bytes in a lease.
pub fn lease(data: &[u8]) {
    if let Some(told) = lease::read(data) {
        assert!(told.holder.len() + told.state_dir.len() <= data.len());
        assert!(told.since.len() < 64 && told.seen.len() < 64);
    }
}
