//! The fault plan: what goes wrong, on which requests, how often.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Faults to be active from the start. A file may be TOML or JSON:
///
/// ```toml
/// seed = 7
/// [[faults]]
/// kind = "lost_answer"
/// route = "POST /channels/{}/messages"
/// after = 2          # let two pass first
/// count = 1          # then once
/// probability = 0.5  # of the requests that are left
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultPlan {
    /// Decides all probabilities.
    pub seed: u64,
    /// Each is independent of the others; a request may meet several.
    pub faults: Vec<Fault>,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// What happens.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// Method and path below `/api/v10`, or below the root for the CDN: `*` is any method, `{…}`
    /// any one segment, a last `*` any rest; other segments are compared as they are, so that
    /// `POST /channels/42/messages` is one channel only.
    #[serde(default = "any_route")]
    pub route: String,
    /// Matching requests that pass first.
    #[serde(default)]
    pub after: u64,
    /// How often it happens; for ever when absent.
    #[serde(default)]
    pub count: Option<u64>,
    /// Chance of each matching request to meet it; certain when absent.
    #[serde(default)]
    pub probability: Option<f64>,
}

fn any_route() -> String {
    "* /*".to_owned()
}

impl Fault {
    /// A fault that happens to every request of a route.
    pub fn new(route: &str, kind: FaultKind) -> Self {
        Self {
            kind,
            route: route.to_owned(),
            after: 0,
            count: None,
            probability: None,
        }
    }

    /// Happens only so often.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.count = Some(count);
        self
    }

    /// Lets so many matching requests pass first.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.after = requests;
        self
    }

    /// Happens by chance.
    #[must_use]
    pub fn with_probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability);
        self
    }
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// 429 instead of the answer. Code 20028 and 30046 carry their own messages.
    RateLimited {
        /// The scope header.
        scope: Scope,
        /// Seconds in the body; the header is the next whole number.
        retry_after_s: f64,
        /// What the bucket's header says is left.
        #[serde(default)]
        remaining: u32,
        /// Code in the body, if any.
        #[serde(default)]
        code: Option<u32>,
    },
    /// Cloudflare's 429: HTML, no rate limit headers.
    Cloudflare {
        /// The `Retry-After` header.
        #[serde(default = "an_hour_s")]
        retry_after_s: u64,
    },
    /// An error status instead of the answer; nothing was done.
    Error {
        /// 500, 502, 503, 504 …
        status: u16,
        /// How it is written.
        #[serde(default)]
        body: ErrorBody,
    },
    /// The request is carried out, then its answer is lost.
    LostAnswer {
        /// Told instead; the connection is closed without an answer when absent.
        #[serde(default)]
        status: Option<u16>,
    },
    /// Time passes.
    Delay {
        /// How much.
        ms: u64,
        /// Before the request is carried out, or between that and its answer.
        #[serde(default)]
        when: When,
    },
    /// The connection is reset when so much of the request's body has arrived.
    ResetUpload {
        /// Bytes read before.
        after_bytes: u64,
    },
    /// The connection is reset when so much of the answer's body has been sent.
    ResetDownload {
        /// Bytes written before.
        after_bytes: u64,
    },
    /// Attachments are cut when they are stored; the answer is a success.
    TruncateStore {
        /// Bytes kept of each attachment.
        keep_bytes: u64,
        /// The size that is recorded and told.
        #[serde(default)]
        recorded: Recorded,
    },
    /// The first GETs of the attachments of this message give wrong bytes.
    WrongBytes {
        /// How many GETs of each attachment.
        #[serde(default = "once")]
        gets: u64,
    },
    /// A CDN URL counts as expired.
    UrlExpired {
        /// 404, or 403 as some addresses see it.
        #[serde(default = "not_found")]
        status: u16,
    },
    /// The message this request makes is missing from lists for a while.
    ListedLate {
        /// For so long, and
        #[serde(default)]
        ms: u64,
        /// for so many lists that would have shown it.
        #[serde(default)]
        listings: u64,
    },
    /// The thread in the path is archived first.
    ThreadArchived,
    /// The thread in the path is archived and locked first.
    ThreadLocked,
    /// The channel or thread in the path is deleted first.
    ChannelDeleted,
    /// The bot's role loses these permission bits, for good.
    PermissionWithdrawn {
        /// Bits to take away.
        bits: u64,
    },
    /// The attachment limit becomes this, for good.
    AttachmentLimit {
        /// Bytes of the largest attachment.
        bytes: u64,
    },
    /// The bot's token stops being valid, for good.
    TokenRevoked,
    /// The answer has no rate limit headers.
    OmitHeaders,
    /// The answer's body comes slowly.
    SlowBody {
        /// Its speed.
        bytes_per_s: u64,
    },
    /// The answer has `X-RateLimit-Scope: user` though it is not a 429.
    ScopeHeader,
}

fn an_hour_s() -> u64 {
    3600
}

fn once() -> u64 {
    1
}

fn not_found() -> u16 {
    404
}

/// Whose rate limit was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This user's, for the route.
    User,
    /// Everybody's together, for the resource.
    Shared,
    /// This user's, over all routes.
    Global,
}

/// How an error status is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorBody {
    /// As the API does.
    #[default]
    Json,
    /// As the edge in front of it does.
    Html,
    /// A line of text.
    Plain,
}

/// When a delay happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// Before the request is carried out.
    #[default]
    Before,
    /// After it, before the answer.
    After,
}

/// The size told of an attachment that was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    /// What was stored.
    #[default]
    Short,
    /// What was sent.
    Full,
}

/// Why a fault plan cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("cannot read the fault plan")]
    Read(#[source] std::io::Error),
    /// It is not valid TOML.
    #[error("the fault plan is not valid TOML")]
    Toml(#[source] toml::de::Error),
    /// It is not valid JSON.
    #[error("the fault plan is not valid JSON")]
    Json(#[source] serde_json::Error),
}

impl FaultPlan {
    /// Reads a plan: JSON when it starts with a brace, TOML otherwise.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(PlanError::Json)
        } else {
            toml::from_str(text).map_err(PlanError::Toml)
        }
    }

    /// Reads a plan from a file.
    pub fn load(path: &Path) -> Result<Self, PlanError> {
        Self::parse(&std::fs::read_to_string(path).map_err(PlanError::Read)?)
    }
}
