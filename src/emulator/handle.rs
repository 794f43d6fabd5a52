//! Starting an emulator, and everything a test can do to one from within its own process.

use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use data_encoding::HEXLOWER;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::emulator::app::App;
use crate::emulator::blobs::Blobs;
use crate::emulator::clock::Clock;
use crate::emulator::counts::Counts;
use crate::emulator::fault::Fault;
use crate::emulator::faults::Faults;
use crate::emulator::genesis;
use crate::emulator::log::Log;
use crate::emulator::model::Record;
use crate::emulator::reply::Refusal;
use crate::emulator::server;
use crate::emulator::settings::{Limits, MessageContent, Settings};
use crate::emulator::urls::Signer;
use crate::emulator::wire::{WireHandle, Wires};
use crate::emulator::world::World;

/// Why an emulator does not start, or a change to it is not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The data directory cannot be used.
    #[error("cannot use the data directory")]
    Data(#[source] io::Error),
    /// Another emulator has the data directory.
    #[error("the data directory is in use by another emulator")]
    InUse,
    /// The machine has no randomness.
    #[error("no randomness: {0}")]
    Random(getrandom::Error),
    /// There is no such channel, message or attachment, or it cannot be changed so.
    #[error("not possible: {0}")]
    NotPossible(String),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::NotPossible(format!("{refusal:?}"))
    }
}

/// A running emulator. Dropping it stops it.
#[derive(Debug)]
pub struct Emulator {
    pub(crate) app: Arc<App>,
    address: SocketAddr,
    token: String,
    member_token: String,
    task: JoinHandle<()>,
    lock: Option<File>,
}

impl Emulator {
    /// Starts listening.
    pub async fn start(settings: Settings) -> Result<Self, Error> {
        let listener = TcpListener::bind(settings.listen).await;
        let listener = listener.map_err(|error| Error::Listen(settings.listen, error))?;
        let address = listener.local_addr();
        let address = address.map_err(|error| Error::Listen(settings.listen, error))?;
        let (world, blobs, lock) = open(settings.data.as_deref(), &settings.clock)?;
        let key = HEXLOWER.decode(world.identity.cdn_key.as_bytes());
        let key = key
            .ok()
            .and_then(|key| key.try_into().ok())
            .unwrap_or([0; 32]);
        let signer = Signer::new(key, format!("http://{address}"));
        let (token, member_token) = {
            let identity = &world.identity;
            (identity.token.clone(), identity.member_token.clone())
        };
        let faults = Faults::new(settings.faults);
        let content = settings.message_content;
        let app = Arc::new(App::new(
            world,
            blobs,
            settings.clock,
            signer,
            content,
            faults,
        ));
        app.set_limits(settings.limits);
        let wires = Wires::new(listener, Arc::clone(&app.speed), app.wires.clone());
        let router = Router::new()
            .fallback(server::handle)
            .with_state(Arc::clone(&app));
        let service = router.into_make_service_with_connect_info::<WireHandle>();
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(wires, service).await {
                log::error!("emulator: {error}");
            }
        });
        let emulator = Self {
            app,
            address,
            token,
            member_token,
            task,
            lock,
        };
        if let Some(tier) = settings.premium_tier {
            emulator.set_premium_tier(tier)?;
        }
        Ok(emulator)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `http://127.0.0.1:PORT/api/v10`
    pub fn api_url(&self) -> String {
        format!("http://{}/api/v10", self.address)
    }

    /// The bot's token, without `Bot `.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The ordinary member's token; accepted with and without `Bot `.
    pub fn member_token(&self) -> &str {
        &self.member_token
    }

    /// The guild.
    pub fn guild_id(&self) -> u64 {
        self.app.world().identity.guild.0
    }

    /// The bot's user id, which is its application's id too.
    pub fn bot_id(&self) -> u64 {
        self.app.world().identity.bot.0
    }

    /// The ordinary member's user id.
    pub fn member_id(&self) -> u64 {
        self.app.world().identity.member.0
    }

    /// The text channel that exists from the start, or the oldest channel if that was deleted.
    pub fn channel_id(&self) -> u64 {
        self.app.world().rooms.keys().next().map_or(0, |id| id.0)
    }

    /// What was asked and given so far.
    pub fn counts(&self) -> Counts {
        self.app.counts().clone()
    }

    /// The largest number of connections that were open at once, since the start.
    pub fn connections_max(&self) -> usize {
        self.app.wires.most()
    }

    /// Begins counting anew.
    pub fn reset_counts(&self) {
        *self.app.counts() = Counts::default();
    }

    /// Faults to add and take away while it runs.
    pub fn faults(&self) -> FaultsHandle {
        FaultsHandle(Arc::clone(&self.app))
    }

    /// The emulator's time, to move it.
    pub fn clock(&self) -> Clock {
        self.app.clock.clone()
    }

    /// The limits as they are.
    pub fn limits(&self) -> Limits {
        (*self.app.limits()).clone()
    }

    /// Other limits from now on.
    pub fn set_limits(&self, limits: Limits) {
        self.app.set_limits(limits);
    }

    /// Gives the bot's role exactly these permission bits (see [`crate::emulator::permission`]).
    pub fn set_permissions(&self, bits: u64) -> Result<(), Error> {
        Ok(self.app.change_bot_role(|_| bits)?)
    }

    /// Grants or withholds the MESSAGE_CONTENT intent.
    pub fn set_message_content(&self, content: MessageContent) {
        self.app.set_message_content(content);
    }

    /// Boosts the guild: 0 to 3.
    pub fn set_premium_tier(&self, tier: u8) -> Result<(), Error> {
        let mut world = self.app.world();
        let mut guild = world.guild.clone();
        guild.premium_tier = tier.min(3);
        Ok(world.commit(Record::Guild(guild), self.app.now_ms())?)
    }

    /// Makes the bot's token invalid: 401, and 4004 on the gateway.
    pub fn revoke_token(&self) {
        self.app.token_revoked.store(true, Ordering::SeqCst);
    }

    /// Makes the bot's token valid again.
    pub fn restore_token(&self) {
        self.app.token_revoked.store(false, Ordering::SeqCst);
    }

    /// Stops listening and cuts all connections.
    pub async fn stop(mut self) {
        self.task.abort();
        // Aborted, so it gives nothing else.
        drop((&mut self.task).await);
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.task.abort();
        self.app.world().close();
        self.app.wires.reset_all();
        if let Some(lock) = &self.lock {
            // Not left to closing: a process being forked just now would hold it a little longer.
            drop(lock.unlock());
        }
    }
}

