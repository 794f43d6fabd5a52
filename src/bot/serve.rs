//! What happens in the server, and what the bot does about it.

use std::sync::Arc;
use std::sync::PoisonError;

use zeroize::Zeroizing;

use crate::bot::Bot;
use crate::bot::ask::Ask;
use crate::bot::ask::Depth;
use crate::bot::ask::Word;
use crate::bot::complete;
use crate::bot::download;
use crate::bot::garbage;
use crate::bot::gateway::Heard;
use crate::bot::looks;
use crate::bot::migrate;
use crate::bot::page::EPHEMERAL;
use crate::bot::page::Page;
use crate::bot::paths;
use crate::bot::permit::Asker;
use crate::bot::permit::Audience;
use crate::bot::permit::Rank;
use crate::bot::permit::Shown;
use crate::bot::question::Pressed;
use crate::bot::register;
use crate::bot::settings::Names;
use crate::bot::talk::Becomes;
use crate::bot::talk::Talk;
use crate::bot::text;
use crate::bot::upkeep;
use crate::bot::upload;
use crate::bot::wire::Interaction;
use crate::bot::wire::Message;
use crate::bot::wire::Pressable;
use crate::bot::wire::kind;
use crate::bot::work;
use crate::service::Error;
use crate::store::discord::Answering;

/// Does whatever an event asks for.
pub(in crate::bot) async fn serve(bot: &Arc<Bot>, heard: Heard) {
    let roles = || bot.roles.lock().unwrap_or_else(PoisonError::into_inner);
    let guild = bot.messenger.guild();
    match heard {
        Heard::Ready(ready) => register::register(bot, ready.application.id.get()).await,
        Heard::Guild(server) if server.id.get() == guild => roles().learn(&server),
        Heard::RoleChanged(change) if change.guild_id.get() == guild => roles().change(&change),
        Heard::RoleGone(gone) if gone.guild_id.get() == guild => roles().forget(&gone),
        Heard::Asked(interaction) => asked(bot, *interaction).await,
        Heard::Said(message) => said(bot, &message).await,
        Heard::Guild(_) | Heard::RoleChanged(_) | Heard::RoleGone(_) => {}
    }
}

/// A command was used, a button pressed, or something is being typed.
async fn asked(bot: &Arc<Bot>, interaction: Interaction) {
    let guild = interaction.guild_id.map(|id| id.get());
    let asker = interaction.member.as_ref();
    let asker = asker.and_then(|member| bot.settings.asker(member));
    let channel = interaction.channel.as_ref().map(|channel| channel.id);
    let channel = channel.or(interaction.channel_id).map(|id| id.get());
    let (Some(asker), Some(channel)) = (asker, channel) else {
        return;
    };
    // A bot may be in other servers too; the drive is in one.
    if guild != Some(bot.messenger.guild()) {
        return;
    }
    let to = Answering {
        application: interaction.application_id.get(),
        interaction: interaction.id.get(),
        token: Zeroizing::new(interaction.token),
    };
    let talk = |becomes, audience| {
        let life = bot.settings.times.token_life;
        let (who, how) = ((asker.user, channel), (becomes, audience));
        Talk::on_interaction(bot.messenger.clone(), to.clone(), who, how, life)
    };
    let data = interaction.data.unwrap_or_default();
    let readers = readers(interaction.message.as_ref());
    match interaction.kind {
        kind::COMMAND => match Ask::of_command(&data) {
            Ok(ask) => {
                let audience = audience(&bot.settings.names, asker, &ask);
                let talk = talk(Becomes::Message, audience);
                let limit = interaction.attachment_size_limit;
                grant(bot, talk, asker, ask, limit).await;
            }
            Err(why) => {
                let mut talk = talk(Becomes::Message, Audience::Asker);
                work::say(&mut talk, &Page::new(why)).await;
            }
        },
        kind::COMPONENT => pressed(bot, asker, (&data.custom_id, readers), talk).await,
        kind::AUTOCOMPLETE => {
            let talk = talk(Becomes::Message, Audience::Asker);
            let typed = data.options.iter().find(|option| option.focused);
            let typed = typed.and_then(|option| option.value.as_str());
            complete(bot, &talk, asker, &data.name, typed.unwrap_or_default()).await;
        }
        _ => {}
    }
}

