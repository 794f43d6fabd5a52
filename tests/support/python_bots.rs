//! What the Python bots did: archives and batches posted as they posted them, and sealed as they sealed.

#![allow(dead_code, reason = "each suite uses a part of it")]

use std::path::Path;
use std::path::PathBuf;

use aes::cipher::BlockModeEncrypt;
use aes::cipher::KeyIvInit;
use aes::cipher::block_padding::Pkcs7;
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::Aead;
use data_encoding::BASE64URL;
use data_encoding::HEXLOWER;
use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::Hmac;
use hmac::KeyInit;
use hmac::Mac;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;
use std::io::Write;

use crate::emulator_client::User;
use crate::emulator_client::id_of;

/// Made by the Python systems themselves.
pub(crate) const ARCHIVE: &str = "tests/golden/legacy/v3/[Archive] #000011-01";
pub(crate) const BATCH: &str = "tests/golden/legacy/v4/BATCH_20260101_000B";
pub(crate) const ARCHIVE_SUMS: &str = "tests/golden/legacy/v3/SHA256SUMS";
pub(crate) const BATCH_SUMS: &str = "tests/golden/legacy/v4/SHA256SUMS";
pub(crate) const USER_KEY: &str = "legacy passphrase 11";

pub(crate) fn master_key() -> String {
    std::fs::read_to_string("tests/golden/legacy/v4/ENCRYPTION_KEY").expect("a key")
}

/// The lines of a SHA256SUMS: sum and name.
pub(crate) fn sums(path: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path).expect("sums");
    let lines = text.lines().filter_map(|line| line.split_once("  "));
    lines
        .map(|(sum, name)| (sum.to_owned(), name.to_owned()))
        .collect()
}

/// Every file is there with the bytes it had, and nothing else is.
#[track_caller]
pub(crate) fn check(dir: &Path, sums_file: &str) {
    let sums = sums(sums_file);
    for (sum, name) in &sums {
        let bytes = std::fs::read(dir.join(name)).expect(name);
        assert_eq!(HEXLOWER.encode(&Sha256::digest(&bytes)), *sum, "{name}");
    }
    assert_eq!(files(dir).len(), sums.len(), "{:?}", files(dir));
}

/// All files below a directory.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// A channel of that name.
pub(crate) async fn channel(user: &User, guild: u64, name: &str) -> u64 {
    let made = user
        .post(
            &format!("/guilds/{guild}/channels"),
            &json!({"name": name, "type": 0}),
        )
        .await;
    made.expect_status(201).id()
}

async fn thread(user: &User, channel: u64, message: u64, name: &str) -> u64 {
    let path = format!("/channels/{channel}/messages/{message}/threads");
    let made = user
        .post(&path, &json!({"name": name, "auto_archive_duration": 1440}))
        .await;
    made.expect_status(201).id()
}

/// Posts each file of a folder as a message of its own; gives the messages.
async fn post_files(user: &User, channel: u64, files: &[(String, Vec<u8>)]) -> Vec<u64> {
    let mut posted = Vec::new();
    for (name, bytes) in files {
        let sent = user
            .upload(channel, &json!({}), &[(name.as_str(), bytes.as_slice())])
            .await;
        posted.push(id_of(&sent.expect_status(200).body));
    }
    posted
}

/// The files of a folder, by name.
pub(crate) fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |path: PathBuf| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("text");
        (name.to_owned(), std::fs::read(&path).expect("readable"))
    };
    files(folder).into_iter().map(read).collect()
}

/// As the bot of document 2 did it: a card, a thread on it, a message for each piece.
pub(crate) async fn post_archive(user: &User, channel: u64, id: &str, folder: &Path) {
    let files = contents(folder);
    let metadata = json!({
        "archive_id": id, "lot": 1, "timestamp": "2026-11-20 14:10", "status": "Uploading",
        "file_count": files.len(), "uploaded_files": [], "message_ids": [], "uploader": "somebody",
    });
    let card = json!({
        "content": format!("```json\n{metadata}\n```"),
        "embeds": [{"title": format!("📦 Archive {id}"), "footer": {"text": "Lot 1 • Uploader: somebody"}}],
    });
    let path = format!("/channels/{channel}/messages");
    let card = user.post(&path, &card).await.expect_status(200).id();
    let thread = thread(user, channel, card, &format!("{id} chunks")).await;
    post_files(user, thread, &files).await;
}

