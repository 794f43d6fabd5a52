//! Which window each route counts against.

use crate::emulator::app::App;
use crate::emulator::ratelimit::{Bucket, Limiter};
use crate::emulator::reply::Refusal;
use crate::emulator::route::Route;
use crate::emulator::settings::{RouteLimit, RouteLimits};
use crate::emulator::snowflake::Snowflake;

const HOUR_MS: u64 = 3_600_000;
const FOURTEEN_DAYS_MS: u64 = 14 * 24 * HOUR_MS;
const TEN_SECONDS_MS: u64 = 10_000;

/// The bucket of a route and its limit, for routes that have one.
pub(crate) fn bucket(
    app: &App,
    route: &Route,
    limits: &RouteLimits,
    now_ms: u64,
) -> Option<(Bucket, RouteLimit)> {
    let (name, major, limit) = match route {
        Route::CreateMessage(channel) => ("create message", Some(*channel), limits.create_message),
        Route::EditMessage(channel, _) => ("edit message", Some(*channel), limits.edit_message),
        Route::Messages(channel) => ("list messages", Some(*channel), limits.list_messages),
        Route::Message(channel, _) => ("get message", Some(*channel), limits.get_message),
        Route::DeleteMessage(channel, id) => match age_ms(app, *channel, *id, now_ms) {
            Some(TEN_SECONDS_MS..FOURTEEN_DAYS_MS) => {
                ("delete message", Some(*channel), limits.delete_message)
            }
            Some(FOURTEEN_DAYS_MS..) => (
                "delete old message",
                Some(*channel),
                limits.delete_old_message,
            ),
            _ => (
                "delete new message",
                Some(*channel),
                limits.delete_new_message,
            ),
        },
        Route::BulkDelete(channel) => ("bulk delete", Some(*channel), limits.bulk_delete),
        Route::React(channel, ..)
        | Route::Unreact(channel, ..)
        | Route::ClearReactions(channel, ..) => ("reactions", Some(*channel), limits.reactions),
        Route::Pin(channel, _) | Route::Unpin(channel, _) => ("pin", Some(*channel), limits.pin),
        Route::Pins(channel) => ("list pins", Some(*channel), limits.list_pins),
        Route::OldPins(channel) => ("list pins, old", Some(*channel), limits.list_pins_old),
        Route::ThreadFromMessage(..) | Route::CreateThread(_) => {
            ("create thread", None, limits.create_thread)
        }
        Route::JoinThread(..) | Route::LeaveThread(..) => {
            ("thread members", None, limits.thread_members)
        }
        Route::Typing(channel) => ("typing", Some(*channel), limits.typing),
        Route::RefreshUrls => ("refresh urls", None, limits.refresh_urls),
        Route::PutCommands(_) => ("put commands", None, limits.overwrite_commands),
        Route::CreateCommand(_) | Route::EditCommand(..) | Route::DeleteCommand(..) => {
            ("change command", None, limits.change_command)
        }
        Route::Followup(hook)
        | Route::FollowedUp(hook, _)
        | Route::EditFollowup(hook, _)
        | Route::DeleteFollowup(hook, _) => {
            let interaction = app.desk().by_token(&hook.token).map(|one| one.id)?;
            ("followup", Some(interaction), limits.followup)
        }
        _ => return None,
    };
    Some((Bucket { name, major }, limit))
}

/// Counts a request against the limits that no header tells of.
pub(crate) fn hidden(
    app: &App,
    limiter: &mut Limiter,
    user: Snowflake,
    route: &Route,
    limits: &RouteLimits,
    now_ms: u64,
) -> Result<(), Refusal> {
    let (name, channel, limit, code) = match route {
        Route::EditMessage(channel, id)
            if age_ms(app, *channel, *id, now_ms).is_some_and(|age| age > HOUR_MS) =>
        {
            ("edit old message", *channel, limits.edit_old_message, 30046)
        }
        Route::DeleteMessage(channel, id)
            if age_ms(app, *channel, *id, now_ms).is_some_and(|age| age >= FOURTEEN_DAYS_MS) =>
        {
            ("delete new message", *channel, limits.delete_new_message, 0)
        }
        _ => return Ok(()),
    };
    let major = Some(channel);
    limiter.take_hidden(user, Bucket { name, major }, limit, code, now_ms)
}

fn age_ms(app: &App, channel: Snowflake, message: Snowflake, now_ms: u64) -> Option<u64> {
    let world = app.world();
    let found = world.message(channel, message).ok()?;
    Some(now_ms.saturating_sub(found.id.created_ms()))
}
