//! What can be chosen about an emulator: Discord's limits, its speed, its faults.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::emulator::clock::Clock;
use crate::emulator::fault::FaultPlan;

/// How to start an emulator. The default listens on a free port of 127.0.0.1, keeps everything in
/// memory, and has Discord's limits and no faults.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Directory that keeps everything over a restart; memory when absent.
    pub data: Option<PathBuf>,
    /// Sizes, rates, speeds.
    pub limits: Limits,
    /// What goes wrong, and when.
    pub faults: FaultPlan,
    /// The time for ids, URLs, windows and archiving.
    pub clock: Clock,
    /// Boost tier of the guild, 0 to 3; kept as stored (at first 0) when absent.
    pub premium_tier: Option<u8>,
    /// Whether the application has the privileged MESSAGE_CONTENT intent.
    pub message_content: MessageContent,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data: None,
            limits: Limits::default(),
            faults: FaultPlan::default(),
            clock: Clock::default(),
            premium_tier: None,
            message_content: MessageContent::Withheld,
        }
    }
}

/// Whether the application may read what others wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageContent {
    /// Foreign messages arrive complete.
    Granted,
    /// Foreign messages arrive blank, unless they mention the application.
    Withheld,
}

/// Whether rate limits are enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateLimits {
    /// Windows are counted, headers sent, and 429 given.
    Enforced,
    /// No windows, no headers, no 429 except by fault.
    Off,
}

/// Which `User-Agent` headers are let through; others are answered 403 with code 40333.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserAgents {
    /// Any, also none.
    Any,
    /// Any that is not empty.
    Named,
    /// Only what Discord documents: `DiscordBot ($url, $version)`.
    DiscordBot,
}

/// A fixed window: so many requests, then 429 until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteLimit {
    /// Requests allowed in one window; 0 means that the route has no limit of its own.
    pub requests: u32,
    /// Length of the window, which the first request opens.
    pub window_ms: u64,
}

impl RouteLimit {
    /// `requests` in each window of `window_ms`.
    pub const fn new(requests: u32, window_ms: u64) -> Self {
        Self {
            requests,
            window_ms,
        }
    }
}

/// The windows of the routes that have one. Keys are per channel unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteLimits {
    /// `POST messages`.
    pub create_message: RouteLimit,
    /// `PATCH messages/{id}`.
    pub edit_message: RouteLimit,
    /// Hidden: edits of messages older than an hour; over it 429 with code 30046.
    pub edit_old_message: RouteLimit,
    /// `GET messages`.
    pub list_messages: RouteLimit,
    /// `GET messages/{id}`.
    pub get_message: RouteLimit,
    /// `DELETE messages/{id}` younger than 10 s, or unknown.
    pub delete_new_message: RouteLimit,
    /// `DELETE messages/{id}` from 10 s to 14 days old.
    pub delete_message: RouteLimit,
    /// `DELETE messages/{id}` older than 14 days; each also counts as a new one, unseen.
    pub delete_old_message: RouteLimit,
    /// `POST messages/bulk-delete`.
    pub bulk_delete: RouteLimit,
    /// Adding and removing reactions.
    pub reactions: RouteLimit,
    /// Pinning and unpinning.
    pub pin: RouteLimit,
    /// `GET messages/pins`.
    pub list_pins: RouteLimit,
    /// `GET pins`, the old route.
    pub list_pins_old: RouteLimit,
    /// Creating threads, over all channels.
    pub create_thread: RouteLimit,
    /// Joining, leaving, adding and removing, over all threads.
    pub thread_members: RouteLimit,
    /// `POST typing`.
    pub typing: RouteLimit,
    /// Hidden: changes of a channel's name or topic.
    pub rename_channel: RouteLimit,
    /// `POST attachments/refresh-urls`, over all channels. Discord's number is unknown.
    pub refresh_urls: RouteLimit,
    /// Followups of one interaction, and reading, changing and deleting its answers.
    pub followup: RouteLimit,
    /// `PUT commands`.
    pub overwrite_commands: RouteLimit,
    /// Creating, changing and deleting single commands.
    pub change_command: RouteLimit,
}