/// As the oldest bot did it: plain messages, and only the log on its own machine says which.
pub(crate) async fn post_plain(user: &User, channel: u64, folder: &Path) -> Vec<u64> {
    post_files(user, channel, &contents(folder)).await
}

/// As version 4 did it. Discord has changed the names of the parts a little.
pub(crate) async fn post_batch(user: &User, storage: u64, index: u64, id: &str, folder: &Path) {
    let text = format!("📦 Batch `{id}` chunks");
    let first = user.say(storage, &text).await.expect_status(200).id();
    let thread = thread(user, storage, first, &format!("Batch {id}")).await;
    let mut parts = contents(folder);
    let at = parts.iter().position(|(name, _)| name == "META.json");
    let (_, meta) = parts.remove(at.expect("META"));
    let meta = String::from_utf8(meta).expect("text");
    user.say(thread, &format!("🧾 META:{meta}"))
        .await
        .expect_status(200);
    parts.reverse();
    for (name, _) in &mut parts {
        *name = name.replace("holiday-11", "holiday_11_");
    }
    post_files(user, thread, &parts).await;
    let card = format!("📦 **Title:** Holiday\n**Batch ID:** `{id}`\n**Thread:** `{thread}`\n");
    user.say(index, &card).await.expect_status(200);
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::new(6));
    gz.write_all(bytes).expect("in memory");
    gz.finish().expect("in memory")
}

/// A file, or a piece of it, as the slicer sealed it.
pub(crate) fn sealed(plain: &[u8], user_key: &str) -> Vec<u8> {
    let (salt, nonce) = ([5; 16], [6; 12]);
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(user_key.as_bytes(), &salt, 600_000, &mut key);
    let body = Aes256Gcm::new(&key.into()).encrypt(&nonce.into(), &*gzip(plain));
    [&salt[..], &nonce, &body.expect("seals")].concat()
}

/// The name that the slicer gave a piece.
pub(crate) fn piece_name(number: usize, index: usize, piece: &[u8]) -> String {
    let hash = &HEXLOWER.encode(&Sha256::digest(piece))[..16];
    format!("{number:04}-aaaaaaaaaaaa-{hash}-{index:04}.bin")
}

pub(crate) const MASTER: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
const SALT: &str = "AQEBAQEBAQEBAQEBAQEBAQ==";

/// Writes a batch as version 4 packed it: a tar, gzip, tokens of `step` bytes, parts of `part`.
pub(crate) fn write_batch(
    folder: &Path,
    tar: &[u8],
    (files, bytes): (u64, u64),
    step: usize,
    part: usize,
) -> usize {
    let (master, salt) = (
        BASE64URL.decode(MASTER.as_bytes()),
        BASE64URL.decode(SALT.as_bytes()),
    );
    let mut key = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(
        &master.expect("a key"),
        &salt.expect("a salt"),
        200_000,
        &mut key,
    );
    let mut stream = Vec::new();
    for buffer in gzip(tar).chunks(step) {
        let token = token(&key, buffer);
        stream.extend_from_slice(&(token.len() as u64).to_be_bytes());
        stream.extend_from_slice(&token);
    }
    std::fs::create_dir_all(folder).expect("a folder");
    let parts = stream.chunks(part);
    let count = parts.len();
    for (number, part) in parts.enumerate() {
        std::fs::write(folder.join(format!("x.tar.gz.enc.part{number}")), part).expect("written");
    }
    let meta = json!({
        "batch_id": "BATCH_20260102_00AA", "original_name": "packed", "encryption_salt": SALT, "chunk_count": count,
        "file_count": files, "is_directory": 1, "total_size": bytes,
    });
    std::fs::write(folder.join("META.json"), meta.to_string()).expect("written");
    count
}

fn token(key: &[u8; 32], plain: &[u8]) -> Vec<u8> {
    let (signing, sealing) = key.split_at(16);
    let iv = [3; 16];
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + 16, 0);
    let cipher = cbc::Encryptor::<aes::Aes128>::new_from_slices(sealing, &iv).expect("lengths");
    let sealed = cipher
        .encrypt_padded::<Pkcs7>(&mut buffer, plain.len())
        .expect("room");
    let mut bytes = [&[0x80][..], &[0; 8], &iv, sealed].concat();
    let mac = Hmac::<Sha256>::new_from_slice(signing).expect("a key");
    bytes.extend_from_slice(&mac.chain_update(&bytes).finalize().into_bytes());
    BASE64URL.encode(&bytes).into_bytes()
}
