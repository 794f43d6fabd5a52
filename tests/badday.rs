//! Discord's bad days, one by one, while a workload runs through a real mount: nothing is lost or
//! doubled, nothing spins, what is local works on, the state is told, and what can heal heals by itself.

#[path = "badday/blip.rs"]
mod blip;
#[path = "badday/day.rs"]
mod day;
#[path = "support/dice.rs"]
mod dice;
#[path = "badday/final.rs"]
mod finals;
#[path = "badday/outage.rs"]
mod outage;
#[path = "support/ods.rs"]
mod support;
