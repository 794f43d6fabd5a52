//! A member of the server who may post, and even pin and delete, but has no key: nothing of it is
//! accepted, nothing is taken away unnoticed, and nobody is kept out without being told why.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "badday/desk.rs"]
mod desk;
#[path = "support/dice.rs"]
mod dice;
#[path = "support/discord.rs"]
mod discord;
#[path = "support/emulator_client.rs"]
mod emulator_client;

use std::path::Path;
use std::sync::Arc;

use desk::Chosen;
use desk::Desk;
use desk::assert_same;
use desk::contents;
use emulator_client::User;
use ods::codec::key::Secret;
use ods::codec::superblock::Cost;
use ods::codec::superblock::Superblock;
use ods::drive::Drive;
use ods::drive::Error;
use ods::drive::superblock;
use ods::emulator::Emulator;
use ods::emulator::Limits;
use ods::emulator::MessageContent;
use ods::emulator::StoredAttachment;
use ods::emulator::permission;
use ods::store;
use ods::store::Mark;
use ods::store::Shelf;
use ods::store::Span;
use ods::store::Store;
use ods::store::discord::Discord;
use serde_json::json;
use tempfile::TempDir;

/// A drive in channels that are open to another member, who may do there whatever a channel can grant.
struct Open {
    emulator: Emulator,
    journal: u64,
    archives: u64,
    superblock: u64,
}

impl Open {
    async fn new() -> Open {
        let emulator = Emulator::start(ods::emulator::Settings {
            limits: Limits::unlimited_rates(),
            // The worst case: the bot is shown what others wrote.
            message_content: MessageContent::Granted,
            ..ods::emulator::Settings::default()
        })
        .await
        .expect("an emulator");
        let bot = User::bot(&emulator);
        let granted = permission::MANAGE_MESSAGES | permission::PIN_MESSAGES;
        let overwrite = json!([{
            "id": emulator.member_id().to_string(), "type": 1,
            "allow": granted.to_string(), "deny": "0",
        }]);
        let channel = async |name: &str| {
            let path = format!("/guilds/{}/channels", emulator.guild_id());
            let body = json!({ "name": name, "type": 0, "permission_overwrites": overwrite });
            bot.post(&path, &body).await.expect_status(201).id()
        };
        let (journal, archives) = (channel("journal").await, channel("archives").await);
        let mut open = Open {
            emulator,
            journal,
            archives,
            superblock: 0,
        };
        let secret = Secret::passphrase("passphrase".into()).expect("a secret");
        let cost = Cost {
            log2_n: 14,
            ..Cost::default()
        };
        let (block, master, _) = Superblock::create(&secret, cost, Vec::new()).expect("made");
        let store = open.store();
        superblock::put(&*store, &block, &master)
            .await
            .expect("put");
        open.superblock = block.generation();
        open
    }

    fn store(&self) -> Arc<Discord> {
        let settings = discord::settings(&self.emulator, self.journal, self.archives);
        Arc::new(Discord::connect(settings).expect("a store"))
    }

    fn member(&self) -> User {
        User::member(&self.emulator)
    }

    fn attachments(&self) -> Vec<StoredAttachment> {
        self.emulator.attachments()
    }

    async fn drive(&self, dir: &Path) -> Result<Arc<Drive>, Error> {
        desk::open(dir, self.store(), &Chosen::default()).await
    }

    /// A drive with some history, checkpoints included.
    async fn desk(&self, dir: &Path, seed: u64) -> Desk {
        let mut desk = Desk::new(self.drive(dir).await.expect("a drive"), seed);
        for _ in 0..6 {
            for _ in 0..12 {
                desk.step();
            }
            desk.flush().await.expect("flushed");
        }
        desk
    }

    /// Posts a file as the member.
    async fn post(&self, channel: u64, name: &str, bytes: &[u8]) -> u64 {
        let (member, files) = (self.member(), [(name, bytes)]);
        let posted = member.upload(channel, &json!({}), &files).await;
        posted.expect_status(200).id()
    }

    async fn pin(&self, message: u64) {
        let path = format!("/channels/{}/messages/pins/{message}", self.journal);
        self.member().put(&path).await.expect_status(204);
    }

    async fn unpin_all(&self) {
        for message in self.emulator.messages(self.journal) {
            let path = format!("/channels/{}/messages/pins/{message}", self.journal);
            self.member().delete(&path).await;
        }
    }

