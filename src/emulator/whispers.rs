//! What only one user sees and nothing keeps: ephemeral messages, and attachments of no message.

use std::collections::{BTreeMap, VecDeque};

use crate::emulator::model::{Attachment, Message};
use crate::emulator::snowflake::Snowflake;

/// How long such messages and attachments are there.
const LIFETIME_MS: u64 = 24 * 3_600_000;

/// An ephemeral message.
#[derive(Clone, Debug)]
pub(crate) struct Whisper {
    /// Who sees it.
    pub(crate) to: Snowflake,
    pub(crate) message: Message,
}

/// An attachment of an ephemeral message, or one given to a command.
#[derive(Debug)]
struct Loose {
    until_ms: u64,
    channel: Snowflake,
    attachment: Attachment,
}

/// All of them. They end with the process.
#[derive(Debug, Default)]
pub(crate) struct Whispers {
    messages: BTreeMap<Snowflake, Whisper>,
    loose: VecDeque<Loose>,
}

impl Whispers {
    pub(crate) fn get(&self, id: Snowflake) -> Option<&Whisper> {
        self.messages.get(&id)
    }

    /// Those that a user sees in a channel.
    pub(crate) fn seen_by(
        &self,
        user: Snowflake,
        channel: Snowflake,
    ) -> impl Iterator<Item = &Message> {
        self.messages
            .values()
            .filter(move |one| one.to == user && one.message.channel == channel)
            .map(|one| &one.message)
    }

    /// A new message, or the new state of one. Attachments it no longer has stay for a while.
    pub(crate) fn put(&mut self, to: Snowflake, message: Message, now_ms: u64) {
        for attachment in &message.attachments {
            self.lay(message.channel, attachment.clone(), now_ms);
        }
        self.messages.insert(message.id, Whisper { to, message });
    }

    pub(crate) fn remove(&mut self, id: Snowflake) -> Option<Whisper> {
        self.messages.remove(&id)
    }

    /// Makes an attachment readable that no lasting message has.
    pub(crate) fn lay(&mut self, channel: Snowflake, attachment: Attachment, now_ms: u64) {
        if self.attachment(channel, attachment.id).is_none() {
            self.loose.push_back(Loose {
                until_ms: now_ms + LIFETIME_MS,
                channel,
                attachment,
            });
        }
    }

    pub(crate) fn attachment(&self, channel: Snowflake, id: Snowflake) -> Option<&Attachment> {
        let found = self.loose.iter().find(|one| one.attachment.id == id)?;
        (found.channel == channel).then_some(&found.attachment)
    }

    /// Drops what is over, and names the attachments whose bytes can go.
    pub(crate) fn forget(&mut self, now_ms: u64) -> Vec<Snowflake> {
        let is_over = |made_ms: u64| made_ms + LIFETIME_MS <= now_ms;
        while let Some(first) = self.messages.first_entry()
            && is_over(first.key().created_ms())
        {
            first.remove();
        }
        let over = self.loose.iter().take_while(|one| one.until_ms <= now_ms);
        let over = over.count();
        self.loose
            .drain(..over)
            .map(|one| one.attachment.id)
            .collect()
    }
}
