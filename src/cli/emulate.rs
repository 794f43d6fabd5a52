//! `ods emulator`: a Discord on loopback, until a signal.

use anyhow::Result;

use crate::cli::args;
use crate::cli::exit::Code;
use crate::cli::exit::OrFault;
use crate::cli::mounting::Signals;
use crate::cli::progress;
use crate::emulator::Emulator;
use crate::emulator::FaultPlan;
use crate::emulator::Settings;

/// Runs the command.
pub(crate) async fn run(args: &args::Emulator) -> Result<()> {
    let mut signals = Signals::listen()?;
    let faults = match &args.faults {
        Some(path) => FaultPlan::load(path)
            .or_fault(Code::Config, || format!("fault plan {}", path.display()))?,
        None => FaultPlan::default(),
    };
    let emulator = Emulator::start(Settings {
        listen: args.listen,
        data: args.data.clone(),
        faults,
        ..Settings::default()
    })
    .await?;
    let (url, token, server) = (emulator.base_url(), emulator.token(), emulator.guild_id());
    progress::answer(&match args.json {
        true => serde_json::json!({
            "url": url,
            "token": token,
            "server": server.to_string(),
            "channel": emulator.channel_id().to_string(),
            "member_token": emulator.member_token(),
            "page": format!("{url}/"),
        })
        .to_string(),
        false => format!(
            "url: {url}\ntoken: {token}\nserver: {server}\nchannel: {}\nmember token: {}\nsee it at {url}/",
            emulator.channel_id(),
            emulator.member_token()
        ),
    })?;
    signals.next().await;
    emulator.stop().await;
    Ok(())
}