    /// The drive as another machine finds it, while nobody else has it.
    async fn rebuilt(&self) -> (desk::Model, TempDir) {
        let dir = TempDir::new().unwrap();
        let drive = self.drive(dir.path()).await.expect("the drive opens");
        let found = contents(&drive).await;
        assert!(drive.damaged().is_empty());
        drive.close().await;
        (found, dir)
    }

    /// Everything that a store gives out is what the bot put, on every way to it.
    async fn only_our_own(&self, foreign: &[u64]) {
        let store = self.store();
        let mut shelves = vec![store.journal()];
        let threads = self.attachments().into_iter().map(|one| one.channel);
        let threads = threads.filter(|channel| *channel != self.journal);
        shelves.extend(threads.map(|thread| Shelf(format!("thread/{thread}/{thread}"))));
        shelves.dedup();
        for shelf in &shelves {
            for span in [
                Span::Newest,
                Span::After(Mark(0)),
                Span::Before(Mark(u64::MAX >> 1)),
            ] {
                let page = store.list(shelf, span).await.expect("listed");
                let seen = page.entries.iter().map(|entry| entry.mark.0);
                assert!(
                    seen.clone().all(|id| !foreign.contains(&id)),
                    "{shelf:?} {span:?}"
                );
                assert!(seen.count() > 0, "{shelf:?} {span:?}");
            }
        }
        let pinned = store.pinned().await.expect("pinned");
        assert!(pinned.iter().all(|entry| !foreign.contains(&entry.mark.0)));
        let found = superblock::find(&*store).await.expect("found");
        let generations: Vec<u64> = found.iter().map(|one| one.generation).collect();
        assert_eq!(generations, [self.superblock]);
    }
}

/// The name with other digits in its `at`th field.
fn renamed(name: &str, at: usize, digits: &str) -> String {
    let mut fields: Vec<&str> = name.split('-').collect();
    fields[at] = digits;
    fields.join("-")
}

