//! A request's body as it arrives: counted, limited, and cut off where a fault says so.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

use crate::emulator::reply::Refusal;
use crate::emulator::wire::WireHandle;

/// A body that is read at most once, and to its end in any case: whoever sends a large upload
/// reads the answer only after it.
#[derive(Debug)]
pub(crate) struct Payload {
    body: BodyDataStream,
    wire: WireHandle,
    read_bytes: u64,
    bytes_max: u64,
    reset_after_bytes: Option<u64>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Whole,
    /// The connection broke or was reset.
    Lost,
}

impl Payload {
    pub(crate) fn new(
        body: Body,
        wire: WireHandle,
        bytes_max: u64,
        reset_after_bytes: Option<u64>,
    ) -> Self {
        Self {
            body: body.into_data_stream(),
            wire,
            read_bytes: 0,
            bytes_max,
            reset_after_bytes,
            end: End::Open,
        }
    }

    /// Bytes that have arrived.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.read_bytes
    }

    pub(crate) fn is_too_large(&self) -> bool {
        self.read_bytes > self.bytes_max
    }

    /// Will no answer reach the client?
    pub(crate) fn is_lost(&self) -> bool {
        self.end == End::Lost
    }

    /// The whole body.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, Refusal> {
        let mut whole = BytesMut::new();
        while let Some(part) = self.next().await {
            let part = part.map_err(|_| Refusal::InvalidJson)?;
            if !self.is_too_large() {
                whole.extend_from_slice(&part);
            }
        }
        if self.is_too_large() {
            Err(Refusal::TooLarge)
        } else {
            Ok(whole.freeze())
        }
    }

    /// Reads and forgets what is left.
    pub(crate) async fn drain(&mut self) {
        while let Some(Ok(_)) = self.next().await {}
    }
}

impl Stream for Payload {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        if self.end != End::Open {
            return Poll::Ready(None);
        }
        if self
            .reset_after_bytes
            .is_some_and(|after| self.read_bytes >= after)
        {
            self.end = End::Lost;
            self.wire.reset();
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
        }
        match ready!(self.body.poll_next_unpin(cx)) {
            Some(Ok(part)) => {
                self.read_bytes += part.len() as u64;
                Poll::Ready(Some(Ok(part)))
            }
            Some(Err(error)) => {
                self.end = End::Lost;
                Poll::Ready(Some(Err(io::Error::other(error))))
            }
            None => {
                self.end = End::Whole;
                Poll::Ready(None)
            }
        }
    }
}
