//! Questions with two buttons: only who asked may press them, and they end after a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::oneshot;

use crate::bot::Bot;
use crate::bot::page::Button;
use crate::bot::page::Can;
use crate::bot::page::Look;
use crate::bot::page::Page;
use crate::bot::permit::Asker;
use crate::bot::permit::Shown;
use crate::bot::talk::Talk;
use crate::bot::text;
use crate::bot::work;
use crate::store::Error;

/// Questions that wait for an answer.
#[derive(Debug, Default)]
pub(in crate::bot) struct Questions(Mutex<HashMap<u64, Question>>);

#[derive(Debug)]
struct Question {
    asker: u64,
    tell: oneshot::Sender<Answer>,
}

/// What was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
}

/// What pressing a button came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bot) enum Pressed {
    /// Whoever waits for the answer goes on.
    Told,
    /// It is somebody else's question.
    NotYours,
    /// Nobody waits for it any more.
    Over,
}

impl Questions {
    fn all(&self) -> MutexGuard<'_, HashMap<u64, Question>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, asker: u64) -> Option<(u64, oneshot::Receiver<Answer>)> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).ok()?;
        let id = u64::from_le_bytes(random);
        let (tell, told) = oneshot::channel();
        self.all().insert(id, Question { asker, tell });
        Some((id, told))
    }

    /// A button was pressed; `rest` is what follows `ask:` in its id.
    pub(in crate::bot) fn press(&self, rest: &str, asker: Asker) -> Pressed {
        let (id, answer) = rest.split_once(':').unwrap_or((rest, ""));
        let Ok(id) = u64::from_str_radix(id, 16) else {
            return Pressed::Over;
        };
        let mut all = self.all();
        match all.get(&id) {
            None => Pressed::Over,
            Some(question) if question.asker != asker.user => Pressed::NotYours,
            Some(_) => {
                let answer = match answer {
                    "yes" => Answer::Yes,
                    _ => Answer::No,
                };
                let told = all.remove(&id).map(|question| question.tell.send(answer));
                match told {
                    Some(Ok(())) => Pressed::Told,
                    _ => Pressed::Over,
                }
            }
        }
    }
}

/// What is asked.
pub(in crate::bot) struct Stake<'a> {
    /// In words of the drive, for who is shown names.
    pub(in crate::bot) own: &'a str,
    /// As everybody may read it.
    pub(in crate::bot) open: &'a str,
    /// What the dangerous button says.
    pub(in crate::bot) yes: &'static str,
    /// What is said when it is not done.
    pub(in crate::bot) otherwise: &'static str,
}

/// Asks whether something may be done, and waits for the answer; when it may not, that is said.
pub(in crate::bot) async fn agreed(
    bot: &Arc<Bot>,
    talk: &mut Talk,
    shown: Shown,
    stake: Stake<'_>,
) -> bool {
    match ask(bot, talk, shown, &stake).await {
        Ok(Answer::Yes) => true,
        Ok(Answer::No) => {
            work::say(talk, &Page::open(stake.otherwise)).await;
            false
        }
        Err(error) => {
            log::info!("bot: {error}");
            false
        }
    }
}

/// No answer is none.
async fn ask(
    bot: &Arc<Bot>,
    talk: &mut Talk,
    shown: Shown,
    stake: &Stake<'_>,
) -> Result<Answer, Error> {
    let Some((id, told)) = bot.questions.open(talk.user) else {
        return Ok(Answer::No);
    };
    let button = |label, answer: &str, look| Button {
        label,
        id: format!("ask:{id:x}:{answer}"),
        look,
        can: Can::Press,
    };
    let page = Page {
        buttons: vec![
            button(stake.yes, "yes", Look::Danger),
            button("Leave it", "no", Look::Plain),
        ],
        open_text: Some(stake.open.to_owned()),
        ..Page::new(match shown {
            Shown::Paths | Shown::Names => text::words(stake.own),
            Shown::Ids => stake.open.to_owned(),
        })
    };
    let said = talk.say(&page).await;
    let answer = match &said {
        Ok(()) => tokio::time::timeout(bot.settings.times.question_life, told).await,
        Err(_) => Ok(Ok(Answer::No)),
    };
    bot.questions.all().remove(&id);
    said?;
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        _ => Ok(Answer::No),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bot::permit::Rank;

    fn asker(user: u64) -> Asker {
        let rank = Rank::Admin;
        Asker { user, rank }
    }

    #[test]
    fn a_question_is_answered_once_and_by_who_asked() {
        let questions = Questions::default();
        let (id, mut told) = questions.open(5).expect("a question");
        let yes = format!("{id:x}:yes");
        assert_eq!(questions.press(&yes, asker(6)), Pressed::NotYours);
        assert!(told.try_recv().is_err());
        assert_eq!(questions.press(&yes, asker(5)), Pressed::Told);
        assert_eq!(told.try_recv(), Ok(Answer::Yes));
        assert_eq!(questions.press(&yes, asker(5)), Pressed::Over);
        for odd in ["", ":", "zz:yes", "ffffffffffffffffff:yes"] {
            assert_eq!(questions.press(odd, asker(5)), Pressed::Over);
        }
    }
}
