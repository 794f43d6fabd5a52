//! Sends requests: under the gate's limits, again where that may help, and not where it will not.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use reqwest::{
    RequestBuilder, Response,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use twilight_http::request::Method;

pub(super) use super::ask::{Ask, Side};
use super::{
    answer::{Fail, Said, Unclear, fail, hear},
    backoff::Backoff,
    gate::{Gate, Permit},
    http::{Clients, Form, Progress, reason},
    settings::Settings,
    skew::Skew,
};
use crate::store::{Error, Status};

/// Longest answer that is read from the API: a page of messages is below a megabyte.
const ANSWER_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, Default)]
struct Tally {
    by_kind: BTreeMap<&'static str, u64>,
    sent_bytes: u64,
    received_bytes: u64,
    last_error: Option<String>,
}

/// The only way to Discord.
pub(super) struct Transport {
    pub(super) clients: Clients,
    settings: Settings,
    authorization: HeaderValue,
    gate: Gate,
    tally: Mutex<Tally>,
    pub(super) skew: Skew,
}

impl Transport {
    pub(super) fn new(settings: Settings) -> Result<Self, Error> {
        let token = HeaderValue::from_str(&settings.token.header());
        let mut authorization = token.map_err(|_| Error::NotAccepted {
            what: "the bot's token has characters that no token has".into(),
        })?;
        authorization.set_sensitive(true);
        Ok(Self {
            clients: Clients::new(&settings)?,
            gate: Gate::new(settings.rates),
            authorization,
            settings,
            tally: Mutex::default(),
            skew: Skew::default(),
        })
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When a call that begins now gives up.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.patience
    }

