//! What was measured, and how it is shown.

use serde_json::Value;
use serde_json::json;

/// Which way is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// Speeds, rates.
    More,
    /// Times, costs.
    Less,
}

/// What one side gave, over the rounds.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    /// Who.
    pub(crate) who: String,
    /// One value for each round.
    pub(crate) values: Vec<f64>,
}

impl Side {
    /// The middle value; that of the lower half's end when their number is even.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
            .get((sorted.len().max(1) - 1) / 2)
            .copied()
            .unwrap_or(f64::NAN)
    }

    fn least(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn most(&self) -> f64 {
        self.values
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max)
    }
}

/// A ratio that is to be reached: ours divided by theirs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Goal {
    /// Whose value is below the line.
    pub(crate) against: &'static str,
    /// At least so much when more is better, at most so much when less is.
    pub(crate) ratio: f64,
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// In what.
    pub(crate) unit: &'static str,
    /// Which way is good.
    pub(crate) better: Better,
    /// All sides; ours is called `ods`.
    pub(crate) sides: Vec<Side>,
    /// What is to be reached.
    pub(crate) goals: Vec<Goal>,
    /// What a reader has to know.
    pub(crate) note: String,
}

/// Our name among the sides.
pub(crate) const OURS: &str = "ods";

impl Row {
    /// A line that has one value per side.
    pub(crate) fn new(what: &str, unit: &'static str, better: Better) -> Row {
        Row {
            what: what.to_owned(),
            unit,
            better,
            sides: Vec::new(),
            goals: Vec::new(),
            note: String::new(),
        }
    }

    /// Adds a side's value of this round.
    pub(crate) fn add(&mut self, who: &str, value: f64) {
        match self.sides.iter_mut().find(|side| side.who == who) {
            Some(side) => side.values.push(value),
            None => self.sides.push(Side {
                who: who.to_owned(),
                values: vec![value],
            }),
        }
    }

    /// Sets a goal.
    pub(crate) fn goal(mut self, against: &'static str, ratio: f64) -> Row {
        self.goals.push(Goal { against, ratio });
        self
    }

    fn side(&self, who: &str) -> Option<&Side> {
        self.sides.iter().find(|side| side.who == who)
    }

    /// Ours divided by theirs.
    fn ratio(&self, against: &str) -> Option<f64> {
        let (ours, theirs) = (self.side(OURS)?, self.side(against)?);
        Some(ours.median() / theirs.median()).filter(|ratio| ratio.is_finite())
    }

    fn verdict(&self, goal: &Goal) -> Verdict {
        match (self.ratio(goal.against), self.better) {
            (None, _) => Verdict::NotMeasured,
            (Some(ratio), Better::More) if ratio >= goal.ratio => Verdict::Reached,
            (Some(ratio), Better::Less) if ratio <= goal.ratio => Verdict::Reached,
            (Some(_), _) => Verdict::Missed,
        }
    }

    fn bound(&self) -> &'static str {
        match self.better {
            Better::More => "≥",
            Better::Less => "≤",
        }
    }

    fn ratios(&self) -> String {
        let others = self.sides.iter().filter(|side| side.who != OURS);
        let shown = others.filter_map(|side| {
            let ratio = self.ratio(&side.who)?;
            let goal = self.goals.iter().find(|goal| goal.against == side.who);
            let goal = goal.map_or(String::new(), |goal| {
                let mark = match self.verdict(goal) {
                    Verdict::Reached => "reached",
                    Verdict::Missed => "**missed**",
                    Verdict::NotMeasured => "not measured",
                };
                format!(" ({} {}: {mark})", self.bound(), figure(goal.ratio))
            });
            Some(format!("{} × {}{goal}", figure(ratio), side.who))
        });
        let shown: Vec<String> = shown.collect();
        match shown.is_empty() {
            true => String::from("–"),
            false => shown.join("; "),
        }
    }

    fn values(&self, ours: bool) -> String {
        let sides = self.sides.iter().filter(|side| (side.who == OURS) == ours);
        let shown = sides.map(|side| {
            let name = match ours {
                true => String::new(),
                false => format!("{} ", side.who),
            };
            match side.values.len() {
                1 => format!("{name}{}", figure(side.median())),
                _ => format!(
                    "{name}{} ({}–{})",
                    figure(side.median()),
                    figure(side.least()),
                    figure(side.most())
                ),
            }
        });
        shown.collect::<Vec<_>>().join("; ")
    }

    /// One line of a markdown table.
    pub(crate) fn markdown(&self) -> String {
        let note = match self.note.is_empty() {
            true => String::new(),
            false => format!("; {}", self.note),
        };
        format!(
            "| {} | {} | {} {} | {}{note} |",
            self.what,
            self.ratios(),
            self.values(true),
            self.unit,
            self.values(false),
        )
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let sides = self.sides.iter().map(|side| {
            json!({
                "who": side.who, "median": side.median(), "min": side.least(), "max": side.most(),
                "values": side.values, "ratio": self.ratio(&side.who),
            })
        });
        let goals = self.goals.iter().map(|goal| {
            json!({
                "against": goal.against, "ratio": goal.ratio, "bound": self.bound(),
                "reached": match self.verdict(goal) {
                    Verdict::Reached => json!(true),
                    Verdict::Missed => json!(false),
                    Verdict::NotMeasured => Value::Null,
                },
            })
        });
        json!({
            "what": self.what, "unit": self.unit, "note": self.note,
            "sides": sides.collect::<Vec<_>>(), "goals": goals.collect::<Vec<_>>(),
        })
    }
}

enum Verdict {
    Reached,
    Missed,
    NotMeasured,
}

/// The head of the table.
pub(crate) const HEAD: &str = "| what | ods ÷ other | ods: median (min–max) | others |\n\
                               | --- | --- | --- | --- |";

/// Three digits that mean something.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{:.2}M", value / 1e6),
        size if size >= 1e4 => format!("{:.1}k", value / 1e3),
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
