//! Who may use the control port and the page: programs and pages of this machine, no foreign website.
//!
//! A website that someone visits can make the browser send requests to loopback. It cannot read the
//! answers, unless its name is made to point here; so the name that was asked for must be this
//! machine's, and what a browser says about where a request comes from must be this page.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{HeaderMap, Response, header};

use crate::emulator::reply::text_response;
use crate::emulator::server::text;
use crate::emulator::wire::WireHandle;

/// The refusal of a request that does not come from this machine's own programs and pages.
pub(crate) fn refusal(wire: &WireHandle, headers: &HeaderMap) -> Option<Response<Body>> {
    let why = if !wire.peer().is_loopback() {
        "This is for the machine itself: only addresses of loopback are answered here."
    } else if !is_loopback_name(&text(headers, header::HOST.as_str()).unwrap_or_default()) {
        "This is for 127.0.0.1, [::1] and localhost: no other host name is answered here."
    } else if is_foreign(headers) {
        "Another website asked for this: only this page itself may."
    } else {
        return None;
    };
    Some(text_response(
        403,
        "text/plain;charset=UTF-8",
        format!("{why}\n"),
    ))
}

/// Is it `127.0.0.1`, `[::1]` or `localhost`, with or without a port?
fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address = name.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Does a browser say that another site's page made the request?
fn is_foreign(headers: &HeaderMap) -> bool {
    let host = text(headers, header::HOST.as_str()).unwrap_or_default();
    let origin = headers.get(header::ORIGIN).map(|_| text(headers, "origin"));
    let other_origin = origin.is_some_and(|origin| origin != Some(format!("http://{host}")));
    let site = text(headers, "sec-fetch-site");
    let other_site = site.is_some_and(|site| site != "same-origin" && site != "none");
    other_origin || other_site
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_has_the_right_name() {
        for name in [
            "127.0.0.1:80",
            "[::1]:80",
            "localhost",
            "LOCALHOST:1",
            "127.9.9.9",
        ] {
            assert!(is_loopback_name(name), "{name}");
        }
        for name in [
            "",
            "evil.example:80",
            "127.0.0.1.evil.example",
            "192.168.1.1",
            "[::2]:1",
        ] {
            assert!(!is_loopback_name(name), "{name}");
        }
    }

    #[test]
    fn what_a_browser_says_of_other_sites_is_believed() {
        let headers = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            headers.insert("host", "127.0.0.1:80".parse().expect("a value"));
            for (name, value) in pairs {
                headers.insert(*name, value.parse().expect("a value"));
            }
            headers
        };
        assert!(!is_foreign(&headers(&[])));
        assert!(!is_foreign(&headers(&[("origin", "http://127.0.0.1:80")])));
        assert!(!is_foreign(&headers(&[("sec-fetch-site", "none")])));
        assert!(is_foreign(&headers(&[("origin", "http://127.0.0.1:81")])));
        assert!(is_foreign(&headers(&[("origin", "null")])));
        assert!(is_foreign(&headers(&[("sec-fetch-site", "cross-site")])));
        assert!(is_foreign(&headers(&[("sec-fetch-site", "same-site")])));
    }
}