/// Adds and takes away faults of a running emulator.
#[derive(Clone, Debug)]
pub struct FaultsHandle(Arc<App>);

impl FaultsHandle {
    /// Adds a fault; its id tells later how often it happened.
    pub fn add(&self, fault: Fault) -> u64 {
        self.0.faults().add(fault)
    }

    /// Takes all faults away. What they have already changed stays.
    pub fn clear(&self) {
        self.0.faults().clear();
    }

    /// How often a fault has happened.
    pub fn met(&self, id: u64) -> u64 {
        self.0.faults().met(id)
    }
}

/// Opens what is kept, or begins it.
fn open(data: Option<&Path>, clock: &Clock) -> Result<(World, Arc<Blobs>, Option<File>), Error> {
    let Some(data) = data else {
        let blobs = Arc::new(Blobs::memory());
        let mut world = World::empty(Arc::clone(&blobs));
        begin(&mut world, clock)?;
        return Ok((world, blobs, None));
    };
    fs::create_dir_all(data).map_err(Error::Data)?;
    let lock = File::create(data.join("lock")).map_err(Error::Data)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(Error::InUse),
        Err(fs::TryLockError::Error(error)) => return Err(Error::Data(error)),
    }
    let blobs = Arc::new(Blobs::disk(&data.join("attachments")).map_err(Error::Data)?);
    let mut world = World::empty(Arc::clone(&blobs));
    let mut replayed = 0;
    let log = Log::open(&data.join("state.log"), |record| {
        replayed += 1;
        world.apply(record, 0);
    });
    world.bury(u64::MAX);
    world
        .attach(log.map_err(Error::Data)?, replayed)
        .map_err(Error::Data)?;
    if world.identity.token.is_empty() {
        begin(&mut world, clock)?;
    }
    blobs
        .retain(|id| world.attachments.contains_key(&id))
        .map_err(Error::Data)?;
    Ok((world, blobs, Some(lock)))
}

fn begin(world: &mut World, clock: &Clock) -> Result<(), Error> {
    genesis::create(world, clock.now_ms()).map_err(|error| match error {
        genesis::Error::Random(error) => Error::Random(error),
        genesis::Error::Log => Error::Data(io::Error::other("the log cannot be written")),
    })
}

/// Runs an emulator until `shutdown` is ready. What a client needs is written to standard output.
pub async fn run(settings: Settings, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let emulator = Emulator::start(settings).await?;
    let lines = format!(
        "url: {}\ntoken: {}\nserver: {}\nchannel: {}\nmember token: {}\n",
        emulator.base_url(),
        emulator.token(),
        emulator.guild_id(),
        emulator.channel_id(),
        emulator.member_token(),
    );
    let mut out = io::stdout().lock();
    let written = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
    drop(out);
    written.map_err(Error::Data)?;
    shutdown.await;
    emulator.stop().await;
    Ok(())
}
