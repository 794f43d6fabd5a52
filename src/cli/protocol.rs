//! What is said on the control socket: one JSON object per line, one request per connection.
//!
//! ```text
//! client  {"ask":"flush"}
//! daemon  {"is":"progress","status":{…}}  …  {"is":"done"}  or  {"is":"failed","code":14,"text":"…"}
//! ```
//! A client that hangs up has changed its mind: what it asked for is not waited for any more.

use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::cli::exit::Code;
use crate::drive::status::Status;
use crate::drive::task;
use crate::service::Job;

/// Name of the socket in the state directory.
pub(crate) const SOCKET: &str = "control";

/// Longest line of either side, bytes: a status with very many archives.
pub(crate) const LINE_BYTES_MAX: u64 = 64 << 20;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub(crate) enum Request {
    /// How are you?
    Status,
    /// Which files may programs have mapped? What they changed that way the kernel hands over when it is asked to,
    /// which is the client's part.
    Mapped,
    /// Bring everything to Discord.
    Flush,
    /// Bring everything to Discord, take the mount away, end.
    Umount,
    /// Take the mount away whoever uses it, end at once; the spool keeps what is not on Discord.
    Stop,
    /// Long work. Closing the writing half of the connection ends it; it is answered all the same.
    Work {
        /// Which.
        job: Job,
    },
}

/// What the daemon says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub(crate) enum Answer {
    /// How it is; the answer to [`Request::Status`], and more than once to the others.
    Progress {
        /// All of it.
        report: Box<Report>,
    },
    /// Some of the files that programs may have mapped; said as often as it takes.
    Mapped {
        /// Those.
        files: Vec<MappedFile>,
    },
    /// How far long work is.
    Work {
        /// As the work tells it.
        progress: task::Progress,
    },
    /// What came of long work; said before [`Answer::Done`].
    Result {
        /// As `--json` prints it.
        value: serde_json::Value,
    },
    /// It is done.
    Done,
    /// It is not.
    Failed {
        /// The exit code for it.
        code: Code,
        /// Why, in words.
        text: String,
    },
}

/// Most files in one [`Answer::Mapped`]: with the longest paths that is a quarter of [`LINE_BYTES_MAX`].
pub(crate) const MAPPED_MAX: usize = 1024;

/// A file that programs may have mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MappedFile {
    /// Its number, by which it is known when the path leads elsewhere meanwhile.
    pub(crate) ino: u64,
    /// One of its paths below the mount point, bytes.
    pub(crate) path: Vec<u8>,
}

/// How a mounted drive is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The drive's name on this machine.
    pub(crate) name: String,
    /// True.
    pub(crate) mounted: bool,
    /// Where.
    pub(crate) mountpoint: PathBuf,
    /// The daemon's process.
    pub(crate) pid: u32,
    /// The drive.
    #[serde(flatten)]
    pub(crate) status: Status,
}
