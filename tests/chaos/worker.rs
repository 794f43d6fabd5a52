//! One who works on the mount, alone on names of its own, and remembers what must be there.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use super::Dice;
use super::op::Op;
use super::op::PAGE;
use super::op::Seen;
use super::sys;
use super::tree::Body;
use super::tree::Id;
use super::tree::Tree;

/// Paths that a worker has at most, about.
const PATHS_MAX: usize = 40;
/// Longest ordinary file, and the longest of all.
const FILE_BYTES: u64 = 400_000;
const FILE_BYTES_MAX: u64 = 5 << 20;
/// Longest ordinary write: one request of the kernel.
const WRITE_BYTES: u64 = 200_000;

/// What survives of that which returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// All of it.
    Everything,
    /// What was there at the last sync, and any first part of what came after.
    Synced,
}

/// A state, and how it came about.
struct Step {
    op: Option<Op>,
    tree: Tree,
}

pub(crate) struct Worker {
    pub(crate) name: String,
    promise: Promise,
    dice: Dice,
    /// States that may be found; the last one is the present.
    history: Vec<Step>,
    /// The operation that did not return, or not with success.
    pending: Option<(Op, i32)>,
    planned: Vec<Op>,
    named: u64,
    /// Open files, some of which have no name.
    held: Vec<File>,
}

/// What the mount turned out to be.
#[derive(Debug)]
pub(crate) struct Matched {
    /// Operations that returned and are not there.
    pub(crate) lost: usize,
    /// Is the operation that did not return there, or a part of it?
    pub(crate) has_pending: bool,
}

impl Worker {
    pub(crate) fn new(nth: u64, promise: Promise, seed: u64) -> Worker {
        Worker {
            name: format!("w{nth}-"),
            promise,
            dice: Dice::new(seed),
            history: vec![Step {
                op: None,
                tree: Tree::default(),
            }],
            pending: None,
            planned: Vec::new(),
            named: 0,
            held: Vec::new(),
        }
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.history.last().expect("a present").tree
    }

    /// The operation during which the mount ended, and what it answered.
    pub(crate) fn pending(&self) -> Option<&(Op, i32)> {
        self.pending.as_ref()
    }

