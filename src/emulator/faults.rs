//! The fault plan as it runs: which request meets which faults.

use crate::emulator::fault::{Fault, FaultKind, FaultPlan};

/// The plan as it runs.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    seed: u64,
    made: u64,
    live: Vec<Live>,
}

#[derive(Debug)]
struct Live {
    id: u64,
    fault: Fault,
    seen: u64,
    met: u64,
    random: u64,
}

impl Faults {
    pub(crate) fn new(plan: FaultPlan) -> Self {
        let mut faults = Self {
            seed: plan.seed,
            ..Self::default()
        };
        for fault in plan.faults {
            faults.add(fault);
        }
        faults
    }

    pub(crate) fn add(&mut self, fault: Fault) -> u64 {
        self.made += 1;
        self.live.push(Live {
            id: self.made,
            fault,
            seen: 0,
            met: 0,
            random: self
                .seed
                .wrapping_add(self.made.wrapping_mul(0xA076_1D64_78BD_642F)),
        });
        self.made
    }

    pub(crate) fn clear(&mut self) {
        self.live.clear();
    }

    /// How often a fault has happened.
    pub(crate) fn met(&self, id: u64) -> u64 {
        self.live
            .iter()
            .find(|one| one.id == id)
            .map_or(0, |one| one.met)
    }

    /// Each fault with its id, requests seen and times it happened.
    pub(crate) fn list(&self) -> Vec<(u64, &Fault, u64, u64)> {
        let rows = self.live.iter();
        rows.map(|one| (one.id, &one.fault, one.seen, one.met))
            .collect()
    }

    /// What this request meets.
    pub(crate) fn draw(&mut self, method: &str, path: &str) -> Vec<FaultKind> {
        let mut drawn = Vec::new();
        for one in &mut self.live {
            if !matches(&one.fault.route, method, path) {
                continue;
            }
            one.seen += 1;
            let spent = one.fault.count.is_some_and(|count| one.met >= count);
            if one.seen <= one.fault.after || spent {
                continue;
            }
            let chance = one.fault.probability.unwrap_or(1.0);
            if chance >= 1.0 || uniform(&mut one.random) < chance {
                one.met += 1;
                drawn.push(one.fault.kind.clone());
            }
        }
        drawn
    }
}

/// Does a route pattern cover a request?
fn matches(route: &str, method: &str, path: &str) -> bool {
    let Some((verb, pattern)) = route.split_once(' ') else {
        return false;
    };
    if verb != "*" && !verb.eq_ignore_ascii_case(method) {
        return false;
    }
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let mut wanted = pattern
        .split('/')
        .filter(|segment| !segment.is_empty())
        .peekable();
    while let Some(want) = wanted.next() {
        if want == "*" && wanted.peek().is_none() {
            return true;
        }
        let any = want.starts_with('{') && want.ends_with('}');
        if !segments
            .next()
            .is_some_and(|segment| any || segment == want)
        {
            return false;
        }
    }
    segments.next().is_none()
}

/// splitmix64, as a number in `0..1`.
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double")]
    let high = (mixed >> 11) as f64;
    high / 9_007_199_254_740_992.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_it_says() {
        let path = "/channels/42/messages";
        assert!(matches("POST /channels/{}/messages", "POST", path));
        assert!(matches("* /channels/42/messages", "GET", path));
        assert!(matches("* /*", "GET", path));
        assert!(matches("GET /channels/*", "GET", path));
        assert!(!matches("GET /channels/{}", "GET", path));
        assert!(!matches("POST /channels/41/messages", "POST", path));
        assert!(!matches("POST /channels/{}/messages/{}", "POST", path));
    }

    #[test]
    fn a_plan_is_read_from_toml_and_json_and_repeats_with_its_seed() {
        let plan = FaultPlan::parse(
            "seed = 7\n[[faults]]\nkind = \"error\"\nstatus = 502\nbody = \"html\"\n\
             route = \"GET /gateway\"\nafter = 1\ncount = 3\nprobability = 0.5\n\
             [[faults]]\nkind = \"rate_limited\"\nscope = \"shared\"\nretry_after_s = 2\n",
        )
        .expect("valid TOML");
        let json = serde_json::to_string(&plan).expect("a plan is JSON");
        assert_eq!(FaultPlan::parse(&json).expect("valid JSON"), plan);

        let run = |plan: &FaultPlan| {
            let mut faults = Faults::new(plan.clone());
            (0..20)
                .map(|_| faults.draw("GET", "/gateway").len())
                .collect::<Vec<_>>()
        };
        let first = run(&plan);
        assert_eq!(first, run(&plan));
        assert_eq!(first[0], 1, "the first passes the error");
        assert_eq!(
            first.iter().sum::<usize>(),
            23,
            "20 rate limits and 3 errors"
        );
    }
}
