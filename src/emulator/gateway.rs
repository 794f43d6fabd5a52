//! The gateway: one websocket per session, JSON both ways.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Request};
use axum::http::Response;
use axum::response::IntoResponse;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::emulator::app::App;
use crate::emulator::guilds;
use crate::emulator::hub::{News, Order};
use crate::emulator::permissions::bits;
use crate::emulator::reply::text_response;
use crate::emulator::route;
use crate::emulator::settings::MessageContent;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::squeeze::Squeeze;
use crate::emulator::view;

const HEARTBEAT_MS: u64 = 45_000;
const PAYLOAD_BYTES_MAX: usize = 4096;
/// Payloads a client may send in one window.
const SENT_MAX: u32 = 120;
const SENT_WINDOW: Duration = Duration::from_secs(60);
/// GUILD_MEMBERS, GUILD_PRESENCES: privileged, and not granted here.
const INTENTS_DENIED: u64 = 1 << 1 | 1 << 8;
const INTENT_MESSAGE_CONTENT: u64 = 1 << 15;

/// Why the server closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Close {
    UnknownOpcode,
    Undecodable,
    NotAuthenticated,
    BadToken,
    AlreadyAuthenticated,
    TooFast,
    TimedOut,
    BadVersion,
    DisallowedIntents,
    /// A test asked for it.
    Dropped,
    /// The client is gone.
    Left,
}

impl Close {
    fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            Self::Dropped => (4000, "Unknown error."),
            Self::UnknownOpcode => (4001, "Unknown opcode."),
            Self::Undecodable => (4002, "Error while decoding payload."),
            Self::NotAuthenticated => (4003, "Not authenticated."),
            Self::BadToken => (4004, "Authentication failed."),
            Self::AlreadyAuthenticated => (4005, "Already authenticated."),
            Self::TooFast => (4008, "Rate limited."),
            Self::TimedOut => (4009, "Session timed out."),
            Self::BadVersion => (4012, "Invalid API version."),
            Self::DisallowedIntents => (4014, "Disallowed intent(s)."),
            Self::Left => return None,
        };
        let reason = reason.into();
        Some(CloseFrame { code, reason })
    }
}

/// Answers `GET /gateway` with a websocket.
pub(crate) async fn upgrade(app: Arc<App>, request: Request) -> Response<Body> {
    let query = route::pairs(request.uri().query().unwrap_or(""));
    let param = |name: &str| {
        let mut pairs = query.iter();
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    let (version, compress) = (param("v"), param("compress"));
    let (mut parts, _) = request.into_parts();
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade.on_upgrade(move |socket| async move {
            let mut connection = Connection {
                app,
                socket,
                squeeze: Squeeze::of(compress.as_deref()),
                session: None,
                seq: 0,
                sent: 0,
                window: Instant::now(),
            };
            let close = match version.as_deref() {
                None | Some("10") => connection.serve().await,
                Some(_) => Close::BadVersion,
            };
            connection.close(close).await;
        }),
        Err(_) => {
            let text = "This endpoint expects a websocket.".to_owned();
            text_response(400, "text/plain;charset=UTF-8", text).into_response()
        }
    }
}

struct Connection {
    app: Arc<App>,
    socket: WebSocket,
    squeeze: Squeeze,
    session: Option<(String, Arc<Notify>)>,
    /// Last event sent.
    seq: u64,
    sent: u32,
    window: Instant,
}

impl Connection {
    async fn serve(&mut self) -> Close {
        let hello = json!({"op": 10, "s": null, "t": null,
            "d": {"heartbeat_interval": HEARTBEAT_MS, "_trace": ["[\"emulator\"]"]}});
        if let Err(close) = self.send(&hello.to_string()).await {
            return close;
        }
        let patience = Duration::from_millis(HEARTBEAT_MS * 3 / 2);
        let mut deadline = Instant::now() + patience;
        loop {
            let news = self.session.as_ref().map(|(_, news)| Arc::clone(news));
            let arrived = async {
                match news {
                    Some(news) => news.notified().await,
                    None => std::future::pending().await,
                }
            };
            let step = tokio::select! {
                () = arrived => self.forward().await,
                message = timeout_at(deadline, self.socket.recv()) => match message {
                    Err(_) => Err(Close::TimedOut),
                    Ok(None | Some(Err(_))) => Err(Close::Left),
                    Ok(Some(Ok(message))) => self.receive(message, &mut deadline, patience).await,
                },
            };
            if let Err(close) = step {
                return close;
            }
        }
    }

