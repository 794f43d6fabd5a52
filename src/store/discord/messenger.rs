//! The messenger: answers to interactions, messages to people, and what a session on the gateway needs.
//!
//! Everything goes through the store's own transport, so one budget holds for all requests of a token.
//! What is sent here is plain and for people; what the drive keeps goes through [`crate::store::Store`] and is sealed.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use twilight_http::routing::Route;
use twilight_model::id::{
    Id,
    marker::{ChannelMarker, MessageMarker},
};
use zeroize::Zeroizing;

use super::{
    answer::{Fail, Said, code},
    deed::Deed,
    http::Form,
    limiter::Lane,
    shelf,
    transport::{Ask, Side, Transport, parse},
};
use crate::store::{Error, Urgency};

/// Discord waits so long for the first answer to an interaction.
const CALLBACK_MAX: Duration = Duration::from_millis(2800);
/// Other messages to people are worth no more waiting than this.
const MESSAGE_MAX: Duration = Duration::from_secs(15);

/// Sends messages to people. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Messenger {
    pub(super) transport: Arc<Transport>,
}

/// Whom an answer goes to. Its token is as good as a password for fifteen minutes, so it is never shown.
#[derive(Clone)]
pub struct Answering {
    /// The application that was asked.
    pub application: u64,
    /// The interaction.
    pub interaction: u64,
    /// What lets it be answered.
    pub token: Zeroizing<String>,
}

/// A message that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Posted {
    /// Channel or thread.
    pub channel: u64,
    /// The message.
    pub message: u64,
}

/// A file on a message to people.
#[derive(Clone, Debug)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Its content, in order.
    pub content: Vec<Bytes>,
}

/// Where the gateway is, and how often a session may begin there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Address of the websocket.
    pub url: String,
    /// Sessions that may begin in a day.
    pub total: u32,
    /// How many of them are left.
    pub left: u32,
    /// Until they are counted anew.
    pub resets_after: Duration,
    /// Sessions that may begin within five seconds.
    pub at_once: u16,
}

#[derive(Deserialize)]
struct RawGateway {
    url: String,
    session_start_limit: RawLimit,
}

#[derive(Deserialize)]
struct RawLimit {
    total: u32,
    remaining: u32,
    reset_after: u64,
    max_concurrency: u16,
}

/// Flags of an application: granted to a verified one, or to one in few servers.
const MESSAGE_CONTENT: u64 = 1 << 18 | 1 << 19;

#[derive(Deserialize)]
struct RawApplication {
    flags: Option<u64>,
}

#[derive(Deserialize)]
struct RawPosted {
    id: Id<MessageMarker>,
    channel_id: Id<ChannelMarker>,
}

impl Messenger {
    pub(super) fn new(transport: Arc<Transport>) -> Self {
        Self { transport }
    }

    /// The drive's server.
    #[must_use]
    pub fn guild(&self) -> u64 {
        self.transport.settings().guild
    }

    /// Where people see a channel or thread of it.
    #[must_use]
    pub fn address(&self, channel: u64) -> String {
        shelf::address(self.guild(), channel)
    }

    /// The largest file that one message takes, bytes.
    #[must_use]
    pub fn file_bytes_max(&self) -> u64 {
        self.transport.settings().object_bytes_max
    }

    /// What a session on the gateway begins with.
    #[must_use]
    pub fn token(&self) -> Zeroizing<String> {
        self.transport.settings().token.header()
    }

    /// Asks where the gateway is.
    ///
    /// # Errors
    /// [`Error::NotAccepted`], [`Error::Unavailable`].
    pub async fn gateway(&self) -> Result<Gateway, Error> {
        let deed = Deed::new("ask for", "the gateway's address", "");
        let ask = Ask::new(lane("GET gateway", 0), &Route::GetGatewayBot, deed).on(Side::Talk);
        let raw: RawGateway = self.transport.read(&ask, self.transport.deadline()).await?;
        let limit = raw.session_start_limit;
        Ok(Gateway {
            url: raw.url,
            total: limit.total,
            left: limit.remaining,
            resets_after: Duration::from_millis(limit.reset_after),
            at_once: limit.max_concurrency,
        })
    }

    /// Is the application granted the privileged intent to read what people write?
    ///
    /// # Errors
    /// [`Error::NotAccepted`], [`Error::Unavailable`].
    pub async fn may_read_messages(&self) -> Result<bool, Error> {
        let deed = Deed::new("read", "the bot's application", "");
        let route = Route::GetCurrentUserApplicationInfo;
        let ask = Ask::new(lane("GET application", 0), &route, deed).on(Side::Talk);
        let raw: RawApplication = self.transport.read(&ask, self.transport.deadline()).await?;
        Ok(raw.flags.unwrap_or(0) & MESSAGE_CONTENT != 0)
    }

    /// Replaces all commands of the application in the drive's server.
    ///
    /// # Errors
    /// [`Error::Refused`] when the bot was let in without the scope `applications.commands`.
    pub async fn set_commands(&self, application: u64, commands: &Value) -> Result<(), Error> {
        let guild_id = self.guild();
        let route = Route::SetGuildCommands {
            application_id: application,
            guild_id,
        };
        let deed = Deed::new("set", "the bot's commands", "applications.commands");
        let lane = lane("PUT commands", guild_id);
        let ask = Ask::json(lane, &route, commands, deed)?.on(Side::Talk);
        match self.transport.call(&ask, self.transport.deadline()).await {
            Ok(_) => Ok(()),
            Err(Fail::Said(said)) if said.code == code::MISSING_ACCESS => Err(Error::Refused {
                what: "the bot may not have commands in this server: it was let in without the scope \
                       applications.commands; open the link of `ods invite` once more and choose the server"
                    .into(),
            }),
            Err(fail) => Err(fail.error(&ask.deed)),
        }
    }

