//! The drive's place on Discord: from settings and secrets to a store, and from a store to keys.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::cli::config::DriveConfig;
use crate::cli::exit::Code;
use crate::cli::exit::fault;
use crate::codec::key::Keys;
use crate::codec::key::MasterKey;
use crate::codec::key::Secret;
use crate::codec::superblock::Superblock;
use crate::drive;
use crate::drive::superblock;
use crate::drive::superblock::Found;
use crate::id::DriveId;
use crate::store::Store;
use crate::store::discord::API_BASE;
use crate::store::discord::Discord;
use crate::store::discord::Settings;
use crate::store::discord::Token;
use crate::store::discord::setup::Setup;

/// The file of what Discord is known to take at once.
const SIZES: &str = "sizes.json";

/// Where a drive is, and the token for it.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) token: Token,
    pub(crate) api_base: String,
    pub(crate) guild: u64,
    pub(crate) journal: u64,
    pub(crate) archives: u64,
    pub(crate) attachment_bytes: Option<u64>,
    pub(crate) patience: Option<Duration>,
}

/// Where Discord is: the flag or variable, the configuration, or Discord itself. The token goes
/// there, so nothing but loopback may be without encryption.
pub(crate) fn api_base(flag: Option<&str>, config: Option<&str>) -> Result<String> {
    let base = flag.or(config).unwrap_or(API_BASE).trim_end_matches('/');
    let host = |rest: &str| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or("").to_owned();
        match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name.to_owned(),
            _ => host,
        }
    };
    let is_loopback = |host: &str| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    };
    match base.strip_prefix("http://") {
        Some(rest) if is_loopback(&host(rest)) => Ok(base.to_owned()),
        None if base.starts_with("https://") => Ok(base.to_owned()),
        _ => Err(fault(
            Code::Usage,
            format!("the token is not sent to `{base}`: use https://, or http:// on loopback"),
        )),
    }
}

impl Site {
    /// As configured.
    pub(crate) fn of(drive: &DriveConfig, token: Token, base: Option<&str>) -> Result<Site> {
        Ok(Site {
            token,
            api_base: api_base(base, drive.api_base.as_deref())?,
            guild: drive.server,
            journal: drive.journal_channel,
            archives: drive.archives_channel,
            attachment_bytes: drive.attachment_bytes,
            patience: None,
        })
    }

    fn settings(&self) -> Settings {
        let token = self.token.clone();
        let mut settings = Settings::new(token, self.guild, self.journal, self.archives);
        settings.api_base.clone_from(&self.api_base);
        settings.patience = self.patience.unwrap_or(settings.patience);
        if let Some(bytes) = self.attachment_bytes {
            settings.object_bytes_max = bytes;
        }
        settings
    }

    /// How long one call to Discord goes on trying.
    pub(crate) fn patience(&self) -> Duration {
        self.settings().patience
    }

    /// The store; nothing is sent yet.
    pub(crate) fn store(&self) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(Discord::connect(self.settings())?))
    }

    /// The same, of a drive that has a directory here: what it learns of Discord is kept there.
    pub(crate) fn discord(&self, state_dir: &Path) -> Result<Arc<Discord>> {
        let settings = Settings {
            sizes_file: Some(state_dir.join(SIZES)),
            ..self.settings()
        };
        Ok(Arc::new(Discord::connect(settings)?))
    }

    /// What prepares a server.
    pub(crate) fn setup(&self) -> Result<Setup> {
        Ok(Setup::new(self.settings())?)
    }
}

/// A drive whose secret was right.
pub(crate) struct Unlocked {
    pub(crate) superblock: Superblock,
    pub(crate) master: MasterKey,
    /// Where on Discord this superblock was found, or the one that it takes the place of.
    pub(crate) found: Option<Found>,
}

impl Unlocked {
    pub(crate) fn drive(&self) -> DriveId {
        self.superblock.drive()
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::derive(&self.master, self.drive())
    }
}

/// What the superblock says about where the drive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Places {
    pub(crate) server: u64,
    pub(crate) journal_channel: u64,
    pub(crate) archives_channel: u64,
}

impl Places {
    pub(crate) fn encode(self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&self)?)
    }

    pub(crate) fn of(superblock: &Superblock) -> Result<Places> {
        serde_json::from_slice(superblock.places()).map_err(|_| {
            fault(
                Code::Damaged,
                "the superblock does not say where the drive is",
            )
        })
    }
}

/// Finds the superblock of the drive, and opens it. Where the state directory is that of a drive, none but this
/// drive's will do.
///
/// # Errors
/// With code `State` when the state directory is that of another drive; nothing was changed then.
pub(crate) async fn unlock(
    store: &dyn Store,
    site: &Site,
    state_dir: &Path,
    secret: &Secret,
) -> Result<Unlocked> {
    let (superblock, found) = find(store, site, state_dir).await?;
    let opened = open(superblock.clone(), found.clone(), secret).await;
    let (Err(error), Some(own)) = (&opened, found) else {
        return opened;
    };
    if !is_of_secret(error) {
        return opened;
    }
    for (twin, found) in superblock::twins(store, &superblock, &own).await? {
        match open(twin, Some(found), secret).await {
            Err(error) if is_of_secret(&error) => {}
            decided => return decided,
        }
    }
    opened
}

