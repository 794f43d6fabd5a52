//! Every route of the API: method and path to what it means, and the template it is counted by.

use crate::emulator::snowflake::Snowflake;

/// A request of the API, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Gateway,
    GatewayBot,
    Me,
    MyGuilds,
    User(Snowflake),
    MyApplication,
    RefreshUrls,
    Guild(Snowflake),
    GuildChannels(Snowflake),
    CreateChannel(Snowflake),
    GuildRoles(Snowflake),
    GuildMember(Snowflake, Option<Snowflake>),
    ActiveThreads(Snowflake),
    Channel(Snowflake),
    EditChannel(Snowflake),
    DeleteChannel(Snowflake),
    PutOverwrite(Snowflake, Snowflake),
    DeleteOverwrite(Snowflake, Snowflake),
    Typing(Snowflake),
    Messages(Snowflake),
    CreateMessage(Snowflake),
    BulkDelete(Snowflake),
    Message(Snowflake, Snowflake),
    EditMessage(Snowflake, Snowflake),
    DeleteMessage(Snowflake, Snowflake),
    Pins(Snowflake),
    OldPins(Snowflake),
    Pin(Snowflake, Snowflake),
    Unpin(Snowflake, Snowflake),
    Reactions(Snowflake, Snowflake, String),
    React(Snowflake, Snowflake, String),
    Unreact(Snowflake, Snowflake, String, Option<Snowflake>),
    ClearReactions(Snowflake, Snowflake, Option<String>),
    ThreadFromMessage(Snowflake, Snowflake),
    CreateThread(Snowflake),
    ArchivedThreads(Snowflake, Privacy),
    ThreadMembers(Snowflake),
    ThreadMember(Snowflake, Option<Snowflake>),
    JoinThread(Snowflake, Option<Snowflake>),
    LeaveThread(Snowflake, Option<Snowflake>),
    Commands(Registry),
    CreateCommand(Registry),
    PutCommands(Registry),
    Command(Registry, Snowflake),
    EditCommand(Registry, Snowflake),
    DeleteCommand(Registry, Snowflake),
    /// Interaction and its token.
    Callback(Snowflake, String),
    Followup(Hook),
    /// A message that answers an interaction; none is the first answer.
    FollowedUp(Hook, Option<Snowflake>),
    EditFollowup(Hook, Option<Snowflake>),
    DeleteFollowup(Hook, Option<Snowflake>),
}

impl Route {
    /// Is the path itself the proof of who asks?
    pub(crate) fn is_open(&self) -> bool {
        matches!(
            self,
            Self::Gateway
                | Self::Callback(..)
                | Self::Followup(_)
                | Self::FollowedUp(..)
                | Self::EditFollowup(..)
                | Self::DeleteFollowup(..)
        )
    }
}

/// Where commands are registered: in one guild, or in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registry {
    pub(crate) application: Snowflake,
    pub(crate) guild: Option<Snowflake>,
}

/// The webhook an interaction opens for its followups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) application: Snowflake,
    pub(crate) token: String,
}

/// Which archived threads are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privacy {
    Public,
    Private,
    /// Private ones that the user has joined; paged by id.
    Joined,
}

/// What a method and path come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A route, and its template such as `GET /channels/{channel_id}`.
    Route(Route, String),
    /// The path exists, but not with this method.
    WrongMethod,
    Nothing,
}

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Looks a request up. `path` is what follows `/api/v10`.
pub(crate) fn find(method: &str, path: &str) -> Found {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    if let Some(route) = parse(method, &segments) {
        return Found::Route(route, format!("{method} {}", template(&segments)));
    }
    if METHODS
        .iter()
        .any(|other| parse(other, &segments).is_some())
    {
        Found::WrongMethod
    } else {
        Found::Nothing
    }
}

