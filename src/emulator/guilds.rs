//! The guild, its members and roles, the user itself, and fresh URLs.

use serde_json::{Value, json};

use crate::emulator::app::App;
use crate::emulator::dispatch;
use crate::emulator::reply::{Answer, Refusal, Reply, wrong};
use crate::emulator::route;
use crate::emulator::server::Call;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::view;

const REFRESHED_URLS_MAX: usize = 50;
const SESSION_STARTS: u64 = 1000;
const DAY_MS: u64 = 86_400_000;

pub(crate) fn gateway_url(app: &App) -> String {
    format!("{}/gateway", app.signer.base().replacen("http", "ws", 1))
}

/// `GET /gateway/bot`
pub(crate) fn gateway_bot(app: &App) -> Reply {
    let begun = app.counts().gateway_sessions;
    Reply::Ok(json!({
        "url": gateway_url(app),
        "shards": 1,
        "session_start_limit": {
            "total": SESSION_STARTS,
            "remaining": SESSION_STARTS.saturating_sub(begun),
            "reset_after": DAY_MS,
            "max_concurrency": 1,
        },
    }))
}

/// `GET /users/@me`
pub(crate) fn me(call: &Call<'_>) -> Answer {
    let world = call.app.world();
    let me = call.app.view(&world, call.user).me();
    me.map(Reply::Ok).ok_or(Refusal::UnknownUser)
}

/// `GET /users/{user_id}`
pub(crate) fn user(call: &Call<'_>, id: Snowflake) -> Answer {
    let world = call.app.world();
    let user = world.users.get(&id).map(view::user);
    user.map(Reply::Ok).ok_or(Refusal::UnknownUser)
}

/// `GET /users/@me/guilds`
pub(crate) fn mine(call: &Call<'_>) -> Answer {
    let world = call.app.world();
    let here = world.members.contains_key(&call.user);
    let guild = here.then(|| call.app.view(&world, call.user).my_guild());
    Ok(Reply::Ok(guild.into_iter().collect()))
}

/// `GET /applications/@me` and `GET /oauth2/applications/@me`
pub(crate) fn application(call: &Call<'_>) -> Answer {
    let world = call.app.world();
    if call.user != world.identity.bot {
        return Err(Refusal::Unauthorized);
    }
    Ok(Reply::Ok(call.app.view(&world, call.user).application()))
}

/// `GET /guilds/{guild_id}`
pub(crate) fn get(call: &Call<'_>, id: Snowflake) -> Answer {
    let world = call.app.world();
    world.allowed_in_guild(call.user, id, 0)?;
    let mut guild = call.app.view(&world, call.user).guild();
    if call.param("with_counts") == Some("true") {
        guild["approximate_member_count"] = json!(world.members.len());
        guild["approximate_presence_count"] = json!(1);
    }
    Ok(Reply::Ok(guild))
}

/// `GET /guilds/{guild_id}/roles`
pub(crate) fn roles(call: &Call<'_>, id: Snowflake) -> Answer {
    let world = call.app.world();
    world.allowed_in_guild(call.user, id, 0)?;
    Ok(Reply::Ok(world.roles.values().map(view::role).collect()))
}

/// `GET /guilds/{guild_id}/members/{user_id}`
pub(crate) fn member(call: &Call<'_>, guild: Snowflake, user: Option<Snowflake>) -> Answer {
    let world = call.app.world();
    world.allowed_in_guild(call.user, guild, 0)?;
    let member = world.members.get(&user.unwrap_or(call.user));
    let view = call.app.view(&world, call.user);
    member
        .map(|one| Reply::Ok(view.member(one)))
        .ok_or(Refusal::UnknownMember)
}

/// `POST /attachments/refresh-urls`: undocumented, known to work for bots.
pub(crate) async fn refresh_urls(call: &mut Call<'_>) -> Answer {
    let body = dispatch::json_object(call).await?;
    let urls = body["attachment_urls"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    if !(1..=REFRESHED_URLS_MAX).contains(&urls.len()) {
        let message = format!("Must be between 1 and {REFRESHED_URLS_MAX} in length.");
        return Err(wrong("attachment_urls", "BASE_TYPE_BAD_LENGTH", &message));
    }
    let refreshed: Value = urls
        .iter()
        .map(|url| {
            let original = url.as_str().unwrap_or_default();
            json!({"original": original, "refreshed": refresh(call.app, original)})
        })
        .collect();
    Ok(Reply::Ok(json!({"refreshed_urls": refreshed})))
}

/// The URL signed anew, on this emulator's own address; other parameters stay.
fn refresh(app: &App, original: &str) -> String {
    let (url, query) = original.split_once('?').unwrap_or((original, ""));
    let Some(start) = url.find("/attachments/") else {
        return original.to_owned();
    };
    let path = &url[start..];
    let signed = app
        .signer
        .query(path, app.now_ms(), app.limits().url_lifetime_s);
    let kept = route::pairs(query).into_iter();
    let kept = kept.filter(|(key, _)| !["ex", "is", "hm"].contains(&key.as_str()));
    let kept: String = kept.map(|(key, value)| format!("{key}={value}&")).collect();
    format!("{}{path}?{kept}{signed}", app.signer.base())
}
