//! The CDN: attachments by signed URL, whole or in part.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, header};
use bytes::{Bytes, BytesMut};
use futures_util::Stream;

use crate::emulator::app::App;
use crate::emulator::blobs::{Blobs, READ_BYTES};
use crate::emulator::fault::{FaultKind, When};
use crate::emulator::mishap;
use crate::emulator::model::Attachment;
use crate::emulator::reply::text_response;
use crate::emulator::server::{pause, text};
use crate::emulator::snowflake::Snowflake;
use crate::emulator::wire::WireHandle;

const GONE: &str = "This content is no longer available.";

/// Answers a request below `/attachments/` and `/ephemeral-attachments/`.
pub(crate) async fn handle(app: &App, wire: &WireHandle, request: Parts) -> Response<Body> {
    let path = request.uri.path();
    let method = &request.method;
    {
        let mut counts = app.counts();
        counts.cdn_requests += 1;
        let told = request.headers.contains_key(header::AUTHORIZATION);
        counts.cdn_with_authorization += u64::from(told);
    }
    pause(app.limits().rtt_ms).await;
    let faults = app.faults().draw(method.as_str(), path);
    for kind in &faults {
        if let FaultKind::Delay {
            ms,
            when: When::Before,
        } = kind
        {
            pause(*ms).await;
        }
    }
    let response = match mishap::instead(&faults, app.now_ms()).or_else(|| expired(&faults)) {
        Some(response) => response,
        None => serve(app, method, path, request.uri.query(), &request.headers),
    };
    for kind in &faults {
        if let FaultKind::Delay {
            ms,
            when: When::After,
        } = kind
        {
            pause(*ms).await;
        }
    }
    let response = mishap::spoil(&faults, response, wire);
    let mut counts = app.counts();
    *counts
        .cdn_statuses
        .entry(response.status().as_u16())
        .or_default() += 1;
    response
}

fn expired(faults: &[FaultKind]) -> Option<Response<Body>> {
    faults.iter().find_map(|kind| match kind {
        FaultKind::UrlExpired { status } => Some(gone(*status)),
        _ => None,
    })
}

fn gone(status: u16) -> Response<Body> {
    text_response(status, "text/plain;charset=UTF-8", GONE.to_owned())
}

fn serve(
    app: &App,
    method: &Method,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text_response(
            405,
            "text/plain;charset=UTF-8",
            "Method Not Allowed".to_owned(),
        );
    }
    if !app.signer.is_valid(path, query.unwrap_or(""), app.now_ms()) {
        return gone(404);
    }
    let Some((attachment, flawed)) = find(app, path) else {
        return gone(404);
    };
    let Some(total) = app.blobs.len(attachment.id) else {
        return gone(404);
    };
    let wanted = text(headers, header::RANGE.as_str());
    let range = match wanted.as_deref().map(|wanted| parse_range(wanted, total)) {
        Some(Wanted::Part(range)) => Some(range),
        Some(Wanted::Unsatisfiable) => {
            let mut response = gone(416);
            *response.body_mut() = Body::empty();
            put(
                response.headers_mut(),
                "content-range",
                &format!("bytes */{total}"),
            );
            return response;
        }
        Some(Wanted::Whole) | None => None,
    };
    let span = range.clone().unwrap_or(0..total);
    let length = span.end - span.start;
    app.counts().bytes_served += if *method == Method::GET { length } else { 0 };
    let mut response = Response::new(Body::from_stream(Reading {
        blobs: Arc::clone(&app.blobs),
        id: attachment.id,
        span: span.clone(),
        flawed,
    }));
    if range.is_some() {
        *response.status_mut() = axum::http::StatusCode::PARTIAL_CONTENT;
        let part = format!(
            "bytes {}-{}/{total}",
            span.start,
            span.end.saturating_sub(1)
        );
        put(response.headers_mut(), "content-range", &part);
    }
    describe(response.headers_mut(), &attachment, length);
    response
}

fn describe(headers: &mut HeaderMap, attachment: &Attachment, length: u64) {
    let kind = attachment
        .content_type
        .as_deref()
        .unwrap_or("application/octet-stream");
    let name = format!("attachment; filename=\"{}\"", attachment.filename);
    put(headers, "content-type", kind);
    put(headers, "content-length", &length.to_string());
    put(headers, "content-disposition", &name);
    put(headers, "accept-ranges", "bytes");
    put(headers, "cache-control", "public, max-age=31536000");
    put(headers, "etag", &format!("\"{:032x}\"", attachment.id.0));
    put(headers, "cf-cache-status", "MISS");
}

fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The attachment a path names, and whether its bytes shall be wrong this time.
fn find(app: &App, path: &str) -> Option<(Attachment, Flaw)> {
    let (path, is_ephemeral) = match path.strip_prefix("/ephemeral-attachments/") {
        Some(path) => (path, true),
        None => (path.strip_prefix("/attachments/")?, false),
    };
    let mut segments = path.split('/');
    let channel: Snowflake = segments.next()?.parse().ok()?;
    let id: Snowflake = segments.next()?.parse().ok()?;
    let filename = segments.next()?;
    if segments.next().is_some() {
        return None;
    }
    let mut world = app.world();
    world.bury(app.now_ms());
    if is_ephemeral {
        let found = world.whispers.attachment(channel, id)?;
        return (found.filename == filename).then(|| (found.clone(), Flaw::None));
    }
    let living = world
        .attachments
        .get(&id)
        .filter(|(place, _)| *place == channel);
    let attachment = match living {
        Some((place, message)) => {
            let message = world.message(*place, *message).ok()?;
            message.attachments.iter().find(|one| one.id == id)?.clone()
        }
        None => {
            let mut dead = world.deleted.iter();
            let found = dead.find(|one| one.channel == channel && one.attachment.id == id);
            found?.attachment.clone()
        }
    };
    let mut flaw = Flaw::None;
    if let Some(gets) = world.flawed.get_mut(&id).filter(|gets| **gets > 0) {
        *gets -= 1;
        flaw = Flaw::Flipped;
    }
    (attachment.filename == filename).then_some((attachment, flaw))
}

/// Whether the bytes given are those stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    Flipped,
}

/// A part of an attachment on its way out, read piece by piece.
#[derive(Debug)]
struct Reading {
    blobs: Arc<Blobs>,
    id: Snowflake,
    span: Range<u64>,
    flawed: Flaw,
}

impl Stream for Reading {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.span.is_empty() {
            return Poll::Ready(None);
        }
        let length = READ_BYTES.min(self.span.end - self.span.start);
        let read = self.blobs.read(self.id, self.span.start, length);
        let read = match read {
            Ok(read) if read.is_empty() => return Poll::Ready(None),
            Ok(read) => read,
            Err(error) => return Poll::Ready(Some(Err(error))),
        };
        self.span.start += read.len() as u64;
        if self.flawed == Flaw::None {
            return Poll::Ready(Some(Ok(read)));
        }
        let mut wrong = BytesMut::from(&read[..]);
        wrong[0] ^= 0xFF;
        Poll::Ready(Some(Ok(wrong.freeze())))
    }
}

/// What a `Range` header comes to.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    Part(Range<u64>),
    Unsatisfiable,
}

/// One range only; anything else that is not understood is ignored, as HTTP allows.
fn parse_range(header: &str, total: u64) -> Wanted {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .and_then(|rest| rest.split_once('-'))
    else {
        return Wanted::Whole;
    };
    let range = match (first.trim().parse::<u64>(), last.trim()) {
        (Ok(first), "") => first..total,
        (Ok(first), last) => match last.parse::<u64>() {
            Ok(last) if last >= first => first..total.min(last.saturating_add(1)),
            _ => return Wanted::Whole,
        },
        (Err(_), last) => match (first.is_empty(), last.parse::<u64>()) {
            (true, Ok(length)) => total.saturating_sub(length)..total,
            _ => return Wanted::Whole,
        },
    };
    if range.start >= range.end {
        Wanted::Unsatisfiable
    } else {
        Wanted::Part(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        assert_eq!(parse_range("bytes=0-3", 10), Wanted::Part(0..4));
        assert_eq!(parse_range("bytes=5-", 10), Wanted::Part(5..10));
        assert_eq!(parse_range("bytes=-4", 10), Wanted::Part(6..10));
        assert_eq!(parse_range("bytes=5-99", 10), Wanted::Part(5..10));
        assert_eq!(parse_range("bytes=10-", 10), Wanted::Unsatisfiable);
        assert_eq!(parse_range("bytes=4-3", 10), Wanted::Whole);
        assert_eq!(parse_range("bytes=0-1,4-5", 10), Wanted::Whole);
        assert_eq!(parse_range("lines=0-1", 10), Wanted::Whole);
    }
}
