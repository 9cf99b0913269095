//! The console of a running `wharfage serve`, in a browser: what happened stands there, a keyboard and a screen reader get to
//! it, and nothing goes elsewhere.
//!
//! The browser is Chromium, headless, spoken to over its DevTools protocol through a pipe. Without it the test says that
//! it was skipped. `WHARFAGE_SCREENSHOTS=FOLDER` keeps pictures of what it saw.

use std::process::Stdio;

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use wharfage_tests::scene::{THINGS, secret_file};
use wharfage_tests::{PATIENCE, Scene, guests, skipped, until};

use crate::serve::{Port, TOKEN, deliver};

/// A page of a browser.
struct Browser {
    _child: Child,
    _profile: tempfile::TempDir,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    page: Option<String>,
    last: u64,
    /// What it told without being asked.
    heard: Vec<Value>,
}

impl Browser {
    /// A browser with an empty page; none where none is installed.
    async fn open() -> Option<Self> {
        let is_there = |name: &&str| {
            let mut asked = std::process::Command::new(name);
            let asked = asked.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
            asked.status().is_ok_and(|status| status.success())
        };
        let Some(name) = ["chromium", "chromium-browser", "google-chrome"].into_iter().find(is_there) else {
            skipped("chromium", "there is none to look at the console with");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new("sh")
            // It speaks on descriptors 3 and 4.
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null", name])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"])
            .args(["--no-first-run", "--disable-background-networking", "--disable-component-update"])
            // Whatever it would ask elsewhere leads nowhere.
            .args(["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut browser = Self { _child: child, _profile: profile, to, from, page: None, last: 0, heard: Vec::new() };
        let target = browser.asks("Target.createTarget", json!({"url": "about:blank"})).await["targetId"].clone();
        let attached = browser.asks("Target.attachToTarget", json!({"targetId": target, "flatten": true})).await;
        browser.page = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Runtime", "Log", "Network", "Page"] {
            browser.asks(&format!("{domain}.enable"), json!({})).await;
        }
        Some(browser)
    }

    async fn asks(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": parameters});
        if let Some(page) = &self.page {
            message["sessionId"] = json!(page);
        }
        self.to.write_all(format!("{message}\0").as_bytes()).await.unwrap();
        loop {
            let mut bytes = Vec::new();
            let read = tokio::time::timeout(PATIENCE, self.from.read_until(0, &mut bytes)).await;
            let read = read.unwrap_or_else(|_| panic!("the browser says nothing to {method}")).unwrap();
            assert!(read > 0, "the browser ended at {method}");
            bytes.pop();
            let told: Value = serde_json::from_slice(&bytes).unwrap();
            if told["id"] == json!(self.last) {
                assert!(told["error"].is_null(), "{method}: {told}");
                return told["result"].clone();
            }
            self.heard.push(told);
        }
    }

    /// What an expression comes to.
    async fn value(&mut self, expression: &str) -> Value {
        let parameters =
            json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let told = self.asks("Runtime.evaluate", parameters).await;
        assert!(told["exceptionDetails"].is_null(), "{expression}: {told}");
        told["result"]["value"].clone()
    }