fn parse(method: &str, segments: &[&str]) -> Option<Route> {
    match segments {
        ["channels", channel, rest @ ..] => parse_channel(method, id(channel)?, rest),
        ["guilds", guild, rest @ ..] => parse_guild(method, id(guild)?, rest),
        ["applications", application, rest @ ..] if *application != "@me" => {
            parse_application(method, id(application)?, rest)
        }
        ["webhooks", application, token, rest @ ..] => {
            let (application, token) = (id(application)?, (*token).to_owned());
            parse_webhook(method, Hook { application, token }, rest)
        }
        ["interactions", interaction, token, "callback"] if method == "POST" => {
            Some(Route::Callback(id(interaction)?, (*token).to_owned()))
        }
        _ => Some(match (method, segments) {
            ("GET", ["gateway"]) => Route::Gateway,
            ("GET", ["gateway", "bot"]) => Route::GatewayBot,
            ("GET", ["users", "@me"]) => Route::Me,
            ("GET", ["users", "@me", "guilds"]) => Route::MyGuilds,
            ("GET", ["users", user]) => Route::User(id(user)?),
            ("GET", ["applications", "@me"] | ["oauth2", "applications", "@me"]) => {
                Route::MyApplication
            }
            ("POST", ["attachments", "refresh-urls"]) => Route::RefreshUrls,
            _ => return None,
        }),
    }
}

fn parse_guild(method: &str, guild: Snowflake, rest: &[&str]) -> Option<Route> {
    Some(match (method, rest) {
        ("GET", []) => Route::Guild(guild),
        ("GET", ["channels"]) => Route::GuildChannels(guild),
        ("POST", ["channels"]) => Route::CreateChannel(guild),
        ("GET", ["roles"]) => Route::GuildRoles(guild),
        ("GET", ["members", user]) => Route::GuildMember(guild, id_or_me(user)?),
        ("GET", ["threads", "active"]) => Route::ActiveThreads(guild),
        _ => return None,
    })
}

fn parse_application(method: &str, application: Snowflake, rest: &[&str]) -> Option<Route> {
    let (guild, rest) = match rest {
        ["guilds", guild, "commands", rest @ ..] => (Some(id(guild)?), rest),
        ["commands", rest @ ..] => (None, rest),
        _ => return None,
    };
    let place = Registry { application, guild };
    Some(match (method, rest) {
        ("GET", []) => Route::Commands(place),
        ("POST", []) => Route::CreateCommand(place),
        ("PUT", []) => Route::PutCommands(place),
        ("GET", [command]) => Route::Command(place, id(command)?),
        ("PATCH", [command]) => Route::EditCommand(place, id(command)?),
        ("DELETE", [command]) => Route::DeleteCommand(place, id(command)?),
        _ => return None,
    })
}

fn parse_webhook(method: &str, hook: Hook, rest: &[&str]) -> Option<Route> {
    let message = match rest {
        [] if method == "POST" => return Some(Route::Followup(hook)),
        ["messages", "@original"] => None,
        ["messages", message] => Some(id(message)?),
        _ => return None,
    };
    Some(match method {
        "GET" => Route::FollowedUp(hook, message),
        "PATCH" => Route::EditFollowup(hook, message),
        "DELETE" => Route::DeleteFollowup(hook, message),
        _ => return None,
    })
}

fn parse_channel(method: &str, channel: Snowflake, rest: &[&str]) -> Option<Route> {
    Some(match (method, rest) {
        ("GET", []) => Route::Channel(channel),
        ("PATCH", []) => Route::EditChannel(channel),
        ("DELETE", []) => Route::DeleteChannel(channel),
        ("PUT", ["permissions", whom]) => Route::PutOverwrite(channel, id(whom)?),
        ("DELETE", ["permissions", whom]) => Route::DeleteOverwrite(channel, id(whom)?),
        ("POST", ["typing"]) => Route::Typing(channel),
        ("POST", ["threads"]) => Route::CreateThread(channel),
        ("GET", ["threads", "archived", "public"]) => {
            Route::ArchivedThreads(channel, Privacy::Public)
        }
        ("GET", ["threads", "archived", "private"]) => {
            Route::ArchivedThreads(channel, Privacy::Private)
        }
        ("GET", ["users", "@me", "threads", "archived", "private"]) => {
            Route::ArchivedThreads(channel, Privacy::Joined)
        }
        ("GET", ["thread-members"]) => Route::ThreadMembers(channel),
        ("GET", ["thread-members", user]) => Route::ThreadMember(channel, id_or_me(user)?),
        ("PUT", ["thread-members", user]) => Route::JoinThread(channel, id_or_me(user)?),
        ("DELETE", ["thread-members", user]) => Route::LeaveThread(channel, id_or_me(user)?),
        ("GET", ["pins"]) => Route::OldPins(channel),
        ("PUT", ["pins", message]) => Route::Pin(channel, id(message)?),
        ("DELETE", ["pins", message]) => Route::Unpin(channel, id(message)?),
        (_, ["messages", rest @ ..]) => return parse_message(method, channel, rest),
        _ => return None,
    })
}

