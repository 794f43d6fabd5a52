//! Text for people in Discord: names made harmless, pages that fit.

use crate::size::Bytes;

/// Longest name that is shown, characters.
const NAME_CHARS_MAX: usize = 100;

/// Longest report of an error that is shown, characters.
const WORDS_CHARS_MAX: usize = 600;

/// Longest content of a message, characters.
const CONTENT_CHARS_MAX: usize = 2000;

/// A name as it can be shown: no markdown, no mention, no link, no sign that cannot be seen.
pub(in crate::bot) fn name(name: &str) -> String {
    harmless(name, NAME_CHARS_MAX)
}

/// An error's words, which may name files.
pub(in crate::bot) fn words(words: &str) -> String {
    harmless(words, WORDS_CHARS_MAX)
}

fn harmless(name: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for (at, letter) in name.chars().enumerate() {
        if at == chars_max {
            shown.push('…');
            break;
        }
        match letter {
            letter if is_unseen(letter) => shown.push('\u{fffd}'),
            // Not even the look of a mention: allowed_mentions keeps it from ringing.
            '@' => shown.push_str("@\u{200b}"),
            '\\' | '*' | '_' | '~' | '`' | '|' | '>' | '<' | '#' | '-' | '+' | '[' | ']' | '('
            | ')' | ':' | '.' => {
                shown.push('\\');
                shown.push(letter);
            }
            letter => shown.push(letter),
        }
    }
    shown
}

/// Controls, and marks that change the direction or the width of what stands beside them.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A number and its word.
pub(in crate::bot) fn counted(number: u64, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}

/// Bytes as people read them.
pub(in crate::bot) fn bytes(bytes: u64) -> String {
    Bytes(bytes).to_string()
}

/// Seconds since 1970 as Discord shows them in the reader's own time.
pub(in crate::bot) fn moment(seconds: i64) -> String {
    format!("<t:{seconds}:R>")
}

/// Ten squares, so many of them full.
pub(in crate::bot) fn bar(done: u64, all: u64) -> String {
    let percent = (u128::from(done.min(all)) * 100)
        .checked_div(u128::from(all))
        .unwrap_or(0);
    let full = usize::try_from(percent / 10).unwrap_or(0);
    let (done, left) = ("▰".repeat(full), "▱".repeat(10 - full));
    format!("{done}{left} {percent} %")
}

/// Cut to what a message takes, at the end of a line if possible.
pub(in crate::bot) fn fitting(text: &str) -> String {
    if text.chars().count() <= CONTENT_CHARS_MAX {
        return text.to_owned();
    }
    let cut: String = text.chars().take(CONTENT_CHARS_MAX - 2).collect();
    let whole = cut.rfind('\n').filter(|at| *at > 0).unwrap_or(cut.len());
    format!("{}\n…", &cut[..whole])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_do_anything() {
        let shown = name("@everyone **x** <@1> [a](https://b) `c`\n# d \u{202e}e");
        for harm in ["@everyone", "**", "<@1", "](", "https://", "\n", "\u{202e}"] {
            assert!(!shown.contains(harm), "{harm}: {shown}");
        }
        assert!(shown.contains("\\*\\*x"), "{shown}");
        assert_eq!(name(&"ä".repeat(300)).chars().count(), NAME_CHARS_MAX + 1);
    }

    #[test]
    fn pages_fit_and_bars_are_ten_wide() {
        let long = "line of text\n".repeat(400);
        let fits = fitting(&long);
        assert!(
            fits.chars().count() <= 2000 && fits.ends_with("text\n…"),
            "{fits}"
        );
        for (done, all) in [
            (0, 0),
            (0, 10),
            (5, 10),
            (10, 10),
            (20, 10),
            (u64::MAX, u64::MAX),
        ] {
            let squares = bar(done, all).chars().filter(|c| "▰▱".contains(*c)).count();
            assert_eq!(squares, 10);
        }
        assert_eq!(bar(1, 2), "▰▰▰▰▰▱▱▱▱▱ 50 %");
    }
}