    /// What an expression comes to, as soon as that is something.
    async fn when(&mut self, expression: &str) -> Value {
        let waiting = format!(
            "new Promise((done, fail) => {{
                const end = performance.now() + 60000;
                const look = () => {{
                    let found;
                    try {{ found = ({expression}); }} catch {{ }}
                    if (found) done(found);
                    else if (performance.now() > end) fail(new Error('it never came: ' + document.body.innerText));
                    else setTimeout(look, 50);
                }};
                look();
            }})"
        );
        self.value(&waiting).await
    }

    async fn presses(&mut self, key: &str, code: u32) {
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let parameters =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.asks("Input.dispatchKeyEvent", parameters).await;
        }
    }

    async fn types(&mut self, text: &str) {
        self.asks("Input.insertText", json!({"text": text})).await;
    }

    async fn looks(&mut self, width: u32, height: u32, scheme: &str) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.asks("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}
        ]);
        self.asks("Emulation.setEmulatedMedia", json!({"features": features})).await;
    }

    /// A picture, where somebody wants one.
    async fn keeps(&mut self, name: &str) {
        #[allow(clippy::disallowed_methods, reason = "a switch of the tests")]
        let Ok(folder) = std::env::var("WHARFAGE_SCREENSHOTS") else { return };
        let size = self.asks("Page.getLayoutMetrics", json!({})).await["cssContentSize"].clone();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let told = self.asks("Page.captureScreenshot", json!({"captureBeyondViewport": true, "clip": clip})).await;
        let bytes = base64::engine::general_purpose::STANDARD.decode(told["data"].as_str().unwrap()).unwrap();
        std::fs::write(format!("{folder}/{name}.png"), bytes).unwrap();
    }

    /// What it complained about, and every place that it asked something of.
    fn troubles(&self) -> (Vec<String>, Vec<String>) {
        let (mut complaints, mut asked) = (Vec::new(), Vec::new());
        for told in &self.heard {
            let parameters = &told["params"];
            match told["method"].as_str() {
                Some("Runtime.exceptionThrown") => complaints.push(parameters.to_string()),
                Some("Runtime.consoleAPICalled") if parameters["type"] != "log" => {
                    complaints.push(parameters.to_string())
                }
                Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                    complaints.push(parameters.to_string());
                }
                Some("Network.requestWillBeSent") => {
                    asked.push(parameters["request"]["url"].as_str().unwrap_or_default().to_owned());
                }
                _ => {}
            }
        }
        (complaints, asked)
    }
}

const HOSTILE: &str = "<img src=x onerror=\"document.title='owned'\">";

/// One connection that does well, and one whose plugin wants to write where it may only read.
async fn port() -> Port {
    let port = Port::new(
        "[serve.console]\nlisten = '127.0.0.1:0'\n\
         [plugins.writer]\ncomponent = 'writer.wasm'\n\
         [accounts.b.secrets]\nverifying = { env = 'SERVE_TOKEN' }\napi_key = { file = 'later-key' }\n\
         [alerts]\nerrors = { calls_min = 1, failures_min = 1, for_s = 0 }\nneeds_connecting = { for_s = 3600 }\n\
         [connections.narrow]\nplugin = 'writer'\naccount = 'b'\nimports = ['http']\nsecrets = ['verifying', 'api_key']\n\
         [[connections.narrow.allow]]\norigin = 'https://api.stand-in.test'\nmethods = ['GET']\npaths = ['/things']\n\
         [endpoints.narrow]\nconnection = 'narrow'\nwebhook = 'things'\n",
    )
    .await;
    let writer = Scene::of(guests::EVENTS_KEYED).manifest(THINGS).component().await;
    std::fs::write(port.folder.path().join("writer.wasm"), writer.as_slice()).unwrap();
    secret_file(&port.folder.path().join("later-key"), TOKEN);
    port
}

