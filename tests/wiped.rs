//! Keys and secrets are gone from memory once they are dropped: this process reads its own.
//!
//! What is looked for is kept masked, so that the search does not find itself; the stack is left out, where
//! values that were moved leave copies until the next call.

use std::fs::File;
use std::os::unix::fs::FileExt;

use hkdf::Hkdf;
use ods::codec::key::Keys;
use ods::codec::key::MasterKey;
use ods::codec::key::Secret;
use ods::id::DriveId;
use ods::store::discord::Token;
use sha2::Sha256;

const MASK: u8 = 0xa7;
const PAGE: usize = 4096;

/// Bytes that are not in memory as they are.
struct Masked([u8; 32]);

impl Masked {
    /// As different from other tests' as can be, and plain text, which is what passphrases are.
    fn text(seed: u8) -> Masked {
        let digest = blake3::hash(&[seed; 7]);
        let mut masked = [0; 32];
        for (byte, random) in masked.iter_mut().zip(digest.as_bytes()) {
            *byte = (b'a' + random % 26) ^ MASK;
        }
        Masked(masked)
    }

    fn of(mut bytes: [u8; 32]) -> Masked {
        bytes.iter_mut().for_each(|byte| *byte ^= MASK);
        Masked(bytes)
    }

    fn plain(&self) -> [u8; 32] {
        self.0.map(|byte| byte ^ MASK)
    }

    fn string(&self) -> String {
        let mut text = String::with_capacity(32);
        text.extend(self.0.iter().map(|byte| char::from(byte ^ MASK)));
        text
    }

    /// Is it at the beginning of these bytes?
    fn begins(&self, bytes: &[u8]) -> bool {
        bytes
            .iter()
            .zip(self.0)
            .all(|(byte, masked)| *byte == masked ^ MASK)
    }

    /// Is it anywhere in this process's memory but on the stacks?
    fn is_in_memory(&self) -> bool {
        let here = 0_u8;
        let stack = std::ptr::addr_of!(here) as u64;
        let maps = std::fs::read_to_string("/proc/self/maps").expect("a map");
        let memory = File::open("/proc/self/mem").expect("one's own memory");
        let mut searched = 0;
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let range = line
                .split(' ')
                .next()
                .and_then(|range| range.split_once('-'));
            let (from, to) = range.expect("a range");
            let number = |hex| u64::from_str_radix(hex, 16).expect("hexadecimal");
            let (mut at, to) = (number(from), number(to));
            if line.contains("[stack") || (at..to).contains(&stack) {
                continue;
            }
            // Pages overlap, so that nothing hides across an edge.
            let mut page = [0; 2 * PAGE];
            while at < to {
                let len = page.len().min(usize::try_from(to - at).expect("small"));
                if memory.read_exact_at(&mut page[..len], at).is_ok() {
                    searched += len;
                    if page[..len].windows(32).any(|bytes| self.begins(bytes)) {
                        return true;
                    }
                }
                at += PAGE as u64;
            }
        }
        assert!(searched > 0, "there is memory");
        false
    }
}

/// It is there while it is held, and not afterwards.
#[track_caller]
fn check<T>(masked: &Masked, held: T) {
    let held = Box::new(held);
    assert!(masked.is_in_memory(), "it is found while it is held");
    drop(held);
    assert!(!masked.is_in_memory(), "it is still in memory");
}

#[test]
fn what_is_dropped_is_wiped() {
    let drive = DriveId([3; 16]);
    let master = Masked::text(1);
    check(&master, MasterKey::from_bytes(master.plain()));

    // Each key that comes from it, and with the last clone only.
    for label in [
        "ods 1 chunk id",
        "ods 1 data",
        "ods 1 journal",
        "ods 1 note",
        "ods 1 superblock",
    ] {
        let mut key = [0; 32];
        let root = Hkdf::<Sha256>::new(Some(&drive.0), &master.plain());
        root.expand(label.as_bytes(), &mut key).expect("short");
        let key = Masked::of(key);
        let keys = Keys::derive(&MasterKey::from_bytes(master.plain()), drive);
        let clone = keys.clone();
        drop(keys);
        check(&key, clone);
    }

    let typed = Masked::text(2);
    check(
        &typed,
        Secret::passphrase(typed.string()).expect("not empty"),
    );
    let token = Masked::text(3);
    let made = {
        let text = zeroize::Zeroizing::new(token.string());
        Token::new(&text).expect("a token")
    };
    check(&token, made);
}

/// A search that finds nothing would prove nothing.
#[test]
fn what_is_not_wiped_is_found() {
    let left = Masked::text(4);
    let text = Box::new(left.string());
    assert!(left.is_in_memory());
    drop(text);
}
