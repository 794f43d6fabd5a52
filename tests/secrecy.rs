//! What an attacker learns from Discord, from the state directory, and as another user of the machine: each
//! sentence of the README's notes on security.

#[path = "support/ods.rs"]
mod support;
#[path = "support/tap.rs"]
mod tap;

use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

use ods::emulator::ErrorBody;
use ods::emulator::Fault;
use ods::emulator::FaultKind;
use support::Machine;
use support::PASSPHRASE;
use support::World;
use support::kill;
use support::until;
use tap::Tap;
use tap::find;
use tap::holds;

/// Someone who has nothing to do with the drive.
const NOBODY: u32 = 65_534;

/// A content that everybody knows the beginning of, and that shrinks well.
fn known(marker: &str, bytes: usize) -> Vec<u8> {
    let head = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n";
    let line = format!("{marker} all work and no play makes a dull drive\n");
    let text = line.bytes().cycle();
    head.iter().copied().chain(text).take(bytes).collect()
}

/// What must be found nowhere.
const SECRETS: [&str; 8] = [
    "marker-archive-Ufehleb5",
    "marker-nested-Quahb2oo",
    "marker-file-eiGh1vie",
    "marker-content-Thoo9aij",
    "marker-inline-ohng0Aex",
    "marker-target-Yah3ohqu",
    "marker-attribute-eeb8Ohsh",
    "marker-value-aeSh7zoo",
];

/// Files whose names and contents hold every marker.
fn fill(mnt: &Path) {
    let [
        archive,
        nested,
        file,
        content,
        inline,
        target,
        attribute,
        value,
    ] = SECRETS;
    let dir = mnt.join(archive).join(nested);
    std::fs::create_dir_all(&dir).expect("a directory");
    std::fs::write(dir.join(file), known(content, 700_000)).expect("written");
    std::fs::write(dir.join("small"), inline).expect("written");
    std::fs::write(mnt.join(format!("{file}-in-the-root")), inline.repeat(3)).expect("written");
    std::os::unix::fs::symlink(target, dir.join("link")).expect("a link");
    let mut setfattr = Command::new("setfattr");
    setfattr.args(["-n", &format!("user.{attribute}"), "-v", value]);
    let set = setfattr.arg(dir.join("small")).status();
    assert!(set.expect("setfattr is installed").success());
}

/// The whole life of a drive over a wire that remembers: made, filled, changed, joined, read.
fn live(options: &[&str]) -> (Vec<u8>, String, Machine, World) {
    let world = World::new();
    let tap = Tap::to(world.emulator.address());
    let mut machine = world.machine();
    machine.set("ODS_API_BASE", &tap.base_url());
    machine.set("USER", "marker-user-iez6Phoo");
    let made = machine.ods(&["init", "--json"]).good().json();
    let recovery = made["recovery_key"].as_str().expect("a key").to_owned();
    machine.mount(options).good();
    fill(&machine.mnt());
    machine.ods(&["flush"]).good();
    let archive = machine.mnt().join(SECRETS[0]);
    std::fs::rename(archive.join(SECRETS[1]), archive.join("other")).expect("renamed");
    std::fs::remove_file(archive.join("other").join("small")).expect("removed");
    machine.ods(&["umount"]).good();
    std::fs::remove_dir_all(machine.path("state")).expect("removed");
    machine.ods(&["init", "--join"]).good();
    machine.mount(options).good();
    let read = std::fs::read(archive.join("other").join(SECRETS[2])).expect("readable");
    assert!(read == known(SECRETS[3], 700_000));
    machine.ods(&["umount"]).good();
    (tap.heard(), recovery, machine, world)
}

