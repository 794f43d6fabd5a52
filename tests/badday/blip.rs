//! Days on which single things go wrong: the upload gets through all the same, and nobody notices.

use ods::emulator::ErrorBody;
use ods::emulator::FaultKind;
use ods::emulator::Limits;
use ods::emulator::Recorded;
use ods::emulator::When;

use crate::day::DOWNLOAD;
use crate::day::Day;
use crate::day::POST;

/// Something that happens a few times, to uploads.
fn upload(seed: u64, route: &str, kind: FaultKind, times: u64) {
    let mut day = Day::new(seed);
    let before = day.counts();
    let id = day.strike(route, kind, times);
    day.work(15);
    day.flush().good();
    day.work(5);
    day.flush().good();
    assert_eq!(day.world.emulator.faults().met(id), times, "it struck");
    let requests = day.counts().requests - before.requests;
    assert!(requests <= 40 + 4 * times, "{requests} requests");
    assert_eq!(day.counts().invalid, before.invalid);
    day.ends_well();
}

/// Something that happens a few times, to what a new machine reads.
fn download(seed: u64, route: &str, kind: FaultKind, times: u64) {
    let mut day = Day::new(seed);
    day.work(15);
    day.flush().good();
    day.machine.ods(&["umount"]).good();
    day.forget();
    day.machine.ods(&["init", "--join"]).good();
    day.mount();
    let id = day.strike(route, kind, times);
    day.check();
    assert_eq!(day.world.emulator.faults().met(id), times, "it struck");
    day.ends_well();
}