fn parse_message(method: &str, channel: Snowflake, rest: &[&str]) -> Option<Route> {
    Some(match (method, rest) {
        ("GET", []) => Route::Messages(channel),
        ("POST", []) => Route::CreateMessage(channel),
        ("POST", ["bulk-delete"]) => Route::BulkDelete(channel),
        ("GET", ["pins"]) => Route::Pins(channel),
        ("PUT", ["pins", message]) => Route::Pin(channel, id(message)?),
        ("DELETE", ["pins", message]) => Route::Unpin(channel, id(message)?),
        ("GET", [message]) => Route::Message(channel, id(message)?),
        ("PATCH", [message]) => Route::EditMessage(channel, id(message)?),
        ("DELETE", [message]) => Route::DeleteMessage(channel, id(message)?),
        ("POST", [message, "threads"]) => Route::ThreadFromMessage(channel, id(message)?),
        ("DELETE", [message, "reactions"]) => Route::ClearReactions(channel, id(message)?, None),
        ("GET", [message, "reactions", emoji]) => {
            Route::Reactions(channel, id(message)?, decode(emoji))
        }
        ("DELETE", [message, "reactions", emoji]) => {
            Route::ClearReactions(channel, id(message)?, Some(decode(emoji)))
        }
        ("PUT", [message, "reactions", emoji, "@me"]) => {
            Route::React(channel, id(message)?, decode(emoji))
        }
        ("DELETE", [message, "reactions", emoji, user]) => {
            Route::Unreact(channel, id(message)?, decode(emoji), id_or_me(user)?)
        }
        _ => return None,
    })
}

fn id(segment: &str) -> Option<Snowflake> {
    segment.parse().ok()
}

fn id_or_me(segment: &str) -> Option<Option<Snowflake>> {
    if segment == "@me" {
        Some(None)
    } else {
        id(segment).map(Some)
    }
}

/// The path as the documentation writes it.
fn template(segments: &[&str]) -> String {
    let mut text = String::new();
    let mut before = "";
    for (at, segment) in segments.iter().enumerate() {
        text.push('/');
        let numeric = segment.bytes().all(|byte| byte.is_ascii_digit());
        text.push_str(match before {
            _ if at == 2 && segments[0] == "webhooks" => "{webhook_token}",
            _ if at == 2 && segments[0] == "interactions" => "{interaction_token}",
            "webhooks" => "{webhook_id}",
            "interactions" => "{interaction_id}",
            "applications" if numeric => "{application_id}",
            "commands" if numeric => "{command_id}",
            "reactions" => "{emoji_name}",
            "channels" if numeric => "{channel_id}",
            "guilds" if numeric => "{guild_id}",
            "messages" | "pins" if numeric => "{message_id}",
            "permissions" if numeric => "{overwrite_id}",
            _ if numeric => "{user_id}",
            _ => segment,
        });
        before = segment;
    }
    text
}

/// Undoes percent encoding.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = tail
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A query string or form as pairs.
pub(crate) fn pairs(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let split = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let plain = |text: &str| decode(&text.replace('+', " "));
    split
        .map(|(key, value)| (plain(key), plain(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_understood_and_named() {
        let found = find("POST", "/channels/7/messages/8/threads");
        let route = Route::ThreadFromMessage(Snowflake(7), Snowflake(8));
        let name = "POST /channels/{channel_id}/messages/{message_id}/threads";
        assert_eq!(found, Found::Route(route, name.to_owned()));
        assert_eq!(find("PUT", "/channels/7"), Found::WrongMethod);
        assert_eq!(find("GET", "/channels/x"), Found::Nothing);
        let found = find("PUT", "/channels/7/messages/8/reactions/%F0%9F%91%8D/@me");
        let route = Route::React(Snowflake(7), Snowflake(8), "\u{1f44d}".to_owned());
        let name = "PUT /channels/{channel_id}/messages/{message_id}/reactions/{emoji_name}/@me";
        assert_eq!(found, Found::Route(route, name.to_owned()));
    }
}
