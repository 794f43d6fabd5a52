//! Old objects on Discord: the card is looked for, then what its thread or channel holds is listed.

use std::collections::HashSet;
use std::path::Path;

use crate::clock::Time;
use crate::drive;
use crate::drive::Drive;
use crate::drive::task::Task;
use crate::import::Error;
use crate::import::cards::Board;
use crate::import::cards::Seen;
use crate::import::cards::log_error;
use crate::import::cards::read_log;
use crate::import::cards::withheld;
use crate::import::origin::Found;
use crate::import::origin::Object;
use crate::import::origin::Origin;
use crate::import::origin::System;
use crate::import::origin::Unread;
use crate::import::origin::check_length;
use crate::import::origin::manifests;
use crate::legacy::PIECE_BYTES_MAX;
use crate::legacy::card;
use crate::legacy::card::Card;
use crate::legacy::manifest;
use crate::legacy::meta;
use crate::legacy::meta::Meta;
use crate::store;
use crate::store::Locator;
use crate::store::Mark;
use crate::store::Span;
use crate::store::strangers::Note;

struct Thread<'a> {
    drive: &'a Drive,
    task: &'a Task<'a>,
    objects: Vec<Object>,
    locators: Vec<Locator>,
}

impl Origin for Thread<'_> {
    fn objects(&self) -> &[Object] {
        &self.objects
    }

    fn read(&self, object: &Object) -> Result<Vec<u8>, Unread> {
        check_length(object, PIECE_BYTES_MAX)?;
        let range = 0..object.bytes;
        let read = self
            .drive
            .strange(&self.locators[object.at], range, self.task);
        read.map(Vec::from).map_err(|error| match error {
            drive::Error::Store(
                error @ (store::Error::Missing { .. }
                | store::Error::Refused { .. }
                | store::Error::Broken { .. }),
            ) => Unread::This(error.to_string()),
            error => Unread::All(error),
        })
    }
}

/// What was read of a thread or channel.
#[derive(Default)]
struct Contents {
    objects: Vec<Object>,
    locators: Vec<Locator>,
    meta: Option<Meta>,
    /// Messages that hold something which the bot may not see.
    hidden: u64,
    /// The program that says what the archive is; none when anybody may.
    by: Option<u64>,
    /// Manifests and METAs of others.
    others: u64,
}

impl Contents {
    /// Anybody may post to a thread; what an archive is, only its bot says.
    fn pass_over(&mut self, what: &str) {
        self.others += 1;
        log::warn!("{what}: passed over, because it is not of the bot that posted the card");
    }

    fn take(&mut self, note: Note) {
        self.hidden += u64::from(note.is_hidden);
        let is_other = self.by.is_some() && note.program != self.by;
        match meta::is_meta(&note.text) {
            true if is_other => self.pass_over("META"),
            true => match Meta::decode(note.text.as_bytes()) {
                Ok(meta) => self.meta = Some(meta),
                Err(error) => log::warn!("a message says META, and no more: {error}"),
            },
            false => {}
        }
        let made = i64::try_from(note.made_ms.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        for entry in note.entries {
            if is_other && manifest::is_manifest(&entry.name) {
                self.pass_over(&entry.name);
                continue;
            }
            self.objects.push(Object {
                name: entry.name,
                bytes: entry.bytes,
                at: self.locators.len(),
                made: Time(made),
            });
            self.locators.push(entry.locator);
        }
    }
}

/// Finds an archive or batch by its id.
pub(in crate::import) fn find<'a>(
    drive: &'a Drive,
    id: &str,
    channel: Option<u64>,
    log: Option<&Path>,
    task: &'a Task<'a>,
) -> Result<Found<'a>, Error> {
    task.begin("looking for the archive", 0, 0)?;
    let search = Search { drive, id, task };
    let mut hidden = 0;
    let card = match log {
        Some(log) => search.in_log(log)?,
        None => search.card(channel, &mut hidden)?,
    };
    let Some(seen) = card else {
        return Err(search.not_found(channel, log, hidden));
    };
    let contents = search.contents(&seen, channel)?;
    if contents.objects.is_empty() && contents.hidden > 0 {
        return Err(Error::NotFound(withheld(id)));
    }
    let Contents {
        objects,
        locators,
        meta,
        others,
        ..
    } = contents;
    let origin = Thread {
        drive,
        task,
        objects,
        locators,
    };
    let system = match (card::is_batch_id(id), meta) {
        (true, Some(meta)) => System::Batch(meta),
        (true, None) => return Err(without_meta(id, others)),
        (false, _) => System::Sliced(manifests(&origin)?),
    };
    if matches!(&system, System::Sliced(manifests) if manifests.is_empty()) {
        return Err(without_manifest(id, others));
    }
    let origin = Box::new(origin);
    Ok(Found { origin, system })
}

