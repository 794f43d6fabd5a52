//! What was tried, and the error for the person who reads that it did not work: what is the matter,
//! where, and what to do about it.

use super::{
    answer::{Fail, Said, Unclear, code},
    settings::Settings,
    setup::Purpose,
};
use crate::store::Error;

/// What was tried.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    /// E.g. `put objects into`.
    pub(super) doing: &'static str,
    /// E.g. `thread 12`.
    pub(super) place: String,
    /// The permission it needs, as Discord's settings name it.
    pub(super) permission: &'static str,
    /// Which of the drive's own channels it was in.
    home: Option<Home>,
}

/// One of the drive's two channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    Journal(u64),
    Archives(u64),
}

impl Home {
    fn of(settings: &Settings, channel: u64) -> Option<Home> {
        match channel {
            0 => None,
            _ if channel == settings.journal_channel => Some(Home::Journal(channel)),
            _ if channel == settings.archives_channel => Some(Home::Archives(channel)),
            _ => None,
        }
    }

    fn place(self) -> String {
        match self {
            Home::Journal(id) => format!("{} ({id})", Purpose::Journal.named()),
            Home::Archives(id) => format!("{} ({id})", Purpose::Archives.named()),
        }
    }

    /// What can be done when it is no more.
    fn gone(self) -> Error {
        let place = self.place();
        let what = match self {
            Home::Journal(_) => format!(
                "{place} is gone: nothing more can be stored, and no other machine can set this drive up. \
                 What is known here can still be read: keep the drive mounted, or mount it with `-o ro`, copy everything \
                 to another place, and make a new drive with `ods init --name NEW`"
            ),
            Home::Archives(_) => format!(
                "{place} is gone, and with it the packs in its threads. Make a text channel in its place, write its id \
                 as `archives_channel` into the configuration, and mount the drive again; what only waits for its upload \
                 here is not lost"
            ),
        };
        Error::Homeless { what }
    }
}

impl Deed {
    /// Somewhere that is not a channel.
    pub(super) fn new(
        doing: &'static str,
        place: impl Into<String>,
        permission: &'static str,
    ) -> Self {
        Self {
            doing,
            place: place.into(),
            permission,
            home: None,
        }
    }

    /// In a channel or thread.
    pub(super) fn within(
        settings: &Settings,
        channel: u64,
        doing: &'static str,
        permission: &'static str,
    ) -> Self {
        let home = Home::of(settings, channel);
        let place = home.map_or_else(|| format!("thread {channel}"), Home::place);
        Self {
            home,
            ..Self::new(doing, place, permission)
        }
    }

    /// To a message in a channel or thread.
    pub(super) fn to_message(
        settings: &Settings,
        (channel, message): (u64, u64),
        doing: &'static str,
        permission: &'static str,
    ) -> Self {
        let within = Self::within(settings, channel, doing, permission);
        let place = format!("message {message} in {}", within.place);
        Self { place, ..within }
    }
}

