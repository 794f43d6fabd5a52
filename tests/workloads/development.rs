//! A programmer's day: a repository with history, and a project that is built where it lies.

use std::path::Path;

use crate::Disk;
use crate::assert_alike;
use crate::is_long;
use crate::scaled;
use crate::shell;
use crate::sum;

#[test]
fn git_keeps_its_history() {
    let mut disk = Disk::new();
    let commits = scaled(60, 3_000);
    let script = format!(
        r#"
        git init -q repository && cd repository
        git config user.name someone; git config user.email someone@example.org; git config gc.auto 0
        for number in $(seq {commits}); do
            mkdir -p "dir$((number % 9))"
            seq "$number" "$((number + 200))" > "dir$((number % 9))/file$((number % 40))"
            git add -A
            git commit -q -m "change $number"
        done
        git branch side HEAD~20; git checkout -q side; echo side > side; git add side; git commit -qm side
        git checkout -q -; git merge -q -m merged side
        git gc -q
        git fsck --full --strict
        git log --format=%H | b2sum
        "#
    );
    let head = shell(&script, disk.root(), &[]);
    disk.begin_again();
    let check = "cd repository; git fsck --full --strict; git status --porcelain; git log --format=%H | b2sum";
    assert_eq!(shell(check, disk.root(), &[]), head);
    let clone = "git clone -q --no-hardlinks repository copy; diff -r -x .git repository copy; rm -rf repository copy";
    assert_eq!(shell(clone, disk.root(), &[]), "");
}

/// A project of several files, with a build script and tests, that needs nothing from outside.
const PROJECT: &str = r#"
    mkdir -p project/src project/tests; cd project
    printf '[package]\nname = "small"\nversion = "0.1.0"\nedition = "2021"\n' > Cargo.toml
    echo 'fn main() { println!("cargo::rerun-if-changed=build.rs"); let out = std::env::var("OUT_DIR").unwrap();
        std::fs::write(std::path::Path::new(&out).join("made.rs"), "pub const MADE: u32 = 42;").unwrap(); }' > build.rs
    for number in $(seq 40); do echo "pub fn f$number(x: u64) -> u64 { (0..x).map(|y| y.rotate_left($number)).sum() }" > src/m$number.rs; done
    { for number in $(seq 40); do echo "pub mod m$number;"; done; echo 'include!(concat!(env!("OUT_DIR"), "/made.rs"));'; } > src/lib.rs
    echo '#[test] fn adds() { assert_eq!(small::MADE, 42); assert_eq!(small::m1::f1(3), 6); }' > tests/adds.rs
    echo 'fn main() { println!("{}", small::m40::f40(9)); }' > src/main.rs
"#;

#[test]
fn a_cargo_project_is_built_and_tested_in_the_mount() {
    let mut disk = Disk::new();
    shell(PROJECT, disk.root(), &[]);
    let build = "cd project; cargo test -q --offline; cargo build -q --offline; target/debug/small";
    let printed = shell(build, disk.root(), &[]);
    begin_again_alike(&mut disk);
    // Nothing is stale: what cargo knows by times and sizes is as it was.
    let again =
        "cd project; cargo build --offline 2>&1 | grep -c Compiling || true; target/debug/small";
    let told = shell(again, disk.root(), &[]);
    let last = printed.lines().last().expect("it prints");
    assert_eq!(told.lines().collect::<Vec<_>>(), ["0", last]);
    if is_long() {
        build_this_project(&disk);
        begin_again_alike(&mut disk);
    }
}

/// All that is there is there again, as it was, from what Discord alone has.
fn begin_again_alike(disk: &mut Disk) {
    let before = sum(disk.root());
    disk.begin_again();
    assert_alike(&before, &sum(disk.root()));
}

/// This very project, with its dependencies, built in the mount.
fn build_this_project(disk: &Disk) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = r#"
        rsync -a --exclude target --exclude .git "$1/" ods/
        cd ods
        CARGO_TARGET_DIR=target cargo test -q --offline --lib -j2 -- codec:: id:: size::
    "#;
    shell(script, disk.root(), &[here]);
}
