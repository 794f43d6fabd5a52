//! Answers of the API: what a handler gives back, and every refusal with its status and code.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

const NOT_YOURS: &str = "You are not authorized to perform this action on this application";
const COMMANDS_FULL: &str = "Maximum number of application commands reached (100).";
const BULK_COUNT: &str = "Provided too few or too many messages to delete. Must provide at least 2 and fewer than 100 messages to delete";

/// A handler's good answer.
#[derive(Debug)]
pub(crate) enum Reply {
    /// 200 with a body.
    Ok(Value),
    /// 201 with a body.
    Created(Value),
    /// 204.
    NoContent,
}

/// What every handler returns.
pub(crate) type Answer = Result<Reply, Refusal>;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refusal {
    Unauthorized,
    NotFound,
    MethodNotAllowed,
    Blocked,
    UnknownChannel,
    UnknownGuild,
    UnknownMember,
    UnknownMessage,
    UnknownOverwrite,
    UnknownRole,
    UnknownUser,
    UnknownEmoji,
    UnknownWebhook,
    UnknownInteraction,
    UnknownCommand,
    InteractionAnswered,
    WebhookToken,
    NotYourApplication,
    TooManyCommands,
    MissingAccess,
    MissingPermissions,
    CannotEditOther,
    EmptyMessage,
    WrongChannelKind,
    SystemMessage,
    BulkCount,
    BulkTooOld,
    InvalidJson,
    TooLarge,
    TooManyAttachments,
    TooManyPins,
    TooManyChannels,
    TooManyReactions,
    TooManyThreads,
    ThreadExists,
    ThreadArchived,
    ThreadLocked,
    ForumNeedsThread,
    Form(Value),
    Broken,
    /// A 429 from a hidden limit, not the route's bucket.
    SubLimit {
        code: u32,
        retry_after_ms: u64,
    },
}

impl Refusal {
    /// Status, code and message: the whole table.
    fn parts(&self) -> (u16, u32, &'static str) {
        match self {
            Self::Unauthorized => (401, 0, "401: Unauthorized"),
            Self::NotFound => (404, 0, "404: Not Found"),
            Self::MethodNotAllowed => (405, 0, "405: Method Not Allowed"),
            Self::Blocked => (403, 40333, "internal network error"),
            Self::UnknownChannel => (404, 10003, "Unknown Channel"),
            Self::UnknownGuild => (404, 10004, "Unknown Guild"),
            Self::UnknownMember => (404, 10007, "Unknown Member"),
            Self::UnknownMessage => (404, 10008, "Unknown Message"),
            Self::UnknownOverwrite => (404, 10009, "Unknown Permission Overwrite"),
            Self::UnknownRole => (404, 10011, "Unknown Role"),
            Self::UnknownUser => (404, 10013, "Unknown User"),
            Self::UnknownEmoji => (400, 10014, "Unknown Emoji"),
            Self::UnknownWebhook => (404, 10015, "Unknown Webhook"),
            Self::UnknownInteraction => (404, 10062, "Unknown interaction"),
            Self::UnknownCommand => (404, 10063, "Unknown application command"),
            Self::InteractionAnswered => (400, 40060, "Interaction has already been acknowledged."),
            Self::WebhookToken => (401, 50027, "Invalid Webhook Token"),
            Self::NotYourApplication => (403, 20012, NOT_YOURS),
            Self::TooManyCommands => (400, 30032, COMMANDS_FULL),
            Self::MissingAccess => (403, 50001, "Missing Access"),
            Self::MissingPermissions => (403, 50013, "Missing Permissions"),
            Self::CannotEditOther => (403, 50005, "Cannot edit a message authored by another user"),
            Self::EmptyMessage => (400, 50006, "Cannot send an empty message"),
            Self::WrongChannelKind => (400, 50024, "Cannot execute action on this channel type"),
            Self::SystemMessage => (403, 50021, "Cannot execute action on a system message"),
            Self::BulkCount => (400, 50016, BULK_COUNT),
            Self::BulkTooOld => (
                400,
                50034,
                "You can only bulk delete messages that are under 14 days old.",
            ),
            Self::InvalidJson => (400, 50109, "The request body contains invalid JSON."),
            Self::TooLarge => (413, 40005, "Request entity too large"),
            Self::TooManyAttachments => (
                400,
                30015,
                "Maximum number of attachments in a message reached (10)",
            ),
            Self::TooManyPins => (
                400,
                30003,
                "Maximum number of pins reached for the channel (250)",
            ),
            Self::TooManyChannels => (400, 30013, "Maximum number of guild channels reached (500)"),
            Self::TooManyReactions => (400, 30010, "Maximum number of reactions reached (20)"),
            Self::TooManyThreads => (400, 160_006, "Maximum number of active threads reached"),
            Self::ThreadExists => (
                400,
                160_004,
                "A thread has already been created for this message",
            ),
            Self::ThreadArchived => (400, 50083, "Thread is archived"),
            Self::ThreadLocked => (400, 160_005, "Thread is locked"),
            Self::ForumNeedsThread => (400, 40058, "Cannot send messages in a forum channel"),
            Self::Form(_) => (400, 50035, "Invalid Form Body"),
            Self::Broken => (500, 0, "500: Internal Server Error"),
            Self::SubLimit { code: 30046, .. } => (
                429,
                30046,
                "Maximum number of edits to messages older than 1 hour reached. Try again later",
            ),
            Self::SubLimit { .. } => (429, 0, "You are being rate limited."),
        }
    }

