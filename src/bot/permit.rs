//! Who may ask what, and who is shown names. Pure.

use std::collections::HashMap;

use twilight_model::guild::Permissions;

use crate::bot::ask::Word;
use crate::bot::settings::Names;
use crate::bot::settings::Settings;
use crate::bot::wire::Guild;
use crate::bot::wire::Member;
use crate::bot::wire::Message;
use crate::bot::wire::RoleChange;
use crate::bot::wire::RoleGone;

/// Somebody who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bot) struct Asker {
    pub(in crate::bot) user: u64,
    pub(in crate::bot) rank: Rank,
}

/// What somebody is to the drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bot) enum Rank {
    /// Manages the server, or has one of the configured roles.
    Admin,
    Member,
}

/// Who reads an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bot) enum Audience {
    /// The asker alone.
    Asker,
    /// Whoever reads the channel.
    Channel,
}

/// What is shown in an answer?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bot) enum Shown {
    /// Names in the drive, and paths of this machine.
    Paths,
    /// Names in the drive.
    Names,
    /// Ids alone.
    Ids,
}

/// Roles of the server, as its events told them. Messages do not say what their author may do.
#[derive(Debug, Default)]
pub(in crate::bot) struct Roles {
    owner: Option<u64>,
    permissions: HashMap<u64, Permissions>,
}

impl Roles {
    pub(in crate::bot) fn learn(&mut self, guild: &Guild) {
        self.owner = guild.owner_id.map(|id| id.get()).or(self.owner);
        let roles = guild.roles.iter();
        self.permissions = roles
            .map(|role| (role.id.get(), role.permissions))
            .collect();
    }

    pub(in crate::bot) fn change(&mut self, change: &RoleChange) {
        let role = &change.role;
        self.permissions.insert(role.id.get(), role.permissions);
    }

    pub(in crate::bot) fn forget(&mut self, gone: &RoleGone) {
        self.permissions.remove(&gone.role_id.get());
    }

    /// Does this member manage the server? What is not known is not granted.
    fn manages(&self, guild: u64, user: u64, own: &[u64]) -> bool {
        // The role that everybody has bears the server's id.
        let granted = own.iter().chain(std::iter::once(&guild));
        let granted = granted
            .filter_map(|role| self.permissions.get(role))
            .fold(Permissions::empty(), |all, one| all | *one);
        self.owner == Some(user) || does_manage(granted)
    }
}

fn does_manage(permissions: Permissions) -> bool {
    permissions.intersects(Permissions::MANAGE_GUILD | Permissions::ADMINISTRATOR)
}

fn own(member: &Member) -> Vec<u64> {
    member.roles.iter().map(|role| role.get()).collect()
}

impl Settings {
    fn rank(&self, own: &[u64], manages: bool) -> Rank {
        let has_role = own.iter().any(|role| self.admin_roles.contains(role));
        match manages || has_role {
            true => Rank::Admin,
            false => Rank::Member,
        }
    }

    /// Who used a command or pressed a button: Discord says what they may do.
    pub(in crate::bot) fn asker(&self, member: &Member) -> Option<Asker> {
        let manages = member.permissions.is_some_and(does_manage);
        Some(Asker {
            user: member.user.as_ref()?.id.get(),
            rank: self.rank(&own(member), manages),
        })
    }

    /// Who wrote a message.
    pub(in crate::bot) fn author(&self, message: &Message, roles: &Roles) -> Option<Asker> {
        let (user, guild) = (message.author.id.get(), message.guild_id?.get());
        let own = own(message.member.as_ref()?);
        let manages = roles.manages(guild, user, &own);
        Some(Asker {
            user,
            rank: self.rank(&own, manages),
        })
    }

    /// May this be asked? If not, why.
    pub(in crate::bot) fn permit(&self, asker: Asker, word: Word) -> Result<(), String> {
        match asker.rank {
            Rank::Admin => Ok(()),
            Rank::Member if word == Word::Help => Ok(()),
            Rank::Member if !word.is_for_admins() && self.members.contains(&word) => Ok(()),
            Rank::Member => Err(format!(
                "`{}` is for those who manage this server, or have a role that the drive's owner configured",
                word.name()
            )),
        }
    }

    /// Is it left to every member?
    pub(in crate::bot) fn is_for_members(&self, word: Word) -> bool {
        word == Word::Help || !word.is_for_admins() && self.members.contains(&word)
    }

