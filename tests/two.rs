//! Two mounts of one state directory, and two machines on one drive: who comes second is refused with a reason,
//! taking over is explicit, and what the first had not uploaded can still be copied out.

#[path = "support/ods.rs"]
mod support;

use std::fs;
use std::path::Path;

use support::Machine;
use support::World;
use support::is_mounted;

fn with_drive(world: &World) -> Machine {
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn a_second_mount_of_a_state_directory_is_refused_and_the_first_goes_on() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&[]).good();
    fs::write(machine.mnt().join("one"), "one").expect("written");
    // Only a drive with a history is opened by joining it.
    machine.ods(&["flush"]).good();
    let second = machine.path("second");
    fs::create_dir(&second).expect("a directory");
    // Whoever takes a file away does not take the lock away.
    fs::remove_file(machine.state("main").join("lock")).expect("removed");
    for options in ["rw", "ro", "takeover"] {
        machine
            .mount_at(&second, &["-o", options])
            .bad(18, &["in use", "ods status", "ods umount"]);
        assert!(!is_mounted(&second));
    }
    // Joining into it, or changing it by other commands that need it alone, is refused too.
    machine.ods(&["init", "--join"]).bad(18, &["in use"]);
    fs::write(machine.mnt().join("two"), "two").expect("the first goes on");
    machine.ods(&["umount"]).good();
    machine.mount_at(&second, &[]).good();
    assert_eq!(fs::read(second.join("two")).expect("readable"), b"two");
    machine.ods(&["umount", text(&second)]).good();
}

/// One machine holds the drive and has written what is not uploaded; another takes it over.
fn taken_over(world: &World) -> (Machine, Machine) {
    let mut first = with_drive(world);
    first.set("USER", "alice");
    first.mount(&["-o", "patience=2"]).good();
    fs::write(first.mnt().join("shared"), "as it was").expect("written");
    first.ods(&["flush"]).good();
    let mut second = world.machine();
    second.set("USER", "bob");
    second.ods(&["init", "--join"]).good();
    let refused = second.mount(&[]);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let holder = format!("alice@{}", host.trim());
    refused.bad(17, &[&holder, "since 20", "last seen 20", "takeover"]);
    second.mount(&["--takeover"]).good();
    fs::write(second.mnt().join("shared"), "as bob wants it").expect("written");
    second.ods(&["flush"]).good();
    (first, second)
}

