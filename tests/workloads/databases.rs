//! SQLite in its journal modes, also killed in the middle of a transaction.

use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use crate::Disk;
use crate::scaled;

/// Writes accounts whose sum is always the same; after each transaction it says how many there were. The last one
/// stays half done for ever if it is told so: its pages do not fit the cache, so some are in the file by then.
const WRITER: &str = r#"
import sqlite3, sys
import time
path, mode, rounds, stays = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "stays"
db = sqlite3.connect(path, isolation_level=None, timeout=60)
assert db.execute(f"pragma journal_mode={mode}").fetchone()[0] == mode
db.execute("pragma synchronous=full")
db.execute("pragma cache_size=1")
db.execute("create table if not exists account (id integer primary key, amount integer, note blob)")
if not db.execute("select count(*) from account").fetchone()[0]:
    db.executemany("insert into account values (?, 1000, zeroblob(200))", [(i,) for i in range(200)])
for round in range(rounds):
    db.execute("begin immediate")
    for step in range(20):
        a, b = (round * 7 + step * 13) % 200, (round * 11 + step * 17 + 1) % 200
        db.execute("update account set amount = amount - 5, note = randomblob(150 + ?) where id = ?", (step * 20, a))
        db.execute("update account set amount = amount + 5 where id = ?", (b,))
    if stays and round + 1 == rounds:
        print("half", flush=True)
        time.sleep(600)
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

/// How a writer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// By itself, all done.
    Done,
    /// It is killed in the middle of its last transaction.
    Killed,
    /// The daemon is, and then it.
    Crashed,
}

/// Lets the writer make so many transactions.
fn write(disk: &mut Disk, mode: &str, rounds: usize, end: End) {
    let database = disk.path(&format!("{mode}.db"));
    let stays = if end == End::Done { "ends" } else { "stays" };
    let mut writer = Command::new("python3")
        .args(["-c", WRITER])
        .arg(&database)
        .args([mode, &rounds.to_string(), stays])
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs");
    let told = BufReader::new(writer.stdout.take().expect("piped"));
    let done = told.lines().take(rounds).count();
    if end == End::Crashed {
        disk.crash();
    }
    if end == End::Done {
        assert!(writer.wait().expect("it ends").success());
    } else {
        writer.kill().expect("it can be killed");
        writer.wait().expect("it ends");
        let beside = if mode == "wal" { "wal" } else { "journal" };
        let beside = disk.path(&format!("{mode}.db-{beside}"));
        let left = std::fs::metadata(beside).expect("what it was doing is there");
        assert!(left.len() > 0, "{mode}");
    }
    assert_eq!(done, rounds);
    check(&database);
}

#[test]
fn sqlite_survives_in_every_journal_mode() {
    let mut disk = Disk::new();
    let (rounds, kills) = (scaled(25, 600), scaled(2, 20));
    for mode in ["delete", "truncate", "persist", "wal"] {
        write(&mut disk, mode, rounds, End::Done);
        for kill in 0..kills {
            write(&mut disk, mode, 3 + kill * 5, End::Killed);
            write(&mut disk, mode, 2 + kill, End::Crashed);
        }
    }
    disk.begin_again();
    for mode in ["delete", "truncate", "persist", "wal"] {
        check(&disk.path(&format!("{mode}.db")));
        write(&mut disk, mode, rounds, End::Done);
    }
}