    /// The time that so many bytes may need, at worst.
    pub(super) fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_secs(bytes / self.settings.bytes_per_second_min.max(1))
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(self.settings.backoff_first, self.settings.backoff_max)
    }

    /// Sends until there is an answer that counts or the deadline comes; gives the body of a 2xx.
    /// Only for requests that may be done twice.
    pub(super) async fn call(&self, ask: &Ask, deadline: Instant) -> Result<Bytes, Fail> {
        let mut backoff = self.backoff();
        loop {
            match self.attempt(ask, deadline, backoff.next).await {
                Ok(body) => return Ok(body),
                Err(Fail::Limited) => backoff.grow(),
                Err(Fail::Unclear(unclear)) => backoff.pause(unclear, deadline).await?,
                Err(final_one) => return Err(final_one),
            }
        }
    }

    /// [`Transport::call`], with the error for a person.
    pub(super) async fn act(&self, ask: &Ask, deadline: Instant) -> Result<Bytes, Error> {
        let answer = self.call(ask, deadline).await;
        answer.map_err(|fail| fail.error(&ask.deed))
    }

    /// [`Transport::act`] for something that may turn out to be done already, which is as good.
    pub(super) async fn act_unless(
        &self,
        ask: &Ask,
        deadline: Instant,
        is_done: impl Fn(&Said) -> bool,
    ) -> Result<(), Error> {
        match self.call(ask, deadline).await {
            Ok(_) => Ok(()),
            Err(Fail::Said(said)) if is_done(&said) => Ok(()),
            Err(fail) => Err(fail.error(&ask.deed)),
        }
    }

    /// [`Transport::act`], with the answer read as JSON.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        ask: &Ask,
        deadline: Instant,
    ) -> Result<T, Error> {
        let body = self.act(ask, deadline).await?;
        parse(&body)
    }

    /// Sends once. A 429 holds the lane for `limited_least` even when it demands less.
    pub(super) async fn attempt(
        &self,
        ask: &Ask,
        deadline: Instant,
        limited_least: Duration,
    ) -> Result<Bytes, Fail> {
        let entered = self.gate.enter(ask.lane, ask.urgency, deadline).await;
        let permit = entered.map_err(|error| {
            if ask.side == Side::Drive {
                self.failed(&error.to_string());
            }
            Fail::Gave(error)
        })?;
        self.count(ask.lane.kind);
        let progress = Progress::default();
        let sending = self.built(ask, &progress, deadline).send();
        let total = ask.form.as_ref().map_or(0, Form::bytes);
        let silence = self.settings.silence_timeout;
        let outcome = tokio::select! {
            sent = sending => match sent {
                Ok(response) => self.heard(response, permit, limited_least).await,
                Err(error) => Err(unclear(error)),
            },
            () = progress.stalled(total, silence) => Err(Fail::Unclear(Unclear {
                status: None,
                what: "Discord took no more of an upload".into(),
            })),
        };
        match &outcome {
            Ok(_) if ask.side == Side::Drive => self.tally().last_error = None,
            Ok(_) => {}
            Err(fail) if ask.side == Side::Drive => self.failed(&fail.in_words(&ask.deed)),
            Err(fail) => log::debug!("discord: {}", fail.in_words(&ask.deed)),
        }
        outcome
    }

    fn built(&self, ask: &Ask, progress: &Progress, deadline: Instant) -> RequestBuilder {
        let Ask { request, form, .. } = ask;
        let base = self.settings.api_base.trim_end_matches('/');
        let url = format!("{base}/api/v10/{}", request.path());
        let client = match form {
            Some(_) => &self.clients.upload,
            None => &self.clients.api,
        };
        let bytes = form.as_ref().map_or(0, Form::bytes);
        let own = self.settings.request_timeout + self.time_for(bytes);
        let left = deadline.saturating_duration_since(Instant::now());
        let building = client
            .request(method(request.method()), url)
            .timeout(own.min(left));
        let building = match ask.side {
            Side::Hook => building,
            Side::Drive | Side::Talk => building.header(AUTHORIZATION, self.authorization.clone()),
        };
        let sent_bytes = match (form, request.body()) {
            (Some(form), _) => form.bytes(),
            (None, body) => body.map_or(0, |body| body.len() as u64),
        };
        self.tally().sent_bytes += sent_bytes;
        match (form, request.body()) {
            (Some(form), _) => building
                .header(CONTENT_TYPE, form.content_type())
                .header(CONTENT_LENGTH, form.bytes())
                .body(form.body(progress)),
            (None, Some(body)) => building
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_vec()),
            // Discord wants a length with every POST and PUT.
            (None, None) if request.method() == Method::Get => building,
            (None, None) => building.header(CONTENT_LENGTH, 0),
        }
    }

    async fn heard(
        &self,
        response: Response,
        permit: Permit<'_>,
        limited_least: Duration,
    ) -> Result<Bytes, Fail> {
        let status = response.status().as_u16();
        let headers: HeaderMap = response.headers().clone();
        self.skew.hear(&headers);
        let body = self.body(response, ANSWER_BYTES_MAX).await;
        let known = body.as_deref().unwrap_or_default();
        permit.done(&hear(status, &headers, known, limited_least));
        match status {
            200..300 => body.map_err(Fail::Unclear),
            429 => Err(Fail::Limited),
            _ => Err(fail(status, known)),
        }
    }

    /// Reads a body of at most so many bytes.
    pub(super) async fn body(
        &self,
        mut response: Response,
        bytes_max: usize,
    ) -> Result<Bytes, Unclear> {
        let broken_off = |what: String| Unclear { status: None, what };
        let mut body = BytesMut::new();
        loop {
            let piece = response.chunk().await;
            let piece = piece.map_err(|error| broken_off(reason(error)))?;
            let Some(piece) = piece else {
                return Ok(body.freeze());
            };
            self.received(piece.len());
            if body.len() + piece.len() > bytes_max {
                return Err(broken_off(format!("an answer of over {bytes_max} bytes")));
            }
            body.extend_from_slice(&piece);
        }
    }

    /// Counts what was received.
    pub(super) fn received(&self, bytes: usize) {
        self.tally().received_bytes += bytes as u64;
    }

    /// Counts a request.
    pub(super) fn count(&self, kind: &'static str) {
        *self.tally().by_kind.entry(kind).or_default() += 1;
    }

    /// Remembers a failure for [`Transport::status`].
    pub(super) fn failed(&self, what: &str) {
        log::debug!("discord: {what}");
        self.tally().last_error = Some(what.into());
    }

    pub(super) fn succeeded(&self) {
        self.tally().last_error = None;
    }

    pub(super) fn status(&self) -> Status {
        let (budget, waiting) = self.gate.state();
        let tally = self.tally();
        let by_kind = tally.by_kind.iter();
        Status {
            requests_total: tally.by_kind.values().sum(),
            requests_by_kind: by_kind.map(|(kind, n)| ((*kind).into(), *n)).collect(),
            sent_bytes: tally.sent_bytes,
            received_bytes: tally.received_bytes,
            budget,
            waiting,
            last_error: tally.last_error.clone(),
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Reads an answer that arrived whole.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::Broken {
        what: format!("Discord's answer is not what it should be: {error}"),
    })
}

pub(super) fn unclear(error: reqwest::Error) -> Fail {
    let what = match error.is_timeout() {
        true => "Discord did not answer in time".into(),
        false => format!("Discord could not be reached: {}", reason(error)),
    };
    Fail::Unclear(Unclear { status: None, what })
}

fn method(method: Method) -> reqwest::Method {
    match method {
        Method::Delete => reqwest::Method::DELETE,
        Method::Get => reqwest::Method::GET,
        Method::Patch => reqwest::Method::PATCH,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        // The enum may grow; none of its other methods is used here.
        _ => reqwest::Method::OPTIONS,
    }
}
