//! The gateway's protocol, by hand.

use futures_util::{SinkExt, StreamExt};
use ods::emulator::Emulator;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{User, id_of, read};
use crate::start;

const GUILDS_AND_MESSAGES: u64 = 1 | 1 << 9;

pub(crate) struct Shard {
    socket: WebSocketStream<TcpStream>,
}

impl Shard {
    async fn connect(emulator: &Emulator, query: &str) -> Self {
        let stream = TcpStream::connect(emulator.address())
            .await
            .expect("connect");
        let url = format!("ws://{}/gateway?{query}", emulator.address());
        let (socket, _) = tokio_tungstenite::client_async(url, stream)
            .await
            .expect("a websocket");
        Self { socket }
    }

    async fn send(&mut self, payload: &Value) {
        self.socket
            .send(Message::text(payload.to_string()))
            .await
            .expect("sent");
    }

    async fn message(&mut self) -> Message {
        self.socket
            .next()
            .await
            .expect("a message")
            .expect("a message")
    }

    pub(crate) async fn next(&mut self) -> Value {
        let message = self.message().await;
        serde_json::from_str(message.to_text().expect("text")).expect("JSON")
    }

    /// The code with which the server closes.
    async fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.message().await {
                return frame.expect("a frame").code.into();
            }
        }
    }

    pub(crate) async fn identify(emulator: &Emulator, token: &str, intents: u64) -> Self {
        let mut shard = Self::connect(emulator, "v=10&encoding=json").await;
        assert_eq!(shard.next().await["d"]["heartbeat_interval"], 45_000);
        let data = json!({"token": token, "intents": intents, "properties": {}});
        shard.send(&json!({"op": 2, "d": data})).await;
        shard
    }
}

#[tokio::test]
async fn a_session_sees_what_happens_and_is_resumed() {
    let (emulator, bot, channel) = start().await;
    let mut shard = Shard::identify(&emulator, emulator.token(), GUILDS_AND_MESSAGES).await;
    let ready = shard.next().await;
    assert_eq!((&ready["t"], &ready["s"]), (&json!("READY"), &json!(1)));
    assert_eq!(ready["d"]["guilds"][0]["unavailable"], true);
    let guild = shard.next().await;
    assert_eq!(guild["t"], "GUILD_CREATE");
    assert_eq!(id_of(&guild["d"]["channels"][0]), channel);
    shard.send(&json!({"op": 1, "d": 2})).await;
    assert_eq!(shard.next().await["op"], 11);

    let path = format!("/channels/{channel}/messages");
    let sent = bot
        .post(&path, &json!({"content": "a", "nonce": 5}))
        .await
        .expect_status(200);
    let created = shard.next().await;
    assert_eq!(created["t"], "MESSAGE_CREATE");
    assert_eq!(
        (&created["d"]["id"], &created["d"]["nonce"]),
        (&sent.body["id"], &json!(5))
    );
    User::member(&emulator).say(channel, "foreign").await;
    assert_eq!(shard.next().await["d"]["content"], "", "no MESSAGE_CONTENT");
    drop(shard);

    let path = format!("/channels/{channel}/messages/{}", sent.id());
    bot.patch(&path, &json!({"content": "b"}))
        .await
        .expect_status(200);
    bot.delete(&path).await.expect_status(204);
    let mut shard = Shard::connect(&emulator, "v=10&encoding=json").await;
    shard.next().await;
    let data = json!({"token": emulator.token(), "session_id": ready["d"]["session_id"], "seq": 4});
    shard.send(&json!({"op": 6, "d": data})).await;
    for name in ["MESSAGE_UPDATE", "MESSAGE_DELETE", "RESUMED"] {
        assert_eq!(shard.next().await["t"], name);
    }
    let all = format!("/guilds/{}/channels", emulator.guild_id());
    let made = bot.post(&all, &json!({"name": "new"})).await.id();
    let said = bot.say(made, "x").await.id();
    let threads = format!("/channels/{made}/messages/{said}/threads");
    bot.post(&threads, &json!({"name": "t"}))
        .await
        .expect_status(201);
    bot.delete(&format!("/channels/{made}"))
        .await
        .expect_status(200);
    for name in [
        "CHANNEL_CREATE",
        "MESSAGE_CREATE",
        "THREAD_CREATE",
        "MESSAGE_UPDATE",
        "MESSAGE_CREATE",
        "CHANNEL_DELETE",
    ] {
        assert_eq!(shard.next().await["t"], name);
    }
    shard
        .send(&json!({"op": 6, "d": {"token": emulator.token(), "session_id": "x", "seq": 0}}))
        .await;
    assert_eq!(shard.next().await, json!({"op": 9, "d": false}));
}

