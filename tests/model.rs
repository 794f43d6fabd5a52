//! The mount beside a plain directory of this machine: random operations on both, and no difference allowed.
//!
//! Each step is done in both worlds and its answer compared: value or errno. After each step the two trees are
//! compared: names, kinds, modes, owners, link counts, sizes, device numbers, link targets, attributes, given times, and
//! *whose* times the step changed. Content is compared when it may have changed, and all of it after the drive
//! was flushed, mounted again, or built anew from the store alone. Two users besides root take part, ACLs and
//! sticky directories decide what they may do, and a mapping of a file lives on while other things happen to it.
//!
//! `ODS_MODEL_CASES` is how many sequences are tried, `ODS_MODEL_STEPS` how long they are. What fails is shrunk.
#![allow(clippy::cast_possible_truncation, reason = "tests use small numbers")]

mod support;

#[path = "model/acl.rs"]
mod acl;
#[path = "model/mapping.rs"]
mod mapping;
#[path = "model/op.rs"]
mod op;
#[path = "model/tree.rs"]
mod tree;
#[path = "model/world.rs"]
mod world;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::Config;
use proptest::test_runner::TestRunner;
use support::Forget;
use support::Mounted;
use support::sys;

use crate::op::Step;
use crate::tree::Tree;
use crate::world::World;

fn number(variable: &str, default: u32) -> u32 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Both worlds, and what they looked like after the last step.
struct Pair {
    // What is open in it goes before the mount, which would wait for that.
    ours: World,
    theirs: World,
    mounted: Mounted,
    seen: (Tree, Tree),
    /// Can this machine's own filesystem tell what is right?
    has_acls: bool,
    _dir: tempfile::TempDir,
}

impl Pair {
    fn new() -> Pair {
        let dir = tempfile::tempdir().expect("a directory");
        let (mounted, theirs) = (Mounted::new(), dir.path().join("plain"));
        std::fs::create_dir(&theirs).expect("mkdir");
        let ours = mounted.path("ours");
        std::fs::create_dir(&ours).expect("mkdir");
        for world in [&ours, &theirs] {
            sys::chmod(world, 0o1777).expect("chmod");
            open_the_way(world);
        }
        let seen = (Tree::of(&ours), Tree::of(&theirs));
        Pair {
            mounted,
            ours: World::at(ours),
            theirs: World::at(theirs),
            seen,
            has_acls: has_acls(dir.path()),
            _dir: dir,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Op(op) if op.is_of_acls() && !self.has_acls => Ok(()),
            Step::Op(op) => {
                let was_dirty = self.ours.is_dirty() || self.theirs.is_dirty();
                let (ours, theirs) = (self.ours.run(op), self.theirs.run(op));
                prop_assert_eq!(ours, theirs, "the answers to {:?} differ", op);
                let is_dirty = self.ours.is_dirty() || self.theirs.is_dirty();
                self.compare(op.keeps_times() && !was_dirty && !is_dirty)
            }
            Step::Flush => {
                self.mounted.flush();
                self.same_content()
            }
            Step::Remount => self.again(Forget::Nothing),
            Step::Rebuild => {
                // What a mapping holds is the kernel's.
                self.ours.close_all();
                self.mounted.flush();
                self.again(Forget::Everything)
            }
        }
    }

    fn again(&mut self, forget: Forget) -> Result<(), TestCaseError> {
        self.ours.close_all();
        self.theirs.close_all();
        self.mounted.remount(forget);
        self.compare(false)?;
        self.same_content()
    }

    /// Do both trees look alike, and did the step change the times of the same files?
    fn compare(&mut self, times: bool) -> Result<(), TestCaseError> {
        let now = (Tree::of(self.ours.root()), Tree::of(self.theirs.root()));
        prop_assert_eq!(now.0.shape(), now.1.shape(), "the trees differ");
        if times {
            let changed = (now.0.changed(&self.seen.0), now.1.changed(&self.seen.1));
            prop_assert_eq!(changed.0, changed.1, "other times were changed");
        }
        let suspects = now.1.changed(&self.seen.1);
        for (path, _) in suspects {
            let content = |world: &World| world.content(&path);
            prop_assert!(
                content(&self.ours) == content(&self.theirs),
                "the content of {:?} differs",
                path
            );
        }
        self.seen = now;
        Ok(())
    }

    fn same_content(&self) -> Result<(), TestCaseError> {
        for path in self.seen.1.files() {
            prop_assert!(
                self.ours.content(&path) == self.theirs.content(&path),
                "the content of {:?} differs",
                path
            );
        }
        Ok(())
    }
}

/// Directories for tests are their maker's alone; others have to come through them.
fn open_the_way(world: &Path) {
    for above in world.ancestors().skip(1) {
        let mode = above.metadata().expect("stat").mode();
        if mode & 0o001 == 0 {
            sys::chmod(above, (mode & 0o7777) | 0o011).expect("chmod");
        }
    }
}

/// Does the filesystem of this directory have ACLs? Without them their steps are left out, and that is said.
fn has_acls(dir: &Path) -> bool {
    let file = dir.join("acl");
    std::fs::write(&file, "").expect("write");
    let minimal =
        [(1, 6), (4, 4), (32, 4)].map(|(tag, perm)| [tag, 0, perm, 0, 255, 255, 255, 255]);
    let value = [&[2, 0, 0, 0], minimal.as_flattened()].concat();
    let has = sys::set_xattr(&file, acl::ACCESS, &value, 0).is_ok();
    if !has {
        eprintln!("NOT TESTED: {} has no ACLs to compare with", dir.display());
    }
    has
}

fn run(steps: &[Step], flush_every: usize) -> Result<(), TestCaseError> {
    let mut pair = Pair::new();
    for op in op::beginning() {
        pair.step(&Step::Op(op))?;
    }
    for (at, step) in steps.iter().enumerate() {
        pair.step(step)?;
        if flush_every > 0 && at % flush_every == flush_every - 1 {
            pair.mounted.flush();
        }
    }
    pair.step(&Step::Remount)?;
    pair.step(&Step::Rebuild)
}

#[test]
fn the_mount_behaves_as_a_directory_of_this_machine() {
    let config = Config {
        cases: number("ODS_MODEL_CASES", 24),
        failure_persistence: None,
        max_shrink_iters: 600,
        ..Config::default()
    };
    let steps = number("ODS_MODEL_STEPS", 60) as usize;
    let plan = (
        prop::collection::vec(op::step(), 1..=steps),
        prop_oneof![Just(0_usize), 1..8_usize],
    );
    let result =
        TestRunner::new(config).run(&plan, |(steps, flush_every)| run(&steps, flush_every));
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// Shrunk sequences that once failed.
#[test]
fn what_once_differed_does_not_again() {
    for ops in op::REGRESSIONS {
        let steps: Vec<Step> = ops().into_iter().map(Step::Op).collect();
        if let Err(error) = run(&steps, 0) {
            panic!("{steps:?}: {error}");
        }
    }
}
