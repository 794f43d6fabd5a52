//! The stream of news for an open page: server-sent events that say where to look anew.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Response;
use futures_util::stream;
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::emulator::app::App;
use crate::emulator::hub::News;
use crate::emulator::reply::text_response;

/// Answers `GET /_control/events`: `{"channels": [id], "guild": bool}` for each lot of news.
pub(crate) fn handle(app: &App) -> Response<Body> {
    let news = stream::unfold(Some(app.news()), |state| async {
        let mut news = state?;
        let event = next(&mut news).await?;
        Some((Ok::<_, std::convert::Infallible>(event), Some(news)))
    });
    let hello = stream::once(async { Ok("retry: 1000\n\n".to_owned()) });
    let mut response = text_response(200, "text/event-stream", String::new());
    *response.body_mut() = Body::from_stream(stream::StreamExt::chain(hello, news));
    response
}

/// Waits for news and takes what else has come; `None` when the emulator is gone.
async fn next(news: &mut Receiver<News>) -> Option<String> {
    let (mut channels, mut guild) = (BTreeSet::new(), false);
    let mut take = |one: News| match one {
        News::Channel(id) => drop(channels.insert(id)),
        News::Guild => guild = true,
    };
    let mut missed = false;
    match news.recv().await {
        Ok(one) => take(one),
        Err(RecvError::Lagged(_)) => missed = true,
        Err(RecvError::Closed) => return None,
    }
    loop {
        match news.try_recv() {
            Ok(one) => take(one),
            Err(TryRecvError::Lagged(_)) => missed = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    let event = json!({"channels": channels, "guild": guild, "missed": missed});
    Some(format!("data: {event}\n\n"))
}
