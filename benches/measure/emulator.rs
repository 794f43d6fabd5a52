//! The emulator as a process of its own, so that its work is not counted as the drive's.

use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

use serde_json::Value;
use serde_json::json;

use crate::contestant::keep_pid;

/// A Discord on loopback. Dropping it ends it.
pub(crate) struct Emulator {
    child: Child,
    told: Value,
}

/// What the network is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Milliseconds before every answer.
    pub(crate) rtt_ms: u64,
    /// Bytes per second of one connection, each way.
    pub(crate) bytes_per_s: Option<u64>,
}

/// As fast as loopback.
pub(crate) const AT_ONCE: Link = Link {
    rtt_ms: 0,
    bytes_per_s: None,
};

/// A home connection to a place not far away: 80 ms, 25 MiB/s for each connection.
pub(crate) const FAR: Link = Link {
    rtt_ms: 80,
    bytes_per_s: Some(25 << 20),
};

impl Emulator {
    /// Starts one that keeps everything below `dir`, without rate limits.
    pub(crate) fn start(dir: &Path) -> io::Result<Emulator> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ods"))
            .args(["emulator", "--json", "--data"])
            .arg(dir.join("discord"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.join("emulator.log"))?)
            .spawn()?;
        keep_pid(dir, child.id())?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let told = serde_json::from_str(&line).map_err(|_| {
            io::Error::other(format!("the emulator did not start: {}", dir.display()))
        })?;
        let emulator = Emulator { child, told };
        emulator.limits(&json!({"rate_limits": "off"}))?;
        Ok(emulator)
    }

    /// What `--json` told, by name.
    pub(crate) fn told(&self, name: &str) -> &str {
        self.told[name].as_str().unwrap_or_default()
    }

    /// Changes limits; those that are not named stay.
    pub(crate) fn limits(&self, limits: &Value) -> io::Result<()> {
        self.ask("PATCH", "limits", &limits.to_string()).map(drop)
    }

    /// Changes the network, for new connections.
    pub(crate) fn link(&self, link: Link) -> io::Result<()> {
        self.limits(&json!({"rtt_ms": link.rtt_ms, "bytes_per_s": link.bytes_per_s}))
    }

    /// What it was asked so far.
    pub(crate) fn counts(&self) -> io::Result<Counts> {
        let text = self.ask("GET", "counts", "")?;
        let all: Value = serde_json::from_str(&text)?;
        let number = |name: &str| all[name].as_u64().unwrap_or(0);
        Ok(Counts {
            requests: number("requests"),
            cdn_requests: number("cdn_requests"),
            bytes_served: number("bytes_served"),
            messages: number("messages"),
            bytes_stored: number("bytes_stored"),
            attachments: number("attachments"),
            rate_limited: number("rate_limited"),
        })
    }

    fn ask(&self, method: &str, what: &str, body: &str) -> io::Result<String> {
        let address = self.told("url").trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(&address)?;
        write!(
            stream,
            "{method} /_control/{what} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        match text.split_once("\r\n\r\n") {
            Some((head, body)) if head.contains(" 200 ") => Ok(body.to_owned()),
            _ => Err(io::Error::other(format!("the emulator refused: {text}"))),
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Totals of the emulator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) cdn_requests: u64,
    pub(crate) bytes_served: u64,
    pub(crate) messages: u64,
    pub(crate) bytes_stored: u64,
    pub(crate) attachments: u64,
    pub(crate) rate_limited: u64,
}

impl Counts {
    /// What came since an earlier look.
    pub(crate) fn since(self, before: Counts) -> Counts {
        Counts {
            requests: self.requests - before.requests,
            cdn_requests: self.cdn_requests - before.cdn_requests,
            bytes_served: self.bytes_served - before.bytes_served,
            messages: self.messages - before.messages,
            bytes_stored: self.bytes_stored - before.bytes_stored,
            attachments: self.attachments - before.attachments,
            rate_limited: self.rate_limited - before.rate_limited,
        }
    }
}