#[test]
fn who_lost_the_drive_turns_read_only_says_so_and_keeps_its_data() {
    let world = World::new();
    let (mut first, second) = taken_over(&world);
    let mnt = first.mnt();
    fs::write(mnt.join("late"), "alice did not know").expect("local writes go on");
    first.ods(&["flush"]).bad(17, &["took"]);
    let refused = fs::write(mnt.join("later"), "no");
    let errno = refused.expect_err("read-only").raw_os_error();
    assert_eq!(errno, Some(libc::EROFS));
    let told = first.ods(&["status"]).good().out;
    assert!(
        told.contains("read-only") && told.contains("another machine"),
        "{told}"
    );
    let json = first.ods(&["status", "--json"]).good().json();
    assert!(
        json["read_only"]
            .as_str()
            .is_some_and(|why| why.contains("another machine")),
        "{json}"
    );
    assert_eq!(
        fs::read(mnt.join("late")).expect("readable"),
        b"alice did not know"
    );
    // Nothing of hers was published: the drive is what bob made of it.
    assert_eq!(
        fs::read(second.mnt().join("shared")).expect("readable"),
        b"as bob wants it"
    );
    assert!(!second.mnt().join("late").exists());
    // It can be unmounted as ever, and that does not pass for a success.
    first
        .ods(&["umount"])
        .bad(17, &["took the drive over", "spool"]);
    assert!(!is_mounted(&mnt));
    // Taking over what went on without her changes fails, and takes nothing from bob.
    first.mount(&["--takeover"]).bad(16, &["-o ro", "spool"]);
    let third = world.machine();
    third.ods(&["init", "--join"]).good();
    third.mount(&[]).bad(17, &["takeover"]);
    fs::write(second.mnt().join("shared"), "as bob wants it").expect("written");
    second.ods(&["umount"]).good();

    // Mounted again it is refused with what to do, read-only it can be copied out.
    first.mount(&[]).bad(16, &["-o ro", "spool"]);
    first.mount(&["-o", "ro"]).good();
    assert_eq!(
        fs::read(mnt.join("late")).expect("readable"),
        b"alice did not know"
    );
    let copied = first.path("copied");
    fs::copy(mnt.join("late"), &copied).expect("copied out");
    // What only this machine has is never said to be on Discord.
    let left = ["not on Discord", "read-only", "spool"];
    first.ods(&["flush"]).bad(25, &left);
    first.ods(&["umount"]).bad(25, &left);
    assert!(!is_mounted(&mnt));
    fs::remove_dir_all(first.state("main").join("spool")).expect("removed");
    fs::remove_file(first.state("main").join("spool.end")).expect("removed");
    first.set("USER", "alice");
    first.mount(&[]).good();
    assert_eq!(
        fs::read(mnt.join("shared")).expect("readable"),
        b"as bob wants it"
    );
    fs::copy(&copied, mnt.join("late")).expect("copied in");
    first.ods(&["umount"]).good();
    second.mount(&[]).good();
    assert_eq!(
        fs::read(second.mnt().join("late")).expect("readable"),
        b"alice did not know"
    );
    second.ods(&["umount"]).good();
}

#[test]
fn a_lease_of_another_state_directory_of_this_machine_says_where_it_is_and_what_to_do() {
    let world = World::new();
    let machine = with_drive(&world);
    machine.mount(&["-o", "linger=3600,age=3600"]).good();
    fs::write(machine.mnt().join("waits"), "for its upload").expect("written");
    machine.ods(&["umount", "--force"]).good();
    machine.ods(&["init", "--join", "--name", "again"]).good();
    let state = machine.state("main");
    let (mnt, old) = (machine.mnt(), text(&state).to_owned());
    let mount = |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(["--daemon", "again", text(&mnt)]);
        machine.end(machine.command(Path::new(env!("CARGO_BIN_EXE_ods-mount")), &all))
    };
    let option = format!("state={old}");
    mount(&[]).bad(17, &["this machine", "not on Discord", &option, "takeover"]);
    // Where the changes are out of reach, that is said, and they are not waited for.
    let away = machine.path("away");
    fs::rename(&state, &away).expect("moved");
    mount(&[]).bad(17, &[&old, "not here any more", "takeover"]);
    fs::rename(&away, &state).expect("moved back");
    machine.mount(&["-o", &option]).good();
    machine.ods(&["umount"]).good();
    mount(&[]).good();
    let read = fs::read(mnt.join("waits")).expect("readable");
    assert_eq!(read, b"for its upload");
    machine.ods(&["umount", "again"]).good();
}

#[test]
fn taking_over_from_a_machine_that_is_gone_is_all_it_takes() {
    let world = World::new();
    let first = with_drive(&world);
    first.mount(&[]).good();
    fs::write(first.mnt().join("safe"), "uploaded").expect("written");
    first.ods(&["flush"]).good();
    support::kill(first.daemon(), "KILL");
    let second = world.machine();
    second.ods(&["init", "--join"]).good();
    second.mount(&[]).bad(17, &["takeover"]);
    second.mount(&["-o", "takeover"]).good();
    assert_eq!(
        fs::read(second.mnt().join("safe")).expect("readable"),
        b"uploaded"
    );
    second.ods(&["umount"]).good();
    // The other comes back, has nothing unpublished, and just mounts.
    first.mount(&[]).good();
    assert_eq!(
        fs::read(first.mnt().join("safe")).expect("readable"),
        b"uploaded"
    );
    first.ods(&["umount"]).good();
}