    /// Names, or ids alone? Paths of this machine are for admins alone, whoever is shown names of the drive.
    pub(in crate::bot) fn shown(&self, asker: Asker, audience: Audience) -> Shown {
        match (self.names, asker.rank, audience) {
            (_, Rank::Admin, Audience::Asker) => Shown::Paths,
            (Names::Members, ..) => Shown::Names,
            (Names::Admins, ..) => Shown::Ids,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(permissions: u64, roles: &[u64]) -> Member {
        let roles: Vec<String> = roles.iter().map(u64::to_string).collect();
        let text = serde_json::json!({"user": {"id": "9"}, "roles": roles, "permissions": permissions.to_string()});
        serde_json::from_value(text).expect("a member")
    }

    #[test]
    fn an_admin_manages_the_server_or_has_the_role() {
        let settings = Settings {
            admin_roles: vec![5],
            ..Settings::default()
        };
        let rank = |permissions, roles: &[u64]| {
            let asker = settings.asker(&member(permissions, roles));
            asker.expect("an asker").rank
        };
        assert_eq!(rank(1 << 5, &[]), Rank::Admin);
        assert_eq!(rank(1 << 3, &[]), Rank::Admin);
        assert_eq!(rank(1 << 13 | 1 << 4, &[6]), Rank::Member);
        assert_eq!(rank(0, &[5]), Rank::Admin);
    }

    #[test]
    fn members_do_what_is_configured_and_never_what_deletes() {
        let mut settings = Settings {
            members: Word::ALL.to_vec(),
            ..Settings::default()
        };
        let asker = settings.asker(&member(0, &[])).expect("an asker");
        for word in Word::ALL {
            let is_allowed = settings.permit(asker, word).is_ok();
            assert_eq!(
                is_allowed,
                !matches!(
                    word,
                    Word::Rebuild | Word::Cleanup | Word::Gc | Word::Migrate
                ),
                "{word:?}"
            );
        }
        settings.members.clear();
        let allowed = Word::ALL
            .into_iter()
            .filter(|word| settings.permit(asker, *word).is_ok());
        assert_eq!(allowed.collect::<Vec<_>>(), [Word::Help]);
    }

    #[test]
    fn names_are_for_admins_alone_unless_the_owner_opted_in() {
        let mut settings = Settings::default();
        let admin = settings.asker(&member(1 << 5, &[])).expect("an asker");
        let other = settings.asker(&member(0, &[])).expect("an asker");
        assert_eq!(settings.shown(admin, Audience::Asker), Shown::Paths);
        assert_eq!(settings.shown(admin, Audience::Channel), Shown::Ids);
        assert_eq!(settings.shown(other, Audience::Asker), Shown::Ids);
        settings.names = Names::Members;
        // Whatever the drive's names are to members, the machine's paths are nothing to them.
        assert_eq!(settings.shown(other, Audience::Asker), Shown::Names);
        assert_eq!(settings.shown(other, Audience::Channel), Shown::Names);
        assert_eq!(settings.shown(admin, Audience::Channel), Shown::Names);
    }

    #[test]
    fn the_author_of_a_message_is_what_the_servers_roles_say() {
        let guild = serde_json::json!({"id": "1", "owner_id": "2", "roles": [
            {"id": "1", "permissions": "0"}, {"id": "3", "permissions": "32"}]});
        let mut roles = Roles::default();
        let rank = |roles: &Roles, user: &str, own: &[&str]| {
            let message = serde_json::json!({"id": "7", "channel_id": "8", "guild_id": "1",
                "author": {"id": user}, "member": {"roles": own}, "content": "!status"});
            let message = serde_json::from_value(message).expect("a message");
            Settings::default()
                .author(&message, roles)
                .expect("an asker")
                .rank
        };
        assert_eq!(rank(&roles, "2", &["3"]), Rank::Member);
        roles.learn(&serde_json::from_value(guild).expect("a guild"));
        assert_eq!(rank(&roles, "2", &[]), Rank::Admin);
        assert_eq!(rank(&roles, "4", &["3"]), Rank::Admin);
        assert_eq!(rank(&roles, "4", &[]), Rank::Member);
        let gone = serde_json::json!({"guild_id": "1", "role_id": "3"});
        roles.forget(&serde_json::from_value(gone).expect("a role"));
        assert_eq!(rank(&roles, "4", &["3"]), Rank::Member);
    }
}