fn is_of_secret(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<crate::codec::Error>();
    matches!(error, Some(crate::codec::Error::WrongKey))
}

/// Opens a superblock, which takes a second of work on purpose.
async fn open(superblock: Superblock, found: Option<Found>, secret: &Secret) -> Result<Unlocked> {
    let secret = secret.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let master = superblock.open(&secret)?;
        Ok::<_, crate::codec::Error>(Unlocked {
            superblock,
            master,
            found,
        })
    });
    Ok(opened.await.context("opening the superblock")??)
}

/// The superblock on Discord, or this machine's copy where that is newer or the only one; and where it lies, if
/// it is the one on Discord.
async fn find(
    store: &dyn Store,
    site: &Site,
    state_dir: &Path,
) -> Result<(Superblock, Option<Found>)> {
    let owner = drive::owner(state_dir);
    let kept = copy_in(state_dir).filter(|kept| owner.is_none_or(|owner| owner == kept.drive()));
    let owner = owner.or(kept.as_ref().map(Superblock::drive));
    match (fetch(store, owner).await, kept) {
        (Ok(Some((fetched, _))), Some(copy))
            if copy.drive() == fetched.drive() && copy.generation() > fetched.generation() =>
        {
            log::warn!(
                "Discord shows an older superblock (generation {}) than this machine has seen ({}); \
                 `ods repair` puts the newer one there",
                fetched.generation(),
                copy.generation()
            );
            Ok((copy, None))
        }
        (Ok(Some((fetched, found))), _) if owner.is_none_or(|owner| owner == fetched.drive()) => {
            Ok((fetched, Some(found)))
        }
        (Ok(Some(_)), Some(copy)) if is_at(&copy, site) => {
            log::warn!(
                "the superblock in channel {} is that of another drive; this machine's copy is used, and \
                 `ods repair` puts it there",
                site.journal
            );
            Ok((copy, None))
        }
        (Ok(Some(_)), _) => Err(belongs_elsewhere(state_dir)),
        (Ok(None), None) => Err(fault(
            Code::NoDrive,
            "there is no drive in this server's journal channel; make one with `ods init`",
        )),
        (Ok(None), Some(copy)) => {
            log::warn!("the superblock is not on Discord any more; `ods repair` puts it there");
            Ok((copy, None))
        }
        (Err(error @ (drive::Error::Damaged(_) | drive::Error::Malformed)), Some(copy)) => {
            log::warn!("{error} on Discord; `ods repair` puts this machine's copy there");
            Ok((copy, None))
        }
        // Without its journal the drive can still be read here.
        (
            Err(
                error @ drive::Error::Store(
                    crate::store::Error::Missing { .. } | crate::store::Error::Homeless { .. },
                ),
            ),
            Some(copy),
        ) => {
            log::warn!("{error}");
            Ok((copy, None))
        }
        (Err(error), _) => Err(error.into()),
    }
}

fn belongs_elsewhere(state_dir: &Path) -> anyhow::Error {
    fault(
        Code::State,
        format!(
            "{} holds the state of another drive, maybe with changes that are not on Discord yet; choose \
             another name for this drive, or another `state_dir`",
            state_dir.display()
        ),
    )
}

/// Does this superblock say that the drive is here?
fn is_at(superblock: &Superblock, site: &Site) -> bool {
    Places::of(superblock).is_ok_and(|places| places.journal_channel == site.journal)
}

/// The newest superblock on Discord that can be read, of this drive if it has one there; none if there is none at all.
async fn fetch(
    store: &dyn Store,
    drive: Option<DriveId>,
) -> Result<Option<(Superblock, Found)>, drive::Error> {
    let (mut other, mut damage) = (None, None);
    for found in superblock::find(store).await? {
        match superblock::fetch(store, &found).await {
            Ok(fetched) if drive.is_none_or(|drive| drive == fetched.drive()) => {
                return Ok(Some((fetched, found)));
            }
            Ok(fetched) => drop(other.get_or_insert((fetched, found))),
            Err(
                error @ (drive::Error::Damaged(_)
                | drive::Error::Store(
                    crate::store::Error::Missing { .. } | crate::store::Error::Broken { .. },
                )),
            ) => {
                let text = match error {
                    drive::Error::Damaged(text) => text,
                    _ => String::from("the superblock is damaged"),
                };
                damage.get_or_insert(drive::Error::Damaged(text));
            }
            Err(error) => return Err(error),
        }
    }
    damage.map_or(Ok(other), Err)
}

fn copy_in(state_dir: &Path) -> Option<Superblock> {
    Superblock::decode(&std::fs::read(state_dir.join(superblock::COPY)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_out_encrypted_or_not_at_all() {
        for good in [
            "https://discord.com",
            "http://127.0.0.1:81",
            "http://[::1]:80/",
            "http://localhost",
        ] {
            assert!(api_base(Some(good), None).is_ok(), "{good}");
        }
        for bad in [
            "http://discord.com",
            "http://127.0.0.1.evil.org:80",
            "ftp://x",
            "x",
        ] {
            assert!(api_base(Some(bad), None).is_err(), "{bad}");
        }
        assert_eq!(api_base(None, None).expect("good"), API_BASE);
    }
}
