//! Archives through a real mount: ids, cards, and what people see of names.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod support;

use std::fs;
use std::sync::Arc;

use ods::drive::Names;
use ods::fs::Options;
use ods::store::Card;
use ods::store::faulty::Faulty;
use ods::store::memory::Memory;
use support::Drain;
use support::Mounted;
use support::options;
use support::settings;
use tempfile::TempDir;

fn with_names(names: Names) -> (Mounted, TempDir) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("mount");
    fs::create_dir(&path).unwrap();
    let settings = ods::drive::Settings {
        names,
        ..settings(&dir.path().join("state"), Drain::OnDemand)
    };
    let store = Arc::new(Faulty::new(Memory::default()));
    (
        Mounted::at(settings, path, store, Options::default(), &options()),
        dir,
    )
}

/// Cards by the number at the end of their id, as they are when the drive is closed.
fn cards(mount: Mounted) -> Vec<Card> {
    let store = Arc::clone(&mount.store);
    mount.flush();
    drop(mount);
    let mut cards: Vec<Card> = store
        .inner()
        .cards()
        .into_iter()
        .map(|(_, card)| card)
        .collect();
    cards.sort_by(|a, b| a.title.cmp(&b.title));
    cards
}

fn field<'c>(card: &'c Card, label: &str) -> &'c str {
    let found = card.fields.iter().find(|(name, _)| name == label);
    found.map_or("", |(_, value)| value)
}

#[test]
fn a_top_level_directory_is_an_archive_and_names_are_private() {
    let (mount, _dir) = with_names(Names::Private);
    fs::create_dir(mount.path("taxes")).unwrap();
    fs::create_dir_all(mount.path("photos/2026/summer")).unwrap();
    fs::write(mount.path("photos/2026/summer/beach"), vec![7; 5000]).unwrap();
    fs::write(mount.path("loose"), vec![8; 3000]).unwrap();
    let label = |path: &str| {
        support::sys::get_xattr(mount.path(path), "user.ods.archive")
            .map(|label| String::from_utf8_lossy(&label).into_owned())
    };
    let photos = label("photos/2026/summer/beach").unwrap();
    assert_eq!(label("photos").unwrap(), photos);
    assert_ne!(label("taxes").unwrap(), photos);
    assert_ne!(label("loose").unwrap(), photos);
    let form: Vec<bool> = photos.chars().map(|c| c.is_ascii_digit()).collect();
    assert!(
        photos.starts_with('#') && photos.len() == 10 && form[1..7].iter().all(|digit| *digit),
        "{photos}"
    );

    let cards = cards(mount);
    assert_eq!(
        cards.len(),
        3,
        "taxes, photos, and the root's own files: {cards:?}"
    );
    let card = cards
        .iter()
        .find(|card| card.title == photos)
        .expect("the card shows the id alone");
    assert_eq!(
        (
            field(card, "Files"),
            field(card, "Size"),
            field(card, "State")
        ),
        ("1", "4.9 KiB", "stored")
    );
    for card in &cards {
        let text = format!("{card:?}");
        assert!(
            !text.contains("photos") && !text.contains("taxes"),
            "{text}"
        );
    }
}

#[test]
fn a_card_follows_its_directory_when_names_are_shown() {
    let (mount, _dir) = with_names(Names::Shown);
    for name in ["before", "doomed"] {
        fs::create_dir(mount.path(name)).unwrap();
        fs::write(mount.path(name).join("file"), vec![9; 2000]).unwrap();
    }
    mount.flush();
    fs::rename(mount.path("before"), mount.path("after")).unwrap();
    fs::remove_dir_all(mount.path("doomed")).unwrap();
    let cards = cards(mount);
    assert!(
        cards.iter().any(|card| card.title.ends_with(" after")),
        "{cards:?}"
    );
    assert!(
        !cards.iter().any(|card| card.title.contains("before")),
        "{cards:?}"
    );
    let doomed = cards
        .iter()
        .find(|card| card.title.ends_with(" doomed"))
        .expect("the card stays");
    assert_eq!(
        (field(doomed, "Files"), field(doomed, "State")),
        ("0", "removed")
    );
}
