//! What a test can look at and spoil behind the API's back.

use bytes::Bytes;

use crate::emulator::app::Lock;
use crate::emulator::handle::{Emulator, Error};
use crate::emulator::snowflake::Snowflake;

/// One attachment as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAttachment {
    /// Its id.
    pub id: u64,
    /// The channel or thread it is in.
    pub channel: u64,
    /// The message it belongs to.
    pub message: u64,
    /// Its name.
    pub filename: String,
    /// The size that is told, which faults can make differ from the stored bytes.
    pub size: u64,
}

impl Emulator {
    /// Deletes a channel or thread with all its messages.
    pub fn delete_channel(&self, id: u64) -> Result<(), Error> {
        self.app
            .delete_channel(&mut self.app.world(), Snowflake(id))?;
        Ok(())
    }

    /// Deletes one message.
    pub fn delete_message(&self, channel: u64, id: u64) -> Result<(), Error> {
        let mut world = self.app.world();
        world.message(Snowflake(channel), Snowflake(id))?;
        Ok(self
            .app
            .delete_messages(&mut world, Snowflake(channel), vec![Snowflake(id)])?)
    }

    /// Archives a thread.
    pub fn archive_thread(&self, id: u64) -> Result<(), Error> {
        Ok(self
            .app
            .archive(&mut self.app.world(), Snowflake(id), Lock::Leave)?)
    }

    /// Archives and locks a thread.
    pub fn lock_thread(&self, id: u64) -> Result<(), Error> {
        Ok(self
            .app
            .archive(&mut self.app.world(), Snowflake(id), Lock::Lock)?)
    }

    /// Deletes all messages of a channel but the oldest `keep`, as if the rest had never been.
    pub fn cut_history(&self, channel: u64, keep: usize) -> Result<(), Error> {
        let mut world = self.app.world();
        let all = world.room(Snowflake(channel))?.messages.keys();
        let gone: Vec<Snowflake> = all.skip(keep).copied().collect();
        if gone.is_empty() {
            return Ok(());
        }
        Ok(self
            .app
            .delete_messages(&mut world, Snowflake(channel), gone)?)
    }

    /// Ids of the messages in a channel, oldest first.
    pub fn messages(&self, channel: u64) -> Vec<u64> {
        let world = self.app.world();
        let room = world.room(Snowflake(channel));
        room.map_or_else(
            |_| Vec::new(),
            |room| room.messages.keys().map(|id| id.0).collect(),
        )
    }

    /// Every attachment, oldest first.
    pub fn attachments(&self) -> Vec<StoredAttachment> {
        let world = self.app.world();
        let mut all: Vec<_> = world
            .rooms
            .values()
            .flat_map(|room| room.messages.values())
            .flat_map(|message| message.attachments.iter().map(move |one| (message, one)))
            .map(|(message, one)| StoredAttachment {
                id: one.id.0,
                channel: message.channel.0,
                message: message.id.0,
                filename: one.filename.clone(),
                size: one.size,
            })
            .collect();
        all.sort_by_key(|one| one.id);
        all
    }

    /// The stored bytes of an attachment.
    pub fn attachment_bytes(&self, id: u64) -> Result<Bytes, Error> {
        self.app
            .blobs
            .read(Snowflake(id), 0, u64::MAX)
            .map_err(Error::Data)
    }

    /// Puts other bytes in place of an attachment's; the size that is told stays.
    pub fn replace_attachment(&self, id: u64, bytes: Bytes) -> Result<(), Error> {
        self.app
            .blobs
            .replace(Snowflake(id), bytes)
            .map_err(Error::Data)
    }

    /// Flips all bits of one byte of an attachment.
    pub fn corrupt_attachment(&self, id: u64, offset: usize) -> Result<(), Error> {
        let mut bytes = self.attachment_bytes(id)?.to_vec();
        let Some(byte) = bytes.get_mut(offset) else {
            return Err(Error::NotPossible(format!("no byte {offset}")));
        };
        *byte ^= 0xFF;
        self.replace_attachment(id, bytes.into())
    }

    /// Cuts an attachment off after so many bytes.
    pub fn truncate_attachment(&self, id: u64, length: usize) -> Result<(), Error> {
        let mut bytes = self.attachment_bytes(id)?;
        bytes.truncate(length);
        self.replace_attachment(id, bytes)
    }

    /// Exchanges the bytes of two attachments.
    pub fn swap_attachments(&self, one: u64, other: u64) -> Result<(), Error> {
        let (first, second) = (self.attachment_bytes(one)?, self.attachment_bytes(other)?);
        self.replace_attachment(one, second)?;
        self.replace_attachment(other, first)
    }

    /// Loses the bytes of an attachment; its message stays.
    pub fn lose_attachment(&self, id: u64) {
        self.app.blobs.remove(Snowflake(id));
    }
}
