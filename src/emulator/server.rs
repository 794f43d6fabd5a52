//! The way of a request: counted, delayed, checked, limited, carried out, and answered or not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, header};

use crate::emulator::app::App;
use crate::emulator::fault::{FaultKind, When};
use crate::emulator::mishap;
use crate::emulator::payload::Payload;
use crate::emulator::ratelimit::{Standing, Verdict, cloudflare, too_many};
use crate::emulator::reply::{Answer, Refusal, text_response};
use crate::emulator::route::{self, Found, Route};
use crate::emulator::settings::{Limits, RateLimits, UserAgents};
use crate::emulator::snowflake::Snowflake;
use crate::emulator::wire::WireHandle;
use crate::emulator::{cdn, control, dispatch, fault, gateway, guard, limited, page};

const API: &str = "/api/v10";

/// One API request on its way to a handler.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) app: &'a App,
    pub(crate) user: Snowflake,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) content_type: Option<String>,
    pub(crate) payload: Payload,
    pub(crate) faults: Vec<FaultKind>,
}

impl Call<'_> {
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.iter();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Answers any request to the emulator's address.
pub(crate) async fn handle(
    State(app): State<Arc<App>>,
    ConnectInfo(wire): ConnectInfo<WireHandle>,
    request: Request,
) -> Response<Body> {
    let path = request.uri().path();
    if path == "/_control" || path.starts_with("/_control/") {
        return match guard::refusal(&wire, request.headers()) {
            None => control::handle(&app, wire, request).await,
            Some(refusal) => refusal,
        };
    }
    let is_socket = request.headers().contains_key(header::UPGRADE);
    if path == "/gateway" || path == "/gateway/" || path == "/" && is_socket {
        return gateway::upgrade(app, request).await;
    }
    if page::has(path) {
        let refusal = guard::refusal(&wire, request.headers());
        return refusal.unwrap_or_else(|| page::handle(&request));
    }
    if path.starts_with("/attachments/") || path.starts_with("/ephemeral-attachments/") {
        return cdn::handle(&app, &wire, request.into_parts().0).await;
    }
    if path.starts_with("/media/") {
        // The media proxy serves pictures and videos only; nobody should fetch attachments there.
        let text = "Unsupported Media Type".to_owned();
        return text_response(415, "text/plain;charset=UTF-8", text);
    }
    let running = app.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
    {
        let mut counts = app.counts();
        counts.concurrent_max = counts.concurrent_max.max(running);
    }
    let response = api(&app, wire, request).await;
    app.in_flight.fetch_sub(1, Ordering::SeqCst);
    response
}

async fn api(app: &App, wire: WireHandle, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let method = parts.method.as_str();
    let path = parts.uri.path().strip_prefix(API).unwrap_or("");
    let found = route::find(method, path);
    let limits = app.limits();
    {
        let mut counts = app.counts();
        counts.requests += 1;
        if let Found::Route(_, template) = &found {
            *counts.routes.entry(template.clone()).or_default() += 1;
        }
    }
    pause(limits.rtt_ms).await;
    let faults = app.faults().draw(method, path);
    if let Found::Route(route, _) = &found {
        mishap::strike(app, &faults, route);
    }
    let reset_after_bytes = faults.iter().find_map(|kind| match kind {
        FaultKind::ResetUpload { after_bytes } => Some(*after_bytes),
        _ => None,
    });
    let bytes_max = limits.request_bytes_max;
    let mut call = Call {
        app,
        user: Snowflake(0),
        query: route::pairs(parts.uri.query().unwrap_or("")),
        content_type: text(&parts.headers, header::CONTENT_TYPE.as_str()),
        payload: Payload::new(body, wire.clone(), bytes_max, reset_after_bytes),
        faults,
    };
    for kind in &call.faults {
        if let FaultKind::Delay {
            ms,
            when: When::Before,
        } = kind
        {
            pause(*ms).await;
        }
    }
    let mut response = answer(&mut call, found, &parts.headers, &limits).await;
    call.payload.drain().await;
    app.counts().bytes_received += call.payload.read_bytes();
    for kind in &call.faults {
        if let FaultKind::Delay {
            ms,
            when: When::After,
        } = kind
        {
            pause(*ms).await;
        }
    }
    response = mishap::spoil(&call.faults, response, &wire);
    account(app, &limits, &call, &response);
    response
}

