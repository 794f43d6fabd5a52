//! What a fuzzer does with what the Python systems left.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::legacy::card;
use crate::legacy::card::Card;
use crate::legacy::fernet::BatchKey;
use crate::legacy::fernet::Tokens;
use crate::legacy::manifest;
use crate::legacy::manifest::Manifest;
use crate::legacy::members::Tar;
use crate::legacy::meta;
use crate::legacy::meta::Meta;
use crate::legacy::name;

/// More than this is never read of what any bytes give.
const READ_MAX: u64 = 1 << 20;

/// A manifest of any bytes: names that are accepted stay below where they are put.
pub fn manifest(data: &[u8]) {
    if let Ok(manifest) = Manifest::decode(data) {
        for file in &manifest.files {
            is_safe(name::component(file.name.as_bytes()).ok().as_slice());
        }
    }
    let text = String::from_utf8_lossy(data);
    let _ = (manifest::made(&text), manifest::hash_in(&text));
}

fn is_safe(names: &[Vec<u8>]) {
    for name in names {
        assert!(!name.is_empty() && name != b"." && name != b"..");
        assert!(!name.contains(&b'/') && !name.contains(&0));
    }
}

/// META, cards and logs of any bytes.
pub fn meta(data: &[u8]) {
    drop(Meta::decode(data));
    let text = String::from_utf8_lossy(data);
    if let Some(card) = Card::read(&text, &text) {
        assert!(card::is_archive_id(&card.id) || card::is_batch_id(&card.id));
    }
    let _ = (meta::is_meta(&text), meta::part_number(&text));
    drop(card::in_log(data, "#010126-01"));
}

/// A stream of tokens, gzip and tar of any bytes.
pub fn stream(data: &[u8]) {
    let tokens = Tokens::new(data, BatchKey::of_bytes([7; 32]));
    drop(tokens.take(READ_MAX).read_to_end(&mut Vec::new()));
    tar(data);
    tar(MultiGzDecoder::new(data).take(READ_MAX));
}

fn tar(from: impl Read) {
    let mut tar = Tar::new(from);
    while let Ok(Some(member)) = tar.advance() {
        is_safe(member.names.as_deref().unwrap_or_default());
        drop((&mut tar).take(READ_MAX).read_to_end(&mut Vec::new()));
    }
}
