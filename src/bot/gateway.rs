//! The session on the gateway: begun, kept, resumed, and given up in words.
//!
//! Heartbeats, resuming, and waiting between attempts are twilight's; what is decided here is which
//! intents are asked for, when a session may begin at all, and what a person hears when it is refused.

use std::time::Duration;

use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::sync::watch;
use twilight_gateway::CloseFrame;
use twilight_gateway::ConfigBuilder;
use twilight_gateway::Intents;
use twilight_gateway::Message as Frame;
use twilight_gateway::Shard;
use twilight_gateway::ShardId;
use twilight_gateway::queue::InMemoryQueue;

use crate::bot::Error;
use crate::bot::settings::Switch;
use crate::bot::wire::Body;
use crate::bot::wire::Guild;
use crate::bot::wire::Head;
use crate::bot::wire::Interaction;
use crate::bot::wire::Message;
use crate::bot::wire::Ready;
use crate::bot::wire::RoleChange;
use crate::bot::wire::RoleGone;
use crate::store;
use crate::store::discord::Gateway;
use crate::store::discord::Messenger;
use crate::store::discord::offer_tls;

/// Sessions of a day that are left to a person who needs to restart things.
const SESSIONS_KEPT: u32 = 5;

/// Close codes of the gateway that end it for good.
const BAD_TOKEN: u16 = 4004;
const DISALLOWED_INTENTS: u16 = 4014;

const NOT_GRANTED: &str = "bot: the message-content intent is not granted in the developer portal; \
     slash commands work without it, `!words` do not";

/// Something that happened in the server.
pub(in crate::bot) enum Heard {
    /// A session began.
    Ready(Ready),
    /// The server and its roles.
    Guild(Guild),
    RoleChanged(RoleChange),
    RoleGone(RoleGone),
    /// Somebody used a command or pressed a button.
    Asked(Box<Interaction>),
    /// Somebody wrote a message.
    Said(Box<Message>),
}