/// Everything up to the handler that can refuse a request, and the handler.
async fn answer(
    call: &mut Call<'_>,
    found: Found,
    headers: &HeaderMap,
    limits: &Limits,
) -> Response<Body> {
    let app = call.app;
    if let Some(left_s) = app.limiter().banned_s(app.now_ms()) {
        return cloudflare(left_s);
    }
    if let Some(response) = mishap::instead(&call.faults, app.now_ms()) {
        return response;
    }
    let agent = text(headers, header::USER_AGENT.as_str()).unwrap_or_default();
    let agent_passes = match limits.user_agents {
        UserAgents::Any => true,
        UserAgents::Named => !agent.is_empty(),
        UserAgents::DiscordBot => agent.starts_with("DiscordBot ("),
    };
    if !agent_passes {
        return Refusal::Blocked.response();
    }
    let route = match found {
        Found::Route(route, _) => route,
        Found::WrongMethod => return Refusal::MethodNotAllowed.response(),
        Found::Nothing => return Refusal::NotFound.response(),
    };
    match authorize(app, headers) {
        _ if route.is_open() => call.user = app.world().identity.bot,
        Some(user) => call.user = user,
        None => return Refusal::Unauthorized.response(),
    }
    let enforced = limits.rate_limits == RateLimits::Enforced;
    let mut standing = None;
    if enforced {
        match rate(call, &route, limits) {
            Ok(passed) => standing = passed,
            Err(response) => return *response,
        }
    }
    let answer: Answer = dispatch::carry_out(call, route).await;
    let mut response = match answer {
        Ok(reply) => reply.response(),
        Err(refusal) => refusal.response(),
    };
    if let Some(standing) = standing {
        standing.write(response.headers_mut());
    }
    response
}

/// Counts the request against the global limit and its bucket.
fn rate(
    call: &Call<'_>,
    route: &Route,
    limits: &Limits,
) -> Result<Option<Standing>, Box<Response<Body>>> {
    let app = call.app;
    let now_ms = app.now_ms();
    let over = match route.is_open() {
        // Neither interactions nor their webhooks count against the global limit.
        true => None,
        false => app.limiter().take_global(call.user, limits, now_ms),
    };
    if let Some(wait_ms) = over {
        return Err(Box::new(too_many(
            fault::Scope::Global,
            wait_ms,
            None,
            None,
        )));
    }
    let Some((bucket, limit)) = limited::bucket(app, route, &limits.routes, now_ms) else {
        return Ok(None);
    };
    let mut limiter = app.limiter();
    let standing = match limiter.take(call.user, bucket, limit, now_ms) {
        Verdict::Free => None,
        Verdict::Pass(standing) => Some(standing),
        Verdict::Full(standing) => {
            let wait_ms = standing.reset_after_ms;
            let response = too_many(fault::Scope::User, wait_ms, None, Some(standing));
            return Err(Box::new(response));
        }
    };
    let hidden = limited::hidden(app, &mut limiter, call.user, route, &limits.routes, now_ms);
    if let Err(refusal) = hidden {
        let mut response = refusal.response();
        if let Some(standing) = standing {
            standing.write(response.headers_mut());
        }
        return Err(Box::new(response));
    }
    Ok(standing)
}

fn authorize(app: &App, headers: &HeaderMap) -> Option<Snowflake> {
    let given = text(headers, header::AUTHORIZATION.as_str())?;
    let token = given.strip_prefix("Bot ");
    let world = app.world();
    let user = world.user_of(token.unwrap_or(&given))?;
    let is_bot = user == world.identity.bot;
    let refused = is_bot && (token.is_none() || app.token_revoked.load(Ordering::SeqCst));
    (!refused).then_some(user)
}

/// Writes down what was answered, and bans who is refused too often.
fn account(app: &App, limits: &Limits, call: &Call<'_>, response: &Response<Body>) {
    let unanswered = call.payload.is_lost() || mishap::is_unanswered(&call.faults);
    let status = if unanswered {
        0
    } else {
        response.status().as_u16()
    };
    let shared = response.headers().get("x-ratelimit-scope");
    let shared = shared == Some(&HeaderValue::from_static("shared"));
    let invalid = matches!(status, 401 | 403 | 429) && !shared;
    {
        let mut counts = app.counts();
        *counts.statuses.entry(status).or_default() += 1;
        counts.rate_limited += u64::from(status == 429);
        counts.invalid += u64::from(invalid);
    }
    if invalid {
        app.limiter().invalid(limits, app.now_ms());
    }
}

pub(crate) async fn pause(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

pub(crate) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}
