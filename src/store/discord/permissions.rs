//! What the bot may do where, by Discord's own rules, and what ods needs of it.

use serde::Deserialize;
use twilight_model::{
    channel::permission_overwrite::{PermissionOverwrite, PermissionOverwriteType},
    guild::Permissions,
    id::{Id, marker::RoleMarker},
};

/// A permission that ods needs, with the name that Discord's settings show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The permission's bit.
    pub bit: u64,
    /// As Discord names it in English.
    pub name: &'static str,
    /// What ods does with it.
    pub why: &'static str,
}

const fn need(bit: Permissions, name: &'static str, why: &'static str) -> Need {
    let bit = bit.bits();
    Need { bit, name, why }
}

const VIEW: Need = need(
    Permissions::VIEW_CHANNEL,
    "View Channel",
    "to see the drive's channels",
);
const SEND: Need = need(
    Permissions::SEND_MESSAGES,
    "Send Messages",
    "to put the journal and the archives' cards",
);
const ATTACH: Need = need(
    Permissions::ATTACH_FILES,
    "Attach Files",
    "to put what the drive holds",
);
const HISTORY: Need = need(
    Permissions::READ_MESSAGE_HISTORY,
    "Read Message History",
    "to find and read it again",
);
const MANAGE_MESSAGES: Need = need(
    Permissions::MANAGE_MESSAGES,
    "Manage Messages",
    "to remove up to 100 of its own messages with one request",
);
const PIN: Need = need(
    Permissions::PIN_MESSAGES,
    "Pin Messages",
    "to find the drive's superblock among all messages",
);
const EMBED: Need = need(
    Permissions::EMBED_LINKS,
    "Embed Links",
    "to show each archive as a card",
);
const THREADS: Need = need(
    Permissions::CREATE_PUBLIC_THREADS,
    "Create Public Threads",
    "to give each archive its thread",
);
const SEND_IN_THREADS: Need = need(
    Permissions::SEND_MESSAGES_IN_THREADS,
    "Send Messages in Threads",
    "to put an archive's content into its thread",
);
const MANAGE_THREADS: Need = need(
    Permissions::MANAGE_THREADS,
    "Manage Threads",
    "to remove an archive with one request, and to close idle threads where the server has no room for another",
);
const MANAGE_CHANNELS: Need = need(
    Permissions::MANAGE_CHANNELS,
    "Manage Channels",
    "to make the drive's two channels; may be taken away afterwards",
);

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Journal, checkpoints, lease and superblock.
    Journal,
    /// Archive cards and their threads.
    Archives,
}

impl Purpose {
    /// What people read of such a channel.
    pub(super) fn named(self) -> String {
        let what = match self {
            Purpose::Journal => "journal",
            Purpose::Archives => "archives",
        };
        format!("the {what} channel {}", self.channel_name())
    }

    /// Name of the channel that ods makes and looks for.
    pub(super) fn channel_name(self) -> &'static str {
        match self {
            Purpose::Journal => super::setup::JOURNAL_NAME,
            Purpose::Archives => super::setup::ARCHIVES_NAME,
        }
    }

    /// What ods needs in such a channel.
    #[must_use]
    pub fn needs(self) -> &'static [Need] {
        match self {
            Purpose::Journal => &[VIEW, SEND, ATTACH, HISTORY, MANAGE_MESSAGES, PIN],
            Purpose::Archives => &[
                VIEW,
                SEND,
                EMBED,
                ATTACH,
                HISTORY,
                MANAGE_MESSAGES,
                THREADS,
                SEND_IN_THREADS,
                MANAGE_THREADS,
            ],
        }
    }
}

/// All that ods needs in a server, in the order people are told of it.
pub const NEEDS: [Need; 11] = [
    VIEW,
    SEND,
    ATTACH,
    HISTORY,
    EMBED,
    THREADS,
    SEND_IN_THREADS,
    MANAGE_THREADS,
    MANAGE_MESSAGES,
    PIN,
    MANAGE_CHANNELS,
];

/// The bits of [`NEEDS`] together, as an invite link carries them.
pub const PERMISSIONS: u64 = {
    let mut bits = 0;
    let mut at = 0;
    while at < NEEDS.len() {
        bits |= NEEDS[at].bit;
        at += 1;
    }
    bits
};

/// A role, as far as it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Role {
    pub(super) id: Id<RoleMarker>,
    pub(super) permissions: Permissions,
}

/// Somebody in a server.
#[derive(Clone, Debug)]
pub(super) struct Member<'a> {
    pub(super) guild: u64,
    pub(super) owner: u64,
    pub(super) user: u64,
    /// All roles of the server; the one with the server's id is everybody's.
    pub(super) roles: &'a [Role],
    /// Ids of those the member has.
    pub(super) own: &'a [Id<RoleMarker>],
}

