//! SQLite in its journal modes, also killed in the middle of a transaction.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use crate::Disk;
use crate::scaled;

/// Writes accounts whose sum is always the same; after each transaction it says how many there were.
const WRITER: &str = r#"
import sqlite3, sys
path, mode, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = sqlite3.connect(path, isolation_level=None, timeout=60)
assert db.execute(f"pragma journal_mode={mode}").fetchone()[0] == mode
db.execute("pragma synchronous=full")
db.execute("create table if not exists account (id integer primary key, amount integer, note blob)")
if not db.execute("select count(*) from account").fetchone()[0]:
    db.executemany("insert into account values (?, 1000, zeroblob(200))", [(i,) for i in range(200)])
for round in range(rounds):
    db.execute("begin immediate")
    for step in range(20):
        a, b = (round * 7 + step * 13) % 200, (round * 11 + step * 17 + 1) % 200
        db.execute("update account set amount = amount - 5, note = randomblob(150 + ?) where id = ?", (step * 20, a))
        db.execute("update account set amount = amount + 5 where id = ?", (b,))
    db.execute("commit")
    print(round + 1, flush=True)
"#;

const CHECK: &str = r#"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute("pragma integrity_check").fetchone()[0], db.execute("select sum(amount) from account").fetchone()[0])
"#;

fn check(database: &Path) {
    let output = Command::new("python3")
        .args(["-c", CHECK])
        .arg(database)
        .output()
        .expect("python3 runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.trim(), "ok 200000", "{complaint}");
}

/// Lets the writer work, all rounds, or until so many transactions are done and then kills it.
fn write(database: &Path, mode: &str, rounds: usize, kill_after: Option<usize>) {
    let mut writer = Command::new("python3")
        .args(["-c", WRITER])
        .arg(database)
        .args([mode, &rounds.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let told = BufReader::new(writer.stdout.take().expect("piped"));
    let done = told.lines().take(kill_after.unwrap_or(usize::MAX)).count();
    if kill_after.is_some() {
        writer.kill().expect("it can be killed");
        writer.wait().expect("it ends");
    } else {
        assert!(writer.wait().expect("it ends").success());
    }
    assert_eq!(done, kill_after.unwrap_or(rounds));
}

#[test]
fn sqlite_survives_in_every_journal_mode() {
    let mut disk = Disk::new();
    let (rounds, kills) = (scaled(25, 600), scaled(2, 20));
    for mode in ["delete", "truncate", "persist", "wal"] {
        let database = disk.path(&format!("{mode}.db"));
        write(&database, mode, rounds, None);
        for kill in 0..kills {
            write(&database, mode, 1_000_000, Some(3 + kill * 5));
            check(&database);
        }
    }
    disk.begin_again();
    for mode in ["delete", "truncate", "persist", "wal"] {
        let database = disk.path(&format!("{mode}.db"));
        check(&database);
        write(&database, mode, rounds, None);
        check(&database);
    }
}
