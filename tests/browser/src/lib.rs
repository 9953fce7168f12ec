//! A headless Chromium under test: started for one test, driven over WebDriver, gone afterwards.
//!
//! Machines without one skip: [`Browser::start`] gives `None` and says so on standard error, or panics where
//! `WINDOWKV_BROWSER=required` (`.ci/browser.sh` sets it).

pub mod pages;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fantoccini::actions::{
    InputSource, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions, PointerAction,
};
use fantoccini::key::Key;
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use url::Url;

/// The browser and its driver.
#[derive(Debug)]
pub struct Browser {
    client: Client,
    driver: Driver,
}

/// The chromedriver process; it ends with the test, whatever the test's end.
#[derive(Debug)]
struct Driver(Child);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Browser {
    /// Starts a browser; `None`, with a notice, on a machine that has none.
    ///
    /// # Panics
    /// When one is required and missing, or does not start.
    pub async fn start() -> Option<Self> {
        let found = find("chromedriver").zip(find("chromium").or_else(|| find("google-chrome")));
        let Some((driver, browser)) = found else {
            let notice = "chromium or chromedriver is not installed (Debian: apt-get install chromium chromium-driver)";
            assert!(
                std::env::var_os("WINDOWKV_BROWSER").is_none_or(|value| value != "required"),
                "{notice}"
            );
            // Past the test runner's capture, so that it is seen.
            let _ = writeln!(std::io::stderr(), "SKIPPED, not run: {notice}");
            return None;
        };
        let mut child = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let stdout = child.stdout.take().expect("a pipe");
        let driver = Driver(child);
        let port = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| {
                let (_, port) = line.split_once("started successfully on port ")?;
                port.trim_end_matches('.').parse::<u16>().ok()
            })
            .expect("chromedriver names its port");
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
            "--force-color-profile=srgb",
        ];
        let capabilities = json!({
            "goog:chromeOptions": {"binary": browser, "args": args},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        });
        let capabilities: Capabilities = serde_json::from_value(capabilities).expect("an object");
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://localhost:{port}"))
            .await
            .expect("a session");
        Some(Self { client, driver })
    }

    /// Ends the browser.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn end(self) {
        self.client.close().await.expect("the session ends");
        drop(self.driver);
    }

    /// Opens a file.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn open(&self, path: &Path) {
        let url = Url::from_file_path(path).expect("an absolute path");
        self.client
            .goto(url.as_str())
            .await
            .expect("the page opens");
    }

    /// The value of a JavaScript expression.
    ///
    /// # Panics
    /// When it throws.
    pub async fn eval(&self, expression: &str) -> Value {
        let script = format!("return {expression};");
        let value = self.client.execute(&script, Vec::new()).await;
        value.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// The text of the first element that a CSS selector finds.
    pub async fn text(&self, selector: &str) -> String {
        let text = self
            .eval(&format!(
                "document.querySelector({}).textContent",
                json!(selector)
            ))
            .await;
        text.as_str().expect("text").to_owned()
    }

    /// Clicks the middle of the element, scrolled into sight, with the mouse.
    pub async fn click(&self, selector: &str) {
        let (x, y) = self.place(selector, 0.5, 0.5).await;
        self.mouse(x, y, true).await;
    }

    /// Moves the mouse to a place of the element, scrolled into sight: 0, 0 is its first corner, 1, 1 its last.
    pub async fn hover(&self, selector: &str, right: f64, down: f64) {
        let (x, y) = self.place(selector, right, down).await;
        self.mouse(x, y, false).await;
    }

    /// A point of the element's first line box in the window, in pixels; it is scrolled to unless it can be seen.
    async fn place(&self, selector: &str, right: f64, down: f64) -> (i64, i64) {
        let script = format!(
            "(() => {{ const at = document.querySelector({}); \
             const point = () => {{ const box = at.getClientRects()[0]; \
             return [box.left + {right} * box.width, box.top + {down} * box.height]; }}; \
             const seen = document.elementFromPoint(...point()); \
             if (!seen || !at.contains(seen)) at.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             return point(); }})()",
            json!(selector)
        );
        let place = self.eval(&script).await;
        let pixel = |index: usize| place[index].as_f64().expect("a number") as i64;
        (pixel(0), pixel(1))
    }

    async fn mouse(&self, x: i64, y: i64, click: bool) {
        let mut mouse = MouseActions::new("mouse".to_owned()).then(PointerAction::MoveTo {
            duration: None,
            x: x as f64,
            y: y as f64,
        });
        if click {
            let button = MOUSE_BUTTON_LEFT;
            mouse = mouse
                .then(PointerAction::Down { button })
                .then(PointerAction::Up { button });
        }
        self.client.perform_actions(mouse).await.expect("the mouse");
        self.settle().await;
    }

    /// Presses and releases a key.
    ///
    /// # Panics
    /// When the browser does not answer.
    pub async fn press(&self, key: Key) {
        let value = char::from(key);
        let keys = KeyActions::new("keys".to_owned())
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value });
        self.client
            .perform_actions(keys)
            .await
            .expect("the keyboard");
        self.settle().await;
    }

    /// Waits until what was asked for has been drawn.
    async fn settle(&self) {
        let script = "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()));";
        self.client
            .execute_async(script, Vec::new())
            .await
            .expect("a frame");
    }

    /// The window as a phone or a desktop has it, in CSS pixels, and the colours that its user prefers.
    ///
    /// # Panics
    /// When the browser refuses.
    pub async fn look(&self, width: u32, height: u32, phone: bool, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone}),
        )
        .await;
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]}),
        )
        .await;
        self.settle().await;
    }

    /// Stores what is seen as `target/browser/<name>.png`.
    ///
    /// # Panics
    /// When it cannot be stored.
    pub async fn screenshot(&self, name: &str) {
        let dir = screenshots();
        std::fs::create_dir_all(&dir).expect("a folder for screenshots");
        let png = self.client.screenshot().await.expect("a screenshot");
        std::fs::write(dir.join(name).with_extension("png"), png).expect("a file");
    }

    async fn devtools(&self, command: &'static str, params: Value) {
        let body = json!({"cmd": command, "params": params});
        let path = "goog/cdp/execute";
        let answer = self.client.issue_cmd(Post { path, body }).await;
        answer.unwrap_or_else(|error| panic!("{command}: {error}"));
    }

    /// Asserts that no page logged anything so far and none asked for anything but files.
    ///
    /// # Panics
    /// When one did.
    pub async fn assert_quiet(&self) {
        let logged = self.log("browser").await;
        assert_eq!(logged, json!([]), "messages on the console");
        for entry in self.log("performance").await.as_array().expect("a list") {
            let message = entry["message"].as_str().expect("a message");
            let event: Value = serde_json::from_str(message).expect("JSON");
            if event["message"]["method"] == "Network.requestWillBeSent" {
                let url = event["message"]["params"]["request"]["url"]
                    .as_str()
                    .expect("a URL");
                assert!(
                    url.starts_with("file:") || url.starts_with("data:"),
                    "asked for {url}"
                );
            }
        }
    }

    async fn log(&self, kind: &str) -> Value {
        let body = json!({"type": kind});
        let path = "se/log";
        self.client
            .issue_cmd(Post { path, body })
            .await
            .expect("a log")
    }
}

/// Folder of the screenshots.
pub fn screenshots() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/browser")
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A command of chromedriver beyond WebDriver.
#[derive(Debug)]
struct Post {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Post {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, url::ParseError> {
        base.join(&format!(
            "session/{}/{}",
            session.unwrap_or_default(),
            self.path
        ))
    }

    fn method_and_body(&self, _: &Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}
