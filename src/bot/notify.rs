//! Who hears of work that is done or failed: the configured channel, and this machine's desktop.

use std::sync::Arc;

use crate::bot::Bot;
use crate::bot::machine;
use crate::bot::page::Page;
use crate::bot::settings::Switch;

/// Tells of the end of some work. The text is for everybody, so it names no file.
pub(in crate::bot) async fn tell(bot: &Arc<Bot>, text: &str, asked_in: u64) {
    if let Some(channel) = bot.settings.channel.filter(|channel| *channel != asked_in) {
        let page = Page::new(text);
        if let Err(error) = bot.messenger.post(channel, &page.body(), Vec::new()).await {
            log::warn!("bot: nobody was notified: {error}");
        }
    }
    if bot.settings.desktop == Switch::On {
        let title = format!("ods: {}", bot.drive_name);
        let text = text.to_owned();
        // A thread of its own: whatever shows notifications may take its time.
        std::thread::spawn(move || machine::notify(&title, &text));
    }
}
