//! Connections that can be reset and slowed down.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};

/// Bytes that pass at once on a slowed connection, so that its speed is even.
const SLICE_BYTES: u64 = 16 << 10;

/// How far a slowed connection may be ahead of its speed.
const SLACK: Duration = Duration::from_millis(5);

/// Speed of new connections, in bytes per second; 0 is unlimited.
pub(crate) type Speed = Arc<std::sync::atomic::AtomicU64>;

/// Accepts connections and remembers them, so that stopping can close them.
#[derive(Debug)]
pub(crate) struct Wires {
    listener: TcpListener,
    speed: Speed,
    open: OpenWires,
}

/// All connections that are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenWires(Arc<Mutex<Vec<Weak<Ends>>>>, Arc<AtomicUsize>);

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    ends: Arc<Ends>,
    reading: Pace,
    writing: Pace,
}

/// The handle a request has on its connection.
#[derive(Clone, Debug)]
pub(crate) struct WireHandle {
    ends: Arc<Ends>,
    peer: IpAddr,
}

#[derive(Debug, Default)]
struct Ends {
    reset: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl WireHandle {
    /// Cuts the connection: the peer sees a reset.
    pub(crate) fn reset(&self) {
        self.ends.reset();
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }
}

impl Ends {
    fn reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
        self.reader.wake();
        self.writer.wake();
    }
}

impl OpenWires {
    pub(crate) fn reset_all(&self) {
        let all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for ends in all.iter().filter_map(Weak::upgrade) {
            ends.reset();
        }
    }

    fn add(&self, ends: &Arc<Ends>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(ends));
        self.1.fetch_max(all.len(), Ordering::SeqCst);
    }

    /// The largest number that was open at once.
    pub(crate) fn most(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }
}

impl Wires {
    pub(crate) fn new(listener: TcpListener, speed: Speed, open: OpenWires) -> Self {
        Self {
            listener,
            speed,
            open,
        }
    }
}

impl Listener for Wires {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("emulator: nodelay: {error}");
        }
        let ends = Arc::default();
        self.open.add(&ends);
        let speed = self.speed.load(Ordering::Relaxed);
        let wire = Wire {
            stream,
            ends,
            reading: Pace::new(speed),
            writing: Pace::new(speed),
        };
        (wire, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Wires>> for WireHandle {
    fn connect_info(stream: IncomingStream<'_, Wires>) -> Self {
        Self {
            ends: Arc::clone(&stream.io().ends),
            peer: stream.remote_addr().ip(),
        }
    }
}

impl Wire {
    fn check(&self) -> io::Result<()> {
        if !self.ends.reset.load(Ordering::SeqCst) {
            return Ok(());
        }
        // So that closing sends RST, not FIN. Nothing to do if the peer is already gone.
        drop(self.stream.set_zero_linger());
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ends.reader.register(cx.waker());
        self.check()?;
        let Some(room) = ready!(self.reading.poll(cx, buf.remaining())) else {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        };
        let mut part = buf.take(room);
        let start = part.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let read = part.filled().len() - start;
        // `part` has initialised and filled the front of what `buf` has left.
        let filled = part.filled().to_vec();
        debug_assert_eq!(filled.len(), read);
        buf.put_slice(&filled);
        self.reading.passed(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.ends.writer.register(cx.waker());
        self.check()?;
        let Some(room) = ready!(self.writing.poll(cx, bytes.len())) else {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        };
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..room]))?;
        self.writing.passed(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Lets bytes through at a speed, by sleeping until those that passed are paid for.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_s: u64,
    paid_until: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(crate) fn new(bytes_per_s: u64) -> Self {
        Self {
            bytes_per_s,
            paid_until: Instant::now(),
            sleep: None,
        }
    }

    /// When bytes may pass: how many, or `None` for any number.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Option<usize>> {
        if self.bytes_per_s == 0 {
            return Poll::Ready(None);
        }
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
        let slice = usize::try_from(SLICE_BYTES).unwrap_or(usize::MAX);
        Poll::Ready(Some(wanted.min(slice)))
    }

    pub(crate) fn passed(&mut self, bytes: usize) {
        if self.bytes_per_s == 0 {
            return;
        }
        let now = Instant::now();
        let nanos = bytes as u64 * 1_000_000_000 / self.bytes_per_s;
        // The slack makes up for timers that are later than asked.
        let start = self.paid_until.max(now.checked_sub(SLACK).unwrap_or(now));
        self.paid_until = start + Duration::from_nanos(nanos);
        if self.paid_until > now {
            self.sleep = Some(Box::pin(tokio::time::sleep_until(self.paid_until)));
        }
    }
}