/// Every kind of thing that the drive has made, posted again and forged, under every name that counts.
async fn flood(open: &Open) -> Vec<u64> {
    let mut foreign = Vec::new();
    for one in open.attachments() {
        let bytes = open.emulator.attachment_bytes(one.id).expect("stored");
        // The same once more, and something else of the same name and size.
        foreign.push(open.post(one.channel, &one.filename, &bytes).await);
        let noise: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x5a).collect();
        foreign.push(open.post(one.channel, &one.filename, &noise).await);
        if one.channel != open.journal {
            continue;
        }
        let forged = match one.filename.as_bytes()[0] {
            // A later epoch, a checkpoint of one, another machine's lease, a newer superblock.
            b's' | b'c' => renamed(&one.filename, 1, "00000000000000ff"),
            b'l' => renamed(&one.filename, 1, "00112233445566aa"),
            _ => renamed(&one.filename, 1, "0000000000000009"),
        };
        let message = open.post(open.journal, &forged, &bytes).await;
        if matches!(one.filename.as_bytes()[0], b'l' | b'b') {
            open.pin(message).await;
        }
        foreign.push(message);
    }
    foreign
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_member_posts_is_accepted() {
    let (open, dir) = (Open::new().await, TempDir::new().unwrap());
    let mut desk = open.desk(dir.path(), 1).await;
    // The lease is there too, while the drive is open.
    let foreign = flood(&open).await;
    open.only_our_own(&foreign).await;
    for _ in 0..3 {
        for _ in 0..10 {
            desk.step();
        }
        desk.flush().await.expect("published all the same");
    }
    assert_eq!(desk.drive.read_only(), None);
    assert_eq!(desk.drive.status().unwrap().last_error, None);
    desk.check("under attack").await;
    let kept = desk.close().await;
    // Neither the next machine nor this one is kept out, and both see what was there.
    let (found, _other) = open.rebuilt().await;
    assert_same(&found, &kept.model, "rebuilt");
    let drive = open.drive(dir.path()).await.expect("it opens again");
    assert_same(&contents(&drive).await, &kept.model, "opened again");
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_lost_pack_are_not_taken_for_it() {
    use ods::emulator::Fault;
    use ods::emulator::FaultKind;
    let (open, dir) = (Open::new().await, TempDir::new().unwrap());
    let mut desk = open.desk(dir.path(), 2).await;
    // The answer to an upload is lost, and while ods wonders, somebody posts what it would look for.
    let lost = FaultKind::LostAnswer { status: None };
    let late = FaultKind::ListedLate {
        ms: 0,
        listings: 1000,
    };
    for kind in [lost, late] {
        let fault = Fault::new(discord::POST, kind).times(1);
        open.emulator.faults().add(fault);
    }
    for _ in 0..10 {
        desk.step();
    }
    let drive = Arc::clone(&desk.drive);
    let flushing = tokio::task::spawn_blocking(move || drive.flush(|| true));
    let known = open.attachments().len();
    while open.attachments().len() == known {
        tokio::task::yield_now().await;
    }
    let foreign = flood(&open).await;
    flushing.await.expect("no panic").expect("flushed");
    open.emulator.faults().clear();
    open.only_our_own(&foreign).await;
    let kept = desk.close().await;
    let (found, _other) = open.rebuilt().await;
    assert_same(&found, &kept.model, "rebuilt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_without_its_pin_still_keeps_others_out() {
    let (open, dir) = (Open::new().await, TempDir::new().unwrap());
    let desk = open.desk(dir.path(), 3).await;
    open.unpin_all().await;
    assert_eq!(open.store().pinned().await.expect("listed"), []);
    let found = superblock::find(&*open.store()).await.expect("found");
    assert_eq!(found.len(), 1, "the superblock is found without its pin");
    let other = TempDir::new().unwrap();
    let refused = open.drive(other.path()).await;
    assert!(matches!(refused, Err(Error::Leased { .. })), "{refused:?}");
    desk.flush().await.expect("nothing happened");
    desk.close().await;
    let drive = open.drive(other.path()).await.expect("free now");
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_the_lease_to_vandalism_is_told_before_anything_is_published() {
    let (open, dir) = (Open::new().await, TempDir::new().unwrap());
    let mut desk = open.desk(dir.path(), 4).await;
    let leases = open.attachments();
    let leases = leases.iter().filter(|one| one.filename.starts_with("l-"));
    for lease in leases {
        let path = format!("/channels/{}/messages/{}", open.journal, lease.message);
        open.member().delete(&path).await.expect_status(204);
    }
    // Nobody can know that the drive is in use; but two never publish.
    let other = TempDir::new().unwrap();
    let second = open.drive(other.path()).await.expect("it opens");
    for _ in 0..10 {
        desk.step();
    }
    let refused = desk.flush().await;
    assert!(
        matches!(&refused, Err(Error::TakenOver(why)) if why.contains("took the drive over")),
        "{refused:?}"
    );
    second.close().await;
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_of_others_that_leave_no_room_are_named() {
    let (open, dir) = (Open::new().await, TempDir::new().unwrap());
    let desk = open.desk(dir.path(), 5).await;
    desk.close().await;
    open.emulator.set_limits(Limits {
        pins_max: 5,
        ..Limits::unlimited_rates()
    });
    for number in 0..4 {
        let message = open
            .post(open.journal, &format!("{number}.bin"), b"x")
            .await;
        open.pin(message).await;
    }
    let refused = open.drive(dir.path()).await;
    let Err(Error::Store(store::Error::Refused { what })) = refused else {
        panic!("{refused:?}");
    };
    assert!(what.contains("pins") && what.contains("remove"), "{what}");
    open.unpin_all().await;
    let drive = open.drive(dir.path()).await.expect("room again");
    drive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_deletes_is_missed_and_not_made_up() {
    let (open, dir) = (Open::new().await, TempDir::new().unwrap());
    let desk = open.desk(dir.path(), 6).await;
    let kept = desk.close().await;
    let all = open.attachments();
    let mut segments: Vec<_> = all
        .iter()
        .filter(|one| one.filename.starts_with("s-"))
        .collect();
    segments.sort_by(|one, other| one.filename.cmp(&other.filename));
    let victim = segments[segments.len() - 2];
    let path = format!("/channels/{}/messages/{}", open.journal, victim.message);
    open.member().delete(&path).await.expect_status(204);
    let fresh = TempDir::new().unwrap();
    match open.drive(fresh.path()).await {
        Err(Error::Damaged(why)) => assert!(why.contains("lacks epoch"), "{why}"),
        Ok(drive) => {
            // A checkpoint had it all.
            assert_same(&contents(&drive).await, &kept.model, "rebuilt");
            drive.close().await;
        }
        Err(error) => panic!("{error}"),
    }
    // This machine knows what it was.
    let drive = open.drive(dir.path()).await.expect("it opens");
    assert_same(&contents(&drive).await, &kept.model, "here");
    drive.close().await;
}
