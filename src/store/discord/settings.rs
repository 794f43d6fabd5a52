//! What the Discord store has to be told, and what it may be told.

use std::{fmt, path::PathBuf, time::Duration};

use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use super::{limiter::Rates, sizes::SAFE_PUT_BYTES};
use crate::clock::Clock;
use crate::size::MIB;
use crate::store::Error;

/// Where Discord is.
pub const API_BASE: &str = "https://discord.com";
/// Largest attachment on a server without boosts.
pub const ATTACHMENT_BYTES_DEFAULT: u64 = 10 * MIB;

/// A bot's token: wiped from memory in the end, never shown.
#[derive(Clone)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes what the developer portal shows, with or without `Bot ` before it and blanks around it.
    ///
    /// # Errors
    /// [`Error::NotAccepted`] when it cannot be a token.
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let text = text.strip_prefix("Bot ").unwrap_or(text).trim();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::NotAccepted {
                what:
                    "this is not a bot token: copy it once more from the developer portal, page Bot"
                        .into(),
            });
        }
        Ok(Self(Zeroizing::new(text.into())))
    }

    pub(super) fn header(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("Bot {}", *self.0))
    }

    /// The bot's own user id, which is written in its token.
    #[must_use]
    pub fn user(&self) -> Option<u64> {
        let first = self.0.split('.').next()?.trim_end_matches('=');
        let digits = BASE64URL_NOPAD.decode(first.as_bytes()).ok()?;
        std::str::from_utf8(&digits).ok()?.parse().ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// All of it. [`Settings::new`] fills in what suits Discord.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The bot's token.
    pub token: Token,
    /// Scheme and host, e.g. [`API_BASE`].
    pub api_base: String,
    /// The server.
    pub guild: u64,
    /// The channel of journal, checkpoints, lease and superblock.
    pub journal_channel: u64,
    /// The channel of the archive cards, on which the threads hang.
    pub archives_channel: u64,
    /// Largest attachment, bytes; [`super::setup::Guild::attachment_bytes_max`] knows. Shrinks when
    /// Discord takes less.
    pub object_bytes_max: u64,
    /// Bytes of one put to begin with; grows while it works, up to [`Settings::put_bytes_ceiling`].
    pub put_bytes_start: u64,
    /// Bytes of one put that are never exceeded.
    pub put_bytes_ceiling: u64,
    /// The file that keeps what is learnt of these for the next session; none keeps nothing.
    pub sizes_file: Option<PathBuf>,
    /// How fast requests may go.
    pub rates: Rates,
    /// How long one call goes on trying before it is [`Error::Unavailable`]. What is sent
    /// or read gets the time its bytes need at [`Settings::bytes_per_second_min`] on top of it.
    pub patience: Duration,
    /// How long one request may take, without its bytes.
    pub request_timeout: Duration,
    /// How long a connection may neither take nor give anything while there is something to send or
    /// to read.
    pub silence_timeout: Duration,
    /// What is sent or received slower than this is given up and begun again.
    pub bytes_per_second_min: u64,
    /// The first wait between two attempts; doubles with each, up to [`Settings::backoff_max`].
    pub backoff_first: Duration,
    /// The longest wait between two attempts.
    pub backoff_max: Duration,
    /// For how long Discord surely remembers a nonce. After that a put whose answer was lost looks
    /// for its message before it sends again.
    pub nonce_window: Duration,
    /// A signed address is renewed this long before it expires.
    pub url_margin: Duration,
    /// Signed addresses that are remembered, about 300 bytes each.
    pub urls_max: usize,
    /// Downloads at the same time.
    pub downloads_max: usize,
    /// How many of them only reads that somebody waits for may use.
    pub downloads_reserved: usize,
    /// Sent with every request, in the form that Discord demands.
    pub user_agent: String,
    /// What time it is.
    pub clock: Clock,
}

impl Settings {
    /// For a drive on Discord itself.
    #[must_use]
    pub fn new(token: Token, guild: u64, journal_channel: u64, archives_channel: u64) -> Self {
        Self {
            token,
            api_base: API_BASE.into(),
            guild,
            journal_channel,
            archives_channel,
            object_bytes_max: ATTACHMENT_BYTES_DEFAULT,
            put_bytes_start: SAFE_PUT_BYTES,
            put_bytes_ceiling: 180 * MIB,
            sizes_file: None,
            rates: Rates::default(),
            patience: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            silence_timeout: Duration::from_secs(20),
            bytes_per_second_min: 64 * 1024,
            backoff_first: Duration::from_millis(500),
            backoff_max: Duration::from_secs(20),
            nonce_window: Duration::from_secs(120),
            url_margin: Duration::from_secs(300),
            urls_max: 16_384,
            downloads_max: 12,
            downloads_reserved: 2,
            user_agent: user_agent(),
            clock: Clock::System,
        }
    }
}

/// Discord's Cloudflare turns away what does not look like `DiscordBot ($url, $version)`.
fn user_agent() -> String {
    let home = match env!("CARGO_PKG_REPOSITORY") {
        "" => "https://localhost/ods",
        home => home,
    };
    format!("DiscordBot ({home}, {})", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown_and_knows_its_user() {
        let token = "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs";
        let token = Token::new(&format!(" Bot {token}\n")).expect("a token");
        assert_eq!(token.user(), Some(198_622_483_471_925_248));
        let settings = Settings::new(token, 1, 2, 3);
        assert!(!format!("{settings:?}").contains("Cl2FMQ"));
        assert!(Token::new("a b").is_err() && Token::new(" ").is_err());
        assert_eq!(Token::new("plain").expect("a token").user(), None);
    }
}