#[test]
fn discord_never_hears_a_name_a_content_or_a_secret() {
    let (heard, recovery, _machine, world) = live(&[]);
    assert!(
        find(&heard, b"payload_json") && find(&heard, b"embeds"),
        "it was heard"
    );
    for secret in SECRETS
        .iter()
        .chain(&["marker-user-iez6Phoo", "%PDF-1.7", "dull drive"])
    {
        assert!(
            !holds(&heard, secret.as_bytes()),
            "Discord heard `{secret}`"
        );
    }
    for secret in [PASSPHRASE, &recovery, &recovery.replace('-', "")] {
        assert!(!holds(&heard, secret.as_bytes()), "Discord heard a secret");
    }
    // Whoever has the file has its digest too; nothing on Discord may be it.
    let content = known(SECRETS[3], 700_000);
    for part in [&content[..], &content[..256 << 10]] {
        let digest = blake3::hash(part);
        assert!(!holds(&heard, digest.as_bytes()) && !holds(&heard, &digest.as_bytes()[..16]));
    }
    // The token goes where it must, and nowhere else.
    let stored = world.emulator.attachments();
    let token = world.emulator.token().as_bytes();
    assert!(find(&heard, token), "the API wants it");
    for one in &stored {
        let bytes = world.emulator.attachment_bytes(one.id).expect("stored");
        assert!(!find(&bytes, token) && !find(one.filename.as_bytes(), token));
    }
    assert_eq!(world.emulator.counts().cdn_with_authorization, 0);
}

/// Without this, the search above might be one that finds nothing.
#[test]
fn a_name_on_a_card_is_found_by_the_same_search() {
    let (heard, ..) = live(&["-o", "names"]);
    assert!(
        holds(&heard, SECRETS[0].as_bytes()),
        "asked for by `-o names`"
    );
    for secret in &SECRETS[1..] {
        assert!(
            !holds(&heard, secret.as_bytes()),
            "Discord heard `{secret}`"
        );
    }
}

/// The lengths of all packs that hold one file of this length.
fn pack_lengths(bytes: usize) -> Vec<u64> {
    let world = World::new();
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(&[]).good();
    let noise: Vec<u8> = blake3_noise(bytes);
    std::fs::write(machine.mnt().join("one"), noise).expect("written");
    machine.ods(&["umount"]).good();
    let stored = world.emulator.attachments();
    let packs = stored.iter().filter(|one| one.filename.len() == 32 + 4);
    packs.map(|one| one.size).collect()
}

fn blake3_noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    noise
}

/// As `format.md` pads: only so many leading bits of a length are left.
fn is_padded(len: u64) -> bool {
    let exponent = len.ilog2();
    len.is_multiple_of(1 << (exponent - exponent.ilog2() - 1))
}

#[test]
fn discord_sees_padded_lengths_only() {
    let (one, other) = (pack_lengths(200_000), pack_lengths(200_100));
    assert_eq!(one, other, "a hundred bytes more or less do not show");
    assert_ne!(one, pack_lengths(300_000), "the order of magnitude does");
    let (_, _, _, world) = live(&[]);
    let stored = world.emulator.attachments();
    assert!(stored.len() > 3);
    for one in &stored {
        let kind = one.filename.split('-').next().expect("a word");
        match kind {
            "b" => {}
            "l" => assert_eq!((one.size - 56) % 512, 0, "{one:?}"),
            _ => assert!(is_padded(one.size), "{one:?}"),
        }
        let known = ["b", "l", "s", "c"].contains(&kind) || one.filename.len() == 32 + 4;
        assert!(known && one.filename.ends_with(".bin"), "{one:?}");
    }
}

/// All files below a directory, with what they hold.
fn files(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("readable").flatten() {
        let kind = entry.file_type().expect("there");
        if kind.is_dir() {
            found.extend(files(&entry.path()));
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).expect("readable");
            found.push((entry.path(), bytes));
        }
    }
    found
}

