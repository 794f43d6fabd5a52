//! Reads parts of objects from the CDN, which never sees the token.

use std::{ops::Range, time::Duration};

use bytes::{Bytes, BytesMut};
use reqwest::{
    Response, StatusCode,
    header::{CONTENT_RANGE, RANGE},
};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{
    Discord,
    answer::{Fail, Unclear, hear},
    deed::Deed,
    transport::unclear,
    wire::Place,
};
use crate::store::{Error, Locator, Urgency, check_range};

/// Which address to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Any that is known and not expired.
    Known,
    /// One that Discord gives from now on.
    Fresh,
}

/// Fresh addresses that are tried before an object counts as gone.
const RENEWALS_MAX: u32 = 3;

/// Why a download did not succeed.
enum Miss {
    /// 403, 404: the address is not, or no longer, good.
    Stale(StatusCode),
    /// May work the next time.
    Passing(Unclear),
    /// Will not.
    Final(Error),
}

impl Discord {
    pub(super) async fn get_range(
        &self,
        locator: &Locator,
        range: Range<u64>,
        urgency: Urgency,
        address: Address,
    ) -> Result<Bytes, Error> {
        let place = Place::read(locator)?;
        check_range(&range, place.bytes)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let settings = self.transport.settings();
        let deadline = self.transport.deadline() + self.transport.time_for(range.end - range.start);
        let mut backoff = self.transport.backoff();
        let mut after = (address == Address::Fresh).then(Instant::now);
        let mut renewals = 0;
        loop {
            let url = match self.cdn.known(&place, settings, after) {
                Some(url) => url,
                None => self.renew(&place, urgency, after, deadline).await?,
            };
            match self.download(&url, &place, &range, urgency, deadline).await {
                Ok(bytes) => {
                    self.transport.succeeded();
                    return Ok(bytes);
                }
                Err(Miss::Stale(status)) if renewals >= RENEWALS_MAX => {
                    return Err(gone(&place, status));
                }
                Err(Miss::Stale(status)) => {
                    renewals += 1;
                    after = Some(Instant::now());
                    // A fresh address that is not good yet may become so in a moment.
                    if renewals > 1 {
                        let why = gone(&place, status).to_string();
                        let paused = backoff.pause(unclear_of(why), deadline).await;
                        paused.map_err(|_| gone(&place, status))?;
                    }
                }
                Err(Miss::Passing(why)) => {
                    self.transport.failed(&why.what);
                    let paused = backoff.pause(why, deadline).await;
                    paused.map_err(|fail| fail.error(&self.reading(&place)))?;
                }
                Err(Miss::Final(error)) => {
                    self.transport.failed(&error.to_string());
                    return Err(error);
                }
            }
        }
    }