/// Everything that an operator looks for, from the arrival to the sink, found by looking.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_what_happened() {
    let Some(mut browser) = Browser::open().await else { return };
    let port = port().await;
    let mut serving = port.serve().await;
    let line = serving.hear("running console").await;
    let page = line.split("http://").nth(1).unwrap().split(['/', ',']).next().unwrap().to_owned();
    let token = std::fs::read_to_string(port.folder.path().join("state/console.token")).unwrap().trim().to_owned();
    let (client, address) = (reqwest::Client::new(), serving.address.clone());
    for (id, body) in [("hooks", "one"), ("hooks", "one"), ("hooks", HOSTILE), ("hooks", "trap"), ("narrow", "two")] {
        assert_eq!(deliver(&client, &address, id, body, Some(TOKEN)).await.unwrap().0, 200);
    }
    assert_eq!(deliver(&client, &address, "hooks", "three", None).await.unwrap().0, 401);

    browser.looks(1280, 900, "light").await;
    browser.asks("Page.navigate", json!({"url": format!("http://{page}/#token={token}")})).await;

    // Connections, and what they counted.
    browser.when("document.querySelectorAll('#connections-body article').length === 2").await;
    let acme = browser.when("[...document.querySelectorAll('article')].map(card => card.innerText).find(text => text.startsWith('acme') && /calls\\s+[3-9]/.test(text))").await;
    assert!(acme.as_str().unwrap().contains("events-counts"), "{acme}");
    let hooks = browser.when("[...document.querySelectorAll('#triggers-body tr')].map(row => row.innerText.split(/\\s+/).join(' ')).find(text => text.startsWith('hooks'))").await;
    assert_eq!(hooks, "hooks 3 1 1 0");
    assert_eq!(
        browser.value("location.href").await,
        json!(format!("http://{page}/")),
        "the token stays in the address"
    );

    // The inbox: every event once, with its state and its trouble, and hostile text as text.
    browser.when("document.querySelectorAll('#inbox-body tbody tr').length === 4").await;
    browser.when("document.querySelector('#inbox-body').innerText.includes('handled')").await;
    let trap = "[...document.querySelectorAll('#inbox-body tr')].map(row => row.innerText).find(text => text.includes('trap') && text.includes('waiting'))";
    browser.when(trap).await;
    let keys =
        browser.value("[...document.querySelectorAll('#inbox-body td.key')].map(cell => cell.textContent)").await;
    assert!(keys.as_array().unwrap().contains(&json!(HOSTILE)), "{keys}");
    assert_eq!(browser.value("document.querySelectorAll('main img').length").await, 0);
    assert_eq!(browser.value("document.title.includes('owned')").await, false);

    // The refusal, with the lines that would allow it.
    let refusal = browser.when("document.querySelector('#refusals-body li').innerText").await;
    let refusal = refusal.as_str().unwrap();
    assert!(
        refusal.contains("narrow · (event) · rule") && refusal.contains("which connection `narrow` does not grant"),
        "{refusal}"
    );
    assert!(refusal.contains("[[connections.narrow.allow]]") && refusal.contains("methods = [\"POST\"]"), "{refusal}");
    assert_eq!(browser.value("document.querySelector('#count-refusals').textContent").await, "1");

    // What fires comes first, then what is about to: a key that is gone while everything runs. Each says what to type.
    std::fs::remove_file(port.folder.path().join("later-key")).unwrap();
    let cards = "[...document.querySelectorAll('#alerts-body li')].map(card => card.innerText.split(/\\s+/).join(' '))";
    let told = browser.when(&format!("(cards => cards.some(card => card.includes('waits')) && cards.some(card => card.includes('fires')) && cards)({cards})")).await;
    let told: Vec<&str> = told.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(told[0].starts_with("errors warning, fires since "), "{told:#?}");
    let narrow = told.iter().find(|card| card.contains("(handle) of narrow")).unwrap_or_else(|| panic!("{told:#?}"));
    assert!(narrow.contains("measured 100 % · threshold 1 %"), "{told:#?}");
    let waits = told.last().unwrap();
    assert!(waits.starts_with("needs_connecting waits since ") && waits.contains("api_key of narrow"), "{told:#?}");
    let count = told.iter().filter(|card| card.contains("fires since")).count().to_string();
    assert_eq!(browser.value("document.querySelector('#count-alerts').textContent").await, count.as_str());
    browser.value("[...document.querySelectorAll('#alerts-body li')].find(card => card.innerText.includes('of narrow')).querySelector('summary').focus()").await;
    browser.presses("Enter", 13).await;
    let typed = browser.when("document.querySelector('#alerts-body details[open] dl')?.innerText").await;
    assert!(typed.as_str().unwrap().contains("wharfage call narrow orders.list --limit 1"), "{typed}");

    // The plots have their tables.
    browser.value("document.querySelectorAll('#traffic details').forEach(details => { details.open = true; })").await;
    let ended = browser.when("(rows => rows.length ? rows : null)([...document.querySelectorAll('#outcomes-table tbody tr')].map(row => row.innerText.split(/\\s+/).join(' ')))").await;
    assert!(!ended.as_array().unwrap().is_empty(), "{ended}");

    browser.keeps("console-light").await;
    browser.looks(1280, 900, "dark").await;
    browser.keeps("console-dark").await;
    let dark = browser.value("getComputedStyle(document.body).backgroundColor").await;
    browser.looks(390, 800, "light").await;
    assert_ne!(browser.value("getComputedStyle(document.body).backgroundColor").await, dark);
    assert_eq!(
        browser.value("document.documentElement.scrollWidth <= 390").await,
        true,
        "a narrow screen scrolls sideways"
    );
    browser.keeps("console-narrow").await;
    browser.looks(1280, 900, "light").await;

    // One event's story, by keyboard alone: opened, handed over once more, closed.
    let one = "[...document.querySelectorAll('#inbox-body tr')].find(row => row.querySelector('.key')?.textContent === 'one').querySelector('button')";
    browser.value(&format!("{one}.focus()")).await;
    browser.presses("Enter", 13).await;
    let story = browser.when("document.querySelector('#story[open] .story')?.innerText").await;
    let story = story.as_str().unwrap();
    assert!(story.contains("It arrived") && story.contains("Its plugin handled it"), "{story}");
    assert!(story.contains("It emitted thing.seen") && story.contains("sink out"), "{story}");
    browser.when("document.querySelector('#story-body').innerText.includes('done with it')").await;
    browser.value("document.querySelector('[data-do=body]').focus()").await;
    browser.presses("Enter", 13).await;
    browser.when("[...document.querySelectorAll('#story pre')].map(text => text.textContent).includes('one')").await;
    browser.keeps("story-light").await;
    browser.value("document.querySelector('[data-do=replay]').focus()").await;
    browser.presses("Enter", 13).await;
    browser.when("document.activeElement.dataset.do === 'replay-sure'").await;
    browser.presses("Enter", 13).await;
    browser.when("document.querySelector('#said').textContent.includes('is handed over once more')").await;
    // Its cursor moved on, and what it emits is known by its name.
    browser.when("document.querySelector('#story-body').innerText.includes('Its plugin handled it')").await;
    browser.presses("Escape", 27).await;
    browser.when("!document.querySelector('#story').open && document.activeElement.dataset.do === 'story'").await;

    // What arrives from now on comes by itself.
    assert_eq!(deliver(&client, &address, "hooks", "later", Some(TOKEN)).await.unwrap().0, 200);
    browser.when("document.querySelector('#inbox-body').innerText.includes('later')").await;

    // Search.
    browser.value("document.querySelector('#inbox-text').focus()").await;
    browser.types("onerror").await;
    browser.when("document.querySelectorAll('#inbox-body tbody tr').length === 1").await;
    browser.when("document.querySelector('#said').textContent.includes('1 event found')").await;

    // Who comes by keyboard can skip, and whoever listens hears a name of everything.
    browser
        .value("document.activeElement.blur(), window.getSelection().removeAllRanges(), document.body.focus()")
        .await;
    browser.value("document.querySelector('.skip').focus()").await;
    assert_eq!(browser.value("getComputedStyle(document.querySelector('.skip')).top").await, "8px", "it is not seen");
    let tree = browser.asks("Accessibility.getFullAXTree", json!({})).await;
    let named = [
        "button",
        "link",
        "textbox",
        "searchbox",
        "combobox",
        "img",
        "image",
        "meter",
        "region",
        "table",
        "dialog",
        "heading",
    ];
    for node in tree["nodes"].as_array().unwrap() {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        let is_nameless = node["name"]["value"].as_str().unwrap_or_default().trim().is_empty();
        assert!(node["ignored"] == true || !named.contains(&role) || !is_nameless, "a {role} has no name: {node}");
    }
    let landmarks =
        browser.value("['header', 'nav', 'main'].every(name => document.querySelectorAll(name).length === 1)").await;
    assert_eq!(landmarks, true);

    let (complaints, asked) = browser.troubles();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let elsewhere: Vec<&String> =
        asked.iter().filter(|url| !url.starts_with(&format!("http://{page}/")) && !url.starts_with("data:")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert!(asked.iter().all(|url| !url.split('#').next().unwrap().contains(&token)), "the token was in an address");

    // A page that is kept up to date keeps nobody from stopping, and is told.
    serving.signal("-TERM");
    let (code, told) = serving.ends().await;
    assert_eq!(code, 0, "{told}");
    assert!(!told.contains(&token) && told.contains("console.token"), "{told}");
    browser.when("document.querySelector('#live').innerText.includes('not connected')").await;
}

