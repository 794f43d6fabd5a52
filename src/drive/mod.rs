//! The engine: drain, upload, commit, read, journal, rebuild.

pub mod change;
pub mod dirty;
pub mod record;
pub mod view;