/// Who reads the answer to a slash command.
fn audience(names: &Names, asker: Asker, ask: &Ask) -> Audience {
    let names_something = !matches!(ask.word(), Word::Stats | Word::Resume | Word::Rebuild);
    match (names, ask) {
        // A file is for who asked for it.
        (_, Ask::Help | Ask::Download { .. }) => Audience::Asker,
        (Names::Admins, _) if asker.rank == Rank::Admin && names_something => Audience::Asker,
        _ => Audience::Channel,
    }
}

async fn complete(bot: &Arc<Bot>, talk: &Talk, asker: Asker, command: &str, typed: &str) {
    let is_allowed =
        Word::find(command).is_some_and(|word| bot.settings.permit(asker, word).is_ok());
    let shown = bot.settings.shown(asker, Audience::Asker);
    let typed = typed.to_owned();
    let choices = match is_allowed {
        true => {
            bot.blocking(move |bot| complete::choices(bot, &typed, shown))
                .await
        }
        false => None,
    };
    if let Err(error) = talk.choices(&choices.unwrap_or_default()).await {
        log::debug!("bot: {error}");
    }
}

/// Who reads a message whose button was pressed, whoever presses it. Of one that is not told everybody does.
fn readers(message: Option<&Pressable>) -> Audience {
    match message.is_some_and(|message| message.flags & EPHEMERAL != 0) {
        true => Audience::Asker,
        false => Audience::Channel,
    }
}

/// A button was pressed: of a page, a question, or an archive's card. `readers` are those of its message.
async fn pressed(
    bot: &Arc<Bot>,
    asker: Asker,
    (id, readers): (&str, Audience),
    talk: impl Fn(Becomes, Audience) -> Talk,
) {
    if let Some(rest) = id.strip_prefix("ask:") {
        match bot.questions.press(rest, asker) {
            Pressed::Told => {
                let mut talk = talk(Becomes::Change, readers);
                if let Err(error) = talk.promise().await {
                    log::debug!("bot: {error}");
                }
            }
            Pressed::NotYours => {
                let mut talk = talk(Becomes::Message, Audience::Asker);
                work::say(&mut talk, &Page::new("Only who asked can answer this.")).await;
            }
            Pressed::Over => {
                let mut talk = talk(Becomes::Change, readers);
                let text = "This question has ended; nothing was done.";
                work::say(&mut talk, &Page::new(text)).await;
            }
        }
        return;
    }
    let (ask, becomes) = match id.split_once(':') {
        Some(("page", rest)) => {
            let (page, query) = rest.split_once(':').unwrap_or((rest, ""));
            let Ok(page) = page.parse() else { return };
            let query = query.to_owned();
            (Ask::Archives { query, page }, Becomes::Change)
        }
        Some(("info", what)) => {
            let what = what.to_owned();
            (Ask::Info { what }, Becomes::Message)
        }
        Some(("verify", what)) => {
            let what = what.to_owned();
            let depth = Depth::Listed;
            (Ask::Verify { what, depth }, Becomes::Message)
        }
        _ => return,
    };
    let audience = match becomes {
        // Many people press buttons of a card; each has an answer of their own.
        Becomes::Message => Audience::Asker,
        Becomes::Change => readers,
    };
    grant(bot, talk(becomes, audience), asker, ask, None).await;
}