    async fn send(&mut self, text: &str) -> Result<(), Close> {
        let message = match self.squeeze.wrap(text) {
            Some(bytes) => Message::Binary(bytes.into()),
            None => Message::Text(text.into()),
        };
        self.socket.send(message).await.map_err(|_| Close::Left)
    }

    /// Sends the session's events that have not been sent.
    async fn forward(&mut self) -> Result<(), Close> {
        let Some((id, _)) = &self.session else {
            return Ok(());
        };
        let order = self.app.hub.take_order(id);
        let Some(events) = self.app.hub.after(id, self.seq) else {
            // The client was too slow for what is kept.
            return self.send(&json!({"op": 9, "d": false}).to_string()).await;
        };
        for (seq, event) in events {
            self.send(&event).await?;
            self.seq = seq;
        }
        match order {
            None => Ok(()),
            Some(Order::Reconnect) => self.send(&json!({"op": 7, "d": null}).to_string()).await,
            Some(Order::Invalidate) => {
                if let Some((id, _)) = self.session.take() {
                    self.app.hub.end(&id);
                }
                self.send(&json!({"op": 9, "d": false}).to_string()).await
            }
            Some(Order::Drop) => Err(Close::Dropped),
        }
    }

    async fn receive(
        &mut self,
        message: Message,
        deadline: &mut Instant,
        patience: Duration,
    ) -> Result<(), Close> {
        let text = match &message {
            Message::Text(text) => text.as_str(),
            Message::Close(frame) => {
                self.left(frame.as_ref());
                return Err(Close::Left);
            }
            Message::Binary(_) => return Err(Close::Undecodable),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
        };
        self.count()?;
        if text.len() > PAYLOAD_BYTES_MAX {
            return Err(Close::Undecodable);
        }
        let payload: Value = serde_json::from_str(text).map_err(|_| Close::Undecodable)?;
        let data = &payload["d"];
        match payload["op"].as_u64() {
            Some(1) => {
                *deadline = Instant::now() + patience;
                self.send(&json!({"op": 11}).to_string()).await
            }
            Some(2) => self.identify(data).await,
            Some(6) => self.resume(data).await,
            // Presence, voice state and member requests are accepted and change nothing.
            Some(3 | 4 | 8 | 31) if self.session.is_some() => Ok(()),
            Some(3 | 4 | 8 | 31) => Err(Close::NotAuthenticated),
            _ => Err(Close::UnknownOpcode),
        }
    }

    fn count(&mut self) -> Result<(), Close> {
        if self.window.elapsed() > SENT_WINDOW {
            self.window = Instant::now();
            self.sent = 0;
        }
        self.sent += 1;
        if self.sent > SENT_MAX {
            Err(Close::TooFast)
        } else {
            Ok(())
        }
    }

    /// A client that closes with 1000 or 1001 ends its session.
    fn left(&mut self, frame: Option<&CloseFrame>) {
        if let (Some(1000 | 1001), Some((id, _))) = (frame.map(|one| one.code), &self.session) {
            self.app.hub.end(id);
        }
    }

    fn user(&self, data: &Value) -> Result<Snowflake, Close> {
        let token = data["token"].as_str().unwrap_or("");
        let world = self.app.world();
        let revoked = self
            .app
            .token_revoked
            .load(std::sync::atomic::Ordering::SeqCst);
        let user = world.user_of(token.strip_prefix("Bot ").unwrap_or(token));
        user.filter(|user| !revoked || *user != world.identity.bot)
            .ok_or(Close::BadToken)
    }

