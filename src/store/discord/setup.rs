//! Gets a server ready for a drive: is the token good, where is the bot, what may it do there.

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use twilight_http::routing::Route;
use twilight_model::{
    channel::ChannelType,
    guild::Permissions,
    id::{
        Id,
        marker::{GuildMarker, RoleMarker, UserMarker},
    },
};

use super::{
    answer::Fail,
    deed::Deed,
    guild::{RawChannel, RawGuild, RawMember},
    limiter::Lane,
    permissions::Role,
    settings::Settings,
    transport::{Ask, Transport, parse},
};
use crate::store::Error;

pub use super::guild::Channels;
pub use super::permissions::{NEEDS, Need, PERMISSIONS, Purpose};

/// Name of the channel with the archives' cards, where ods makes it.
pub const ARCHIVES_NAME: &str = "ods-archives";
/// Name of the journal's channel, where ods makes it.
pub const JOURNAL_NAME: &str = "ods-journal";

/// Servers on one page, the most that Discord gives; a bot of one drive is in a few.
const GUILDS_MAX: u16 = 200;

/// Asks and prepares; keeps nothing.
#[derive(Debug)]
pub struct Setup {
    transport: Transport,
}

/// The bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bot {
    /// Its user id, which is also its application's.
    pub user: u64,
    /// Its name.
    pub name: String,
}

impl Bot {
    /// The address at which a person lets the bot into a server, with exactly [`PERMISSIONS`].
    #[must_use]
    pub fn invite(&self) -> String {
        format!(
            "https://discord.com/oauth2/authorize?client_id={}&scope=bot%20applications.commands&permissions={PERMISSIONS}",
            self.user
        )
    }
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guild {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// 0..=3.
    pub boost_tier: u8,
    /// The largest attachment that such a server takes, in bytes, as far as is known.
    pub attachment_bytes_max: u64,
    /// Whose it is.
    pub(super) owner: u64,
    pub(super) roles: Vec<Role>,
}

/// Who sees a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// The bot, and who manages the server.
    Private,
    /// Whoever the server's own settings let.
    AsTheServerSays,
}

/// A channel for a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Who sees it.
    pub audience: Audience,
    /// Was it made just now?
    pub is_new: bool,
}

#[derive(Deserialize)]
pub(super) struct RawUser {
    id: Id<UserMarker>,
    username: String,
}

#[derive(Deserialize)]
pub(super) struct RawGuildName {
    id: Id<GuildMarker>,
    name: String,
}

