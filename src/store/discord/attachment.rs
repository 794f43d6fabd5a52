//! What people attach to a message or a command, fetched as it comes.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use reqwest::{Response, Url};
use tokio::time::timeout;

use super::{http::reason, messenger::Messenger, transport::Transport};
use crate::store::Error;

/// Where Discord keeps what people attach.
const ATTACHMENT_HOSTS: [&str; 2] = ["cdn.discordapp.com", "media.discordapp.net"];

impl Messenger {
    /// Begins to fetch what somebody attached to a message or an interaction.
    ///
    /// # Errors
    /// [`Error::Refused`] when the address is not one of Discord's; [`Error::Unavailable`].
    pub async fn fetch(&self, url: &str) -> Result<Fetching, Error> {
        if !self.is_attachment(url) {
            return Err(Error::Refused {
                what: "an attachment that does not lie with Discord is not fetched".into(),
            });
        }
        self.transport.count("GET attachment");
        let sent = self.transport.clients.cdn.get(url).send().await;
        let response = sent.map_err(broken_off)?;
        match response.status().as_u16() {
            200 => Ok(Fetching {
                transport: Arc::clone(&self.transport),
                response,
            }),
            403 | 404 => Err(Error::Missing {
                what: "the attachment".into(),
            }),
            status => Err(Error::Unavailable {
                what: format!("Discord's CDN answered {status}"),
                retry_after: None,
            }),
        }
    }

    /// Is it where Discord keeps attachments, or on the machine that stands for Discord?
    fn is_attachment(&self, url: &str) -> bool {
        let Ok(url) = Url::parse(url) else {
            return false;
        };
        let base = Url::parse(&self.transport.settings().api_base).ok();
        let same = |base: &Url| {
            base.scheme() == "http" && url.host() == base.host() && url.port() == base.port()
        };
        let is_known = url
            .host_str()
            .is_some_and(|host| ATTACHMENT_HOSTS.contains(&host));
        url.scheme() == "https" && is_known || base.is_some_and(|base| same(&base))
    }
}

/// An attachment on its way here.
pub struct Fetching {
    transport: Arc<Transport>,
    response: Response,
}

impl Fetching {
    /// The next bytes of it; none at its end.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it stopped in the middle.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let patience = self.transport.settings().silence_timeout;
        let piece = timeout(patience, self.response.chunk()).await;
        let piece = piece.map_err(|_| Error::Unavailable {
            what: "the attachment stopped in the middle".into(),
            retry_after: None,
        })?;
        let piece = piece.map_err(broken_off)?;
        self.transport
            .received(piece.as_ref().map_or(0, Bytes::len));
        Ok(piece)
    }
}

impl fmt::Debug for Fetching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetching").finish_non_exhaustive()
    }
}

fn broken_off(error: reqwest::Error) -> Error {
    Error::Unavailable {
        what: format!("the attachment could not be fetched: {}", reason(error)),
        retry_after: None,
    }
}
