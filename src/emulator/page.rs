//! The page at `/`: what a person sees of this Discord. It asks the control port for everything.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, Response, header};

use crate::emulator::reply::text_response;

/// Nothing but the page's own files is loaded, and nobody else frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const FILES: &[(&str, &str, &str)] = &[
    (
        "/",
        "text/html; charset=utf-8",
        include_str!("page/index.html"),
    ),
    (
        "/_page/style.css",
        "text/css; charset=utf-8",
        include_str!("page/style.css"),
    ),
    (
        "/_page/app.js",
        "text/javascript; charset=utf-8",
        include_str!("page/app.js"),
    ),
    (
        "/_page/command.js",
        "text/javascript; charset=utf-8",
        include_str!("page/command.js"),
    ),
    (
        "/_page/message.js",
        "text/javascript; charset=utf-8",
        include_str!("page/message.js"),
    ),
    (
        "/_page/text.js",
        "text/javascript; charset=utf-8",
        include_str!("page/text.js"),
    ),
];

/// Is this one of the page's own paths?
pub(crate) fn has(path: &str) -> bool {
    path == "/" || path.starts_with("/_page/")
}

/// Answers a request for one of the page's files.
pub(crate) fn handle(request: &Request) -> Response<Body> {
    let plain = "text/plain;charset=UTF-8";
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text_response(405, plain, "Method Not Allowed\n".to_owned());
    }
    let path = request.uri().path();
    let Some((_, kind, text)) = FILES.iter().find(|(name, ..)| *name == path) else {
        return text_response(404, plain, "Not Found\n".to_owned());
    };
    let mut response = text_response(200, kind, (*text).to_owned());
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