#[tokio::test]
async fn wrong_clients_are_closed_with_a_reason() {
    let (emulator, ..) = start().await;
    assert_eq!(
        Shard::identify(&emulator, "wrong", 0).await.closed().await,
        4004
    );
    let content = 1 << 15;
    assert_eq!(
        Shard::identify(&emulator, emulator.token(), content)
            .await
            .closed()
            .await,
        4014
    );
    assert_eq!(Shard::connect(&emulator, "v=6").await.closed().await, 4012);
    for (payload, code) in [
        (json!({"op": 99}), 4001),
        (json!({"op": 3, "d": {}}), 4003),
        (json!("x".repeat(5000)), 4002),
    ] {
        let mut shard = Shard::connect(&emulator, "v=10").await;
        shard.send(&payload).await;
        assert_eq!(shard.closed().await, code);
    }
    let mut shard = Shard::connect(&emulator, "v=10").await;
    for _ in 0..121 {
        shard.send(&json!({"op": 1})).await;
    }
    assert_eq!(shard.closed().await, 4008);
    let token = format!("Bot {}", emulator.token());
    let mut shard = Shard::identify(&emulator, &token, 0).await;
    assert_eq!(shard.next().await["t"], "READY");
    shard
        .send(&json!({"op": 2, "d": {"token": token, "intents": 0}}))
        .await;
    assert_eq!(shard.closed().await, 4005);
}

#[tokio::test]
async fn a_compressed_stream_is_binary_and_ends_in_the_flush_mark() {
    let (emulator, ..) = start().await;
    let mut shard = Shard::connect(&emulator, "v=10&compress=zlib-stream").await;
    let hello = shard.message().await;
    assert!(hello.is_binary() && hello.into_data().ends_with(&[0, 0, 0xFF, 0xFF]));
}

#[tokio::test]
async fn a_client_is_told_to_reconnect_and_when_its_session_is_over() {
    let (emulator, bot, channel) = start().await;
    let order = async |order: &str| {
        let url = format!("{}/_control/gateway", emulator.base_url());
        let body = json!({"order": order}).to_string();
        read(bot.http.post(url).body(body)).await.expect_status(200)
    };
    let mut shard = Shard::identify(&emulator, emulator.token(), GUILDS_AND_MESSAGES).await;
    let session = shard.next().await["d"]["session_id"].clone();
    shard.next().await;
    order("reconnect").await;
    assert_eq!(shard.next().await["op"], 7);
    order("drop").await;
    assert_eq!(shard.closed().await, 4000);
    bot.say(channel, "while away").await;
    let resume =
        json!({"op": 6, "d": {"token": emulator.token(), "session_id": session, "seq": 2}});
    let mut shard = Shard::connect(&emulator, "v=10&encoding=json").await;
    shard.next().await;
    shard.send(&resume).await;
    assert_eq!(shard.next().await["d"]["content"], "while away");
    assert_eq!(shard.next().await["t"], "RESUMED");
    order("invalidate").await;
    assert_eq!(shard.next().await, json!({"op": 9, "d": false}));
    shard.send(&resume).await;
    assert_eq!(shard.next().await, json!({"op": 9, "d": false}));
    // The same connection may identify anew.
    let data = json!({"token": emulator.token(), "intents": 0, "properties": {}});
    shard.send(&json!({"op": 2, "d": data})).await;
    assert_eq!(shard.next().await["t"], "READY");
}
