//! What is done in both worlds.

use proptest::prelude::*;

use crate::acl;
use crate::acl::Acl;

/// Open files that a sequence can hold at once.
pub(crate) const SLOTS: usize = 4;

/// A place in the tree: one to three of the few names there are.
pub(crate) type Place = Vec<usize>;

/// One step of a sequence.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// In both worlds.
    Op(Op),
    /// The drive sends everything to the store.
    Flush,
    /// It is mounted again.
    Remount,
    /// It is built anew from the store.
    Rebuild,
}

/// A time as `utimensat` takes it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stamp {
    /// Seconds and nanoseconds.
    At(i64, u32),
    /// `UTIME_NOW`.
    Now,
    /// `UTIME_OMIT`.
    Omit,
}

/// Somebody who is not root.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    /// Is in the other's group besides.
    One,
    /// Is in its own group only.
    Two,
}

/// One operation.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    As(Who, Box<Op>),
    Open(usize, Place, i32),
    Close(usize),
    Write(usize, u64, usize, u8),
    Read(usize, u64, usize),
    MapWrite(usize, u64, usize, u8),
    SetLen(usize, u64),
    Fallocate(usize, i32, u64, u64),
    CopyRange(usize, u64, usize, u64, usize),
    Sync(usize),
    MapRead(usize, u64, usize),
    Seek(usize, u64, i32),
    Stat(usize),
    ChmodOpen(usize, u32),
    LinkOpen(usize, Place),
    Flock(usize, i32),
    LockRange(usize, i32, i64, i64),
    Truncate(Place, i64),
    Mkdir(Place, u32),
    Rmdir(Place),
    Unlink(Place),
    Rename(Place, Place, u32),
    Link(Place, Place),
    Symlink(Place, String),
    Mknod(Place, u32),
    Chmod(Place, u32),
    Chown(Place, u32, u32),
    Utimens(Place, [Stamp; 2]),
    SetXattr(Place, u8, usize, i32),
    RemoveXattr(Place, u8),
    SetAcl(Place, &'static str, Acl),
    RemoveAcl(Place, &'static str),
    Access(Place, i32),
    Look(Place),
    Map(usize),
    MapStore(u64, usize, u8),
    MapLoad(u64, usize),
    MapSync,
    Unmap,
}

impl Op {
    pub(crate) fn is_of_acls(&self) -> bool {
        match self {
            Op::SetAcl(..) | Op::RemoveAcl(..) => true,
            Op::As(_, op) => op.is_of_acls(),
            _ => false,
        }
    }

    /// Must the same files have other times after it, in both worlds? `fallocate` and mapped pages are not
    /// comparable: filesystems may choose there. And ext4 changes the directory's times when a rename that is to
    /// leave a whiteout fails.
    pub(crate) fn keeps_times(&self) -> bool {
        match self {
            Op::Fallocate(..) | Op::MapWrite(..) | Op::MapStore(..) => false,
            Op::Map(_) | Op::MapSync | Op::Unmap => false,
            Op::As(_, op) => op.keeps_times(),
            Op::Rename(_, _, flags) => flags & libc::RENAME_WHITEOUT == 0,
            _ => true,
        }
    }
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        6 => prop::sample::select(vec![vec![2], vec![0, 2], vec![1, 2], vec![0, 1, 2], vec![0], vec![1], vec![0, 1]]),
        3 => prop::collection::vec(0..4_usize, 1),
        3 => prop::collection::vec(0..4_usize, 2),
        2 => prop::collection::vec(0..7_usize, 1..=3),
    ]
}

fn slot() -> impl Strategy<Value = usize> {
    0..SLOTS
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..9_000_u64,
        2 => (0..64_u64).prop_map(|page| page * 4096),
        2 => 0..600_000_u64,
    ]
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..600_usize, 4 => 0..9_000_usize, 1 => 0..400_000_usize]
}

fn flags() -> impl Strategy<Value = i32> {
    prop::sample::select(vec![
        libc::O_RDWR | libc::O_CREAT,
        libc::O_RDWR | libc::O_CREAT,
        libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
        libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC,
        libc::O_RDWR | libc::O_CREAT | libc::O_APPEND,
        libc::O_RDWR,
        libc::O_RDWR | libc::O_TRUNC,
        libc::O_RDONLY,
        libc::O_WRONLY,
        libc::O_RDONLY | libc::O_DIRECTORY,
        libc::O_RDWR | libc::O_CREAT | libc::O_NOFOLLOW,
        libc::O_RDWR | libc::O_CREAT | libc::O_DSYNC,
        libc::O_WRONLY | libc::O_APPEND | libc::O_TRUNC,
        libc::O_RDONLY | libc::O_CREAT | libc::O_DIRECTORY,
    ])
}