#[test]
fn the_state_directory_holds_names_and_what_is_not_uploaded_in_the_plain_and_the_cache_sealed() {
    let world = World::new();
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(&[]).good();
    fill(&machine.mnt());
    let state = machine.state("main");
    let has = |below: &str, marker: &str| {
        let all = files(&state.join(below));
        all.iter().any(|(_, bytes)| find(bytes, marker.as_bytes()))
    };
    assert!(has("spool", SECRETS[3]), "the spool is what was written");
    assert!(has("spool", SECRETS[2]));
    machine.ods(&["flush"]).good();
    assert!(has("index", SECRETS[2]), "the index is names");
    for marker in SECRETS.iter().chain(&["dull drive"]) {
        assert!(!has("cache", marker), "`{marker}` in the cache");
    }
    assert!(!files(&state.join("cache")).is_empty(), "there is a cache");
    machine.ods(&["umount"]).good();
    for (path, bytes) in files(&machine.path("state")) {
        let token = world.emulator.token().as_bytes();
        assert!(!find(&bytes, PASSPHRASE.as_bytes()), "{}", path.display());
        assert!(!find(&bytes, token), "{}", path.display());
    }
}

/// Fails on anything that others may look at.
fn check_private(dir: &Path) -> usize {
    let own = |path: &Path| {
        let meta = std::fs::symlink_metadata(path).expect("there");
        let wanted = if meta.is_dir() { 0o700 } else { 0o600 };
        let mode = meta.mode() & 0o7777;
        assert_eq!(mode, wanted, "{} has mode {mode:o}", path.display());
        meta
    };
    own(dir);
    let mut sockets = 0;
    for entry in std::fs::read_dir(dir).expect("readable").flatten() {
        let meta = own(&entry.path());
        sockets += usize::from(meta.file_type().is_socket());
        if meta.is_dir() {
            sockets += check_private(&entry.path());
        }
    }
    sockets
}

#[test]
fn everything_ods_makes_is_for_its_owner_alone_whatever_the_umask() {
    let world = World::new();
    let machine = world.machine();
    let openly = |program: &str, args: &[&str]| {
        let mut command =
            machine.command(Path::new("sh"), &["-c", "umask 000; exec \"$0\" \"$@\""]);
        command.arg(program).args(args);
        machine.end(command).good()
    };
    let (ods, mount) = (env!("CARGO_BIN_EXE_ods"), env!("CARGO_BIN_EXE_ods-mount"));
    openly(ods, &["init", "--save-token", "--save-passphrase"]);
    let mnt = machine.mnt();
    openly(
        mount,
        &["--daemon", "-o", "spool=16M", mnt.to_str().expect("text")],
    );
    // Some of everything: full segments, an epoch, a cache, a read.
    for nth in 0..4 {
        let noise = blake3_noise(5 << 20);
        std::fs::write(mnt.join(format!("file{nth}")), &noise[nth..]).expect("written");
        openly(ods, &["flush"]);
    }
    let sockets = check_private(&machine.path("state/ods"));
    assert_eq!(sockets, 1, "the control socket was looked at");
    check_private(&machine.path("config/ods"));
    openly(ods, &["umount"]);
    assert_eq!(check_private(&machine.path("state/ods")), 0);
}

/// What a command says when somebody else runs it.
fn as_nobody(program: &str, args: &[&str]) -> std::process::Output {
    let mut command = Command::new(program);
    command.args(args).uid(NOBODY).gid(NOBODY).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.output().expect("it starts")
}

#[test]
fn another_user_of_the_machine_gets_nothing() {
    let world = World::new();
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(&[]).good();
    fill(&machine.mnt());
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    // Only what ods itself protects is to stand between them.
    for dir in ["", "state"] {
        let dir = machine.path(dir);
        std::fs::set_permissions(dir, std::fs::Permissions::clone(&open)).expect("allowed");
    }
    let pid = machine.daemon();
    let (state, mnt) = (machine.state("main"), machine.mnt());
    let socket = state.join("control");
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let connect = format!(
        "import socket; socket.socket(socket.AF_UNIX).connect('{}')",
        text(&socket)
    );
    let tries: [(&str, Vec<String>); 6] = [
        ("ls", vec![text(&state)]),
        ("ls", vec![text(&mnt)]),
        ("cat", vec![format!("/proc/{pid}/environ")]),
        ("cat", vec![format!("/proc/{pid}/maps")]),
        ("ls", vec![format!("/proc/{pid}/fd")]),
        ("python3", vec![String::from("-c"), connect]),
    ];
    for (program, args) in tries {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let done = as_nobody(program, &args);
        assert!(!done.status.success(), "{program} {args:?} worked");
        let told = String::from_utf8_lossy(&done.stderr).to_lowercase();
        assert!(
            told.contains("permission denied"),
            "{program} {args:?}: {told}"
        );
    }
    // What everybody may see of a process says nothing.
    let argv = as_nobody("cat", &[&format!("/proc/{pid}/cmdline")]).stdout;
    assert!(find(&argv, b"--supervised") && !find(&argv, PASSPHRASE.as_bytes()));
    machine.ods(&["umount"]).good();
}

