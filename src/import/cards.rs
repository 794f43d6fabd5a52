//! Cards of old archives, in whichever room the bots of before posted them.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use crate::drive;
use crate::drive::Drive;
use crate::drive::task::Task;
use crate::import::Error;
use crate::import::Source;
use crate::legacy::card;
use crate::legacy::card::Card;
use crate::store;
use crate::store::Span;
use crate::store::strangers::Note;

/// The card of an archive, and where it was found.
pub(in crate::import) struct Seen {
    pub(in crate::import) card: Card,
    pub(in crate::import) room: Option<u64>,
    /// The program that wrote it, if one did.
    pub(in crate::import) by: Option<u64>,
}

/// Where cards are looked for.
#[derive(Clone, Copy)]
pub(in crate::import) struct Board<'a> {
    pub(in crate::import) drive: &'a Drive,
    pub(in crate::import) task: &'a Task<'a>,
    /// The only room to look in; none for all that can be read.
    pub(in crate::import) room: Option<u64>,
}

impl Board<'_> {
    pub(in crate::import) fn rooms(self) -> Result<Vec<u64>, Error> {
        match self.room {
            Some(room) => Ok(vec![room]),
            None => {
                let rooms = self.drive.rooms(self.task)?;
                Ok(rooms.into_iter().map(|room| room.id).collect())
            }
        }
    }

    /// Goes through notes until one gives something.
    pub(in crate::import) fn pages<T>(
        self,
        room: u64,
        mut span: Span,
        mut look: impl FnMut(Note) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        loop {
            let page = self.drive.notes(room, span, self.task)?;
            self.task.done(page.notes.len() as u64, 0)?;
            if let Some(found) = page.notes.into_iter().find_map(&mut look) {
                return Ok(Some(found));
            }
            let Some(next) = page.next else {
                return Ok(None);
            };
            span = match span {
                Span::Newest | Span::Before(_) => Span::Before(next),
                Span::After(_) => Span::After(next),
            };
        }
    }

    /// Goes through all cards, those of each room from the newest on, until one gives something. A card that
    /// names no thread has it under itself. Counts what the bot may not see.
    pub(in crate::import) fn cards<T>(
        self,
        hidden: &mut u64,
        mut look: impl FnMut(Seen) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        for room in self.rooms()? {
            let found = self.pages(room, Span::Newest, |note| {
                *hidden += u64::from(note.is_hidden);
                let card = Card::read(&note.text, &note.title)?;
                look(Seen {
                    card: Card {
                        thread: card.thread.or(Some(note.mark.0)),
                        ..card
                    },
                    room: Some(room),
                    by: note.program,
                })
            });
            match found {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => {}
                // One of many channels that is closed to the bot.
                Err(Error::Drive(drive::Error::Store(store::Error::Refused { what })))
                    if self.room.is_none() =>
                {
                    log::info!("not looked through: {what}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// All old archives that can be found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// Those that the card of a program or the log names, each as it is wished for; the oldest first.
    pub archives: Vec<Source>,
    /// Ids on cards of people only, whom nobody has to believe: they come when they are asked for by their ids.
    pub of_people: Vec<String>,
}

/// Looks for all old archives.
///
/// # Errors
/// [`Error::NotFound`] when there is none.
pub fn survey(
    drive: &Drive,
    channel: Option<u64>,
    log: Option<&Path>,
    task: &Task<'_>,
) -> Result<Survey, Error> {
    task.begin("looking for archives", 0, 0)?;
    let (mut hidden, mut known) = (0, HashSet::new());
    let (mut found, mut of_people) = (Vec::new(), Vec::new());
    let board = Board {
        drive,
        task,
        room: channel,
    };
    board.cards(&mut hidden, |seen| {
        match seen.by {
            None => of_people.push(seen.card.id),
            Some(_) if known.insert(seen.card.id.to_ascii_uppercase()) => {
                found.push((seen.card.thread, seen.card.id));
            }
            Some(_) => {}
        }
        None::<()>
    })?;
    // Ids on Discord grow with time, and a card is older than its thread.
    found.sort();
    let with = |id: String, log: Option<&Path>| Source::Archive {
        id,
        channel,
        log: log.map(Path::to_owned),
    };
    let mut archives: Vec<Source> = Vec::new();
    if let Some(log) = log {
        let ids = card::ids_in_log(&read_log(log)?).map_err(log_error(log))?;
        let is_new = |id: &String| known.insert(id.to_ascii_uppercase());
        archives.extend(ids.into_iter().filter(is_new).map(|id| with(id, Some(log))));
    }
    archives.extend(found.into_iter().map(|(_, id)| with(id, None)));
    of_people.sort();
    of_people.dedup();
    of_people.retain(|id| !known.contains(&id.to_ascii_uppercase()));
    match archives.is_empty() {
        false => Ok(Survey {
            archives,
            of_people,
        }),
        true if hidden > 0 => Err(Error::NotFound(withheld("archives"))),
        true if !of_people.is_empty() => Err(Error::NotFound(format!(
            "no bot posted the card of an archive; people did for {}, which come when they are named",
            of_people.join(", ")
        ))),
        true => Err(Error::NotFound(String::from(
            "no message in any channel that the bot can read is the card of an archive",
        ))),
    }
}

/// The log of an old bot.
pub(in crate::import) fn read_log(path: &Path) -> Result<Vec<u8>, Error> {
    let meta = path.metadata().map_err(Error::host(path))?;
    if meta.len() > card::LOG_BYTES_MAX {
        let text = format!("{}: too large for a log", path.display());
        return Err(Error::Usage(text));
    }
    std::fs::read(path).map_err(Error::host(path))
}

pub(in crate::import) fn log_error(path: &Path) -> impl FnOnce(crate::legacy::Error) -> Error {
    Error::archive(path.display().to_string())
}

pub(in crate::import) fn withheld(what: &str) -> String {
    format!(
        "Discord does not show this bot what another bot wrote about {what}: turn on Message Content Intent on this bot's page in \
         the developer portal, or use the old bot's token for this drive"
    )
}
