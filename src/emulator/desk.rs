//! Interactions that wait for an answer or were answered: kept as long as their tokens live.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::emulator::snowflake::Snowflake;

/// The first answer must come within this time.
pub(crate) const FIRST_MS: u64 = 3000;
/// A token ends this long after its interaction began.
pub(crate) const TOKEN_MS: u64 = 15 * 60_000;
/// Interactions remembered; the oldest go first.
const KEPT_MAX: usize = 4096;

/// What kind of interaction it is; the numbers are Discord's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Command = 2,
    Component = 3,
    Autocomplete = 4,
    Modal = 5,
}

impl Kind {
    pub(crate) fn number(self) -> u64 {
        self as u64
    }
}

/// One thing a user did that an application must answer.
#[derive(Clone, Debug)]
pub(crate) struct Interaction {
    pub(crate) id: Snowflake,
    pub(crate) token: String,
    pub(crate) kind: Kind,
    pub(crate) user: Snowflake,
    pub(crate) channel: Snowflake,
    pub(crate) born_ms: u64,
    /// The message whose component was used, also when that led to a modal.
    pub(crate) source: Option<Snowflake>,
    /// `interaction_metadata` of the messages that answer it.
    pub(crate) metadata: Value,
    /// The older `interaction` of those messages; only commands have it.
    pub(crate) command: Option<Value>,
    /// Type number of the command.
    pub(crate) command_kind: u64,
    /// What was answered first, as the user is told.
    pub(crate) answer: Option<Value>,
    /// The message that `@original` names.
    pub(crate) original: Option<Snowflake>,
    pub(crate) answered: Arc<Notify>,
}

impl Interaction {
    /// What every message that answers it says about it.
    pub(crate) fn origin(&self, application: Snowflake) -> Value {
        let mut origin = json!({
            "application_id": application,
            "webhook_id": application,
            "interaction_metadata": self.metadata,
        });
        if let Some(command) = &self.command {
            origin["interaction"] = command.clone();
        }
        origin
    }
}

/// All interactions, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    all: BTreeMap<Snowflake, Interaction>,
}

impl Desk {
    pub(crate) fn add(&mut self, interaction: Interaction) {
        if self.all.len() >= KEPT_MAX {
            self.all.pop_first();
        }
        self.all.insert(interaction.id, interaction);
    }

    pub(crate) fn get(&self, id: Snowflake) -> Option<&Interaction> {
        self.all.get(&id)
    }

    pub(crate) fn by_token(&self, token: &str) -> Option<&Interaction> {
        // The newest are asked for most.
        self.all.values().rev().find(|one| one.token == token)
    }

    /// Writes down the first answer and wakes who waits for it.
    pub(crate) fn answer(&mut self, id: Snowflake, answer: Value, original: Option<Snowflake>) {
        if let Some(interaction) = self.all.get_mut(&id) {
            interaction.answer = Some(answer);
            interaction.original = original;
            interaction.answered.notify_one();
        }
    }
}
