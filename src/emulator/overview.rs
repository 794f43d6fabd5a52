//! What a person finds in the guild: channels and threads, people and roles, commands.

use serde_json::{Value, json};

use crate::emulator::app::App;
use crate::emulator::commands;
use crate::emulator::invoke;
use crate::emulator::model::{Channel, UserKind};
use crate::emulator::permissions::bits;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::view;

/// `GET /_control/people/{user}/overview`
pub(crate) fn of(app: &App, user: Snowflake) -> Result<Value, String> {
    let world = app.world();
    if !world.members.contains_key(&user) {
        return Err(format!("no such person: {user}"));
    }
    let view = app.view(&world, user);
    let is_seen = |channel: &&Channel| world.permissions(user, channel) & bits::VIEW_CHANNEL != 0;
    let all = world.rooms.values().map(|room| &room.channel);
    let (mut threads, mut channels): (Vec<&Channel>, Vec<&Channel>) = all
        .filter(is_seen)
        .partition(|channel| channel.thread.is_some());
    channels.sort_by_key(|channel| (channel.position, channel.id));
    // The threads with the newest messages first.
    threads.sort_by_key(|one| std::cmp::Reverse(one.last_message.unwrap_or(one.id)));
    let people = world
        .users
        .values()
        .map(|one| json!({"id": one.id, "name": one.name, "bot": one.kind == UserKind::Bot}));
    let usable = world
        .commands
        .values()
        .filter(|command| invoke::is_allowed(&world, user, command));
    Ok(json!({
        "guild": {"id": world.identity.guild, "name": world.guild.name},
        "people": people.collect::<Vec<_>>(),
        "roles": world.roles.values().map(view::role).collect::<Vec<_>>(),
        "channels": channels.iter().map(|one| view.channel(one)).collect::<Vec<_>>(),
        "threads": threads.iter().map(|one| view.channel(one)).collect::<Vec<_>>(),
        "commands": usable.map(|one| commands::view(&world, one)).collect::<Vec<_>>(),
        "applications": app.hub.connected(world.identity.bot),
        "attachment_bytes_max": app.limits().attachment_bytes_max(world.guild.premium_tier),
    }))
}