/// Keeps a session until `stop` is told; ends with an error when Discord will never let it be.
pub(in crate::bot) async fn run(
    messenger: &Messenger,
    mut words: Switch,
    tell: mpsc::Sender<Heard>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Error> {
    offer_tls()?;
    let (gateway, granted) = tokio::select! {
        found = find(messenger, words) => found?,
        () = told(&mut stop) => return Ok(()),
    };
    words = granted;
    let queue = InMemoryQueue::new(
        gateway.at_once.max(1),
        gateway.left,
        gateway.resets_after,
        gateway.total,
    );
    loop {
        let mut shard = shard(messenger, &gateway, &queue, intents(words));
        match listen(&mut shard, &tell, &mut stop).await {
            End::Stopped => return Ok(()),
            End::Refused(DISALLOWED_INTENTS) if words == Switch::On => {
                log::info!("{NOT_GRANTED}");
                words = Switch::Off;
            }
            End::Refused(code) => return Err(refused(code)),
        }
    }
}

/// Ready when it is time to end, or nobody could tell any more.
async fn told(stop: &mut watch::Receiver<bool>) {
    drop(stop.wait_for(|stop| *stop).await);
}

fn intents(words: Switch) -> Intents {
    match words {
        Switch::On => Intents::GUILDS | Intents::GUILD_MESSAGES | Intents::MESSAGE_CONTENT,
        Switch::Off => Intents::empty(),
    }
}

/// Asks where the gateway is, and whether words may be heard, until both are known; waits for the day's
/// sessions to be counted anew when nearly none are left.
async fn find(messenger: &Messenger, words: Switch) -> Result<(Gateway, Switch), Error> {
    let mut pause = Duration::from_secs(2);
    loop {
        match ask(messenger, words).await {
            Ok((gateway, _)) if gateway.left <= SESSIONS_KEPT => {
                let wait = gateway.resets_after.max(Duration::from_secs(1));
                log::warn!(
                    "bot: Discord lets no more sessions begin for {} s; waiting",
                    wait.as_secs()
                );
                tokio::time::sleep(wait).await;
            }
            Ok(found) => return Ok(found),
            Err(error) if error.is_passing() => {
                log::warn!("bot: {error}; trying again in {} s", pause.as_secs());
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(300));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn ask(messenger: &Messenger, words: Switch) -> Result<(Gateway, Switch), store::Error> {
    let gateway = messenger.gateway().await?;
    if words == Switch::Off || messenger.may_read_messages().await? {
        return Ok((gateway, words));
    }
    log::info!("{NOT_GRANTED}");
    Ok((gateway, Switch::Off))
}

fn shard(
    messenger: &Messenger,
    gateway: &Gateway,
    queue: &InMemoryQueue,
    intents: Intents,
) -> Shard {
    let url = gateway.url.trim_end_matches('/').to_owned();
    let config = ConfigBuilder::new(messenger.token().to_string(), intents)
        .proxy_url(url)
        .queue(queue.clone())
        .build();
    Shard::with_config(ShardId::ONE, config)
}

enum End {
    Stopped,
    Refused(u16),
}

async fn listen(
    shard: &mut Shard,
    tell: &mpsc::Sender<Heard>,
    stop: &mut watch::Receiver<bool>,
) -> End {
    let mut last_code = 0;
    loop {
        let item = tokio::select! {
            item = shard.next() => item,
            () = told(stop) => {
                leave(shard).await;
                return End::Stopped;
            }
        };
        match item {
            None => return End::Refused(last_code),
            Some(Ok(Frame::Close(frame))) => {
                last_code = frame.map_or(0, |frame| frame.code);
                log::info!("bot: the gateway closed the connection ({last_code})");
            }
            Some(Ok(Frame::Text(text))) => {
                // A queue that is full holds up nothing but the bot itself.
                if let Some(heard) = understand(&text)
                    && tell.try_send(heard).is_err()
                {
                    log::warn!("bot: too much is asked at once; something was not heard");
                }
            }
            // The error's own words may quote an event, and with it an interaction's token.
            Some(Err(error)) => log::info!("bot: the gateway's connection: {:?}", kind(&error)),
        }
    }
}

fn kind(error: &twilight_gateway::error::ReceiveMessageError) -> &'static str {
    use twilight_gateway::error::ReceiveMessageErrorType::Reconnect;
    match error.kind() {
        Reconnect => "it could not be made",
        _ => "something that cannot be read came",
    }
}

/// Says goodbye, so that the bot is shown as gone at once; waits a moment for that to be heard.
async fn leave(shard: &mut Shard) {
    shard.close(CloseFrame::NORMAL);
    let closed = async {
        while let Some(Ok(frame)) = shard.next().await {
            if matches!(frame, Frame::Close(_)) {
                return;
            }
        }
    };
    drop(tokio::time::timeout(Duration::from_secs(1), closed).await);
}

/// What an event means for the bot; nothing, most of the time.
fn understand(text: &str) -> Option<Heard> {
    let head: Head = serde_json::from_str(text).ok()?;
    match head.t.as_deref()? {
        "READY" => body(text).map(Heard::Ready),
        "GUILD_CREATE" | "GUILD_UPDATE" => body(text).map(Heard::Guild),
        "GUILD_ROLE_CREATE" | "GUILD_ROLE_UPDATE" => body(text).map(Heard::RoleChanged),
        "GUILD_ROLE_DELETE" => body(text).map(Heard::RoleGone),
        "INTERACTION_CREATE" => body(text).map(Heard::Asked),
        "MESSAGE_CREATE" => body(text).map(Heard::Said),
        _ => None,
    }
}

fn body<T: DeserializeOwned>(text: &str) -> Option<T> {
    match serde_json::from_str::<Body<T>>(text) {
        Ok(body) => Some(body.d),
        Err(error) => {
            // Where, not what: the event may hold a token.
            let (line, column) = (error.line(), error.column());
            log::warn!("bot: an event is not what it should be, at {line}:{column}");
            None
        }
    }
}

fn refused(code: u16) -> Error {
    let what = match code {
        BAD_TOKEN => {
            "Discord does not accept the bot's token any more; take a new one from the developer portal, \
             page Bot, and put it where the old one was"
        }
        4010 | 4011 => {
            "the bot is in too many servers for one connection; give the drive a bot of its own"
        }
        4012 => {
            "Discord does not speak this version of the gateway any more; a newer ods is needed"
        }
        4013 | DISALLOWED_INTENTS => {
            "Discord refuses the intents the bot asked for; look at the page Bot of the developer portal"
        }
        _ => "Discord closed the bot's connection for good",
    };
    Error::Refused(format!("{what} (close code {code})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_understood_or_passed_over_and_never_an_end() {
        let asked = r#"{"op":0,"t":"INTERACTION_CREATE","s":3,"d":{"id":"5","application_id":"6","type":2,
            "token":"hush","guild_id":"7","channel":{"id":"8"},"member":{"user":{"id":"9"},"roles":["10"],
            "permissions":"32"},"data":{"id":"1","name":"status","type":1},"new":[1]}}"#;
        let Some(Heard::Asked(asked)) = understand(asked) else {
            panic!("a command");
        };
        assert_eq!(asked.data.expect("data").name, "status");
        for text in [
            "",
            "{}",
            "[",
            r#"{"op":11}"#,
            r#"{"op":0,"t":"TYPING_START","d":{}}"#,
            r#"{"op":0,"t":"INTERACTION_CREATE","d":{"id":"0"}}"#,
        ] {
            assert!(understand(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_ends_it_for_good_is_said_in_words() {
        for (code, says) in [(4004, "token"), (4014, "intents"), (4012, "newer ods")] {
            assert!(refused(code).to_string().contains(says), "{code}");
        }
    }
}