/// A message was written; most are none of the bot's business.
async fn said(bot: &Arc<Bot>, message: &Message) {
    let guild = message.guild_id.map(|id| id.get());
    if message.author.bot || guild != Some(bot.messenger.guild()) {
        return;
    }
    let Some(ask) = Ask::of_words(&message.content, &message.attachments) else {
        return;
    };
    let asker = {
        let roles = bot.roles.lock().unwrap_or_else(PoisonError::into_inner);
        bot.settings.author(message, &roles)
    };
    let Some(asker) = asker else { return };
    let (channel, id) = (message.channel_id.get(), message.id.get());
    let mut talk = Talk::on_message(bot.messenger.clone(), asker.user, channel, id);
    match ask {
        Ok(ask) => grant(bot, talk, asker, ask, None).await,
        Err(why) => work::say(&mut talk, &Page::new(why)).await,
    }
}

/// Does what was asked, if this person may ask it.
async fn grant(bot: &Arc<Bot>, mut talk: Talk, asker: Asker, ask: Ask, limit: Option<u64>) {
    if let Err(why) = bot.settings.permit(asker, ask.word()) {
        talk.in_private();
        work::say(&mut talk, &Page::new(why)).await;
        return;
    }
    let shown = bot.settings.shown(asker, talk.audience);
    let talk = &mut talk;
    match ask {
        Ask::Help => work::say(talk, &looks::help(bot, asker)).await,
        Ask::Status => {
            quick(bot, talk, shown, move |bot| looks::status(bot, shown)).await;
        }
        Ask::History => quick(bot, talk, shown, move |bot| looks::history(bot, shown)).await,
        Ask::Stats => quick(bot, talk, shown, looks::stats).await,
        Ask::Archives { query, page } => {
            let look = move |bot: &Bot| looks::archives(bot, &query, page, shown);
            quick(bot, talk, shown, look).await;
        }
        Ask::Info { what } => {
            quick(bot, talk, shown, move |bot| looks::info(bot, &what, shown)).await;
        }
        Ask::Resume { what } => upkeep::resume(bot, talk, shown, &what).await,
        Ask::Verify { what, depth } => upkeep::verify(bot, talk, shown, &what, depth).await,
        Ask::Rebuild => upkeep::rebuild(bot, talk, shown).await,
        Ask::Cleanup { what } => upkeep::cleanup(bot, talk, shown, &what).await,
        Ask::Gc => garbage::gc(bot, talk, shown).await,
        Ask::Migrate { what, to } => migrate::migrate(bot, talk, shown, &what, &to).await,
        Ask::Upload { source, to } => upload::upload(bot, talk, asker, source, &to).await,
        Ask::Download { what, goal } => {
            let bytes_max = limit.unwrap_or_else(|| bot.messenger.file_bytes_max());
            download::download(bot, talk, asker, &what, (goal, bytes_max)).await;
        }
    }
}

/// Gives an answer that is usually there at once; promises it when it is not.
async fn quick(
    bot: &Arc<Bot>,
    talk: &mut Talk,
    shown: Shown,
    look: impl FnOnce(&Bot) -> Result<Page, Error> + Send + 'static,
) {
    let mut looking = std::pin::pin!(bot.blocking(look));
    let found = tokio::select! {
        found = &mut looking => found,
        () = tokio::time::sleep(bot.settings.times.promise_after) => {
            if let Err(error) = talk.promise().await {
                log::info!("bot: {error}");
                return;
            }
            looking.await
        }
    };
    let page = match found {
        Some(Ok(page)) => page,
        Some(Err(error)) => sorry(bot, &error, shown),
        None => Page::open("That did not work; the log on the machine says why."),
    };
    work::say(talk, &page).await;
}

/// What a person is told of an error.
pub(in crate::bot) fn sorry(bot: &Bot, error: &Error, shown: Shown) -> Page {
    match (error, shown) {
        // These are about what was asked, in the asker's own words.
        (Error::Usage(_) | Error::NotFound(_), _) | (_, Shown::Paths | Shown::Names) => {
            Page::new(text::words(&paths::error(bot, error, shown)))
        }
        (error, Shown::Ids) => {
            log::info!("bot: {error}");
            Page::open("That did not work; the log on the machine says why.")
        }
    }
}
