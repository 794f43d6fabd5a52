//! Chromium without a window, driven over its DevTools protocol.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use data_encoding::BASE64;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

/// Milliseconds after which a page that does not come to what is awaited has failed.
const PATIENCE_MS: u64 = 120_000;

/// One page in a browser of its own. Dropped, the browser ends.
pub struct Page {
    child: Child,
    socket: WebSocketStream<TcpStream>,
    session: String,
    next: u64,
    loaded: bool,
    /// Every address the page asked for.
    pub asked: Vec<String>,
    /// What scripts reported as an error, and what the browser refused.
    pub faults: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Drop for Page {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Is there a Chromium? Without one, says on standard error that this test is skipped.
pub fn is_there() -> bool {
    let found = Command::new("chromium").arg("--version").output();
    if found.is_ok_and(|output| output.status.success()) {
        return true;
    }
    let notice = "\nSKIPPED: chromium is not installed. The emulator's page was NOT opened \
                  (Debian: apt-get install chromium).\n\n";
    // Not println!: the harness would keep it to itself.
    std::io::stderr()
        .write_all(notice.as_bytes())
        .expect("stderr");
    false
}

impl Page {
    /// Starts a browser and opens an address in it.
    pub async fn open(url: &str, (width, height): (u32, u32)) -> Self {
        let profile = tempfile::tempdir().expect("a directory");
        let mut child = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--window-size={width},{height}"))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chromium starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its stderr")).lines();
        let endpoint = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("DevTools listening on ")?.1.to_owned()))
            .expect("chromium listens");
        // Read on, so that the browser never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        let address = endpoint["ws://".len()..].split('/').next();
        let stream = TcpStream::connect(address.expect("an address"));
        let stream = stream.await.expect("connect");
        let (socket, _) = tokio_tungstenite::client_async(&endpoint, stream)
            .await
            .expect("a websocket");
        let mut page = Self {
            child,
            socket,
            session: String::new(),
            next: 0,
            loaded: false,
            asked: Vec::new(),
            faults: Vec::new(),
            _profile: profile,
        };
        let made = page
            .call("Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let attach = json!({"targetId": made["targetId"], "flatten": true});
        let attached = page.call("Target.attachToTarget", attach).await;
        page.session = attached["sessionId"].as_str().expect("an id").to_owned();
        for domain in ["Page", "Runtime", "Network", "Log", "DOM"] {
            page.call(&format!("{domain}.enable"), json!({})).await;
        }
        page.size(width, height).await;
        page.loaded = false;
        page.call("Page.navigate", json!({"url": url})).await;
        while !page.loaded {
            let event = page.receive().await;
            page.note(&event);
        }
        page
    }

    /// The next message of the browser.
    async fn receive(&mut self) -> Value {
        let message = self.socket.next().await.expect("open").expect("a message");
        let text = message.to_text().expect("text");
        serde_json::from_str(text).unwrap_or_default()
    }

    /// Calls a method and gives its result.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        let mut body = json!({"id": id, "method": method, "params": params});
        if !self.session.is_empty() {
            body["sessionId"] = json!(self.session);
        }
        let sent = self.socket.send(Message::text(body.to_string())).await;
        sent.expect("sent");
        loop {
            let message = self.receive().await;
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        match event["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                self.asked.push(url.to_owned());
            }
            Some("Page.loadEventFired") => self.loaded = true,
            Some("Runtime.exceptionThrown") => self.faults.push(params.to_string()),
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.faults.push(params["entry"].to_string());
            }
            _ => {}
        }
    }

    /// The value of an expression in the page.
    pub async fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let result = self.call("Runtime.evaluate", params).await;
        let failed = &result["exceptionDetails"];
        assert!(failed.is_null(), "{expression}: {failed:#}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page, looking whenever the page changes.
    pub async fn wait(&mut self, expression: &str) {
        let script = format!(
            "new Promise((done) => {{
                const look = () => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }};
                if (look()) return done(true);
                const root = document.documentElement;
                const watch = new MutationObserver(() => {{ if (look()) finish(true); }});
                watch.observe(root, {{ subtree: true, childList: true, attributes: true, characterData: true }});
                const often = setInterval(() => {{ if (look()) finish(true); }}, 50);
                const late = setTimeout(() => finish(false), {PATIENCE_MS});
                const finish = (how) => {{ watch.disconnect(); clearInterval(often); clearTimeout(late); done(how); }};
            }})"
        );
        let came = self.value(&script).await;
        if came != true {
            let shown = self.value("document.body.innerText").await;
            panic!(
                "never true: {expression}\nfaults: {:?}\nthe page shows:\n{}",
                self.faults,
                shown.as_str().unwrap_or_default()
            );
        }
    }

    /// Clicks in the middle of the first element that a selector finds.
    pub async fn click(&mut self, selector: &str) {
        let find = format!("document.querySelector({})", json!(selector));
        self.wait(&find).await;
        let middle = format!(
            "(() => {{ const node = {find}; node.scrollIntoView({{ block: 'center' }});
                const box = node.getBoundingClientRect();
                return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let at = self.value(&middle).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let params = json!({"type": kind, "x": at[0], "y": at[1], "button": "left",
                "clickCount": 1});
            self.call("Input.dispatchMouseEvent", params).await;
        }
    }

    pub async fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text})).await;
    }

    /// Presses a key by its name, such as `Enter`.
    pub async fn key(&mut self, name: &str) {
        let (code, text) = match name {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            "ArrowDown" => (40, ""),
            _ => panic!("unknown key: {name}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({"type": kind, "key": name, "code": name,
                "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                params["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", params).await;
        }
    }

    /// Chooses files in a file input.
    pub async fn choose(&mut self, selector: &str, files: &[&Path]) {
        let document = self.call("DOM.getDocument", json!({})).await;
        let query = json!({"nodeId": document["root"]["nodeId"], "selector": selector});
        let found = self.call("DOM.querySelector", query).await;
        let params = json!({"files": files, "nodeId": found["nodeId"]});
        self.call("DOM.setFileInputFiles", params).await;
    }

    pub async fn size(&mut self, width: u32, height: u32) {
        let params = json!({"width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", params)
            .await;
    }

    /// `light` or `dark`.
    pub async fn scheme(&mut self, value: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    /// A picture of what the page shows.
    pub async fn picture(&mut self) -> Vec<u8> {
        let taken = self
            .call("Page.captureScreenshot", json!({"format": "png"}))
            .await;
        let text = taken["data"].as_str().expect("a picture");
        BASE64.decode(text.as_bytes()).expect("base64")
    }
}
