//! How a drive's state looks to people.

use crate::cli::protocol::Report;
use crate::drive::status::ArchiveStatus;
use crate::drive::status::Garbage;
use crate::drive::status::Phase;
use crate::drive::status::Status;
use crate::size::Bytes;

/// Seconds as people read them.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{}:{:02} min", seconds / 60, seconds % 60),
        3600..172_800 => format!("{}:{:02} h", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How far the way to Discord is, in one line.
pub(crate) fn draining(status: &Status) -> String {
    let mut line = match (status.unpublished, status.dirty_bytes, status.phase) {
        (false, ..) => stored(status),
        (true, 0, _) => String::from("writing the journal"),
        (true, bytes, Phase::Idle) => format!("{} to upload", Bytes(bytes)),
        (true, bytes, _) => format!("uploading, {} left", Bytes(bytes)),
    };
    if status.unpublished && status.rate_bytes_per_s > 0 && status.dirty_bytes > 0 {
        line.push_str(&format!(", {}/s", Bytes(status.rate_bytes_per_s)));
        if let Some(seconds) = status.eta_s {
            line.push_str(&format!(", ETA {}", duration(seconds)));
        }
    }
    if let Some(seconds) = status.discord.waiting_s.filter(|seconds| *seconds > 0) {
        let wait = duration(seconds);
        line.push_str(&format!(", Discord asks to wait {wait}"));
    }
    if let Some(error) = &status.last_error {
        line.push_str(&format!(" ({error})"));
    }
    line
}

/// What is said of a drive of which nothing waits.
pub(crate) fn stored(status: &Status) -> String {
    match (&status.lost_records, status.damaged.len()) {
        (Some(_), _) => String::from("everything is on Discord but what the local disk lost"),
        (None, 0) => String::from("everything is on Discord"),
        (None, files) => format!(
            "everything is on Discord but what {} lost",
            counted(files as u64, "damaged file")
        ),
    }
}

/// The one line under a mount in the foreground.
pub(crate) fn one_line(report: &Report) -> String {
    let (status, cache) = (&report.status, Bytes(report.status.cache.bytes));
    format!(
        "{} on {}: {} · cache {cache} · {} requests",
        report.name,
        report.mountpoint.display(),
        draining(status),
        status.discord.requests_total
    )
}

/// Everything, for `ods status`.
pub(crate) fn page(report: &Report) -> String {
    let status = &report.status;
    let mut page = String::new();
    let mut line = |label: &str, text: String| page.push_str(&format!("{label:<10} {text}\n"));
    line("drive", format!("{} ({})", report.name, status.drive));
    let (at, pid) = (report.mountpoint.display(), report.pid);
    line("mounted", format!("{at} (process {pid})"));
    let whys = [
        ("read-only", &status.read_only),
        ("forked", &status.forked),
        ("journal", &status.halt),
        ("full", &status.refusing),
    ];
    for (name, why) in whys {
        if let Some(why) = why {
            line(name, why.clone());
        }
    }
    line("to upload", waiting(status));
    line("state", draining(status));
    if status.queue_bytes > 0 {
        let (done, all) = (Bytes(status.queue_done_bytes), Bytes(status.queue_bytes));
        line("queue", format!("{done} of {all} sent"));
    }
    let (spool, limit) = (status.spool.bytes, status.spool.limit_bytes);
    line("spool", format!("{} of {}", Bytes(spool), Bytes(limit)));
    let cache = &status.cache;
    line(
        "cache",
        format!(
            "{} of {}, {} in memory",
            Bytes(cache.bytes),
            Bytes(cache.limit_bytes),
            Bytes(cache.memory_bytes)
        ),
    );
    let discord = &status.discord;
    line(
        "discord",
        format!(
            "{} requests, {} sent, {} received, {:.0} % of the rate budget left",
            discord.requests_total,
            Bytes(discord.sent_bytes),
            Bytes(discord.received_bytes),
            discord.rate_budget * 100.0
        ),
    );
    line(
        "history",
        format!("epoch {}; {}", status.epoch, published(status)),
    );
    if let Some(garbage) = garbage(&status.garbage) {
        line("garbage", garbage);
    }
    if let Some(error) = &status.last_error {
        line("error", error.clone());
    }
    if let Some(lost) = &status.lost_records {
        line("lost", lost.clone());
    }
    for (_, why) in &status.damaged {
        line("damaged", why.clone());
    }
    for archive in &status.archives {
        line("archive", archived(archive));
    }
    page
}

fn garbage(garbage: &Garbage) -> Option<String> {
    let mut words = Vec::new();
    if let Some(left) = garbage.left_bytes.filter(|left| *left > 0) {
        words.push(format!("{} among what is in use", Bytes(left)));
    }
    if garbage.buried_packs > 0 {
        let bytes = Bytes(garbage.buried_bytes);
        let when = garbage
            .next_s
            .map_or_else(String::new, |seconds| match seconds {
                0 => String::from(", the first may go now"),
                seconds => format!(", the first go in {}", duration(seconds)),
            });
        let packs = counted(garbage.buried_packs, "pack");
        words.push(format!("{packs} ({bytes}) buried{when}"));
    }
    (!words.is_empty()).then(|| words.join("; "))
}

fn archived(archive: &ArchiveStatus) -> String {
    let name = match (archive.name.as_str(), archive.removed) {
        (_, true) => "(removed)",
        ("", false) => "(files of the top directory)",
        (name, false) => name,
    };
    format!(
        "{} {name}: {}, {}; {}, {}",
        archive.id,
        counted(archive.files, "file"),
        Bytes(archive.file_bytes),
        counted(archive.packs, "pack"),
        Bytes(archive.pack_bytes)
    )
}

fn waiting(status: &Status) -> String {
    match (status.dirty_bytes, status.unpublished) {
        (0, false) => String::from("nothing"),
        (0, true) => String::from("names and attributes only"),
        _ => left(status),
    }
}

/// What is not on Discord yet.
pub(crate) fn left(status: &Status) -> String {
    let files = counted(status.dirty_files, "file");
    match status.dirty_bytes {
        0 => String::from("names and attributes"),
        bytes => format!("{} in {files}", Bytes(bytes)),
    }
}

/// So many of something.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

fn published(status: &Status) -> &'static str {
    match status.unpublished {
        true => "changes wait to be published",
        false => "everything is published",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_matters() {
        let mut status = Status::default();
        assert_eq!(draining(&status), "everything is on Discord");
        status.unpublished = true;
        assert_eq!(draining(&status), "writing the journal");
        status.dirty_bytes = 3 << 20;
        status.rate_bytes_per_s = 1 << 20;
        status.eta_s = Some(64);
        assert_eq!(
            draining(&status),
            "3.0 MiB to upload, 1.0 MiB/s, ETA 1:04 min"
        );
        assert_eq!(duration(7200), "2:00 h");
    }
}