/// The writable memory of a process.
fn memory(pid: i32) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("a map");
    let file = std::fs::File::open(format!("/proc/{pid}/mem")).expect("root may look");
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'));
        let (from, to) = range.expect("a range");
        let number = |hex| u64::from_str_radix(hex, 16).expect("hexadecimal");
        let mut at = number(from);
        while at < number(to) {
            let mut page = [0; 4096];
            // A page that is gone meanwhile, or not there, holds nothing.
            if file.read_exact_at(&mut page, at).is_ok() {
                all.extend_from_slice(&page);
            }
            at += 4096;
        }
    }
    all
}

#[test]
fn the_daemon_forgets_the_passphrase_and_leaves_no_core() {
    let world = World::new();
    let machine = world.machine();
    machine.ods(&["init"]).good();
    machine.mount(&[]).good();
    std::fs::write(machine.mnt().join("file"), "content").expect("written");
    let pid = machine.daemon();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("readable");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<&str> = core.expect("a line").split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{limits}");
    let memory_now = memory(pid);
    let token = world.emulator.token().as_bytes();
    assert!(find(&memory_now, token), "every request needs the token");
    assert!(
        !find(&memory_now, PASSPHRASE.as_bytes()),
        "the passphrase stays in memory"
    );
    machine.ods(&["umount"]).good();

    // In the foreground too, where it came from the environment.
    let mnt = machine.mnt();
    let mut program = machine.start("ods-mount", &[mnt.to_str().expect("text")]);
    program.says("is mounted on");
    let environ = std::fs::read(format!("/proc/{}/environ", program.pid())).expect("readable");
    assert!(find(&environ, b"XDG_STATE_HOME"), "it is the environment");
    assert!(!find(&environ, PASSPHRASE.as_bytes()) && !find(&environ, token));
    assert!(!find(&memory(program.pid()), PASSPHRASE.as_bytes()));
    program.signal("INT");
    assert_eq!(program.ended().code, 0);
}

/// `PR_SET_DUMPABLE` shows in whom `/proc/PID` belongs to; for root's processes it would be root anyway.
#[test]
fn the_owner_of_the_process_cannot_look_into_it_either() {
    let world = World::new();
    let machine = world.machine();
    let file = machine.path("own");
    std::fs::create_dir(&file).expect("a directory");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    for dir in ["", "own", "mnt"] {
        std::fs::set_permissions(machine.path(dir), std::fs::Permissions::clone(&everybody))
            .expect("allowed");
    }
    // A program that stays and needs no mount: it asks for a token on a terminal that never answers.
    let wait = machine.path("own/wait");
    let made = Command::new("mkfifo").arg(&wait).status().expect("mkfifo");
    assert!(made.success());
    std::os::unix::fs::chown(&wait, Some(NOBODY), Some(NOBODY)).expect("root may");
    let mut command = machine.command(
        Path::new(env!("CARGO_BIN_EXE_ods")),
        &["init", "--token-file", wait.to_str().expect("text")],
    );
    command
        .env_remove("DISCORD_BOT_TOKEN")
        .uid(NOBODY)
        .gid(NOBODY);
    let mut child = command.spawn().expect("it starts");
    let pid = i32::try_from(child.id()).expect("small");
    let is = |what: &str| std::fs::symlink_metadata(format!("/proc/{pid}/{what}"));
    until("a process that is not dumpable", || {
        is("mem").is_ok_and(|meta| meta.uid() == 0)
    });
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("readable");
    let uid = status.lines().find(|line| line.starts_with("Uid:"));
    assert!(uid.expect("a line").contains("65534"), "{status}");
    let looked = as_nobody("cat", &[&format!("/proc/{pid}/environ")]);
    assert!(
        !looked.status.success(),
        "its own user may read its environment"
    );
    kill(pid, "KILL");
    drop(child.wait());
}