fn modes() -> impl Strategy<Value = i32> {
    const KEEP: i32 = libc::FALLOC_FL_KEEP_SIZE;
    prop::sample::select(vec![
        0,
        KEEP,
        libc::FALLOC_FL_PUNCH_HOLE | KEEP,
        libc::FALLOC_FL_PUNCH_HOLE,
        libc::FALLOC_FL_ZERO_RANGE,
        libc::FALLOC_FL_ZERO_RANGE | KEEP,
    ])
}

fn whence() -> impl Strategy<Value = i32> {
    prop::sample::select(vec![libc::SEEK_DATA, libc::SEEK_HOLE])
}

fn flock() -> impl Strategy<Value = i32> {
    prop::sample::select(vec![libc::LOCK_SH, libc::LOCK_EX, libc::LOCK_UN])
}

fn lock() -> impl Strategy<Value = i32> {
    prop::sample::select(vec![libc::F_RDLCK, libc::F_WRLCK, libc::F_UNLCK])
}

fn stamp() -> impl Strategy<Value = Stamp> {
    prop_oneof![
        4 => (0..4_000_000_000_i64, 0..1_000_000_000_u32).prop_map(|(s, ns)| Stamp::At(s, ns)),
        1 => Just(Stamp::Now),
        2 => Just(Stamp::Omit),
    ]
}

/// Targets of links; none leads out of the world.
fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "d", "./b", "a/b", "b/", "nowhere"]).prop_map(String::from),
        1 => (1..1_300_usize).prop_map(|times| "ab/".repeat(times)),
    ]
}

fn on_open_files() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (slot(), offset(), len(), any::<u8>()).prop_map(|(s, at, len, b)| Op::Write(s, at, len, b)),
        3 => (slot(), offset(), len()).prop_map(|(s, at, len)| Op::Read(s, at, len)),
        1 => (slot(), offset(), 1..9_000_usize, any::<u8>()).prop_map(|(s, at, len, b)| Op::MapWrite(s, at, len, b)),
        2 => (slot(), offset()).prop_map(|(s, len)| Op::SetLen(s, len)),
        2 => (slot(), modes(), offset(), 0..200_000_u64).prop_map(|(s, mode, at, len)| Op::Fallocate(s, mode, at, len)),
        2 => (slot(), offset(), slot(), offset(), len())
            .prop_map(|(from, at, to, to_at, len)| Op::CopyRange(from, at, to, to_at, len)),
        1 => slot().prop_map(Op::Sync),
        1 => (slot(), offset(), 1..9_000_usize).prop_map(|(s, at, len)| Op::MapRead(s, at, len)),
        2 => (slot(), offset(), whence()).prop_map(|(s, at, whence)| Op::Seek(s, at, whence)),
        2 => slot().prop_map(Op::Stat),
        1 => (slot(), 0..0o10000_u32).prop_map(|(s, mode)| Op::ChmodOpen(s, mode)),
        1 => (slot(), place()).prop_map(|(s, p)| Op::LinkOpen(s, p)),
        1 => (slot(), flock()).prop_map(|(s, how)| Op::Flock(s, how)),
        1 => (slot(), lock(), 0..100_i64, 0..50_i64).prop_map(|(s, how, at, len)| Op::LockRange(s, how, at, len)),
        1 => slot().prop_map(Op::Close),
    ]
}

fn on_names() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (slot(), place(), flags()).prop_map(|(s, p, flags)| Op::Open(s, p, flags)),
        5 => (place(), 0..0o10000_u32).prop_map(|(p, mode)| Op::Mkdir(p, mode)),
        2 => place().prop_map(Op::Rmdir),
        3 => place().prop_map(Op::Unlink),
        5 => (place(), place(), 0..8_u32).prop_map(|(p, q, flags)| Op::Rename(p, q, flags)),
        3 => (place(), place()).prop_map(|(p, q)| Op::Link(p, q)),
        2 => (place(), target()).prop_map(|(p, target)| Op::Symlink(p, target)),
        1 => (place(), 0..3_u32).prop_map(|(p, kind)| Op::Mknod(p, kind)),
    ]
}

