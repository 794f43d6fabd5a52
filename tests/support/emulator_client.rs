//! A plain HTTP client for tests of the emulator: no retry, no limiter, nothing of ods.
#![allow(dead_code, unreachable_pub)]

use std::sync::Once;

use ods::emulator::Emulator;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

/// One answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
    /// The body as JSON, or null.
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn id(&self) -> u64 {
        id_of(&self.body)
    }

    pub fn code(&self) -> u64 {
        self.body["code"].as_u64().expect("a code")
    }

    /// The answer, which must have this status.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.bytes)
        );
        self
    }
}

/// The id of anything.
#[track_caller]
pub fn id_of(value: &Value) -> u64 {
    value["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("a snowflake")
}

/// A user of the API.
#[derive(Clone, Debug)]
pub struct User {
    pub http: Client,
    pub api: String,
    pub authorization: String,
}

impl User {
    pub fn bot(emulator: &Emulator) -> Self {
        Self::with(emulator, &format!("Bot {}", emulator.token()))
    }

    pub fn member(emulator: &Emulator) -> Self {
        Self::with(emulator, emulator.member_token())
    }

    pub fn with(emulator: &Emulator, authorization: &str) -> Self {
        Self {
            http: http(),
            api: emulator.api_url(),
            authorization: authorization.to_owned(),
        }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.api);
        self.http
            .request(method, url)
            .header("authorization", &self.authorization)
    }

    pub async fn get(&self, path: &str) -> Answer {
        read(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        read(self.request(Method::DELETE, path)).await
    }

    pub async fn put(&self, path: &str) -> Answer {
        read(self.request(Method::PUT, path)).await
    }

    pub async fn send_json(&self, method: Method, path: &str, body: &Value) -> Answer {
        let request = self
            .request(method, path)
            .header("content-type", "application/json");
        read(request.body(body.to_string())).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::POST, path, body).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send_json(Method::PATCH, path, body).await
    }

    /// Posts a message with text only.
    pub async fn say(&self, channel: u64, content: &str) -> Answer {
        self.post(
            &format!("/channels/{channel}/messages"),
            &json!({"content": content}),
        )
        .await
    }

    /// A multipart request, not yet sent.
    pub fn form(
        &self,
        method: Method,
        path: &str,
        payload: &Value,
        files: &[(&str, &[u8])],
    ) -> RequestBuilder {
        self.request(method, path)
            .header("content-type", "multipart/form-data; boundary=xyz")
            .body(multipart(payload, files))
    }

    /// Posts a message with files.
    pub async fn upload(&self, channel: u64, payload: &Value, files: &[(&str, &[u8])]) -> Answer {
        let path = format!("/channels/{channel}/messages");
        read(self.form(Method::POST, &path, payload, files)).await
    }

    /// Fetches any URL, without a token.
    pub async fn fetch(&self, url: &str) -> Answer {
        read(self.http.get(url)).await
    }

    pub async fn fetch_range(&self, url: &str, range: &str) -> Answer {
        read(self.http.get(url).header("range", range)).await
    }
}

pub fn http() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        drop(rustls::crypto::ring::default_provider().install_default());
    });
    Client::builder()
        .user_agent("DiscordBot (https://example.org, 1)")
        .no_proxy()
        .build()
        .expect("a client")
}

pub async fn read(request: RequestBuilder) -> Answer {
    try_read(request).await.expect("an answer")
}

pub async fn try_read(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let bytes = response.bytes().await?.to_vec();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok(Answer {
        status,
        headers,
        bytes,
        body,
    })
}

/// A multipart body with the boundary `xyz`.
pub fn multipart(payload: &Value, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = format!(
        "--xyz\r\nContent-Disposition: form-data; name=\"payload_json\"\r\n\
         Content-Type: application/json\r\n\r\n{payload}\r\n"
    )
    .into_bytes();
    for (at, (name, bytes)) in files.iter().enumerate() {
        let head = format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"files[{at}]\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--xyz--\r\n");
    body
}
