//! How fast requests may go: pure, told the time, so that its tests are exact.
//!
//! Discord counts requests in buckets whose names and limits it tells with every answer; each channel
//! has its own of them. Over all buckets lies a limit per second, and over that one on answers that
//! say "you should not have asked" (401, 403, 429), which ends in a ban of the whole address.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::dial::Dial;
use super::heard::{Heard, HeardBucket, Scope};
use crate::store::Urgency;

/// Requests of one kind to one channel (or guild), which share a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Lane {
    /// Method and route, e.g. `POST messages`.
    pub(super) kind: &'static str,
    /// The channel or guild; 0 where the route has none.
    pub(super) major: u64,
}

/// Kinds with this beginning answer interactions, which Discord does not count per second.
pub(super) const HOOK: &str = "hook ";

/// How far to go. Discord's own numbers lie a little above these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Requests in any second, of all kinds together; Discord allows 50.
    pub per_second_max: usize,
    /// How many of them only requests that somebody waits for may use.
    pub per_second_reserved: usize,
    /// Refused requests within `invalid_window` after which nothing is sent any more; Discord bans
    /// an address at 10,000.
    pub invalid_max: usize,
    /// Over which time refused requests are counted.
    pub invalid_window: Duration,
    /// Requests at the same time on a route that tells no limit of its own.
    pub unlimited_at_once_max: usize,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            per_second_max: 45,
            per_second_reserved: 10,
            invalid_max: 500,
            invalid_window: Duration::from_secs(600),
            unlimited_at_once_max: 4,
        }
    }
}

/// May a request go?
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Now. It is counted; say [`Limiter::done`] or [`Limiter::abandoned`] with this afterwards.
    Go(Charge),
    /// Ask again then, or when something is done.
    At(Instant),
    /// Ask again when something is done.
    Turn,
    /// Too many refused requests: nothing goes before then.
    Stopped(Instant),
}

/// What a request was counted against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    lane: Lane,
    bucket: Option<Arc<str>>,
    sent: Instant,
}

#[derive(Debug, Default)]
struct LaneState {
    known: Known,
    in_flight: u32,
    held_until: Option<Instant>,
}

#[derive(Debug, Default)]
enum Known {
    #[default]
    Nothing,
    NoLimit,
    Bucket(Arc<str>),
}

#[derive(Debug)]
struct Bucket {
    limit: u32,
    left: u32,
    resets: Option<Instant>,
    in_flight: u32,
}

/// Lanes and buckets are forgotten when they are this many and idle.
const LANES_MAX: usize = 4096;

/// Decides when each request may go.
#[derive(Debug)]
pub(super) struct Limiter {
    rates: Rates,
    lanes: HashMap<Lane, LaneState>,
    buckets: HashMap<(Arc<str>, u64), Bucket>,
    /// The bucket a kind had lately, and its limit: a first guess for another channel.
    kinds: HashMap<&'static str, (Arc<str>, u32)>,
    dial: Dial,
    sent: VecDeque<Instant>,
    invalid: VecDeque<Instant>,
    paused_until: Option<Instant>,
    waiting: BTreeSet<(Lane, u8, u64)>,
    tickets: u64,
}

impl Limiter {
    pub(super) fn new(rates: Rates) -> Self {
        Self {
            rates,
            lanes: HashMap::new(),
            buckets: HashMap::new(),
            kinds: HashMap::new(),
            dial: Dial::default(),
            sent: VecDeque::new(),
            invalid: VecDeque::new(),
            paused_until: None,
            waiting: BTreeSet::new(),
            tickets: 0,
        }
    }

    /// Takes a place in the lane's queue, behind its equals.
    pub(super) fn queue(&mut self, lane: Lane, urgency: Urgency) -> u64 {
        self.tickets += 1;
        self.waiting.insert((lane, rank(urgency), self.tickets));
        self.tickets
    }

    /// Leaves the queue.
    pub(super) fn leave(&mut self, lane: Lane, urgency: Urgency, ticket: u64) {
        self.waiting.remove(&(lane, rank(urgency), ticket));
    }