    async fn identify(&mut self, data: &Value) -> Result<(), Close> {
        if self.session.is_some() {
            return Err(Close::AlreadyAuthenticated);
        }
        let user = self.user(data)?;
        let intents = data["intents"].as_u64().ok_or(Close::Undecodable)?;
        let content = self.app.message_content() == MessageContent::Granted;
        if intents & INTENTS_DENIED != 0 || intents & INTENT_MESSAGE_CONTENT != 0 && !content {
            return Err(Close::DisallowedIntents);
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| Close::Undecodable)?;
        let id = HEXLOWER.encode(&random);
        let news = self.app.hub.begin(&id, user, intents);
        self.app.counts().gateway_sessions += 1;
        let (ready, guild) = greeting(&self.app, user, &id);
        self.app.hub.push(&id, "READY", &ready);
        if intents & crate::emulator::hub::GUILDS != 0 {
            self.app.hub.push(&id, "GUILD_CREATE", &guild);
        }
        // An earlier session of this connection counted for itself.
        self.seq = 0;
        self.session = Some((id, news));
        self.app.tell(News::Guild);
        self.forward().await
    }

    async fn resume(&mut self, data: &Value) -> Result<(), Close> {
        let user = self.user(data)?;
        let id = data["session_id"].as_str().unwrap_or("").to_owned();
        let seq = data["seq"].as_u64().unwrap_or(0);
        let Some(news) = self.app.hub.resume(&id, user, seq) else {
            return self.send(&json!({"op": 9, "d": false}).to_string()).await;
        };
        self.app.hub.push(&id, "RESUMED", &json!({"_trace": []}));
        self.seq = seq;
        self.session = Some((id, news));
        self.forward().await
    }

    async fn close(mut self, why: Close) {
        if let Some((id, _)) = &self.session {
            self.app.hub.hang_up(id);
        }
        self.app.tell(News::Guild);
        if let Some(frame) = why.frame() {
            // The client may be gone already.
            drop(self.socket.send(Message::Close(Some(frame))).await);
        }
    }
}

/// The first two events of a session.
fn greeting(app: &App, user: Snowflake, session: &str) -> (Value, Value) {
    let world = app.world();
    let view = app.view(&world, user);
    let guild = world.identity.guild;
    let ready = json!({
        "v": 10,
        "user": view.me(),
        "user_settings": {},
        "relationships": [], "private_channels": [], "presences": [],
        "guilds": [{"id": guild, "unavailable": true}],
        "session_id": session,
        "session_type": "normal",
        "resume_gateway_url": guilds::gateway_url(app),
        "shard": [0, 1],
        "application": {
            "id": world.identity.bot,
            "flags": view::application_flags(app.message_content()),
        },
        "geo_ordered_rtc_regions": [],
        "_trace": [],
    });
    let seen = world.rooms.values().map(|room| &room.channel);
    let seen: Vec<_> = seen
        .filter(|one| world.permissions(user, one) & bits::VIEW_CHANNEL != 0)
        .collect();
    let channels = seen.iter().filter(|one| one.thread.is_none());
    let open = |one: &&&_| {
        let channel: &crate::emulator::model::Channel = one;
        channel
            .thread
            .as_ref()
            .is_some_and(|thread| !thread.archived)
    };
    let threads = seen.iter().filter(open);
    let mut data = view.guild();
    let me = world.members.get(&user);
    let more = json!({
        "joined_at": me.map(|one| crate::emulator::snowflake::iso_ms(one.joined_ms)),
        "large": false,
        "unavailable": false,
        "member_count": world.members.len(),
        "voice_states": [],
        "members": me.map(|one| view.member(one)).into_iter().collect::<Vec<_>>(),
        "channels": channels.map(|one| view.channel(one)).collect::<Vec<_>>(),
        "threads": threads.map(|one| view.channel(one)).collect::<Vec<_>>(),
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    });
    if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
        data.extend(more);
    }
    (ready, data)
}
