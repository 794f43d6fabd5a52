//! The first day of a guild: its users, roles and one channel.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};

use crate::emulator::model::{
    Channel, Guild, Identity, Member, Record, Role, TEXT, User, UserKind,
};
use crate::emulator::permissions::bits;
use crate::emulator::snowflake::Snowflake;
use crate::emulator::world::World;

/// Fills a new world.
pub(crate) fn create(world: &mut World, now_ms: u64) -> Result<(), Error> {
    let mut id = || world.ids.next(now_ms);
    let (guild, bot, member, owner) = (id(), id(), id(), id());
    let (bot_role, member_role, general) = (id(), id(), id());
    let identity = Identity {
        guild,
        bot,
        token: token(bot)?,
        member,
        member_token: token(member)?,
        owner,
        bot_role,
        cdn_key: HEXLOWER.encode(&random::<32>()?),
    };
    let user = |id, name: &str, kind| {
        let name = name.to_owned();
        Record::User(User { id, name, kind })
    };
    let role = |id, name: &str, permissions, position, bot| {
        let name = name.to_owned();
        Record::Role(Role {
            id,
            name,
            permissions,
            position,
            bot,
        })
    };
    let joined = |user, roles: &[Snowflake]| {
        Record::Member(Member {
            user,
            roles: roles.to_vec(),
            joined_ms: now_ms,
        })
    };
    let records = [
        Record::Guild(Guild {
            name: "Emulated".to_owned(),
            premium_tier: 0,
        }),
        user(bot, "ods", UserKind::Bot),
        user(member, "member", UserKind::Person),
        user(owner, "owner", UserKind::Person),
        // Nothing comes with being a member, so that each role decides alone.
        role(guild, "@everyone", 0, 0, None),
        role(bot_role, "ods", bits::BOT, 2, Some(bot)),
        role(member_role, "members", bits::MEMBER, 1, None),
        joined(bot, &[bot_role]),
        joined(member, &[member_role]),
        joined(owner, &[]),
        Record::Channel(Channel::new(general, TEXT, "general", None)),
        // Last: a log without it is begun again.
        Record::Identity(identity),
    ];
    for record in records {
        world.commit(record, now_ms).map_err(|_| Error::Log)?;
    }
    Ok(())
}

/// Why a guild could not be made.
#[derive(Debug)]
pub(crate) enum Error {
    Random(getrandom::Error),
    Log,
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(bytes)
}

/// A token as Discord's look: the user's id, a time, and what proves both.
fn token(user: Snowflake) -> Result<String, Error> {
    let id = BASE64URL_NOPAD.encode(user.to_string().as_bytes());
    let time = BASE64URL_NOPAD.encode(&random::<4>()?);
    let proof = BASE64URL_NOPAD.encode(&random::<28>()?);
    Ok(format!("{id}.{time}.{proof}"))
}