    /// Works until told to stop, or until an operation fails that should not. An error is a promise broken.
    pub(crate) fn work(
        &mut self,
        root: &Path,
        stop: &AtomicBool,
        done: &AtomicU64,
    ) -> Result<(), String> {
        while !stop.load(Ordering::Acquire) && self.pending.is_none() {
            let op = match self.planned.pop() {
                Some(op) => op,
                None => self.invent(),
            };
            self.hold(root, &op);
            self.perform(root, op)?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        self.planned.clear();
        Ok(())
    }

    fn perform(&mut self, root: &Path, op: Op) -> Result<(), String> {
        let mut next = self.tree().clone();
        let expected = op.apply(&mut next);
        match (expected, op.run(root)) {
            (Ok(()), Ok(seen)) => {
                op.learn(&mut next, &seen)?;
                self.remember(op, next, &seen);
            }
            (Err(expected), Err(errno)) if errno == expected => {}
            (Err(expected), Ok(_)) => {
                return Err(format!("{op:?} worked and should answer errno {expected}"));
            }
            (_, Err(errno)) => self.pending = Some((op, errno)),
        }
        Ok(())
    }

    fn remember(&mut self, op: Op, tree: Tree, seen: &Seen) {
        let is_sync = op.is_sync();
        let op = matches!(seen, Seen::Nothing).then_some(op);
        self.history.push(Step { op, tree });
        if is_sync || self.promise == Promise::Everything {
            self.history.drain(..self.history.len() - 1);
        }
    }

    /// Everything that returned is durable.
    pub(crate) fn synced(&mut self) {
        self.history.drain(..self.history.len() - 1);
    }

    /// Lets go of open files, which ends what has no name.
    pub(crate) fn let_go(&mut self) {
        self.held.clear();
    }

    /// Looks for its names in the mount, and says what is wrong with them; goes on from what is there.
    pub(crate) fn check(&mut self, root: &Path) -> Result<Matched, String> {
        let found = Tree::read(root, &self.name).map_err(|error| self.tell(&error))?;
        let last = self.history.len() - 1;
        if let Some((op, _)) = &self.pending
            && let Some(tree) = op.partly(&self.history[last].tree, &found)
            && tree.difference(&found).is_none()
        {
            let has_pending = self.history[last].tree.difference(&found).is_some();
            self.adopt(tree);
            return Ok(Matched {
                lost: 0,
                has_pending,
            });
        }
        for nth in (0..=last).rev() {
            let step = &self.history[nth];
            let before = nth.checked_sub(1).map(|nth| &self.history[nth].tree);
            let partly = match (&step.op, before) {
                (Some(op), Some(before)) => op.partly(before, &found),
                _ => None,
            };
            for tree in [Some(step.tree.clone()), partly].into_iter().flatten() {
                if tree.difference(&found).is_none() {
                    self.adopt(tree);
                    return Ok(Matched {
                        lost: last - nth,
                        has_pending: false,
                    });
                }
            }
        }
        let difference = self.history[last].tree.difference(&found);
        let difference = difference.expect("it was compared");
        let partly = |(op, _): &(Op, i32)| op.partly(&self.history[last].tree, &found);
        let otherwise = self.pending.as_ref().and_then(partly);
        let otherwise = otherwise.and_then(|tree| tree.difference(&found));
        Err(self.tell(&format!(
            "{difference}; with what did not return: {otherwise:?}"
        )))
    }

    fn tell(&self, difference: &str) -> String {
        let brief = |op: &Op| {
            // Names may be as long as they can be.
            let mut text = format!("{op:?}");
            while let Some(at) = text.find("nnnn") {
                let end = text[at..].find(|letter| letter != 'n').unwrap_or(0);
                text.replace_range(at..at + end.max(4), "n…");
            }
            text.chars().take(400).collect::<String>()
        };
        let recent: Vec<String> = self
            .history
            .iter()
            .rev()
            .take(12)
            .collect::<Vec<_>>()
            .iter()
            .filter_map(|step| step.op.as_ref().map(brief))
            .collect();
        let oldest = self.history.len();
        let pending = self.pending.as_ref().map(|(op, errno)| (brief(op), errno));
        format!(
            "{}: {difference}\n  not returned: {pending:?}\n  {oldest} states possible, newest first: {recent:#?}",
            self.name
        )
    }

    fn adopt(&mut self, tree: Tree) {
        self.history = vec![Step { op: None, tree }];
        self.pending = None;
    }

    /// Now and then keeps a file open that loses its name, and writes into it.
    fn hold(&mut self, root: &Path, op: &Op) {
        let (Op::Unlink(path) | Op::Rename(_, path, 0)) = op else {
            return;
        };
        let is_file = self.tree().find(path).is_some_and(|id| self.is_file(id));
        if is_file && self.held.len() < 4 && self.dice.one_in(2) {
            use std::os::unix::fs::FileExt;
            let bytes = self.dice.bytes(10_000);
            if let Ok(file) = sys::open(root.join(path), libc::O_RDWR, 0) {
                self.held.push(file);
            }
            // Only into one that has lost its name already: its content is nobody's.
            let nameless = self.held.iter().rev().skip(1).find(|file| {
                use std::os::unix::fs::MetadataExt;
                file.metadata().is_ok_and(|meta| meta.nlink() == 0)
            });
            if let Some(file) = nameless {
                drop(file.write_at(&bytes, 100));
            }
        } else if self.dice.one_in(4) {
            self.held.clear();
        }
    }

    fn is_file(&self, id: Id) -> bool {
        matches!(self.tree().node(id).body, Body::File(_))
    }

    fn paths(&self, wanted: impl Fn(&Body) -> bool) -> Vec<String> {
        let tree = self.tree();
        let all = tree.paths().into_iter();
        all.filter(|(_, id)| wanted(&tree.node(*id).body))
            .map(|(path, _)| path)
            .collect()
    }

    fn file(&mut self) -> Option<String> {
        let files = self.paths(|body| matches!(body, Body::File(_)));
        self.dice.pick(&files).cloned()
    }

    fn any(&mut self) -> Option<String> {
        let all = self.paths(|_| true);
        self.dice.pick(&all).cloned()
    }

    /// A path that is not there yet, in some directory.
    fn fresh(&mut self, kind: &str) -> String {
        self.named += 1;
        let dirs = self.paths(|body| matches!(body, Body::Dir(_)));
        let deep = self.dice.one_in(8);
        let dirs: Vec<&String> = dirs
            .iter()
            .filter(|dir| deep || dir.matches('/').count() < 3)
            .collect();
        let name = format!("{kind}{}", self.named);
        match self.dice.pick(&dirs) {
            Some(dir) if !self.dice.one_in(12) => {
                let long = match self.dice.one_in(20) {
                    true => "n".repeat(200),
                    false => String::new(),
                };
                format!("{dir}/{name}{long}")
            }
            _ => format!("{}{name}", self.name),
        }
    }

    fn mode(&mut self) -> u32 {
        let modes = [0o600, 0o640, 0o644, 0o755, 0o700, 0o777];
        *self.dice.pick(&modes).expect("some")
    }

    fn invent(&mut self) -> Op {
        let few = self.tree().paths().len() < PATHS_MAX / 2;
        let many = self.tree().paths().len() > PATHS_MAX;
        let op = match self.dice.below(100) {
            0..14 if !many => self.invent_new(),
            0..14 => self.invent_removal(),
            14..20 if few => self.invent_new(),
            14..46 => self.invent_content(),
            46..64 => self.invent_name(),
            64..72 => self.invent_removal(),
            72..86 => self.invent_attribute(),
            86..92 => self.file().map(Op::Read),
            92..95 => self.any().map(Op::Observe),
            95..99 => {
                let kept = self.paths(|body| matches!(body, Body::File(_) | Body::Dir(_)));
                self.dice.pick(&kept).cloned().map(Op::Fsync)
            }
            _ => self.save(),
        };
        op.unwrap_or_else(|| Op::Mkdir(self.fresh("d"), 0o755))
    }

    fn invent_new(&mut self) -> Option<Op> {
        let mode = self.mode();
        let tops = self.paths(|body| matches!(body, Body::Dir(_)));
        let tops = tops.iter().filter(|path| !path.contains('/')).count();
        Some(match self.dice.below(20) {
            0..4 => match self.fresh("d") {
                // Each directory at the top is an archive of its own.
                path if !path.contains('/') && tops >= 3 => return None,
                path => Op::Mkdir(path, mode | 0o700),
            },
            4 | 5 => {
                let len = self.dice.size(4000);
                let target = (0..len).map(|nth| char::from(b'a' + (nth % 26) as u8));
                Op::Symlink(target.collect(), self.fresh("l"))
            }
            6 => Op::Fifo(self.fresh("p"), mode),
            7 => Op::Link(self.file()?, self.fresh("h")),
            _ => {
                let path = self.fresh("f");
                let (at, len) = match self.dice.below(12) {
                    0 => (self.dice.below(FILE_BYTES), self.dice.size(WRITE_BYTES)),
                    1 => (0, self.dice.size(3 << 20)),
                    _ => (0, self.dice.size(WRITE_BYTES)),
                };
                let bytes = Arc::new(self.content(len));
                self.planned.push(Op::Write(path.clone(), at, bytes));
                Op::Create(path, mode)
            }
        })
    }

    /// Sometimes something that was written before, so that chunks are shared.
    fn content(&mut self, len: u64) -> Vec<u8> {
        match self.dice.below(6) {
            0 => Dice::new(7).bytes(len),
            1 => vec![b'a'; usize::try_from(len).expect("small")],
            _ => self.dice.bytes(len),
        }
    }

    fn invent_content(&mut self) -> Option<Op> {
        let path = self.file()?;
        let size = self.tree().content(&path).len() as u64;
        let len = self.dice.size(WRITE_BYTES);
        let at = match self.dice.below(4) {
            0 => size,
            1 if size < FILE_BYTES => self.dice.below(size + 100_000),
            _ => self.dice.below(size),
        };
        Some(match self.dice.below(16) {
            _ if size + len > FILE_BYTES_MAX => Op::Truncate(path, 10),
            0..3 => Op::Append(path, Arc::new(self.content(len))),
            3 => Op::Truncate(path, self.dice.below(size + 50_000)),
            4 => Op::Truncate(path, self.dice.below(size + 1)),
            5 | 6 => {
                let keep = libc::FALLOC_FL_KEEP_SIZE;
                let modes = [
                    0,
                    keep,
                    keep | libc::FALLOC_FL_PUNCH_HOLE,
                    libc::FALLOC_FL_ZERO_RANGE,
                    keep | libc::FALLOC_FL_ZERO_RANGE,
                ];
                let mode = *self.dice.pick(&modes)?;
                Op::Allocate(path, mode, at, len)
            }
            7 if size >= PAGE as u64 => {
                let pages = size / PAGE as u64;
                let count = self.dice.below(6) + 1;
                let mut chosen = std::collections::BTreeMap::new();
                for _ in 0..count {
                    let page = usize::try_from(self.dice.below(pages)).ok()?;
                    chosen.insert(page, Arc::new(self.dice.bytes(PAGE as u64)));
                }
                Op::Map(path, chosen.into_iter().collect())
            }
            8 | 9 => {
                let from = self.file()?;
                let there = self.tree().content(&from).len() as u64;
                let start = self.dice.below(there);
                let len = self.dice.size(FILE_BYTES).min(there - start.min(there));
                let is_same = self.tree().at(&from) == self.tree().at(&path);
                if is_same || len == 0 {
                    return Some(Op::Read(path));
                }
                Op::Copy {
                    from,
                    at: start,
                    to: path,
                    to_at: at,
                    len,
                }
            }
            10 if self.dice.one_in(4) => {
                let len = 1_200_000 + self.dice.below(2 << 20);
                Op::Write(path, at, Arc::new(self.dice.bytes(len)))
            }
            11 if self.dice.one_in(3) => Op::WriteSynced(path, at, Arc::new(self.content(len))),
            _ => Op::Write(path, at, Arc::new(self.content(len))),
        })
    }

    fn invent_name(&mut self) -> Option<Op> {
        let from = self.any()?;
        let is_dir = self.tree().is_dir(self.tree().at(&from));
        let below = |path: &str| path.starts_with(&format!("{from}/"));
        let same_kind = self.paths(|body| matches!(body, Body::Dir(_)) == is_dir);
        let others: Vec<String> = same_kind
            .into_iter()
            .filter(|path| *path != from && !below(path) && !from.starts_with(&format!("{path}/")))
            .collect();
        let other = self.dice.pick(&others).cloned();
        let fresh = Some(self.fresh("m")).filter(|path| !below(path));
        Some(match (self.dice.below(10), other, fresh) {
            (0..4, Some(other), _) => Op::Rename(from, other, 0),
            (4, Some(other), _) => Op::Rename(from, other, libc::RENAME_NOREPLACE),
            (5 | 6, Some(other), _) => Op::Rename(from, other, libc::RENAME_EXCHANGE),
            (7, _, Some(fresh)) => Op::Rename(from, fresh, libc::RENAME_NOREPLACE),
            (8, _, Some(fresh)) if !is_dir => Op::Link(from, fresh),
            (_, _, Some(fresh)) => Op::Rename(from, fresh, 0),
            _ => return None,
        })
    }

    fn invent_removal(&mut self) -> Option<Op> {
        let path = self.any()?;
        let id = self.tree().at(&path);
        Some(match self.tree().is_dir(id) {
            true => Op::Rmdir(path),
            false => Op::Unlink(path),
        })
    }

    fn invent_attribute(&mut self) -> Option<Op> {
        let path = self.any()?;
        let node = self.tree().node(self.tree().at(&path)).clone();
        let is_link = matches!(node.body, Body::Link(_));
        let is_plain = matches!(node.body, Body::File(_) | Body::Dir(_));
        let name = format!("user.{}", self.dice.below(4));
        Some(match self.dice.below(8) {
            0..2 if !is_link => Op::Chmod(path, self.mode() | 0o600),
            2 => Op::Chown(
                path,
                (
                    u32::try_from(self.dice.below(3000)).ok()?,
                    u32::try_from(self.dice.below(3000)).ok()?,
                ),
            ),
            3 if is_plain && node.xattrs.contains_key(&name) => Op::RemoveXattr(path, name),
            3..6 if is_plain => {
                let len = self.dice.size(9000);
                Op::SetXattr(path, name, Arc::new(self.dice.bytes(len)))
            }
            _ => {
                let mut stamp = || {
                    let seconds = i64::try_from(self.dice.below(6_000_000_000)).unwrap_or(0);
                    let nanos = i64::try_from(self.dice.below(1_000_000_000)).unwrap_or(0);
                    (seconds - 1_000_000_000, nanos)
                };
                Op::Times(path, [stamp(), stamp()])
            }
        })
    }

    /// Saves a file as editors do: a new one, written, synced, renamed over the old one.
    fn save(&mut self) -> Option<Op> {
        let old = self.file()?;
        let new = format!("{old}~{}", self.named);
        self.named += 1;
        if old.len() > 800
            || self.tree().find(&new).is_some()
            || new.rsplit('/').next()?.len() > 255
        {
            return None;
        }
        let len = self.dice.size(WRITE_BYTES);
        let bytes = Arc::new(self.dice.bytes(len));
        self.planned.push(Op::Rename(new.clone(), old, 0));
        self.planned.push(Op::Fsync(new.clone()));
        self.planned.push(Op::Write(new.clone(), 0, bytes));
        Some(Op::Create(new, 0o644))
    }
}
