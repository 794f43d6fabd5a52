//! Faults as they happen to a request: before it, instead of it, and to its answer.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::emulator::app::{App, Lock};
use crate::emulator::fault::{ErrorBody, FaultKind, Scope};
use crate::emulator::model::Channel;
use crate::emulator::ratelimit::{Standing, cloudflare, too_many};
use crate::emulator::reply::{Refusal, json_response, text_response};
use crate::emulator::route::Route;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::wire::{Pace, WireHandle};
use crate::emulator::world::World;

/// Changes the world, for the faults that do.
pub(crate) fn strike(app: &App, faults: &[FaultKind], route: &Route) {
    for kind in faults {
        let struck = match kind {
            FaultKind::ThreadArchived => change(app, route, |app, world, channel| {
                app.archive(world, channel.id, Lock::Leave)
            }),
            FaultKind::ThreadLocked => change(app, route, |app, world, channel| {
                app.archive(world, channel.id, Lock::Lock)
            }),
            FaultKind::ChannelDeleted => change(app, route, |app, world, channel| {
                app.delete_channel(world, channel.id).map(drop)
            }),
            FaultKind::PermissionWithdrawn { bits } => app.change_bot_role(|all| all & !bits),
            FaultKind::AttachmentLimit { bytes } => {
                let mut limits = (*app.limits()).clone();
                limits.attachment_bytes_max = Some(*bytes);
                app.set_limits(limits);
                Ok(())
            }
            FaultKind::TokenRevoked => {
                app.token_revoked.store(true, Ordering::SeqCst);
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(refusal) = struck {
            log::error!("emulator: fault {kind:?}: {refusal:?}");
        }
    }
}

fn change(
    app: &App,
    route: &Route,
    change: impl FnOnce(&App, &mut World, Channel) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut world = app.world();
    let channel = channel_of(route).and_then(|id| world.rooms.get(&id));
    match channel.map(|room| room.channel.clone()) {
        Some(channel) => change(app, &mut world, channel),
        // Gone already, or a route without a channel.
        None => Ok(()),
    }
}

fn channel_of(route: &Route) -> Option<Snowflake> {
    match route {
        Route::Channel(channel)
        | Route::EditChannel(channel)
        | Route::Messages(channel)
        | Route::CreateMessage(channel)
        | Route::BulkDelete(channel)
        | Route::Message(channel, _)
        | Route::EditMessage(channel, _)
        | Route::DeleteMessage(channel, _)
        | Route::Pins(channel)
        | Route::Pin(channel, _)
        | Route::Unpin(channel, _)
        | Route::Typing(channel)
        | Route::CreateThread(channel)
        | Route::ThreadFromMessage(channel, _)
        | Route::ArchivedThreads(channel, _) => Some(*channel),
        _ => None,
    }
}

/// The answer that a fault gives in place of the handler's.
pub(crate) fn instead(faults: &[FaultKind], now_ms: u64) -> Option<Response<Body>> {
    faults.iter().find_map(|kind| match kind {
        FaultKind::RateLimited {
            scope,
            retry_after_s,
            remaining,
            code,
        } => {
            let ms = whole_ms(*retry_after_s);
            let standing = Standing {
                bucket: "fault",
                limit: 10.max(remaining + 1),
                remaining: *remaining,
                reset_ms: now_ms + ms,
                reset_after_ms: ms,
            };
            let standing = (*scope != Scope::Global).then_some(standing);
            Some(too_many(*scope, ms, *code, standing))
        }
        FaultKind::Cloudflare { retry_after_s } => Some(cloudflare(*retry_after_s)),
        FaultKind::Error { status, body } => Some(error(*status, *body)),
        _ => None,
    })
}

/// Milliseconds of a number from a plan.
fn whole_ms(seconds: f64) -> u64 {
    u64::try_from(
        std::time::Duration::try_from_secs_f64(seconds)
            .unwrap_or_default()
            .as_millis(),
    )
    .unwrap_or(u64::MAX)
}

fn error(status: u16, body: ErrorBody) -> Response<Body> {
    let known = StatusCode::from_u16(status).ok();
    let reason = known
        .and_then(|known| known.canonical_reason())
        .unwrap_or("Error");
    match body {
        ErrorBody::Json => {
            let message = format!("{status}: {reason}");
            json_response(status, &serde_json::json!({"message": message, "code": 0}))
        }
        ErrorBody::Html => {
            let page = format!(
                "<html><head><title>{status} {reason}</title></head><body><center><h1>{status} \
                 {reason}</h1></center><hr><center>cloudflare</center></body></html>"
            );
            text_response(status, "text/html; charset=UTF-8", page)
        }
        ErrorBody::Plain => {
            let line = "upstream connect error or disconnect/reset before headers".to_owned();
            text_response(status, "text/plain; charset=utf-8", line)
        }
    }
}

/// Does a fault keep the answer from the client?
pub(crate) fn is_unanswered(faults: &[FaultKind]) -> bool {
    faults
        .iter()
        .any(|kind| matches!(kind, FaultKind::LostAnswer { status: None }))
}

/// Does to an answer what the faults say.
pub(crate) fn spoil(
    faults: &[FaultKind],
    mut response: Response<Body>,
    wire: &WireHandle,
) -> Response<Body> {
    for kind in faults {
        match kind {
            FaultKind::LostAnswer { status: None } => wire.reset(),
            FaultKind::LostAnswer {
                status: Some(status),
            } => {
                response = error(*status, ErrorBody::Json);
            }
            FaultKind::OmitHeaders => {
                let headers = response.headers_mut();
                for name in RATE_HEADERS {
                    headers.remove(*name);
                }
            }
            FaultKind::ScopeHeader => {
                let user = HeaderValue::from_static("user");
                response.headers_mut().insert("x-ratelimit-scope", user);
            }
            FaultKind::SlowBody { bytes_per_s } => {
                response = response.map(|body| slowed(body, *bytes_per_s));
            }
            FaultKind::ResetDownload { after_bytes } => {
                response = response.map(|body| cut(body, *after_bytes, wire.clone()));
            }
            _ => {}
        }
    }
    response
}

const RATE_HEADERS: &[&str] = &[
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "x-ratelimit-reset-after",
    "x-ratelimit-bucket",
    "x-ratelimit-scope",
    "x-ratelimit-global",
    "retry-after",
];

/// Bytes a slowed body gives at once.
const SLICE_BYTES: usize = 4 << 10;

struct Slowed {
    body: axum::body::BodyDataStream,
    held: Bytes,
    pace: Pace,
}

impl Stream for Slowed {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.held.is_empty() {
            match ready!(self.body.poll_next_unpin(cx)) {
                Some(Ok(part)) => self.held = part,
                other => return Poll::Ready(other),
            }
        }
        let wanted = self.held.len().min(SLICE_BYTES);
        let room = ready!(self.pace.poll(cx, wanted)).unwrap_or(wanted);
        let part = self.held.split_to(room);
        self.pace.passed(part.len());
        Poll::Ready(Some(Ok(part)))
    }
}

fn slowed(body: Body, bytes_per_s: u64) -> Body {
    Body::from_stream(Slowed {
        body: body.into_data_stream(),
        held: Bytes::new(),
        pace: Pace::new(bytes_per_s.max(1)),
    })
}

struct Cut {
    body: axum::body::BodyDataStream,
    left_bytes: u64,
    flushed: bool,
    wire: WireHandle,
}

impl Stream for Cut {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left_bytes == 0 {
            if !self.flushed {
                // Pending once, so that what was given is sent before the reset.
                self.flushed = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.wire.reset();
            let gone = io::Error::from(io::ErrorKind::ConnectionReset);
            return Poll::Ready(Some(Err(axum::Error::new(gone))));
        }
        let Some(part) = ready!(self.body.poll_next_unpin(cx)) else {
            return Poll::Ready(None);
        };
        let mut part = part?;
        part.truncate(usize::try_from(self.left_bytes).unwrap_or(usize::MAX));
        self.left_bytes -= part.len() as u64;
        Poll::Ready(Some(Ok(part)))
    }
}

fn cut(body: Body, after_bytes: u64, wire: WireHandle) -> Body {
    Body::from_stream(Cut {
        body: body.into_data_stream(),
        left_bytes: after_bytes,
        flushed: false,
        wire,
    })
}