macro_rules! blips {
    ($($name:ident = $how:ident($seed:literal, $route:expr, $kind:expr, $times:literal);)*) => {
        $(#[test] fn $name() { $how($seed, $route, $kind, $times); })*
    };
}

blips! {
    an_upload_is_reset_in_the_middle =
        upload(30, POST, FaultKind::ResetUpload { after_bytes: 2_000 }, 3);
    an_answer_is_lost_after_the_message_was_stored =
        upload(31, POST, FaultKind::LostAnswer { status: None }, 3);
    an_answer_becomes_a_504_after_the_message_was_stored =
        upload(32, POST, FaultKind::LostAnswer { status: Some(504) }, 3);
    a_502_now_and_then =
        upload(33, "* /*", FaultKind::Error { status: 502, body: ErrorBody::Html }, 4);
    an_attachment_is_stored_shorter_and_told_so =
        upload(34, POST, FaultKind::TruncateStore { keep_bytes: 100, recorded: Recorded::Short }, 3);
    a_message_is_listed_late =
        upload(35, POST, FaultKind::ListedLate { ms: 0, listings: 3 }, 4);
    an_answer_has_no_rate_limit_headers =
        upload(36, POST, FaultKind::OmitHeaders, 3);
    a_download_is_reset_in_the_middle =
        download(40, DOWNLOAD, FaultKind::ResetDownload { after_bytes: 3_000 }, 3);
    an_address_expires_early =
        download(41, DOWNLOAD, FaultKind::UrlExpired { status: 404 }, 2);
    an_address_expires_early_as_cloudflare_tells_it =
        download(42, DOWNLOAD, FaultKind::UrlExpired { status: 403 }, 1);
    a_download_is_a_503_for_a_while =
        download(43, DOWNLOAD, FaultKind::Error { status: 503, body: ErrorBody::Html }, 3);
}

/// The answer comes when both sides have forgotten the nonce: the message is found by its objects.
#[test]
fn an_answer_is_delayed_beyond_the_nonce_window() {
    let mut day = Day::new(50);
    day.world.emulator.set_limits(Limits {
        nonce_window_s: 0,
        ..Limits::unlimited_rates()
    });
    // Small, so that they get no more time than the patience.
    day.len_max = 2_000;
    let kind = FaultKind::Delay {
        ms: 4_000,
        when: When::After,
    };
    let id = day.strike(POST, kind, 2);
    day.work(15);
    day.flush().good();
    assert_eq!(day.world.emulator.faults().met(id), 2);
    day.ends_well();
}

/// The first look at what was just uploaded is wrong: the second counts.
#[test]
fn the_first_download_after_an_upload_is_wrong() {
    let mut day = Day::new(51);
    let id = day.strike_always(POST, FaultKind::WrongBytes { gets: 1 });
    day.work(15);
    day.flush().good();
    assert!(day.world.emulator.faults().met(id) > 1);
    day.world.emulator.faults().clear();
    day.ends_well();
}

/// What was published last is not listed when the drive is set up: that is no damage, only late.
#[test]
fn the_journal_is_listed_late_when_the_drive_is_mounted_again() {
    let mut day = Day::new(52);
    let id = day.strike(POST, FaultKind::ListedLate { ms: 0, listings: 4 }, 2);
    day.work(8);
    day.flush().good();
    day.work(4);
    day.flush().good();
    assert_eq!(day.world.emulator.faults().met(id), 2);
    day.machine.ods(&["umount"]).good();
    day.mount();
    day.check();
    day.work(4);
    day.flush().good();
    day.ends_well();
}

#[test]
fn a_thread_is_archived_by_discord() {
    let mut day = Day::new(53);
    for thread in day.threads() {
        day.world.emulator.archive_thread(thread).expect("archived");
    }
    day.work(15);
    day.flush().good();
    day.ends_well();
}

#[test]
fn a_thread_is_locked() {
    let mut day = Day::new(54);
    for thread in day.threads() {
        day.world.emulator.lock_thread(thread).expect("locked");
    }
    day.work(15);
    day.flush().good();
    day.ends_well();
}

/// A server loses its boosts while large packs are on their way.
#[test]
fn the_attachment_limit_falls_from_50_to_10_mib() {
    let mut day = Day::unmounted(55);
    day.world.emulator.set_premium_tier(2).expect("boosted");
    let config = day.machine.path("config/ods/config.toml");
    let text = std::fs::read_to_string(&config).expect("readable");
    let text = text
        .lines()
        .map(|line| match line.starts_with("attachment_bytes") {
            true => format!("attachment_bytes = {}\n", 50 << 20),
            false => format!("{line}\n"),
        })
        .collect::<String>();
    let text = match text.contains("attachment_bytes") {
        true => text,
        false => format!("{text}attachment_bytes = {}\n", 50 << 20),
    };
    std::fs::write(&config, text).expect("written");
    day.mount();
    for dir in ["docs", "media"] {
        std::fs::create_dir(day.path(dir)).expect("a directory");
    }
    day.put("docs/one", 60 << 20);
    let lowered = FaultKind::AttachmentLimit { bytes: 10 << 20 };
    let fault = ods::emulator::Fault::new(POST, lowered).times(1).after(1);
    let id = day.world.emulator.faults().add(fault);
    day.flush().good();
    day.put("docs/two", 30 << 20);
    day.flush().good();
    assert_eq!(day.world.emulator.faults().met(id), 1);
    let sizes = day.world.emulator.attachments();
    let sizes = sizes.iter().map(|one| one.size);
    assert!(sizes.max().expect("packs") <= 50 << 20);
    day.ends_well();
}

/// Discord keeps less than it says: that is found out while this machine still has all of it.
#[test]
fn an_attachment_is_stored_shorter_than_it_is_told() {
    let mut day = Day::new(56);
    let kind = FaultKind::TruncateStore {
        keep_bytes: 100,
        recorded: Recorded::Full,
    };
    let thread = day.threads().into_iter().next().expect("a thread");
    let id = day.strike("POST /channels/{}/messages", kind, 1);
    day.put("docs/cut", 150_000);
    day.flush().good();
    assert_eq!(day.world.emulator.faults().met(id), 1);
    assert!(day.threads().contains(&thread));
    day.check();
    day.lose_machine();
    day.check();
    day.machine.ods(&["umount"]).good();
}
