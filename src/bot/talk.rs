//! One conversation: an answer that is promised, given, changed while work goes on, and moved into the
//! channel before Discord ends the interaction.
//!
//! ```text
//! interaction  asked ── say ─────────────▶ answered ─┐ 15 minutes, or gone: moved
//!                └───── promise ─▶ promised ─ say ───┴──▶ a message of the channel
//! words        asked ── say ────────────────────────────▶ a message of the channel
//! ```

use std::time::Duration;

use serde_json::Value;
use serde_json::json;
use tokio::time::Instant;

use crate::bot::page::EPHEMERAL;
use crate::bot::page::Page;
use crate::bot::permit::Audience;
use crate::store::Error;
use crate::store::discord::Answering;
use crate::store::discord::Messenger;
use crate::store::discord::Posted;

/// Types of the first answer to an interaction.
mod first {
    pub(super) const MESSAGE: u8 = 4;
    pub(super) const PROMISE: u8 = 5;
    pub(super) const PROMISE_CHANGE: u8 = 6;
    pub(super) const CHANGE: u8 = 7;
    pub(super) const CHOICES: u8 = 8;
}

/// What an answer to an interaction becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bot) enum Becomes {
    /// A message of its own.
    Message,
    /// The message whose button was pressed.
    Change,
}

/// How far it is with an answer.
enum State {
    /// Nothing was said yet.
    Asked(Answering),
    /// There is an answer, or a promise of one.
    Answered(Answering),
    /// Nothing was said yet to a message of the channel.
    Heard { channel: u64, message: u64 },
    /// The answer is a message of the channel.
    Open(Posted),
}

/// A conversation with one person.
pub(in crate::bot) struct Talk {
    messenger: Messenger,
    state: State,
    becomes: Becomes,
    /// Who reads the answers.
    pub(in crate::bot) audience: Audience,
    /// Who asked.
    pub(in crate::bot) user: u64,
    /// Where.
    pub(in crate::bot) channel: u64,
    /// When the interaction's token is not used any more.
    ends: Option<Instant>,
    /// Did the answer move into the channel?
    is_moved: bool,
}

impl Talk {
    /// With somebody who used a command or pressed a button; `life` is how long that may be answered.
    pub(in crate::bot) fn on_interaction(
        messenger: Messenger,
        to: Answering,
        (user, channel): (u64, u64),
        (becomes, audience): (Becomes, Audience),
        life: Duration,
    ) -> Talk {
        Talk {
            messenger,
            state: State::Asked(to),
            becomes,
            audience,
            user,
            channel,
            ends: Some(Instant::now() + life),
            is_moved: false,
        }
    }

    /// With somebody who wrote a message.
    pub(in crate::bot) fn on_message(
        messenger: Messenger,
        user: u64,
        channel: u64,
        message: u64,
    ) -> Talk {
        Talk {
            messenger,
            state: State::Heard { channel, message },
            becomes: Becomes::Message,
            audience: Audience::Channel,
            user,
            channel,
            ends: None,
            is_moved: false,
        }
    }

    /// Only who asked shall read the answer, if that can be.
    pub(in crate::bot) fn in_private(&mut self) {
        if matches!(self.state, State::Asked(_)) {
            self.audience = Audience::Asker;
            self.becomes = Becomes::Message;
        }
    }

    /// Promises an answer to an interaction that has none yet.
    pub(in crate::bot) async fn promise(&mut self) -> Result<(), Error> {
        let State::Asked(to) = &self.state else {
            return Ok(());
        };
        let to = to.clone();
        let body = match self.becomes {
            Becomes::Message => json!({
                "type": first::PROMISE,
                "data": { "flags": self.flags() },
            }),
            Becomes::Change => json!({ "type": first::PROMISE_CHANGE }),
        };
        self.messenger.acknowledge(&to, &body).await?;
        self.state = State::Answered(to);
        Ok(())
    }

    /// Gives the answer, or another one in the place of the last.
    pub(in crate::bot) async fn say(&mut self, page: &Page) -> Result<(), Error> {
        match &self.state {
            // A file takes longer to send than a first answer may take.
            State::Asked(_) if page.file.is_some() => {
                self.promise().await?;
                self.answer(page).await
            }
            State::Asked(to) => {
                let to = to.clone();
                let kind = match self.becomes {
                    Becomes::Message => first::MESSAGE,
                    Becomes::Change => first::CHANGE,
                };
                let mut data = page.body();
                if self.becomes == Becomes::Message {
                    data["flags"] = json!(self.flags() | flags(&data));
                }
                let body = json!({ "type": kind, "data": data });
                self.messenger.acknowledge(&to, &body).await?;
                self.state = State::Answered(to);
                Ok(())
            }
            State::Answered(_) => self.answer(page).await,
            State::Heard { channel, message } => {
                let mut body = page.body();
                let reply =
                    json!({ "message_id": message.to_string(), "fail_if_not_exists": false });
                body["message_reference"] = reply;
                let posted = self.messenger.post(*channel, &body, page.files()).await?;
                self.state = State::Open(posted);
                Ok(())
            }
            State::Open(posted) if self.is_moved => {
                let page = self.moved(page);
                self.messenger
                    .change(*posted, &page.body(), page.files())
                    .await
            }
            State::Open(posted) => {
                self.messenger
                    .change(*posted, &page.body(), page.files())
                    .await
            }
        }
    }

    async fn answer(&mut self, page: &Page) -> Result<(), Error> {
        let State::Answered(to) = &self.state else {
            return Ok(());
        };
        if self.ends.is_some_and(|ends| Instant::now() >= ends) {
            return self.move_on(page).await;
        }
        match self.messenger.answer(to, &page.body(), page.files()).await {
            Ok(_) => Ok(()),
            Err(Error::Missing { .. }) => self.move_on(page).await,
            Err(error) => Err(error),
        }
    }

    /// The interaction is over: what is left to say becomes a message of the channel, where others read
    /// along, so only what is for everybody is said.
    async fn move_on(&mut self, page: &Page) -> Result<(), Error> {
        let page = self.moved(page);
        let posted = self
            .messenger
            .post(self.channel, &page.body(), page.files())
            .await?;
        self.state = State::Open(posted);
        self.is_moved = true;
        Ok(())
    }

    /// A page as it is said in the channel, after it began elsewhere: with who is meant, and with what was for
    /// the asker alone left out.
    fn moved(&self, page: &Page) -> Page {
        let mut open = match self.audience {
            Audience::Asker => page.opened(),
            Audience::Channel => page.clone(),
        };
        open.text = format!("<@{}>: {}", self.user, open.text);
        open
    }

    /// Gives what can be chosen while something is typed.
    pub(in crate::bot) async fn choices(&self, choices: &[(String, String)]) -> Result<(), Error> {
        let State::Asked(to) = &self.state else {
            return Ok(());
        };
        let choices = choices.iter().map(|(label, value)| {
            let value: String = value.chars().take(100).collect();
            json!({ "name": label.chars().take(100).collect::<String>(), "value": value })
        });
        let choices: Vec<Value> = choices.take(25).collect();
        let body = json!({ "type": first::CHOICES, "data": { "choices": choices } });
        self.messenger.acknowledge(to, &body).await
    }

    fn flags(&self) -> u64 {
        match self.audience {
            Audience::Asker => EPHEMERAL,
            Audience::Channel => 0,
        }
    }
}

fn flags(data: &Value) -> u64 {
    data["flags"].as_u64().unwrap_or(0)
}