    /// The HTTP answer.
    pub(crate) fn response(&self) -> Response<Body> {
        let (status, code, message) = self.parts();
        let mut body = json!({"message": message, "code": code});
        let mut seconds = None;
        match self {
            Self::Form(errors) => body["errors"] = errors.clone(),
            Self::SubLimit { retry_after_ms, .. } => {
                body["retry_after"] = json!(seconds_of(*retry_after_ms));
                body["global"] = json!(false);
                seconds = Some(retry_after_ms.div_ceil(1000));
            }
            _ => {}
        }
        let mut response = json_response(status, &body);
        if let Some(seconds) = seconds {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, seconds.into());
            headers.insert("x-ratelimit-scope", HeaderValue::from_static("user"));
        }
        response
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (_, code, message) = self.parts();
        write!(f, "{message} ({code})")?;
        match self {
            Self::Form(errors) => write!(f, ": {errors}"),
            _ => Ok(()),
        }
    }
}

/// Milliseconds as the seconds Discord sends.
pub(crate) fn seconds_of(ms: u64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "durations are far below 2^53 ms"
    )]
    let ms = ms as f64;
    ms / 1000.0
}

impl Reply {
    /// The HTTP answer.
    pub(crate) fn response(&self) -> Response<Body> {
        match self {
            Self::Ok(body) => json_response(200, body),
            Self::Created(body) => json_response(201, body),
            Self::NoContent => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
        }
    }
}

pub(crate) fn json_response(status: u16, body: &Value) -> Response<Body> {
    text_response(status, "application/json", body.to_string())
}

pub(crate) fn text_response(status: u16, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Gathers what is wrong with a form, field by field, into Discord's nested error object.
#[derive(Debug, Default)]
pub(crate) struct Form {
    errors: Map<String, Value>,
}

impl Form {
    /// Adds an error at a path such as `attachments/0/id`; an empty path is the form itself.
    pub(crate) fn wrong(&mut self, path: &str, code: &str, message: &str) {
        let mut place = &mut self.errors;
        for step in path.split('/').filter(|step| !step.is_empty()) {
            let next = place.entry(step).or_insert_with(|| json!({}));
            let Value::Object(next) = next else { return };
            place = next;
        }
        let list = place.entry("_errors").or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(json!({"code": code, "message": message}));
        }
    }

    pub(crate) fn required(&mut self, path: &str) {
        self.wrong(path, "BASE_TYPE_REQUIRED", "This field is required");
    }

    pub(crate) fn too_long(&mut self, path: &str, max: usize) {
        let message = format!("Must be {max} or fewer in length.");
        self.wrong(path, "BASE_TYPE_MAX_LENGTH", &message);
    }

    pub(crate) fn bad_length(&mut self, path: &str, min: usize, max: usize) {
        let message = format!("Must be between {min} and {max} in length.");
        self.wrong(path, "BASE_TYPE_BAD_LENGTH", &message);
    }

    pub(crate) fn bad_choice(&mut self, path: &str, choices: &str) {
        let message = format!("Value must be one of {{{choices}}}.");
        self.wrong(path, "BASE_TYPE_CHOICES", &message);
    }

    pub(crate) fn bad_snowflake(&mut self, path: &str, value: &str) {
        let message = format!("Value \"{value}\" is not snowflake.");
        self.wrong(path, "NUMBER_TYPE_COERCE", &message);
    }

    /// Nothing wrong, or the refusal that says what is.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        if self.errors.is_empty() {
            Ok(())
        } else {
            Err(Refusal::Form(Value::Object(self.errors)))
        }
    }
}

/// A form that is wrong in one place.
pub(crate) fn wrong(path: &str, code: &str, message: &str) -> Refusal {
    let mut form = Form::default();
    form.wrong(path, code, message);
    Refusal::Form(Value::Object(form.errors))
}