/// Without the token the page asks for it, and shows nothing else.
#[tokio::test]
async fn without_the_token_there_is_nothing_to_see() {
    let Some(mut browser) = Browser::open().await else { return };
    let port = Port::new("[serve.console]\nlisten = '127.0.0.1:0'\n").await;
    let mut serving = port.serve().await;
    let line = serving.hear("running console").await;
    let page = line.split("http://").nth(1).unwrap().split(['/', ',']).next().unwrap().to_owned();
    browser.asks("Page.navigate", json!({"url": format!("http://{page}/")})).await;
    browser.when("document.activeElement.id === 'gate-token'").await;
    assert_eq!(browser.value("document.querySelector('main').checkVisibility()").await, false);
    browser.types("nonsense").await;
    browser.presses("Enter", 13).await;
    browser.when("document.querySelector('#gate-why').textContent === 'This is not the token.'").await;
    let token = std::fs::read_to_string(port.folder.path().join("state/console.token")).unwrap();
    browser.value("document.querySelector('#gate-token').value = ''").await;
    browser.types(token.trim()).await;
    browser.presses("Enter", 13).await;
    browser.when("document.querySelector('main').checkVisibility() && document.querySelector('#live').innerText.includes('live')").await;
    // It is known to this tab, and to no other.
    browser.asks("Page.reload", json!({})).await;
    browser.when("document.querySelector('main').checkVisibility() && document.querySelector('#live').innerText.includes('live')").await;
    serving.signal("-TERM");
    assert_eq!(serving.ends().await.0, 0);
}

