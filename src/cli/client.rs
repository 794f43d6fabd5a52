//! The command's end of the control socket.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;

use crate::cli::ending;
use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::cli::protocol::Answer;
use crate::cli::protocol::LINE_BYTES_MAX;
use crate::cli::protocol::MappedFile;
use crate::cli::protocol::Report;
use crate::cli::protocol::Request;
use crate::cli::sys;
use crate::drive::task;
use crate::service::Job;

/// Longest path that a socket's address takes on every system, bytes.
const ADDRESS_BYTES_MAX: usize = 100;

/// How long a daemon that has said its last word may take to end.
const GONE_MAX: Duration = Duration::from_secs(10);

/// A connection to a daemon.
#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// As asked.
    Done,
    /// It goes on, but the time given is over. The last that was heard of it.
    TimedOut(Option<Box<Report>>),
}

impl Client {
    /// Connects to whoever listens there. A daemon that was killed may not be able to end: then its socket is open,
    /// but nobody listens.
    pub(crate) fn connect(socket: &Path) -> io::Result<Client> {
        let stream = with_short(socket, |short| UnixStream::connect(short))?;
        if sys::listener(&stream).is_some_and(ending::is_ending) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(Client { stream })
    }

    /// Asks how the drive is.
    pub(crate) fn status(self) -> Result<Report> {
        let mut report = None;
        self.ask(Request::Status, None, |heard| report = Some(heard.clone()))?;
        report.ok_or_else(|| fault(Code::Other, "the daemon gave no status"))
    }

    /// Asks which files programs may have mapped; none when the daemon is of a version that cannot tell.
    pub(crate) fn mapped(mut self) -> Result<Option<Vec<MappedFile>>> {
        let mut lines = self.say(&Request::Mapped)?;
        let (mut found, mut begun) = (Vec::new(), Vec::new());
        loop {
            match next(&mut lines, &mut begun)? {
                Some(Answer::Mapped { files }) => found.extend(files),
                Some(Answer::Done) => return Ok(Some(found)),
                Some(Answer::Failed {
                    code: Code::Usage, ..
                }) => return Ok(None),
                Some(Answer::Failed { code, text }) => return Err(fault(code, text)),
                None
                | Some(Answer::Progress { .. } | Answer::Work { .. } | Answer::Result { .. }) => {}
            }
        }
    }

    /// Asks, and shows each report until it is done or the time is over.
    pub(crate) fn ask(
        mut self,
        request: Request,
        timeout: Option<Duration>,
        mut hear: impl FnMut(&Report),
    ) -> Result<Outcome> {
        let started = Instant::now();
        let mut lines = self.say(&request)?;
        let (mut last, mut begun) = (None, Vec::new());
        loop {
            let left = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
            if left == Some(Duration::ZERO) {
                return Ok(Outcome::TimedOut(last));
            }
            self.stream.set_read_timeout(left)?;
            let Some(answer) = next(&mut lines, &mut begun)? else {
                continue;
            };
            match answer {
                Answer::Progress { report } => {
                    hear(&report);
                    last = Some(report);
                }
                Answer::Done => {
                    if matches!(request, Request::Umount | Request::Stop) {
                        until_gone(&mut lines);
                    }
                    return Ok(Outcome::Done);
                }
                Answer::Failed { code, text } => {
                    if matches!(request, Request::Umount | Request::Stop) {
                        until_gone(&mut lines);
                    }
                    return Err(fault(code, text));
                }
                Answer::Mapped { .. } | Answer::Work { .. } | Answer::Result { .. } => {}
            }
        }
    }

    /// Asks for long work, shows how far it is, and gives what came of it.
    pub(crate) fn work(
        mut self,
        job: Job,
        mut hear: impl FnMut(&task::Progress),
    ) -> Result<serde_json::Value> {
        let mut lines = self.say(&Request::Work { job })?;
        let (mut result, mut begun) = (None, Vec::new());
        loop {
            match next(&mut lines, &mut begun)? {
                None | Some(Answer::Progress { .. } | Answer::Mapped { .. }) => {}
                Some(Answer::Work { progress }) => hear(&progress),
                Some(Answer::Result { value }) => result = Some(value),
                Some(Answer::Done) => {
                    return result.ok_or_else(|| fault(Code::Other, "the daemon gave no answer"));
                }
                Some(Answer::Failed { code, text }) => return Err(fault(code, text)),
            }
        }
    }

    /// What ends the work that is asked for on this connection.
    pub(crate) fn hanger(&self) -> io::Result<Hanger> {
        Ok(Hanger(self.stream.try_clone()?))
    }

    fn say(&mut self, request: &Request) -> Result<BufReader<UnixStream>> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.write_all(&line).context("the daemon is gone")?;
        Ok(BufReader::new(self.stream.try_clone()?))
    }
}

/// Tells the daemon that enough of the work is done; its answer still comes.
#[derive(Debug)]
pub(crate) struct Hanger(UnixStream);

impl Hanger {
    /// Says so.
    pub(crate) fn hang_up(&self) {
        drop(self.0.shutdown(std::net::Shutdown::Write));
    }
}

/// Waits for the daemon's process to end, which closes the connection; one that goes on closes it too.
fn until_gone(lines: &mut BufReader<UnixStream>) {
    drop(lines.get_ref().set_read_timeout(Some(GONE_MAX)));
    drop(io::copy(lines, &mut io::sink()));
}

/// The next answer; none when the time to wait is over. What has been read of a line by then is kept
/// in `begun`.
fn next(lines: &mut BufReader<UnixStream>, begun: &mut Vec<u8>) -> Result<Option<Answer>> {
    match lines.take(LINE_BYTES_MAX).read_until(b'\n', begun) {
        Ok(_) if begun.last() == Some(&b'\n') => {
            let answer = serde_json::from_slice(begun)?;
            begun.clear();
            Ok(Some(answer))
        }
        Ok(_) => Err(ended()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(ended()),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn ended() -> anyhow::Error {
    fault(
        Code::Other,
        "the daemon ended without an answer; its log says why",
    )
}

/// Is this what connecting says where nobody listens? Anything else says nothing of that.
pub(crate) fn is_nobody(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
    )
}

/// Calls with a path that is short enough for a socket's address, by another way to its directory if need be.
pub(crate) fn with_short<T>(
    socket: &Path,
    call: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    if socket.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return call(socket);
    }
    let (Some(dir), Some(name)) = (socket.parent(), socket.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    in_short(dir, |dir| call(&dir.join(name)))
}

/// Calls with a short path of a directory.
#[cfg(target_os = "linux")]
fn in_short<T>(dir: &Path, call: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::File::options();
    let open = options.read(true).custom_flags(libc::O_PATH).open(dir)?;
    call(&Path::new("/proc/self/fd").join(open.as_raw_fd().to_string()))
}

/// The same, by a link.
#[cfg(not(target_os = "linux"))]
fn in_short<T>(dir: &Path, call: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let random: [u8; 8] = crate::codec::key::random();
    let link = std::env::temp_dir().join(format!("ods-{}", u64::from_le_bytes(random)));
    std::os::unix::fs::symlink(dir, &link)?;
    let result = call(&link);
    drop(std::fs::remove_file(&link));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_killed_while_it_is_asked_ended_without_an_answer() {
        let (stream, daemon) = UnixStream::pair().expect("a pair");
        let mut client = Client { stream };
        let mut lines = client.say(&Request::Status).expect("said");
        // With the question unread, which resets the connection.
        drop(daemon);
        let error = next(&mut lines, &mut Vec::new()).expect_err("no answer");
        assert!(error.to_string().contains("its log says why"), "{error}");
    }
}