fn without_meta(id: &str, others: u64) -> Error {
    Error::NotFound(format!(
        "the thread of {id} has no message that begins with META:, and without the salt in it nobody can open the parts{}",
        not_believed(others)
    ))
}

fn without_manifest(id: &str, others: u64) -> Error {
    Error::NotFound(format!(
        "{id} has no manifest, and without it nobody knows which pieces make which file{}",
        not_believed(others)
    ))
}

fn not_believed(others: u64) -> &'static str {
    match others {
        0 => "",
        _ => "; there is one, but not of the bot that posted the card",
    }
}

struct Search<'a> {
    drive: &'a Drive,
    id: &'a str,
    task: &'a Task<'a>,
}

impl Search<'_> {
    fn not_found(&self, channel: Option<u64>, log: Option<&Path>, hidden: u64) -> Error {
        let id = self.id;
        Error::NotFound(match (log, channel) {
            (Some(log), _) => format!("{} does not name {id}", log.display()),
            (None, _) if hidden > 0 => withheld(id),
            (None, Some(channel)) => format!("no message in channel {channel} is the card of {id}"),
            (None, None) => format!(
                "no message in any channel that the bot can read is the card of {id}; if it is in one that it cannot read, give the \
                 bot View Channel and Read Message History there. Archives without a card are found by the old bot's log: --log FILE"
            ),
        })
    }

    /// What the old bot's log says.
    fn in_log(&self, path: &Path) -> Result<Option<Seen>, Error> {
        let found = card::in_log(&read_log(path)?, self.id).map_err(log_error(path))?;
        Ok(found.map(|card| Seen {
            room: card.channel,
            card,
            by: None,
        }))
    }

    fn board(&self, room: Option<u64>) -> Board<'_> {
        Board {
            drive: self.drive,
            task: self.task,
            room,
        }
    }

    /// The card, and the channel it is in. Anybody may post what looks like one: that of a program counts,
    /// and a person's only where there is no other.
    fn card(&self, channel: Option<u64>, hidden: &mut u64) -> Result<Option<Seen>, Error> {
        let mut of_person = None;
        let of_program = self.board(channel).cards(hidden, |seen| {
            let is_it = seen.card.id.eq_ignore_ascii_case(self.id);
            match seen.by {
                Some(_) if is_it => Some(seen),
                None if is_it && of_person.is_none() => {
                    of_person = Some(seen);
                    None
                }
                _ => None,
            }
        })?;
        Ok(of_program.or(of_person))
    }

    /// Everything in the card's thread, and the messages that it names in the channel.
    fn contents(&self, seen: &Seen, channel: Option<u64>) -> Result<Contents, Error> {
        let card = &seen.card;
        let mut contents = Contents {
            by: seen.by,
            ..Contents::default()
        };
        if let Some(thread) = card.thread {
            let listed = self
                .board(None)
                .pages(thread, Span::After(Mark(0)), |note| {
                    contents.take(note);
                    None::<()>
                });
            match listed {
                Ok(_) => {}
                // A card without a thread: what it has is in its channel.
                Err(Error::Drive(drive::Error::Store(store::Error::Missing { .. })))
                    if !card.messages.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        if contents.objects.is_empty() && !card.messages.is_empty() {
            self.named(card, seen.room.or(channel), &mut contents)?;
        }
        Ok(contents)
    }

    /// The messages that the card or the log names, in their channel or in whichever has them.
    fn named(&self, card: &Card, room: Option<u64>, contents: &mut Contents) -> Result<(), Error> {
        let wanted: HashSet<u64> = card.messages.iter().copied().collect();
        let (Some(first), Some(last)) = (wanted.iter().min(), wanted.iter().max()) else {
            return Ok(());
        };
        let board = self.board(room);
        for room in board.rooms()? {
            let from = Span::After(Mark(first.saturating_sub(1)));
            let listed = board.pages(room, from, |note| {
                let is_over = note.mark.0 > *last;
                if wanted.contains(&note.mark.0) {
                    contents.take(note);
                }
                is_over.then_some(())
            });
            match listed {
                Ok(_) if !contents.objects.is_empty() => return Ok(()),
                Ok(_) => {}
                // Of many rooms one is closed to the bot, and another gone.
                Err(Error::Drive(drive::Error::Store(
                    store::Error::Refused { .. } | store::Error::Missing { .. },
                ))) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
