//! What a person asks of a drive: one function per wish, one answer type each, whatever the face.
//!
//! ```text
//! archives  history  list  search  info  stats  channels        look; on any open drive
//! put  fetch  content  delete  describe  survey  bring  backup   do; at a Desk
//! verify  repair  gc                                             the drive's own, as a Job
//! ```
//!
//! The control socket, the commands without a mount, and the bot inside the daemon call the same functions. A
//! [`Job`] is a wish as data: what travels over the socket, and [`Job::run`] grants it. Answers are
//! serialisable; what `--json` prints is the answer as it is.
//!
//! * A [`Target`] is what a person points at: an archive, a range of archives, a path.
//! * A [`Desk`] is a drive with its files and whoever has to hear of changes: a mount whose kernel remembers names.
//!   Whoever changes files of a mounted drive uses the mount's own desk, because that one knows what is open.
//! * Long work is given a [`Task`](crate::drive::task::Task); it tells how far it is and ends when it is told to.
//!   What was done stays done, and the same wish again goes on.
//! * Whatever would replace or remove something first needs [`Consent`]: without it, [`Error::Conflict`] says
//!   what is at stake, and nothing happened. The face asks, and wishes again.
//! * Who may wish what is the faces' business: nothing here checks it.

mod archives;
mod backup;
mod bring;
mod compare;
mod content;
mod delete;
mod describe;
mod desk;
mod distinct;
mod error;
mod fetch;
mod host;
mod info;
mod job;
mod list;
mod parts;
mod put;
mod receive;
mod search;
mod share;
mod stats;
mod target;

pub use archives::ArchiveInfo;
pub use archives::Archives;
pub use archives::Order;
pub use archives::Query;
pub use archives::Removed;
pub use archives::State;
pub use archives::archives;
pub use archives::history;
pub use backup::Backup;
pub use backup::BackupTo;
pub use backup::backup;
pub use bring::bring;
pub use bring::survey;
pub use content::content;
pub use delete::Delete;
pub use delete::Deleted;
pub use delete::delete;
pub use describe::Words;
pub use describe::describe;
pub use desk::Audience;
pub use desk::Desk;
pub use error::Error;
pub use fetch::Fetch;
pub use fetch::fetch;
pub use host::ANOTHER_COPY;
pub use host::Check;
pub use host::Consent;
pub use host::Copied;
pub use host::Failure;
pub use host::HostPath;
pub use info::Info;
pub use info::info;
pub use job::Job;
pub use list::ListEntry;
pub use list::Listing;
pub use list::list;
pub use list::list_all;
pub use put::Put;
pub use put::Until;
pub use put::put;
pub use receive::Receive;
pub use receive::receive;
pub use search::Found;
pub use search::Hit;
pub use search::search;
pub use stats::Channel;
pub use stats::Stats;
pub use stats::channels;
pub use stats::stats;
pub use target::Target;