#[test]
fn commands_that_give_secrets_get_none() {
    let world = World::new();
    let mut machine = world.machine();
    machine.ods(&["init"]).good();
    let (seen, script) = (machine.path("seen"), machine.path("give"));
    std::fs::write(
        &script,
        format!(
            "env >> {0}; cat /proc/$PPID/cmdline >> {0}; echo {PASSPHRASE}\n",
            seen.display()
        ),
    )
    .expect("written");
    let command = format!("sh {}", script.display());
    machine.unset("ODS_PASSPHRASE");
    machine.set("ODS_PASSPHRASE_COMMAND", &command);
    machine.set("ODS_NEW_PASSPHRASE", "another-Phoh6iel");
    machine.ods(&["passphrase"]).good();
    let text = std::fs::read(&seen).expect("it ran");
    assert!(find(&text, b"XDG_STATE_HOME"), "it is the environment");
    for secret in [world.emulator.token(), "another-Phoh6iel", PASSPHRASE] {
        assert!(
            !find(&text, secret.as_bytes()),
            "a command was given a secret"
        );
    }
}

#[test]
fn logs_hold_no_secret_and_no_signed_address_whatever_goes_wrong() {
    let world = World::new();
    let mut machine = world.machine();
    machine.set("ODS_LOG", "trace");
    let made = machine.ods(&["init", "--json"]).good().json();
    let recovery = made["recovery_key"].as_str().expect("a key").to_owned();
    machine.mount(&["-vvv"]).good();
    fill(&machine.mnt());
    machine.ods(&["umount"]).good();
    drop(std::fs::remove_dir_all(machine.state("main").join("cache")));
    // Whatever can be told is told: addresses that expire, servers that fail, a token that is refused.
    let error = |status, body| FaultKind::Error { status, body };
    let faults = [
        ("GET /channels/{}/messages", error(502, ErrorBody::Html)),
        ("GET /attachments/*", FaultKind::UrlExpired { status: 404 }),
        ("GET /attachments/*", error(500, ErrorBody::Html)),
    ];
    machine
        .mount(&["-vvv", "-o", "read_timeout=1,patience=1"])
        .good();
    let file = machine
        .mnt()
        .join(SECRETS[0])
        .join(SECRETS[1])
        .join(SECRETS[2]);
    for (route, kind) in faults {
        world.emulator.faults().add(Fault::new(route, kind));
        assert!(std::fs::read(&file).is_err(), "nothing of it is local");
        world.emulator.faults().clear();
    }
    world.emulator.revoke_token();
    std::fs::write(machine.mnt().join("late"), "late").expect("local");
    machine.ods(&["flush", "--timeout", "5"]);
    world.emulator.restore_token();
    machine.ods(&["umount"]);
    until("the end of the mount", || {
        !support::is_mounted(&machine.mnt())
    });
    let log = std::fs::read_to_string(machine.state("main").join("log")).expect("a log");
    assert!(
        log.contains("500") && log.lines().count() > 10,
        "much was told: {log}"
    );
    let told = [log, machine.said().replace(&recovery, "")].concat();
    let token = world.emulator.token();
    let proof = token.rsplit('.').next().expect("a token");
    for secret in [token, proof, PASSPHRASE, &recovery, "hm=", "?ex="] {
        assert!(
            !holds(told.as_bytes(), secret.as_bytes()),
            "`{secret}` was told"
        );
    }
}
