//! Does the bot have the permissions that ods needs in its two channels?

use anyhow::Result;

use crate::cli::exit::Code;
use crate::cli::exit::code_of;
use crate::cli::exit::fault;
use crate::cli::exit::told;
use crate::cli::remote::Site;
use crate::store::discord::setup::Channels;
use crate::store::discord::setup::Guild;
use crate::store::discord::setup::Need;
use crate::store::discord::setup::Purpose;
use crate::store::discord::setup::Setup;

/// Names every permission that is missing.
pub(crate) async fn check(setup: &Setup, site: &Site) -> Result<()> {
    let missing = setup.missing(site.guild, &places(site)).await?;
    name(setup, &missing).await
}

/// The same, where server and channels were asked for already.
pub(crate) async fn check_in(
    setup: &Setup,
    site: &Site,
    (guild, channels): (&Guild, &Channels),
) -> Result<()> {
    let missing = setup.missing_in(guild, channels, &places(site)).await?;
    name(setup, &missing).await
}

fn places(site: &Site) -> [(u64, Purpose); 2] {
    [
        (site.journal, Purpose::Journal),
        (site.archives, Purpose::Archives),
    ]
}

async fn name(setup: &Setup, missing: &[(Purpose, Need)]) -> Result<()> {
    let told = missing.iter().map(|(purpose, need)| {
        let name = match purpose {
            Purpose::Journal => "journal",
            Purpose::Archives => "archives",
        };
        format!("{} in the {name} channel ({})", need.name, need.why)
    });
    let lacks: Vec<String> = told.collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let link = setup.bot().await?.invite();
    Err(fault(
        Code::Permission,
        format!(
            "the bot lacks {}. Give it in the server's settings, or let the bot in again with {link}",
            lacks.join(", and ")
        ),
    ))
}

/// What the bot may not do shows now, and not with the first upload. A channel that is gone is only
/// noted: what can still be read without it is. Whatever else is the matter, the drive itself will tell.
pub(crate) async fn check_before_mount(site: &Site) -> Result<Option<String>> {
    match check(&site.setup()?, site).await {
        Ok(()) => Ok(None),
        Err(error) if code_of(&error) == Code::Permission => Err(error),
        Err(error) if code_of(&error) == Code::Gone => Ok(Some(told(&error))),
        Err(error) => {
            log::debug!("the bot's permissions are not known: {error:#}");
            Ok(None)
        }
    }
}
