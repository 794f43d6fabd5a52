//! What the emulator was asked and what it gave, counted.

use std::collections::BTreeMap;

use serde::Serialize;

/// Totals since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// API requests by method and template, such as `POST /channels/{channel_id}/messages`.
    pub routes: BTreeMap<String, u64>,
    /// API requests in all.
    pub requests: u64,
    /// API answers by status; 0 is an answer that was not given.
    pub statuses: BTreeMap<u16, u64>,
    /// Answers 429 of every kind.
    pub rate_limited: u64,
    /// Answers 401, 403 and 429 that count towards a ban.
    pub invalid: u64,
    /// Messages created.
    pub messages: u64,
    /// Creations that a nonce turned into the message that was there.
    pub messages_repeated: u64,
    /// Attachments stored.
    pub attachments: u64,
    /// Their bytes.
    pub bytes_stored: u64,
    /// Bytes of API request bodies.
    pub bytes_received: u64,
    /// CDN requests in all.
    pub cdn_requests: u64,
    /// Bytes of attachments promised in CDN answers.
    pub bytes_served: u64,
    /// CDN requests that carried an `Authorization` header: should be none.
    pub cdn_with_authorization: u64,
    /// CDN answers by status.
    pub cdn_statuses: BTreeMap<u16, u64>,
    /// Gateway sessions begun.
    pub gateway_sessions: u64,
    /// Largest number of API requests that were in progress at once.
    pub concurrent_max: u64,
}

impl Counts {
    /// Requests of one route, by its template.
    pub fn route(&self, template: &str) -> u64 {
        self.routes.get(template).copied().unwrap_or(0)
    }
}