impl Member<'_> {
    /// What the member may do in the server as a whole.
    pub(super) fn in_guild(&self) -> Permissions {
        if self.owner == self.user {
            return Permissions::all();
        }
        let has = |role: &&Role| role.id.get() == self.guild || self.own.contains(&role.id);
        let roles = self.roles.iter().filter(has);
        let together = roles.fold(Permissions::empty(), |all, role| all | role.permissions);
        if together.contains(Permissions::ADMINISTRATOR) {
            return Permissions::all();
        }
        together
    }

    /// What the member may do in a channel with these overwrites: everybody's come first, then the
    /// roles' together, then the member's own.
    pub(super) fn in_channel(&self, overwrites: &[PermissionOverwrite]) -> Permissions {
        let mut may = self.in_guild();
        if may == Permissions::all() {
            return may;
        }
        let is_own = |id: u64| self.own.iter().any(|own| own.get() == id);
        let mut apply = |meant: &dyn Fn(&PermissionOverwrite) -> bool| {
            let meant: Vec<_> = overwrites.iter().filter(|one| meant(one)).collect();
            for one in &meant {
                may &= !one.deny;
            }
            for one in &meant {
                may |= one.allow;
            }
        };
        apply(&|one| one.kind == PermissionOverwriteType::Role && one.id.get() == self.guild);
        apply(&|one| one.kind == PermissionOverwriteType::Role && is_own(one.id.get()));
        apply(&|one| one.kind == PermissionOverwriteType::Member && one.id.get() == self.user);
        if !may.contains(Permissions::VIEW_CHANNEL) {
            return Permissions::empty();
        }
        // In a thread this permission has a name of its own, so files may still be attached there.
        let sends = Permissions::SEND_MESSAGES | Permissions::SEND_MESSAGES_IN_THREADS;
        if !may.intersects(sends) {
            may &= !(Permissions::ATTACH_FILES | Permissions::EMBED_LINKS);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUILD: u64 = 1;
    const USER: u64 = 2;

    fn role(id: u64, permissions: Permissions) -> Role {
        Role {
            id: Id::new(id),
            permissions,
        }
    }

    fn overwrite(
        kind: PermissionOverwriteType,
        id: u64,
        allow: Permissions,
        deny: Permissions,
    ) -> PermissionOverwrite {
        PermissionOverwrite {
            allow,
            deny,
            id: Id::new(id),
            kind,
        }
    }

    #[test]
    fn the_invite_asks_for_exactly_what_is_needed() {
        assert_eq!(PERMISSIONS, 2_252_126_231_325_696 + (1 << 4));
        for purpose in [Purpose::Journal, Purpose::Archives] {
            assert!(purpose.needs().iter().all(|need| NEEDS.contains(need)));
        }
    }

    #[test]
    fn overwrites_count_in_discords_order() {
        let view = Permissions::VIEW_CHANNEL;
        let send = Permissions::SEND_MESSAGES;
        let files = Permissions::ATTACH_FILES;
        let none = Permissions::empty();
        let roles = [role(GUILD, view | files), role(7, send), role(8, none)];
        let own = [Id::new(7), Id::new(8)];
        let member = Member {
            guild: GUILD,
            owner: 9,
            user: USER,
            roles: &roles,
            own: &own,
        };
        use PermissionOverwriteType::{Member as User, Role as Group};
        let everyone = overwrite(Group, GUILD, none, view);
        let denying = overwrite(Group, 7, none, view);
        let allowing = overwrite(Group, 8, view, none);
        let foreign = overwrite(Group, 99, view, none);
        let personal = overwrite(User, USER, none, send);
        assert_eq!(member.in_channel(&[]), view | send | files);
        assert_eq!(member.in_channel(&[everyone, foreign]), none);
        let roles_together = member.in_channel(&[allowing, everyone, denying]);
        assert_eq!(roles_together, view | send | files);
        assert_eq!(member.in_channel(&[personal]), view, "no sending, no files");
    }

    #[test]
    fn owners_and_administrators_may_do_everything() {
        let roles = [role(GUILD, Permissions::ADMINISTRATOR)];
        let mut member = Member {
            guild: GUILD,
            owner: 9,
            user: USER,
            roles: &roles,
            own: &[],
        };
        let hidden = overwrite(
            PermissionOverwriteType::Role,
            GUILD,
            Permissions::empty(),
            Permissions::VIEW_CHANNEL,
        );
        assert_eq!(member.in_channel(&[hidden]), Permissions::all());
        member.roles = &[];
        assert_eq!(member.in_channel(&[hidden]), Permissions::empty());
        member.owner = USER;
        assert_eq!(member.in_channel(&[hidden]), Permissions::all());
    }
}
