//! discord.py, a client that knows nothing of the emulator, is satisfied with it.
//!
//! Needs python3 with venv, and once the network for pip: discord.py is installed below `target`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ods::emulator::{Emulator, RouteLimit, Settings};

const PACKAGES: &[&str] = &["discord.py==2.6.4", "zstandard==0.25.0"];

fn run(what: &str, command: &mut Command) -> Output {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{what}: cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{what} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The interpreter of a virtual environment that has discord.py.
fn python() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("venv-{}", PACKAGES.join("-")));
    let python = home.join("bin/python");
    let ready = home.join("ready");
    if !ready.exists() {
        let what = "this test needs python3 with its venv module (Debian: python3-venv)";
        run(
            what,
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&home),
        );
        let pip = [
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ];
        let what = "installing discord.py from PyPI";
        run(what, Command::new(&python).args(pip).args(PACKAGES));
        std::fs::write(&ready, "").expect("a mark");
    }
    python
}

async fn satisfied(compression: &str) {
    let python = python();
    let mut settings = Settings::default();
    // Short windows: discord.py waits them out, as it would the real ones.
    settings.limits.routes.create_message = RouteLimit::new(5, 300);
    settings.limits.routes.bulk_delete = RouteLimit::new(1, 100);
    settings.limits.routes.overwrite_commands = RouteLimit::new(2, 100);
    let emulator = Emulator::start(settings).await.expect("it starts");
    let mut command = Command::new(python);
    command
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/support/discord_py.py"
        ))
        .args([
            &emulator.base_url(),
            emulator.token(),
            emulator.member_token(),
        ])
        .args([
            emulator.guild_id().to_string(),
            emulator.channel_id().to_string(),
            emulator.member_id().to_string(),
        ])
        .arg(compression);
    let output = tokio::task::spawn_blocking(move || run("discord.py", &mut command)).await;
    let output = output.expect("it ran");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "done");
    let counts = emulator.counts();
    assert_eq!(
        counts.rate_limited, 0,
        "the headers kept discord.py below every limit"
    );
    assert_eq!(counts.cdn_with_authorization, 0);
    assert_eq!(counts.gateway_sessions, 1);
    assert_eq!(counts.cdn_statuses[&200], 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discord_py_is_satisfied() {
    for compression in ["zlib", "zstd"] {
        satisfied(compression).await;
    }
}