fn on_attributes() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (place(), -1..600_000_i64).prop_map(|(p, len)| Op::Truncate(p, len)),
        2 => (place(), 0..0o10000_u32).prop_map(|(p, mode)| Op::Chmod(p, mode)),
        1 => (place(), 0..3_u32, 0..3_u32).prop_map(|(p, uid, gid)| Op::Chown(p, uid, gid)),
        2 => (place(), stamp(), stamp()).prop_map(|(p, read, changed)| Op::Utimens(p, [read, changed])),
        3 => (place(), 0..5_u8, 0..900_usize, 0..3_i32).prop_map(|(p, name, len, flags)| Op::SetXattr(p, name, len, flags)),
        2 => (place(), 0..5_u8).prop_map(|(p, name)| Op::RemoveXattr(p, name)),
    ]
}

fn which() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![acl::ACCESS, acl::ACCESS, acl::DEFAULT])
}

fn on_acls() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (place(), which(), acl::acl()).prop_map(|(p, which, acl)| Op::SetAcl(p, which, acl)),
        1 => (place(), which()).prop_map(|(p, which)| Op::RemoveAcl(p, which)),
    ]
}

fn on_the_mapping() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => slot().prop_map(Op::Map),
        6 => (offset(), len(), any::<u8>()).prop_map(|(at, len, b)| Op::MapStore(at, len, b)),
        3 => (offset(), len()).prop_map(|(at, len)| Op::MapLoad(at, len)),
        1 => Just(Op::MapSync),
        1 => Just(Op::Unmap),
    ]
}

/// What somebody else does.
fn as_others() -> impl Strategy<Value = Op> {
    let who = prop::sample::select(vec![Who::One, Who::Two]);
    let op = prop_oneof![
        6 => on_names(),
        3 => on_open_files(),
        3 => on_attributes(),
        1 => on_acls(),
        2 => (place(), 0..8_i32).prop_map(|(p, how)| Op::Access(p, how)),
        2 => place().prop_map(Op::Look),
    ];
    (who, op).prop_map(|(who, op)| Op::As(who, Box::new(op)))
}

/// What every sequence begins with, so that most of what follows finds something to work on.
pub(crate) fn beginning() -> Vec<Op> {
    let create = libc::O_RDWR | libc::O_CREAT;
    let mut ops = vec![
        Op::Mkdir(vec![0], 0o755),
        Op::Mkdir(vec![1], 0o2775),
        Op::Mkdir(vec![0, 1], 0o755),
    ];
    for (slot, place) in [vec![2], vec![0, 2], vec![1, 2], vec![0, 1, 2]]
        .into_iter()
        .enumerate()
    {
        ops.push(Op::Open(slot, place, create));
        ops.push(Op::Write(slot, 0, 5_000 * (slot + 1), slot as u8));
    }
    ops
}

/// Any step; mounting again is rare.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => on_names().prop_map(Step::Op),
        30 => on_open_files().prop_map(Step::Op),
        15 => on_attributes().prop_map(Step::Op),
        6 => on_acls().prop_map(Step::Op),
        8 => on_the_mapping().prop_map(Step::Op),
        25 => as_others().prop_map(Step::Op),
        2 => Just(Step::Flush),
        1 => Just(Step::Remount),
        1 => Just(Step::Rebuild),
    ]
}

/// Sequences that once told the worlds apart, as the test shrank them.
pub(crate) const REGRESSIONS: &[fn() -> Vec<Op>] = &[removed_while_held, no_acl_removed];

/// What has no ACL is told to have none.
fn no_acl_removed() -> Vec<Op> {
    vec![
        Op::RemoveAcl(vec![2], acl::ACCESS),
        Op::RemoveAcl(vec![0], acl::DEFAULT),
    ]
}

/// What is open in the kernel alone is changed after its last name went.
fn removed_while_held() -> Vec<Op> {
    vec![
        Op::Mkdir(vec![3], 0o755),
        Op::Open(0, vec![3], libc::O_RDONLY | libc::O_DIRECTORY),
        Op::Rmdir(vec![3]),
        Op::ChmodOpen(0, 0o700),
        Op::Stat(0),
        Op::Mknod(vec![3], 0),
        Op::Open(1, vec![3], libc::O_RDWR),
        Op::Unlink(vec![3]),
        Op::ChmodOpen(1, 0o640),
        Op::Stat(1),
    ]
}