    /// May the request with this ticket go? If so it has left the queue.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        lane: Lane,
        urgency: Urgency,
        ticket: u64,
    ) -> Verdict {
        self.forget_old(now);
        if self.invalid.len() >= self.rates.invalid_max {
            return Verdict::Stopped(self.invalid[0] + self.rates.invalid_window);
        }
        let held = self.lanes.get(&lane).and_then(|state| state.held_until);
        let until = self.paused_until.max(held);
        if let Some(until) = until.filter(|until| *until > now) {
            return Verdict::At(until);
        }
        let first = self.waiting.range((lane, 0, 0)..).next();
        if first.is_some_and(|first| first.0 == lane && first.2 != ticket) {
            return Verdict::Turn;
        }
        let bucket = match self.room(now, lane, urgency) {
            Ok(bucket) => bucket,
            Err(verdict) => return verdict,
        };
        let allowed = match urgency {
            Urgency::Foreground => self.rates.per_second_max,
            Urgency::Background => {
                let reserved = self.rates.per_second_reserved;
                self.rates.per_second_max.saturating_sub(reserved)
            }
        }
        .max(1);
        let is_counted = !lane.kind.starts_with(HOOK);
        if is_counted && self.sent.len() >= allowed {
            return Verdict::At(self.sent[self.sent.len() - allowed] + SECOND);
        }
        self.leave(lane, urgency, ticket);
        if is_counted {
            self.sent.push_back(now);
        }
        self.lanes.entry(lane).or_default().in_flight += 1;
        if let Some(name) = &bucket
            && let Some(bucket) = self.buckets.get_mut(&(name.clone(), lane.major))
        {
            bucket.left = bucket.left.saturating_sub(1);
            bucket.in_flight += 1;
        }
        Verdict::Go(Charge {
            lane,
            bucket,
            sent: now,
        })
    }

    /// The bucket to charge, if there is room in it.
    fn room(
        &mut self,
        now: Instant,
        lane: Lane,
        urgency: Urgency,
    ) -> Result<Option<Arc<str>>, Verdict> {
        let guess = self.kinds.get(lane.kind).cloned();
        let state = self.lanes.entry(lane).or_default();
        let name = match (&state.known, guess) {
            (Known::Bucket(name), _) => name.clone(),
            (Known::NoLimit, _) => {
                let at_once = self.rates.unlimited_at_once_max;
                let full = state.in_flight as usize >= at_once;
                return if full { Err(Verdict::Turn) } else { Ok(None) };
            }
            (Known::Nothing, Some((name, limit))) => {
                let key = (name.clone(), lane.major);
                self.buckets.entry(key).or_insert(Bucket {
                    limit,
                    left: limit,
                    resets: None,
                    in_flight: 0,
                });
                name
            }
            // One goes ahead and learns.
            (Known::Nothing, None) if state.in_flight == 0 => return Ok(None),
            (Known::Nothing, None) => return Err(Verdict::Turn),
        };
        let Some(bucket) = self.buckets.get_mut(&(name.clone(), lane.major)) else {
            return Ok(None);
        };
        if bucket.resets.is_some_and(|resets| resets <= now) {
            bucket.left = bucket.limit.saturating_sub(bucket.in_flight);
            bucket.resets = None;
        }
        let kept = match urgency {
            Urgency::Background if lane.kind.starts_with("GET") && bucket.limit > 2 => 1,
            _ => 0,
        };
        if bucket.left > kept {
            return Ok(Some(name));
        }
        // Without a time and with nothing under way the bucket would never move again.
        match bucket.resets {
            Some(resets) => Err(Verdict::At(resets)),
            None if bucket.in_flight > 0 => Err(Verdict::Turn),
            None => {
                bucket.left = bucket.limit.max(1);
                Ok(Some(name))
            }
        }
    }

    /// An answer came.
    pub(super) fn done(&mut self, now: Instant, charge: &Charge, heard: &Heard) {
        self.settle(charge);
        if let Some(bucket) = &heard.bucket {
            self.learn(now, charge, bucket);
        } else if (200..300).contains(&heard.status) {
            let state = self.lanes.entry(charge.lane).or_default();
            if matches!(state.known, Known::Nothing) {
                state.known = Known::NoLimit;
            }
        }
        let shared = heard
            .limited
            .is_some_and(|(_, scope)| scope == Scope::Shared);
        if matches!(heard.status, 401 | 403 | 429) && !shared {
            self.invalid.push_back(now);
        }
        let Some((wait, scope)) = heard.limited else {
            return;
        };
        let until = Some(now + wait);
        if scope == Scope::Everything {
            self.paused_until = self.paused_until.max(until);
            return;
        }
        let state = self.lanes.entry(charge.lane).or_default();
        state.held_until = state.held_until.max(until);
        if heard.bucket.as_ref().is_some_and(|bucket| bucket.left == 0)
            && let Known::Bucket(name) = &state.known
            && let Some(bucket) = self.buckets.get_mut(&(name.clone(), charge.lane.major))
        {
            bucket.left = 0;
            bucket.resets = bucket.resets.max(until);
        }
    }

    /// No answer will come. The request may have been counted, so its place is not given back.
    pub(super) fn abandoned(&mut self, charge: &Charge) {
        self.settle(charge);
    }

    fn settle(&mut self, charge: &Charge) {
        if let Some(state) = self.lanes.get_mut(&charge.lane) {
            state.in_flight = state.in_flight.saturating_sub(1);
        }
        let key = charge.bucket.clone().map(|name| (name, charge.lane.major));
        if let Some(bucket) = key.and_then(|key| self.buckets.get_mut(&key)) {
            bucket.in_flight = bucket.in_flight.saturating_sub(1);
        }
    }

    fn learn(&mut self, now: Instant, charge: &Charge, heard: &HeardBucket) {
        let lane = charge.lane;
        let name: Arc<str> = heard.name.as_str().into();
        self.kinds.insert(lane.kind, (name.clone(), heard.limit));
        self.lanes.entry(lane).or_default().known = Known::Bucket(name.clone());
        let resets = self.dial.resets(charge.sent, now, heard);
        let bucket = self.buckets.entry((name, lane.major)).or_insert(Bucket {
            limit: heard.limit,
            left: heard.left,
            resets: None,
            in_flight: 0,
        });
        bucket.limit = heard.limit;
        // A window that begins knows nothing of what is still on its way to the server.
        let begins = bucket
            .resets
            .is_none_or(|known| known <= now || resets > known + SECOND);
        bucket.left = if begins {
            heard.left.saturating_sub(bucket.in_flight)
        } else {
            bucket.left.min(heard.left)
        };
        bucket.resets = bucket.resets.filter(|_| !begins).max(Some(resets));
    }

    /// Share of the limit per second that is left, 0.0..=1.0.
    pub(super) fn budget(&mut self, now: Instant) -> f64 {
        self.forget_old(now);
        #[expect(clippy::cast_precision_loss, reason = "at most some dozens")]
        let share = self.sent.len() as f64 / self.rates.per_second_max.max(1) as f64;
        (1.0 - share).max(0.0)
    }

    /// The longest wait that an answer demanded and that is not over.
    pub(super) fn waiting(&self, now: Instant) -> Option<Duration> {
        let held = self.lanes.values().filter_map(|state| state.held_until);
        let until = held.max().max(self.paused_until)?;
        Some(until.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    fn forget_old(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|at| *at + SECOND <= now) {
            self.sent.pop_front();
        }
        let window = self.rates.invalid_window;
        while self.invalid.front().is_some_and(|at| *at + window <= now) {
            self.invalid.pop_front();
        }
        if self.lanes.len() > LANES_MAX {
            let idle = |until: Option<Instant>| until.is_none_or(|until| until <= now);
            self.lanes
                .retain(|_, state| state.in_flight > 0 || !idle(state.held_until));
            self.buckets
                .retain(|_, bucket| bucket.in_flight > 0 || !idle(bucket.resets));
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn rank(urgency: Urgency) -> u8 {
    match urgency {
        Urgency::Foreground => 0,
        Urgency::Background => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: Lane = Lane {
        kind: "POST messages",
        major: 7,
    };
    const READ: Lane = Lane {
        kind: "GET messages",
        major: 7,
    };
    use Urgency::{Background, Foreground};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn heard(left: u32, resets_after: Duration) -> Heard {
        Heard {
            status: 200,
            bucket: Some(HeardBucket {
                name: "abcd".into(),
                limit: 5,
                left,
                resets_after,
                resets_at_s: None,
            }),
            limited: None,
        }
    }

    fn limited(wait: Duration, scope: Scope) -> Heard {
        Heard {
            status: 429,
            bucket: None,
            limited: Some((wait, scope)),
        }
    }

    /// Queues and asks once; leaves the queue again if it may not go.
    fn ask(limiter: &mut Limiter, now: Instant, lane: Lane, urgency: Urgency) -> Verdict {
        let ticket = limiter.queue(lane, urgency);
        let verdict = limiter.ask(now, lane, urgency, ticket);
        limiter.leave(lane, urgency, ticket);
        verdict
    }

    fn go(limiter: &mut Limiter, now: Instant, lane: Lane) -> Charge {
        match ask(limiter, now, lane, Foreground) {
            Verdict::Go(charge) => charge,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_unknown_bucket_lets_one_through_until_it_has_answered() {
        let (mut limiter, now) = (Limiter::new(Rates::default()), Instant::now());
        let first = go(&mut limiter, now, POST);
        assert_eq!(ask(&mut limiter, now, POST, Foreground), Verdict::Turn);
        let other = Lane { major: 8, ..POST };
        let second = go(&mut limiter, now, other);
        limiter.done(now, &first, &heard(4, ms(5000)));
        limiter.done(now, &second, &heard(4, ms(5000)));
        for _ in 0..4 {
            go(&mut limiter, now, POST);
        }
        assert_eq!(
            ask(&mut limiter, now, POST, Foreground),
            Verdict::At(now + ms(5000))
        );
    }

    #[test]
    fn a_bucket_known_from_one_channel_is_expected_in_another() {
        let (mut limiter, now) = (Limiter::new(Rates::default()), Instant::now());
        let first = go(&mut limiter, now, POST);
        limiter.done(now, &first, &heard(4, ms(5000)));
        let other = Lane { major: 8, ..POST };
        for _ in 0..5 {
            go(&mut limiter, now, other);
        }
        assert_eq!(ask(&mut limiter, now, other, Foreground), Verdict::Turn);
    }

    #[test]
    fn a_window_is_used_up_and_comes_back_at_its_instant() {
        let (mut limiter, now) = (Limiter::new(Rates::default()), Instant::now());
        let first = go(&mut limiter, now, POST);
        limiter.done(now, &first, &heard(4, ms(5000)));
        for left in (0..4).rev() {
            let charge = go(&mut limiter, now + ms(10), POST);
            limiter.done(now + ms(20), &charge, &heard(left, ms(4980)));
        }
        let resets = now + ms(5000);
        let early = ask(&mut limiter, resets - ms(1), POST, Foreground);
        assert_eq!(early, Verdict::At(resets));
        let charges: Vec<_> = (0..5).map(|_| go(&mut limiter, resets, POST)).collect();
        assert_eq!(ask(&mut limiter, resets, POST, Foreground), Verdict::Turn);
        // The first answer of the new window does not know of the four behind it.
        limiter.done(resets + ms(50), &charges[0], &heard(4, ms(4950)));
        let full = ask(&mut limiter, resets + ms(60), POST, Foreground);
        assert_eq!(full, Verdict::At(resets + ms(5000)));
    }

    #[test]
    fn a_slow_answer_does_not_make_its_window_longer() {
        let (mut limiter, now) = (Limiter::new(Rates::default()), Instant::now());
        let told = |left, made_ms: u32| {
            let mut answer = heard(left, ms(5000 - u64::from(made_ms)));
            if let Some(bucket) = &mut answer.bucket {
                bucket.resets_at_s = Some(1005.0);
            }
            answer
        };
        // Something short tells what their clock shows; the upload was looked at 40 ms after it was sent.
        let short = go(&mut limiter, now, READ);
        limiter.done(now + ms(80), &short, &told(5, 40));
        for left in (0..5).rev() {
            let upload = go(&mut limiter, now, POST);
            limiter.done(now + ms(2000), &upload, &told(left, 40));
        }
        let Verdict::At(at) = ask(&mut limiter, now + ms(2000), POST, Foreground) else {
            panic!("the window is used up");
        };
        assert!(
            at >= now + ms(5000) && at <= now + ms(5080),
            "{:?}",
            at - now
        );
    }

    #[test]
    fn what_is_in_flight_counts_in_the_next_window() {
        let (mut limiter, now) = (Limiter::new(Rates::default()), Instant::now());
        let first = go(&mut limiter, now, POST);
        limiter.done(now, &first, &heard(4, ms(5000)));
        let slow: Vec<_> = (0..4).map(|_| go(&mut limiter, now, POST)).collect();
        let later = now + ms(5000);
        go(&mut limiter, later, POST);
        assert_eq!(ask(&mut limiter, later, POST, Foreground), Verdict::Turn);
        limiter.abandoned(&slow[0]);
        assert!(matches!(
            ask(&mut limiter, later, POST, Foreground),
            Verdict::Turn
        ));
    }

    #[test]
    fn a_429_of_a_user_holds_its_lane_only() {
        let (mut limiter, now) = (Limiter::new(Rates::default()), Instant::now());
        let charge = go(&mut limiter, now, POST);
        limiter.done(now, &charge, &limited(ms(1500), Scope::User));
        assert_eq!(
            ask(&mut limiter, now, POST, Foreground),
            Verdict::At(now + ms(1500))
        );
        assert_eq!(limiter.waiting(now), Some(ms(1500)));
        go(&mut limiter, now, READ);
        go(&mut limiter, now + ms(1500), POST);
        assert_eq!(limiter.waiting(now + ms(1500)), None);
    }

    #[test]
    fn a_429_with_requests_left_still_holds() {
        let (mut limiter, now) = (Limiter::new(Rates::default()), Instant::now());
        let charge = go(&mut limiter, now, POST);
        let mut answer = heard(9, ms(64_570));
        answer.status = 429;
        answer.limited = Some((ms(1_336_570), Scope::Shared));
        limiter.done(now, &charge, &answer);
        let verdict = ask(&mut limiter, now + ms(65_000), POST, Foreground);
        assert_eq!(verdict, Verdict::At(now + ms(1_336_570)));
    }

    #[test]
    fn a_429_for_everything_holds_everything() {
        let (mut limiter, now) = (Limiter::new(Rates::default()), Instant::now());
        let charge = go(&mut limiter, now, POST);
        limiter.done(now, &charge, &limited(ms(3_600_000), Scope::Everything));
        let verdict = ask(&mut limiter, now + ms(1), READ, Foreground);
        assert_eq!(verdict, Verdict::At(now + ms(3_600_000)));
    }

    #[test]
    fn the_limit_per_second_keeps_a_share_for_those_who_wait() {
        let (mut limiter, now) = (Limiter::new(Rates::default()), Instant::now());
        let lane = |major| Lane { major, ..POST };
        for major in 0..35 {
            let verdict = ask(&mut limiter, now, lane(major), Background);
            assert!(matches!(verdict, Verdict::Go(_)));
        }
        let verdict = ask(&mut limiter, now, lane(100), Background);
        assert_eq!(verdict, Verdict::At(now + ms(1000)));
        for major in 200..210 {
            go(&mut limiter, now, lane(major));
        }
        let verdict = ask(&mut limiter, now, lane(300), Foreground);
        assert_eq!(verdict, Verdict::At(now + ms(1000)));
        assert!(limiter.budget(now) < 0.01 && limiter.budget(now + ms(1000)) > 0.99);
    }

    #[test]
    fn who_is_waited_for_goes_first_and_keeps_a_place() {
        let (mut limiter, now) = (Limiter::new(Rates::default()), Instant::now());
        let first = go(&mut limiter, now, READ);
        let background = limiter.queue(READ, Background);
        let foreground = limiter.queue(READ, Foreground);
        limiter.done(now, &first, &heard(2, ms(5000)));
        assert_eq!(
            limiter.ask(now, READ, Background, background),
            Verdict::Turn
        );
        let verdict = limiter.ask(now, READ, Foreground, foreground);
        assert!(matches!(verdict, Verdict::Go(_)));
        // One is left, and it is kept for the next read of the kind.
        let verdict = limiter.ask(now, READ, Background, background);
        assert_eq!(verdict, Verdict::At(now + ms(5000)));
        go(&mut limiter, now, READ);
    }

    #[test]
    fn refused_requests_end_in_silence_until_they_are_old() {
        let rates = Rates {
            invalid_max: 3,
            ..Rates::default()
        };
        let (mut limiter, now) = (Limiter::new(rates), Instant::now());
        for (at, status) in [(0, 401), (1, 403), (2, 404)] {
            let charge = go(&mut limiter, now + ms(at), POST);
            let answer = Heard {
                status,
                ..Heard::default()
            };
            limiter.done(now + ms(at), &charge, &answer);
        }
        let charge = go(&mut limiter, now + ms(3), POST);
        limiter.done(now + ms(3), &charge, &limited(ms(0), Scope::Shared));
        let charge = go(&mut limiter, now + ms(4), POST);
        limiter.done(now + ms(4), &charge, &limited(ms(0), Scope::User));
        let verdict = ask(&mut limiter, now + ms(5), READ, Foreground);
        assert_eq!(verdict, Verdict::Stopped(now + ms(600_000)));
        go(&mut limiter, now + ms(600_000), READ);
    }

    #[test]
    fn a_route_without_headers_has_no_limit_of_its_own() {
        let (mut limiter, now) = (Limiter::new(Rates::default()), Instant::now());
        let charge = go(&mut limiter, now, READ);
        let answer = Heard {
            status: 200,
            ..Heard::default()
        };
        limiter.done(now, &charge, &answer);
        for _ in 0..4 {
            go(&mut limiter, now, READ);
        }
        assert_eq!(ask(&mut limiter, now, READ, Foreground), Verdict::Turn);
    }
}