    /// Reads once.
    async fn download(
        &self,
        url: &str,
        place: &Place,
        range: &Range<u64>,
        urgency: Urgency,
        deadline: Instant,
    ) -> Result<Bytes, Miss> {
        let slot = timeout_at(deadline, self.cdn.slot(urgency)).await;
        let Ok(Some(_slot)) = slot else {
            return Err(Miss::Final(Error::Unavailable {
                what: "too many downloads are before this one".into(),
                retry_after: None,
            }));
        };
        self.pause(deadline).await.map_err(Miss::Final)?;
        self.transport.count("GET cdn");
        let own = self.transport.settings().request_timeout
            + self.transport.time_for(range.end - range.start);
        let response = self
            .transport
            .clients
            .cdn
            .get(url)
            .header(RANGE, format!("bytes={}-{}", range.start, range.end - 1))
            .timeout(own.min(deadline.saturating_duration_since(Instant::now())))
            .send()
            .await;
        let response = match response.map_err(unclear) {
            Ok(response) => response,
            Err(Fail::Unclear(why)) => return Err(Miss::Passing(why)),
            Err(fail) => return Err(Miss::Final(fail.error(&self.reading(place)))),
        };
        match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                check_partial(&response, place, range)?;
                self.part(response, 0, range).await
            }
            StatusCode::OK => {
                let length = response.content_length();
                if length.is_some_and(|length| length != place.bytes) {
                    return Err(Miss::Final(other_length(place)));
                }
                self.part(response, range.start, range).await
            }
            status @ (StatusCode::FORBIDDEN | StatusCode::NOT_FOUND | StatusCode::GONE) => {
                Err(Miss::Stale(status))
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let heard = hear(429, response.headers(), b"", self.transport.backoff().next);
                let wait = heard.limited.map_or(Duration::ZERO, |limited| limited.0);
                self.cdn.pause_until(Instant::now() + wait);
                Err(passing("Discord's CDN asks to wait"))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Err(Miss::Final(other_length(place))),
            status if status.is_server_error() => {
                Err(passing(&format!("Discord's CDN answered {status}")))
            }
            status => Err(Miss::Final(Error::Broken {
                what: format!("Discord's CDN answered {status}"),
            })),
        }
    }

    /// For errors of reading.
    pub(super) fn reading(&self, place: &Place) -> Deed {
        let at = (place.channel, place.message);
        Deed::to_message(
            self.transport.settings(),
            at,
            "read",
            "Read Message History",
        )
    }

    /// Waits while the CDN wants it.
    async fn pause(&self, deadline: Instant) -> Result<(), Error> {
        let Some(until) = self.cdn.paused_until() else {
            return Ok(());
        };
        if until > deadline {
            return Err(Error::Unavailable {
                what: "Discord's CDN asks to wait".into(),
                retry_after: Some(until.saturating_duration_since(Instant::now())),
            });
        }
        sleep_until(until).await;
        Ok(())
    }

    /// Takes as many bytes as the range has, after the first `skip` of the body.
    async fn part(
        &self,
        mut response: Response,
        skip: u64,
        range: &Range<u64>,
    ) -> Result<Bytes, Miss> {
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::with_capacity(wanted);
        while bytes.len() < wanted {
            let piece = match response.chunk().await.map_err(unclear) {
                Ok(Some(piece)) => piece,
                Ok(None) => return Err(passing("Discord's CDN stopped in the middle")),
                Err(Fail::Unclear(why)) => return Err(Miss::Passing(why)),
                Err(_) => return Err(passing("Discord's CDN stopped in the middle")),
            };
            self.transport.received(piece.len());
            let from = skip.min(piece.len());
            skip -= from;
            let to = piece.len().min(from + wanted - bytes.len());
            bytes.extend_from_slice(&piece[from..to]);
        }
        Ok(bytes.freeze())
    }
}

/// `Content-Range: bytes 0-9/100` must be what was asked for.
fn check_partial(response: &Response, place: &Place, range: &Range<u64>) -> Result<(), Miss> {
    let told = response.headers().get(CONTENT_RANGE);
    let Some(told) = told.and_then(|told| told.to_str().ok()) else {
        return Ok(());
    };
    let asked = format!("bytes {}-{}", range.start, range.end - 1);
    let (part, total) = told.split_once('/').unwrap_or((told, "*"));
    if total.parse().is_ok_and(|total: u64| total != place.bytes) {
        return Err(Miss::Final(other_length(place)));
    }
    if part != asked {
        return Err(passing(
            "Discord's CDN gave another part than was asked for",
        ));
    }
    Ok(())
}

fn passing(what: &str) -> Miss {
    Miss::Passing(unclear_of(what.into()))
}

fn unclear_of(what: String) -> Unclear {
    Unclear { status: None, what }
}

fn other_length(place: &Place) -> Error {
    Error::Broken {
        what: format!(
            "the object on message {} in channel {} has another length than was put",
            place.message, place.channel
        ),
    }
}

fn gone(place: &Place, status: StatusCode) -> Error {
    let Place {
        message, channel, ..
    } = place;
    if status == StatusCode::FORBIDDEN {
        return Error::Refused {
            what: format!(
                "Discord's CDN refuses the object on message {message} in channel {channel}, also under a fresh address"
            ),
        };
    }
    Error::Missing {
        what: format!("the object on message {message} in channel {channel}"),
    }
}