/// R20: the console, health and metrics are on a listener of their own, and webhooks are not on it.
#[tokio::test]
async fn r20_what_is_private_is_not_on_the_public_listener() {
    let port = Port::new("[serve.console]\nlisten = '127.0.0.1:0'\nmetrics_open = true\n").await;
    let mut serving = port.serve().await;
    let line = serving.hear("running console").await;
    let private = line.split("http://").nth(1).unwrap().split(['/', ',']).next().unwrap().to_owned();
    let client = reqwest::Client::new();
    for path in ["/", "/healthz", "/readyz", "/metrics", "/api/state", "/api/metrics", "/api/stream"] {
        let public = client.get(format!("http://{}{path}", serving.address)).send().await.unwrap();
        assert_eq!(public.status(), 404, "{path}");
    }
    for (path, status) in [("/", 200), ("/healthz", 200), ("/readyz", 200), ("/metrics", 200), ("/api/state", 401)] {
        let told = client.get(format!("http://{private}{path}")).send().await.unwrap();
        assert_eq!(told.status(), status, "{path}");
    }
    assert_ne!(deliver(&client, &private, "hooks", "one", Some(TOKEN)).await.unwrap().0, 200);

    // A reload may move it, and take it away.
    port.write("[serve.console]\nlisten = '127.0.0.1:0'\nmetrics_open = false\n");
    serving.signal("-HUP");
    serving.hear("taken up").await;
    assert_eq!(client.get(format!("http://{private}/metrics")).send().await.unwrap().status(), 401);
    port.write("");
    serving.signal("-HUP");
    serving.hear("taken up").await;
    // It is closed beside what goes on.
    until!(client.get(format!("http://{private}/healthz")).send().await.is_err());
    port.write("[serve.console]\nlisten = '0.0.0.0:7422'\n");
    serving.signal("-HUP");
    serving.hear("was not taken up").await;
    serving.signal("-TERM");
    assert_eq!(serving.ends().await.0, 0);
}
