//! Getting a server ready: who the bot is, what the server takes, the two channels, what may be done.

use ods::emulator::{Emulator, Fault, FaultKind, permission};
use ods::store::{
    Error,
    discord::setup::{ARCHIVES_NAME, Audience, JOURNAL_NAME, NEEDS, PERMISSIONS, Purpose, Setup},
};

#[path = "support/discord.rs"]
mod discord;
#[path = "support/ods.rs"]
mod machine;

use machine::World;

const MIB: u64 = 1 << 20;

async fn emulator() -> Emulator {
    let emulator = Emulator::start(ods::emulator::Settings {
        limits: ods::emulator::Limits::unlimited_rates(),
        ..ods::emulator::Settings::default()
    });
    emulator.await.expect("the emulator starts")
}

fn setup(emulator: &Emulator) -> Setup {
    Setup::new(discord::settings(emulator, 0, 0)).expect("a setup")
}

#[tokio::test]
async fn the_token_says_who_the_bot_is_and_how_to_invite_it() {
    let emulator = emulator().await;
    let bot = setup(&emulator).bot().await.expect("accepted");
    assert_eq!((bot.user, bot.name.as_str()), (emulator.bot_id(), "ods"));
    let invite = bot.invite();
    assert!(invite.contains(&format!("client_id={}&", emulator.bot_id())));
    assert!(invite.ends_with(&format!("permissions={PERMISSIONS}")));
    emulator.revoke_token();
    let refused = setup(&emulator).bot().await;
    let Err(Error::NotAccepted { what }) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        what.contains("token") && !what.contains(emulator.token()),
        "{what}"
    );
}

#[tokio::test]
async fn the_server_says_what_it_takes() {
    let emulator = emulator().await;
    let setup = setup(&emulator);
    let guilds = setup.guilds().await.expect("listed");
    assert_eq!(guilds, [(emulator.guild_id(), "Emulated".to_owned())]);
    for (tier, wanted) in [(0, 10), (1, 10), (2, 50), (3, 100)] {
        emulator.set_premium_tier(tier).expect("set");
        let guild = setup.guild(emulator.guild_id()).await.expect("read");
        assert_eq!(
            (guild.boost_tier, guild.attachment_bytes_max),
            (tier, wanted * MIB)
        );
    }
    let other = setup.guild(1).await;
    assert!(other.is_err_and(|error| !error.is_passing()));
}

#[tokio::test]
async fn channels_are_made_once_and_found_again() {
    let emulator = emulator().await;
    let guild = emulator.guild_id();
    // Even when the answer that the first was made is lost.
    let lost = FaultKind::LostAnswer { status: None };
    let channels = "POST /guilds/{}/channels";
    emulator.faults().add(Fault::new(channels, lost).times(1));
    let setup = setup(&emulator);
    let journal = setup.channel(guild, Purpose::Journal).await.expect("made");
    let archives = setup.channel(guild, Purpose::Archives).await.expect("made");
    assert_eq!(
        (journal.name.as_str(), journal.audience),
        (JOURNAL_NAME, Audience::Private)
    );
    assert_eq!(archives.name, ARCHIVES_NAME);
    assert_eq!(archives.audience, Audience::AsTheServerSays);
    assert!(archives.is_new && archives.id != journal.id);
    for (purpose, wanted) in [(Purpose::Journal, &journal), (Purpose::Archives, &archives)] {
        let found = setup.channel(guild, purpose).await.expect("found");
        assert_eq!((found.id, found.is_new), (wanted.id, false));
        let missing = setup
            .missing(guild, &[(found.id, purpose)])
            .await
            .expect("read");
        assert_eq!(missing, []);
    }
}

#[tokio::test]
async fn what_the_bot_lacks_is_named() {
    let emulator = emulator().await;
    let guild = emulator.guild_id();
    let setup = setup(&emulator);
    let archives = setup.channel(guild, Purpose::Archives).await.expect("made");
    let missing = async || {
        let missing = setup
            .missing(guild, &[(archives.id, Purpose::Archives)])
            .await;
        let missing = missing.expect("read").into_iter();
        missing.map(|(_, need)| need.name).collect::<Vec<_>>()
    };
    let without = permission::BOT & !permission::ATTACH_FILES & !permission::MANAGE_THREADS;
    emulator.set_permissions(without).expect("set");
    assert_eq!(missing().await, ["Attach Files", "Manage Threads"]);
    emulator.set_permissions(PERMISSIONS).expect("set");
    assert!(
        missing().await.is_empty(),
        "the invite gives all that is needed"
    );
    let nowhere = setup.missing(guild, &[(5, Purpose::Archives)]).await;
    assert!(matches!(nowhere, Err(Error::Missing { .. })), "{nowhere:?}");
}

#[tokio::test]
async fn without_manage_channels_it_is_said_what_to_do() {
    let emulator = emulator().await;
    let guild = emulator.guild_id();
    let manage = NEEDS.iter().find(|need| need.name == "Manage Channels");
    let manage = manage.expect("needed").bit;
    emulator
        .set_permissions(permission::BOT & !manage)
        .expect("set");
    let refused = setup(&emulator).channel(guild, Purpose::Journal).await;
    let Err(Error::Refused { what }) = refused else {
        panic!("{refused:?}");
    };
    assert!(what.contains("Manage Channels"), "{what}");
}

#[test]
fn joining_asks_the_server_for_each_thing_once() {
    let world = World::new();
    world.machine().ods(&["init"]).good();
    world.emulator.reset_counts();
    world.machine().ods(&["init", "--join"]).good();
    let counts = world.emulator.counts();
    for asked in ["GET /guilds/{guild_id}", "GET /guilds/{guild_id}/channels"] {
        assert_eq!(counts.route(asked), 1, "{asked}: {counts:?}");
    }
}
