//! Room among a server's active threads, of which Discord allows 1,000.
//!
//! Every archive has a thread, and a thread counts while it is active. One that is archived costs nothing, can
//! be read as before, and wakes up by itself when something is sent to it; only that needs a place again. So
//! where the server is full, the threads that were not written to for the longest time are archived: ours, in
//! the archives' channel, and nobody else's.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use twilight_http::routing::Route;
use twilight_model::id::{
    Id,
    marker::{ChannelMarker, GenericMarker, UserMarker},
};

use super::{
    Discord,
    answer::{Fail, Said, code},
    deed::Deed,
    limiter::Lane,
    transport::Ask,
};
use crate::store::Error;

/// So many threads are archived at a time. Each takes a request, and spares one later; together they share the
/// list and the request that was refused, which may have been a whole upload. More of them would only be more
/// that are in use and have to wake up again.
const ARCHIVED_AT_ONCE: usize = 10;
/// How often one request makes room for itself before it is somebody else who takes every place.
const ROUNDS_MAX: u32 = 3;

/// What was done for room.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Times that threads were archived.
    made: AtomicU64,
    making: tokio::sync::Mutex<()>,
    /// Cards that wait for their thread, by the shelf's label: one that was refused gets no second card when it
    /// is tried again, however late.
    cards: Mutex<HashMap<String, u64>>,
}

impl Room {
    /// The card of an earlier try at this shelf.
    pub(super) fn card(&self, label: &str) -> Option<u64> {
        self.cards().get(label).copied()
    }

    pub(super) fn keep_card(&self, label: &str, message: u64) {
        self.cards().insert(label.to_owned(), message);
    }

    pub(super) fn forget_card(&self, label: &str) {
        self.cards().remove(label);
    }