    /// Gives an interaction its first answer, which has to come within three seconds.
    ///
    /// # Errors
    /// [`Error::Missing`] when it came too late; [`Error::Unavailable`].
    pub async fn acknowledge(&self, to: &Answering, body: &Value) -> Result<(), Error> {
        let route = Route::InteractionCallback {
            interaction_id: to.interaction,
            interaction_token: &to.token,
            with_response: false,
        };
        let lane = lane("hook callback", to.interaction);
        let ask = Ask::json(lane, &route, body, answering())?
            .on(Side::Hook)
            .urgent(Urgency::Foreground);
        let deadline = Instant::now() + CALLBACK_MAX;
        // By an attempt whose answer was lost.
        let is_done = |said: &Said| said.code == code::ACKNOWLEDGED;
        match self.transport.call(&ask, deadline).await {
            Ok(_) => Ok(()),
            Err(Fail::Said(said)) if is_done(&said) => Ok(()),
            Err(fail) => Err(hook_error(fail)),
        }
    }

    /// Puts the answer that was promised, or another one in its place.
    ///
    /// # Errors
    /// [`Error::Missing`] when the interaction's token has ended; [`Error::Unavailable`].
    pub async fn answer(
        &self,
        to: &Answering,
        body: &Value,
        files: Vec<Attached>,
    ) -> Result<Posted, Error> {
        let route = Route::UpdateInteractionOriginal {
            application_id: to.application,
            interaction_token: &to.token,
        };
        let lane = lane("hook answer", to.interaction);
        let ask = message(lane, &route, body, files, answering())?
            .on(Side::Hook)
            .urgent(Urgency::Foreground);
        let called = self.transport.call(&ask, self.deadline(&ask)).await;
        posted(&called.map_err(hook_error)?)
    }

    /// Sends a message. A lost answer makes no second one.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Missing`], [`Error::Unavailable`].
    pub async fn post(
        &self,
        channel: u64,
        body: &Value,
        files: Vec<Attached>,
    ) -> Result<Posted, Error> {
        let mut body = body.clone();
        body["nonce"] = json!(nonce()?);
        body["enforce_nonce"] = json!(true);
        let settings = self.transport.settings();
        let deed = Deed::within(settings, channel, "send a message to", "Send Messages");
        let route = Route::CreateMessage {
            channel_id: channel,
        };
        let lane = lane("POST messages", channel);
        let ask = message(lane, &route, &body, files, deed)?
            .on(Side::Talk)
            .urgent(Urgency::Foreground);
        let deadline = self.deadline(&ask);
        posted(&self.transport.act(&ask, deadline).await?)
    }

    /// Changes a message that was sent with [`Messenger::post`].
    ///
    /// # Errors
    /// [`Error::Missing`] when somebody removed it; [`Error::Unavailable`].
    pub async fn change(
        &self,
        at: Posted,
        body: &Value,
        files: Vec<Attached>,
    ) -> Result<(), Error> {
        let settings = self.transport.settings();
        let place = (at.channel, at.message);
        let deed = Deed::to_message(settings, place, "change", "Send Messages");
        let route = Route::UpdateMessage {
            channel_id: at.channel,
            message_id: at.message,
        };
        let lane = lane("PATCH message", at.channel);
        let ask = message(lane, &route, body, files, deed)?.on(Side::Talk);
        let deadline = self.deadline(&ask);
        self.transport.act(&ask, deadline).await.map(drop)
    }

    fn deadline(&self, ask: &Ask) -> Instant {
        Instant::now() + MESSAGE_MAX + self.transport.time_for(ask.form_bytes())
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answering({})", self.interaction)
    }
}

fn lane(kind: &'static str, major: u64) -> Lane {
    Lane { kind, major }
}

fn answering() -> Deed {
    Deed::new("answer", "an interaction", "")
}

fn message(
    lane: Lane,
    route: &Route<'_>,
    body: &Value,
    files: Vec<Attached>,
    deed: Deed,
) -> Result<Ask, Error> {
    if files.is_empty() {
        return Ask::json(lane, route, body, deed);
    }
    let files: Vec<_> = files
        .into_iter()
        .map(|file| (file.name, file.content))
        .collect();
    let form = Form::plain(body.to_string().as_bytes(), &files)?;
    Ok(Ask::form(lane, route, form, deed))
}

fn posted(body: &Bytes) -> Result<Posted, Error> {
    let raw: RawPosted = parse(body)?;
    Ok(Posted {
        channel: raw.channel_id.get(),
        message: raw.id.get(),
    })
}

/// Of an interaction's token 401 and 404 mean that it has ended, and nothing about the bot's own.
fn hook_error(fail: Fail) -> Error {
    match fail {
        Fail::Said(said) if matches!(said.status, 401 | 404) => Error::Missing {
            what: "the interaction: it was answered too late, or its fifteen minutes are over"
                .into(),
        },
        fail => fail.error(&answering()),
    }
}

/// Up to 25 characters that name one message.
fn nonce() -> Result<String, Error> {
    let mut random = [0; 15];
    getrandom::fill(&mut random).map_err(|error| Error::Broken {
        what: format!("no random numbers: {error}"),
    })?;
    Ok(BASE64URL_NOPAD.encode(&random))
}