impl Setup {
    /// Begins; of the settings, server and channels are not used.
    ///
    /// # Errors
    /// [`Error::Broken`] when no HTTP client can be made.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let transport = Transport::new(settings)?;
        Ok(Self { transport })
    }

    /// Who the token is for.
    ///
    /// # Errors
    /// [`Error::NotAccepted`] when Discord does not accept the token; [`Error::Unavailable`].
    pub async fn bot(&self) -> Result<Bot, Error> {
        let user: RawUser = self
            .read("GET me", 0, &Route::GetCurrentUser, "the bot's own user")
            .await?;
        Ok(Bot {
            user: user.id.get(),
            name: user.username,
        })
    }

    /// Seconds that this machine's clock is ahead of Discord's, by the last answer; behind it negative.
    #[must_use]
    pub fn clock_skew_s(&self) -> Option<i64> {
        self.transport.skew.ahead_s()
    }

    /// The servers the bot is in: id and name.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unavailable`].
    pub async fn guilds(&self) -> Result<Vec<(u64, String)>, Error> {
        let route = Route::GetGuilds {
            after: None,
            before: None,
            limit: Some(GUILDS_MAX),
            shard: None,
        };
        let guilds: Vec<RawGuildName> = self
            .read("GET guilds", 0, &route, "the bot's servers")
            .await?;
        let guilds = guilds.into_iter();
        Ok(guilds.map(|guild| (guild.id.get(), guild.name)).collect())
    }

    /// A server's name and what it takes.
    ///
    /// # Errors
    /// [`Error::Missing`] or [`Error::Refused`] when the bot is not in it; [`Error::Unavailable`].
    pub async fn guild(&self, guild: u64) -> Result<Guild, Error> {
        let route = Route::GetGuild {
            guild_id: guild,
            with_counts: false,
        };
        let place = format!("server {guild}");
        let raw: RawGuild = self.read("GET guild", guild, &route, &place).await?;
        Ok(raw.into())
    }

    /// A server's channels.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Unavailable`].
    pub async fn channels(&self, guild: u64) -> Result<Channels, Error> {
        let route = Route::GetChannels { guild_id: guild };
        let place = format!("the channels of server {guild}");
        let all = self.read("GET channels", guild, &route, &place).await?;
        Ok(Channels { guild, all })
    }

    /// Finds the channel for this purpose by its name, or makes it. The journal's is made for the bot
    /// alone where the bot may do that.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is none and the bot may not make one; [`Error::Unavailable`].
    pub async fn channel(&self, guild: u64, purpose: Purpose) -> Result<Channel, Error> {
        let deadline = self.transport.deadline();
        let (bot, name) = (self.bot().await?, purpose.channel_name());
        let mut audience = match purpose {
            Purpose::Journal => Audience::Private,
            Purpose::Archives => Audience::AsTheServerSays,
        };
        let mut backoff = self.transport.backoff();
        loop {
            // Looks before each attempt: one whose answer was lost may have made it.
            if let Some(found) = self.channels(guild).await?.find(purpose) {
                return Ok(found);
            }
            let ask = self.creation(guild, bot.user, name, audience).await?;
            let made = self.transport.attempt(&ask, deadline, backoff.next).await;
            match made {
                Ok(body) => {
                    let made: RawChannel = parse(&body)?;
                    return Ok(Channel {
                        is_new: true,
                        ..made.shown(guild, name)
                    });
                }
                Err(Fail::Limited) => backoff.grow(),
                Err(Fail::Unclear(why)) => {
                    let paused = backoff.pause(why, deadline).await;
                    paused.map_err(|fail| fail.error(&ask.deed))?;
                }
                Err(Fail::Said(said)) if said.status == 403 && audience == Audience::Private => {
                    audience = Audience::AsTheServerSays;
                }
                Err(fail) => return Err(fail.error(&ask.deed)),
            }
        }
    }

    /// What ods needs in some channels and the bot may not do there, with three requests in all. Empty
    /// is good.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is no such channel; [`Error::Refused`], [`Error::Unavailable`].
    pub async fn missing(
        &self,
        guild: u64,
        places: &[(u64, Purpose)],
    ) -> Result<Vec<(Purpose, Need)>, Error> {
        let channels = self.channels(guild).await?;
        let guild = self.guild(guild).await?;
        self.missing_in(&guild, &channels, places).await
    }

    /// The same with one request, where server and channels were asked for already.
    ///
    /// # Errors
    /// As [`Setup::missing`].
    pub async fn missing_in(
        &self,
        guild: &Guild,
        channels: &Channels,
        places: &[(u64, Purpose)],
    ) -> Result<Vec<(Purpose, Need)>, Error> {
        let user = match self.transport.settings().token.user() {
            Some(user) => user,
            None => self.bot().await?.user,
        };
        let own = self.roles(guild.id, user).await?;
        let mut missing = Vec::new();
        for (channel, purpose) in places {
            let found = channels.by_id(*channel).ok_or_else(|| Error::Missing {
                what: format!("{} ({channel}) in server {}", purpose.named(), guild.id),
            })?;
            let may = guild
                .member(user, &own)
                .in_channel(&found.permission_overwrites);
            let needs = purpose.needs().iter().copied();
            let lacks = needs.filter(|need| may.bits() & need.bit == 0);
            missing.extend(lacks.map(|need| (*purpose, need)));
        }
        Ok(missing)
    }

    async fn creation(
        &self,
        guild: u64,
        user: u64,
        name: &str,
        audience: Audience,
    ) -> Result<Ask, Error> {
        let topic = match name {
            JOURNAL_NAME => {
                "The journal of an ods drive. Nothing here is for reading; removing anything damages the drive."
            }
            _ => {
                "The archives of an ods drive. Removing a card's thread removes what the archive holds."
            }
        };
        let mut payload = json!({ "name": name, "type": ChannelType::GuildText, "topic": topic });
        if audience == Audience::Private {
            // Only what the bot has itself may be given in an overwrite.
            let (own, server) = (self.roles(guild, user).await?, self.guild(guild).await?);
            let needed = Purpose::Journal.needs().iter();
            let needed = needed.fold(0, |bits, need| bits | need.bit);
            let given = server.member(user, &own).in_guild().bits() & needed;
            payload["permission_overwrites"] = json!([
                { "id": guild.to_string(), "type": 0, "allow": "0",
                  "deny": Permissions::VIEW_CHANNEL.bits().to_string() },
                { "id": user.to_string(), "type": 1, "allow": given.to_string(), "deny": "0" },
            ]);
        }
        let lane = Lane {
            kind: "POST channels",
            major: guild,
        };
        let deed = Deed::new(
            "make a channel in",
            format!("server {guild}"),
            "Manage Channels",
        );
        let route = Route::CreateChannel { guild_id: guild };
        Ask::json(lane, &route, &payload, deed)
    }

    /// The roles that a user has in a server.
    async fn roles(&self, guild_id: u64, user_id: u64) -> Result<Vec<Id<RoleMarker>>, Error> {
        let route = Route::GetMember { guild_id, user_id };
        let place = format!("the bot's roles in server {guild_id}");
        let member: RawMember = self.read("GET member", guild_id, &route, &place).await?;
        Ok(member.roles)
    }

    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        kind: &'static str,
        major: u64,
        route: &Route<'_>,
        place: &str,
    ) -> Result<T, Error> {
        let deed = Deed::new("read", place, "View Channel");
        let ask = Ask::new(Lane { kind, major }, route, deed);
        let deadline: Instant = self.transport.deadline();
        self.transport.read(&ask, deadline).await
    }
}