impl Said {
    /// The error for a person, with what to do about it.
    pub(super) fn error(self, deed: &Deed) -> Error {
        let Deed {
            doing,
            place,
            permission,
            home,
        } = deed;
        let refused = |why: String| Error::Refused {
            what: format!("cannot {doing} {place}: {why}"),
        };
        match (self.status, self.code) {
            (401, _) => Error::NotAccepted {
                what: "Discord does not accept the bot's token; if it was reset, take the new one from \
                       the developer portal (page Bot), put it where the old one was, and mount again; what waits stays in the spool"
                    .into(),
            },
            (_, code::UPLOADS_LIMITED) => {
                refused("Discord has limited file uploads for this server".into())
            }
            (_, code::THREAD_LOCKED) => refused(
                "the thread is locked; unlock it in Discord, or give the bot the permission Manage Threads".into(),
            ),
            (_, code::THREAD_ARCHIVED) => refused("the thread is archived".into()),
            (_, code::THREADS_FULL | code::NEWS_THREADS_FULL) => refused(
                "the server has as many active threads as Discord allows (1,000), and none that ods could archive \
                 is left among them; close some in Discord (right-click a thread, Close Thread). They can be \
                 read as before"
                    .into(),
            ),
            (_, code::PINS_FULL) => refused(
                "the channel has as many pins as Discord allows; remove those that ods did not make".into(),
            ),
            (403, code::UNKNOWN_MESSAGE) => {
                refused("Discord's protection against abuse does not let it through".into())
            }
            (403, code::MISSING_ACCESS) => refused(
                "the bot does not see it; give its role the permissions View Channel and Read Message \
                 History there"
                    .into(),
            ),
            (403, _) => refused(format!(
                "the bot may not; give its role the permission {permission} there (Discord says: {})",
                self.message
            )),
            (404, code::UNKNOWN_CHANNEL) if let Some(home) = home => home.gone(),
            (404, _) => Error::Missing {
                what: place.clone(),
            },
            (413, _) => Error::TooLarge { limit_bytes: 0 },
            (status, code) => Error::Broken {
                what: format!("cannot {doing} {place}: Discord answered {status} ({code}: {})", self.message),
            },
        }
    }
}

impl Fail {
    /// The error for a person.
    pub(super) fn error(self, deed: &Deed) -> Error {
        match self {
            Fail::Said(said) => said.error(deed),
            Fail::Limited => Error::Unavailable {
                what: "Discord asks to wait".into(),
                retry_after: None,
            },
            Fail::Unclear(unclear) => unclear.error(),
            Fail::Gave(error) => error,
        }
    }

    /// For the log.
    pub(super) fn in_words(&self, deed: &Deed) -> String {
        let Deed { doing, place, .. } = deed;
        match self {
            Fail::Said(said) => {
                let (status, code, message) = (said.status, said.code, &said.message);
                format!("{doing} {place}: {status} ({code}: {message})")
            }
            Fail::Limited => format!("{doing} {place}: asked to wait"),
            Fail::Unclear(unclear) => format!("{doing} {place}: {}", unclear.what),
            Fail::Gave(error) => format!("{doing} {place}: {error}"),
        }
    }
}

impl Unclear {
    pub(super) fn error(self) -> Error {
        Error::Unavailable {
            what: self.what,
            retry_after: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::discord::{Token, answer::fail};

    #[test]
    fn a_refusal_names_the_place_and_the_permission() {
        let Fail::Said(said) = fail(403, br#"{"message":"Missing Permissions","code":50013}"#)
        else {
            panic!("said");
        };
        let deed = Deed::new("put objects into", "thread 12", "Attach Files");
        let error = said.error(&deed).to_string();
        assert!(
            error.contains("thread 12") && error.contains("Attach Files"),
            "{error}"
        );
        assert!(matches!(fail(403, b"<html>"), Fail::Gave(error) if error.is_passing()));
        assert!(matches!(fail(502, b"<html>"), Fail::Unclear(_)));
    }

    #[test]
    fn a_channel_of_the_drive_is_named_and_its_loss_is_more_than_that_of_a_thread() {
        let token = Token::new("token").expect("a token");
        let settings = Settings::new(token, 1, 2, 3);
        let gone = |channel| {
            let Fail::Said(said) = fail(404, br#"{"message":"Unknown Channel","code":10003}"#)
            else {
                panic!("said");
            };
            said.error(&Deed::within(
                &settings,
                channel,
                "put objects into",
                "Attach Files",
            ))
        };
        let journal = gone(2);
        assert!(matches!(journal, Error::Homeless { .. }), "{journal:?}");
        assert!(journal.to_string().contains("ods-journal (2)"), "{journal}");
        assert!(gone(3).to_string().contains("archives_channel"));
        assert!(matches!(gone(4), Error::Missing { .. }));
    }
}
