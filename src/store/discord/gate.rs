//! Where requests wait until the limiter lets them go.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::heard::Heard;
use super::limiter::{Charge, Lane, Limiter, Rates, Verdict};
use crate::store::{Error, Urgency};

pub(super) struct Gate {
    limiter: Mutex<Limiter>,
    changed: Notify,
}

/// The right to send one request; says to the gate how it went, at the latest when it is dropped.
pub(super) struct Permit<'a> {
    gate: &'a Gate,
    charge: Option<Charge>,
}

/// A place in the queue, given up when dropped.
struct Place<'a> {
    gate: &'a Gate,
    lane: Lane,
    urgency: Urgency,
    ticket: u64,
}

impl Gate {
    pub(super) fn new(rates: Rates) -> Self {
        Self {
            limiter: Mutex::new(Limiter::new(rates)),
            changed: Notify::new(),
        }
    }

    /// Waits until a request may go.
    ///
    /// # Errors
    /// [`Error::Unavailable`] as soon as it is clear that it may not go before `deadline`.
    pub(super) async fn enter(
        &self,
        lane: Lane,
        urgency: Urgency,
        deadline: Instant,
    ) -> Result<Permit<'_>, Error> {
        let ticket = self.limiter().queue(lane, urgency);
        let place = Place {
            gate: self,
            lane,
            urgency,
            ticket,
        };
        loop {
            // Listens before it asks, so that no change falls between the two.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let now = Instant::now();
            let verdict = self.limiter().ask(now, lane, urgency, ticket);
            match verdict {
                Verdict::Go(charge) => {
                    drop(place);
                    return Ok(Permit {
                        gate: self,
                        charge: Some(charge),
                    });
                }
                Verdict::Stopped(until) => return Err(stopped(until - now)),
                Verdict::At(at) if at > deadline => return Err(no_room(at - now)),
                Verdict::At(at) => _ = timeout_at(at, changed).await,
                Verdict::Turn if now >= deadline => return Err(crowded()),
                Verdict::Turn => _ = timeout_at(deadline, changed).await,
            }
        }
    }

    /// Share of the short-term budget that is left, and the wait that was demanded.
    pub(super) fn state(&self) -> (f64, Option<Duration>) {
        let mut limiter = self.limiter();
        let now = Instant::now();
        (limiter.budget(now), limiter.waiting(now))
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// Tells what the answer said.
    pub(super) fn done(mut self, heard: &Heard) {
        if let Some(charge) = self.charge.take() {
            self.gate.limiter().done(Instant::now(), &charge, heard);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(charge) = self.charge.take() {
            self.gate.limiter().abandoned(&charge);
        }
        self.gate.changed.notify_waiters();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut limiter = self.gate.limiter();
        limiter.leave(self.lane, self.urgency, self.ticket);
        drop(limiter);
        self.gate.changed.notify_waiters();
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

fn stopped(wait: Duration) -> Error {
    let what = format!(
        "too many requests were refused lately, so ods sends none for {} s, before Discord bans this address; \
         look for the first refusal in the log",
        wait.as_secs()
    );
    Error::Unavailable {
        what,
        retry_after: Some(wait),
    }
}

fn no_room(wait: Duration) -> Error {
    Error::Unavailable {
        what: format!(
            "Discord asks to wait: its limits leave no room for another {:.1} s",
            wait.as_secs_f64()
        ),
        retry_after: Some(wait),
    }
}

fn crowded() -> Error {
    Error::Unavailable {
        what: "too many requests are before this one".into(),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::discord::heard::Scope;

    const LANE: Lane = Lane {
        kind: "POST messages",
        major: 1,
    };

    fn limited(wait: Duration) -> Heard {
        Heard {
            status: 429,
            bucket: None,
            limited: Some((wait, Scope::User)),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_to_the_instant_or_says_at_once_that_it_is_too_long() {
        let gate = Gate::new(Rates::default());
        let start = Instant::now();
        let minute = start + Duration::from_secs(60);
        let permit = gate.enter(LANE, Urgency::Foreground, minute).await;
        permit
            .expect("free")
            .done(&limited(Duration::from_secs(30)));
        let permit = gate.enter(LANE, Urgency::Foreground, minute).await;
        assert_eq!(start.elapsed(), Duration::from_secs(30));
        permit
            .expect("free")
            .done(&limited(Duration::from_secs(300)));
        let refused = gate.enter(LANE, Urgency::Foreground, minute).await;
        assert_eq!(start.elapsed(), Duration::from_secs(30));
        let Err(Error::Unavailable { retry_after, .. }) = refused else {
            panic!("may not go");
        };
        assert_eq!(retry_after, Some(Duration::from_secs(300)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_or_a_place_that_is_dropped_lets_the_next_one_go() {
        let gate = Arc::new(Gate::new(Rates::default()));
        let minute = Instant::now() + Duration::from_secs(60);
        let held = gate.enter(LANE, Urgency::Foreground, minute).await;
        let wait = |gate: Arc<Gate>| async move {
            gate.enter(LANE, Urgency::Foreground, minute).await.is_ok()
        };
        let gives_up = tokio::spawn(wait(gate.clone()));
        let waits = tokio::spawn(wait(gate.clone()));
        tokio::task::yield_now().await;
        gives_up.abort();
        drop(held);
        assert!(waits.await.expect("runs"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_never_comes_ends_at_the_deadline() {
        let gate = Gate::new(Rates::default());
        let minute = Instant::now() + Duration::from_secs(60);
        let _held = gate.enter(LANE, Urgency::Foreground, minute).await;
        let refused = gate.enter(LANE, Urgency::Foreground, minute).await;
        assert!(refused.is_err_and(|error| error.is_passing()));
        assert_eq!(Instant::now(), minute);
    }
}