    fn cards(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.cards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request's way to a place among the active threads.
#[derive(Debug)]
pub(super) struct Claim {
    /// The thread that is to be active.
    thread: u64,
    /// [`Room::made`] when the request was sent.
    seen: u64,
    rounds: u32,
}

#[derive(Deserialize)]
struct Active {
    threads: Vec<Thread>,
}

#[derive(Deserialize)]
struct Thread {
    id: Id<ChannelMarker>,
    parent_id: Option<Id<ChannelMarker>>,
    owner_id: Option<Id<UserMarker>>,
    last_message_id: Option<Id<GenericMarker>>,
    thread_metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    locked: bool,
}

impl Thread {
    /// May it be archived, by whoever made it, without changing what a person decided?
    fn is_ours(&self, user: u64, archives: u64) -> bool {
        let Metadata { archived, locked } = self.thread_metadata;
        self.owner_id.is_some_and(|owner| owner.get() == user)
            && self
                .parent_id
                .is_some_and(|parent| parent.get() == archives)
            && !archived
            && !locked
    }

    /// Ids grow with time: the newest message's, or the thread's own while there is none.
    fn newest(&self) -> u64 {
        let last = self.last_message_id.map_or(0, Id::get);
        last.max(self.id.get())
    }
}

/// Does this say that the server has all the active threads it may have?
pub(super) fn is_full(said: &Said) -> bool {
    matches!(said.code, code::THREADS_FULL | code::NEWS_THREADS_FULL)
}

impl Discord {
    /// Begins something that makes this thread an active one.
    pub(super) fn claim(&self, thread: u64) -> Claim {
        Claim {
            thread,
            seen: self.room.made.load(Ordering::Acquire),
            rounds: 0,
        }
    }

    /// Makes room after `said` refused a claim, unless another has done so since; then it may be tried again.
    pub(super) async fn make_room(
        &self,
        claim: &mut Claim,
        said: Said,
        deed: &Deed,
        deadline: Instant,
    ) -> Result<(), Error> {
        let _one = self.room.making.lock().await;
        let made = self.room.made.load(Ordering::Acquire);
        let is_late = Instant::now() >= deadline;
        if claim.rounds >= ROUNDS_MAX || is_late {
            return Err(said.error(deed));
        }
        if made == claim.seen {
            claim.rounds += 1;
            if self.archive_oldest(claim.thread, deadline).await? == 0 {
                return Err(said.error(deed));
            }
            self.room.made.fetch_add(1, Ordering::AcqRel);
        }
        claim.seen = self.room.made.load(Ordering::Acquire);
        Ok(())
    }

    /// Archives those of our threads that were not written to for the longest time, but not `but`. Gives how
    /// many; an error only where that is none.
    async fn archive_oldest(&self, but: u64, deadline: Instant) -> Result<usize, Error> {
        let settings = self.transport.settings();
        let (guild_id, archives) = (settings.guild, settings.archives_channel);
        let user = self.user(deadline).await?;
        let lane = Lane {
            kind: "GET active threads",
            major: guild_id,
        };
        let place = format!("the active threads of server {guild_id}");
        let deed = Deed::new("read", place, "View Channel");
        let ask = Ask::new(lane, &Route::GetActiveThreads { guild_id }, deed);
        let active: Active = self.transport.read(&ask, deadline).await?;
        let mut ours: Vec<&Thread> = active.threads.iter().collect();
        ours.retain(|one| one.id.get() != but && one.is_ours(user, archives));
        ours.sort_unstable_by_key(|one| one.newest());
        let mut done = 0;
        for thread in ours.into_iter().take(ARCHIVED_AT_ONCE) {
            match self.archive_thread(thread.id.get(), deadline).await {
                Ok(()) => done += 1,
                Err(error) if done == 0 => return Err(error),
                Err(error) => {
                    log::info!("{error}");
                    break;
                }
            }
        }
        if done > 0 {
            log::info!(
                "discord: the server has as many active threads as it may have: {done} archived"
            );
        }
        Ok(done)
    }

    async fn archive_thread(&self, thread: u64, deadline: Instant) -> Result<(), Error> {
        let lane = Lane {
            kind: "PATCH channel",
            major: thread,
        };
        let settings = self.transport.settings();
        let deed = Deed::within(settings, thread, "archive", "Manage Threads");
        let route = Route::UpdateChannel { channel_id: thread };
        let ask = Ask::json(lane, &route, &json!({ "archived": true }), deed)?;
        // One that was removed, or archived by somebody else, is not active either.
        let is_done = |said: &Said| said.status == 404 || said.code == code::THREAD_ARCHIVED;
        self.transport.act_unless(&ask, deadline, is_done).await
    }

    /// Sends what makes this thread an active one, and makes room for it where there is none.
    pub(super) async fn act_with_room(
        &self,
        ask: &Ask,
        thread: u64,
        deadline: Instant,
        is_done: impl Fn(&Said) -> bool,
    ) -> Result<(), Error> {
        let mut claim = self.claim(thread);
        loop {
            match self.transport.call(ask, deadline).await {
                Ok(_) => return Ok(()),
                Err(Fail::Said(said)) if is_done(&said) => return Ok(()),
                Err(Fail::Said(said)) if is_full(&said) => {
                    self.make_room(&mut claim, said, &ask.deed, deadline)
                        .await?;
                }
                Err(fail) => return Err(fail.error(&ask.deed)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(words: &str) -> Thread {
        let json = format!(r#"{{"id":"50","type":11,{words}}}"#);
        serde_json::from_str(&json).expect("a thread")
    }

    #[test]
    fn only_an_open_thread_of_ours_in_our_channel_may_be_archived() {
        let ours = r#""owner_id":"7","parent_id":"8","thread_metadata":{"archived":false}"#;
        assert!(thread(ours).is_ours(7, 8));
        for (from, to) in [
            (r#""7""#, r#""6""#),
            (r#""owner_id":"7","#, ""),
            (r#""8""#, r#""9""#),
            (r#""parent_id":"8","#, r#""parent_id":null,"#),
            ("false", "true"),
            ("false", r#"false,"locked":true"#),
        ] {
            assert!(!thread(&ours.replace(from, to)).is_ours(7, 8), "{to}");
        }
    }

    #[test]
    fn a_thread_is_as_new_as_its_newest_message() {
        let rest = r#""thread_metadata":{}"#;
        assert_eq!(thread(rest).newest(), 50);
        let null = format!(r#""last_message_id":null,{rest}"#);
        assert_eq!(thread(&null).newest(), 50);
        let last = format!(r#""last_message_id":"60",{rest}"#);
        assert_eq!(thread(&last).newest(), 60);
    }
}
