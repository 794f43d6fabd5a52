//! A Discord that runs on loopback: the API, the CDN and the gateway, with its limits and its faults.
//!
//! It imports nothing of ods, so that the two cannot be wrong together, and any other client can be
//! pointed at it. Everything is at one address: the API at `/api/v10`, attachments at
//! `/attachments`, the gateway at `/gateway`, what tests want to know and change at `/_control`, and
//! at `/` a page that shows it all to a person, who can post, press buttons and run commands there.
//!
//! One guild exists from the start, with one channel, a bot that has all the permissions ods needs,
//! and an ordinary member who can post too. With a data directory all of it survives a restart and
//! the death of the process; what was acknowledged is there.
//!
//! Reading order: `server` (the way of a request), `dispatch`, the handlers (`messages`, `edit`,
//! `threads`, `channels`, `guilds`, `pins`, `reactions`, `cdn`), the way of an interaction (`people`,
//! `invoke`, `press`, `begin`, `desk`, then `callback` and `followups`), then what they change (`world`,
//! `model`, `log`, `blobs`) and how it looks (`view`).

mod app;
mod begin;
mod blobs;
mod callback;
mod cdn;
mod channels;
mod clock;
mod command_form;
mod commands;
mod control;
mod counts;
mod desk;
mod dispatch;
mod draft;
mod edit;
mod embeds;
mod events;
mod fault;
mod faults;
mod followups;
mod gateway;
mod genesis;
mod guard;
mod guilds;
mod handle;
mod hub;
mod invoke;
mod limited;
mod log;
mod messages;
mod mishap;
mod model;
mod overview;
mod page;
mod payload;
mod people;
mod permissions;
mod pins;
mod press;
mod ratelimit;
mod reactions;
mod reply;
mod resolve;
mod route;
mod server;
mod settings;
mod snowflake;
mod squeeze;
mod tamper;
mod threads;
mod upload;
mod urls;
mod view;
mod whispers;
mod wire;
mod world;

pub use crate::emulator::clock::Clock;
pub use crate::emulator::counts::Counts;
pub use crate::emulator::fault::{
    ErrorBody, Fault, FaultKind, FaultPlan, PlanError, Recorded, Scope, When,
};
pub use crate::emulator::handle::{Emulator, Error, FaultsHandle, run};
pub use crate::emulator::permissions::bits as permission;
pub use crate::emulator::settings::{
    Limits, MessageContent, RateLimits, RouteLimit, RouteLimits, Settings, UserAgents,
};
pub use crate::emulator::tamper::StoredAttachment;
