//! From route to handler.

use serde_json::{Value, json};

use crate::emulator::reply::{Answer, Refusal, Reply};
use crate::emulator::route::Route;
use crate::emulator::server::Call;
use crate::emulator::{
    callback, channels, commands, edit, followups, guilds, messages, pins, reactions, threads,
};

/// Carries a request out.
pub(crate) async fn carry_out(call: &mut Call<'_>, route: Route) -> Answer {
    match route {
        Route::Gateway => Ok(Reply::Ok(json!({"url": guilds::gateway_url(call.app)}))),
        Route::GatewayBot => Ok(guilds::gateway_bot(call.app)),
        Route::Me => guilds::me(call),
        Route::MyGuilds => guilds::mine(call),
        Route::User(user) => guilds::user(call, user),
        Route::MyApplication => guilds::application(call),
        Route::Guild(guild) => guilds::get(call, guild),
        Route::GuildRoles(guild) => guilds::roles(call, guild),
        Route::GuildMember(guild, user) => guilds::member(call, guild, user),
        Route::RefreshUrls => guilds::refresh_urls(call).await,
        Route::GuildChannels(guild) => channels::list(call, guild),
        Route::CreateChannel(guild) => channels::create(call, guild).await,
        Route::Channel(channel) => channels::get(call, channel),
        Route::EditChannel(channel) => channels::edit(call, channel).await,
        Route::DeleteChannel(channel) => channels::delete(call, channel),
        Route::PutOverwrite(channel, whom) => channels::put_overwrite(call, channel, whom).await,
        Route::DeleteOverwrite(channel, whom) => channels::delete_overwrite(call, channel, whom),
        Route::Typing(channel) => channels::typing(call, channel),
        Route::Messages(channel) => messages::list(call, channel),
        Route::CreateMessage(channel) => messages::create(call, channel).await,
        Route::BulkDelete(channel) => edit::bulk_delete(call, channel).await,
        Route::Message(channel, id) => messages::get(call, channel, id),
        Route::EditMessage(channel, id) => edit::edit(call, channel, id).await,
        Route::DeleteMessage(channel, id) => edit::delete(call, channel, id),
        Route::Pins(channel) => pins::list(call, channel),
        Route::OldPins(channel) => pins::list_old(call, channel),
        Route::Pin(channel, id) => pins::pin(call, channel, id),
        Route::Unpin(channel, id) => pins::unpin(call, channel, id),
        Route::Reactions(channel, id, emoji) => reactions::list(call, channel, id, &emoji),
        Route::React(channel, id, emoji) => reactions::add(call, channel, id, &emoji),
        Route::Unreact(channel, id, emoji, user) => {
            reactions::remove(call, channel, id, &emoji, user)
        }
        Route::ClearReactions(channel, id, emoji) => {
            reactions::clear(call, channel, id, emoji.as_deref())
        }
        Route::ThreadFromMessage(channel, id) => threads::from_message(call, channel, id).await,
        Route::CreateThread(channel) => threads::create(call, channel).await,
        Route::ActiveThreads(guild) => threads::active(call, guild),
        Route::ArchivedThreads(channel, which) => threads::archived(call, channel, which),
        Route::ThreadMembers(thread) => threads::members(call, thread),
        Route::ThreadMember(thread, user) => threads::member(call, thread, user),
        Route::JoinThread(thread, user) => threads::join(call, thread, user),
        Route::LeaveThread(thread, user) => threads::leave(call, thread, user),
        Route::Commands(place) => commands::list(call, place),
        Route::CreateCommand(place) => commands::create(call, place).await,
        Route::PutCommands(place) => commands::overwrite(call, place).await,
        Route::Command(place, id) => commands::get(call, place, id),
        Route::EditCommand(place, id) => commands::edit(call, place, id).await,
        Route::DeleteCommand(place, id) => commands::delete(call, place, id),
        Route::Callback(id, token) => callback::answer(call, id, &token).await,
        Route::Followup(hook) => followups::create(call, &hook).await,
        Route::FollowedUp(hook, message) => followups::get(call, &hook, message),
        Route::EditFollowup(hook, message) => followups::edit(call, &hook, message).await,
        Route::DeleteFollowup(hook, message) => followups::delete(call, &hook, message),
    }
}

/// A JSON body that must be an object.
pub(crate) async fn json_object(call: &mut Call<'_>) -> Result<Value, Refusal> {
    match parsed(call).await? {
        value @ Value::Object(_) => Ok(value),
        _ => Err(crate::emulator::reply::wrong(
            "",
            "DICT_TYPE_CONVERT",
            "Only dictionaries may be used in a DictType",
        )),
    }
}

/// A JSON body that must be a list.
pub(crate) async fn json_list(call: &mut Call<'_>) -> Result<Vec<Value>, Refusal> {
    match parsed(call).await? {
        Value::Array(all) => Ok(all),
        _ => Err(crate::emulator::reply::wrong(
            "",
            "LIST_TYPE_CONVERT",
            "Only iterables may be used in a ListType",
        )),
    }
}

async fn parsed(call: &mut Call<'_>) -> Result<Value, Refusal> {
    let bytes = call.payload.bytes().await?;
    let kind = call.content_type.as_deref().unwrap_or("");
    if !kind.starts_with("application/json") {
        return Err(wrong_content_type());
    }
    serde_json::from_slice(&bytes).map_err(|_| Refusal::InvalidJson)
}

pub(crate) fn wrong_content_type() -> Refusal {
    crate::emulator::reply::wrong(
        "",
        "CONTENT_TYPE_INVALID",
        "Expected \"Content-Type\" header to be one of {'application/json'}.",
    )
}

/// A query parameter that is a number between two others.
pub(crate) fn limit(call: &Call<'_>, min: u64, max: u64, default: u64) -> Result<usize, Refusal> {
    let Some(text) = call.param("limit") else {
        return Ok(usize::try_from(default).unwrap_or(0));
    };
    let number = text
        .parse::<u64>()
        .ok()
        .filter(|number| (min..=max).contains(number));
    let Some(number) = number else {
        let message = format!("int value should be between {min} and {max}.");
        return Err(crate::emulator::reply::wrong(
            "limit",
            "NUMBER_TYPE_RANGE",
            &message,
        ));
    };
    Ok(usize::try_from(number).unwrap_or(0))
}