impl Default for RouteLimits {
    fn default() -> Self {
        Self {
            create_message: RouteLimit::new(5, 5000),
            edit_message: RouteLimit::new(5, 5000),
            edit_old_message: RouteLimit::new(3, 6000),
            list_messages: RouteLimit::new(5, 5000),
            get_message: RouteLimit::new(5, 5000),
            delete_new_message: RouteLimit::new(5, 1000),
            delete_message: RouteLimit::new(3, 333),
            delete_old_message: RouteLimit::new(30, 4000),
            bulk_delete: RouteLimit::new(1, 3000),
            reactions: RouteLimit::new(1, 250),
            pin: RouteLimit::new(5, 5000),
            list_pins: RouteLimit::new(6, 5000),
            list_pins_old: RouteLimit::new(1, 5000),
            create_thread: RouteLimit::new(50, 300_000),
            thread_members: RouteLimit::new(5, 5000),
            typing: RouteLimit::new(5, 5000),
            rename_channel: RouteLimit::new(2, 600_000),
            refresh_urls: RouteLimit::new(0, 1000),
            followup: RouteLimit::new(5, 2000),
            overwrite_commands: RouteLimit::new(2, 60_000),
            change_command: RouteLimit::new(5, 20_000),
        }
    }
}

/// Everything that has a limit, with Discord's value as default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Largest attachment; by the guild's premium tier (10, 10, 50, 100 MiB) when absent.
    pub attachment_bytes_max: Option<u64>,
    /// Largest request body; 413 with code 40005 above it.
    pub request_bytes_max: u64,
    /// Whether rate limits are enforced.
    pub rate_limits: RateLimits,
    /// The windows of the routes.
    pub routes: RouteLimits,
    /// Requests per second of one user over all routes.
    pub global_per_s: u32,
    /// Answers 401, 403 and 429 in one window before the address is banned.
    pub invalid_max: u32,
    /// Length of that window.
    pub invalid_window_s: u64,
    /// How long the ban lasts, and its `Retry-After`.
    pub ban_s: u64,
    /// How long a signed URL is valid.
    pub url_lifetime_s: u64,
    /// How long a nonce is remembered.
    pub nonce_window_s: u64,
    /// How long the CDN still serves what was deleted.
    pub cdn_keep_deleted_s: u64,
    /// Active threads of the guild: no more are made, and none that is archived wakes up, beyond these.
    pub active_threads_max: u64,
    /// Channels of the guild, threads not counted.
    pub channels_max: u64,
    /// Pins of one channel.
    pub pins_max: u64,
    /// What is let through by `User-Agent`.
    pub user_agents: UserAgents,
    /// Added before every answer, as a round trip would.
    pub rtt_ms: u64,
    /// Speed of one connection, each way; unlimited when absent. Applies to new connections.
    pub bytes_per_s: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attachment_bytes_max: None,
            request_bytes_max: 100 << 20,
            rate_limits: RateLimits::Enforced,
            routes: RouteLimits::default(),
            global_per_s: 50,
            invalid_max: 10_000,
            invalid_window_s: 600,
            ban_s: 3600,
            url_lifetime_s: 86_400,
            nonce_window_s: 300,
            cdn_keep_deleted_s: 0,
            active_threads_max: 1000,
            channels_max: 500,
            pins_max: 250,
            user_agents: UserAgents::Named,
            rtt_ms: 0,
            bytes_per_s: None,
        }
    }
}

impl Limits {
    /// Discord's sizes without its rate limits: for tests that are not about rates.
    pub fn unlimited_rates() -> Self {
        Self {
            rate_limits: RateLimits::Off,
            ..Self::default()
        }
    }

    /// Largest attachment in a guild of this premium tier.
    pub fn attachment_bytes_max(&self, premium_tier: u8) -> u64 {
        self.attachment_bytes_max.unwrap_or(match premium_tier {
            0 | 1 => 10 << 20,
            2 => 50 << 20,
            _ => 100 << 20,
        })
    }
}
