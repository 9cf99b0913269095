//! Extism as a peer: `extism-peer fresh|own-http|function URL KEY`; see `../../peers.rs` for what it says and hears.
//!
//! A call blocks its thread, as Extism's calls do, so callers are threads. `own-http` and `function` keep a plugin for each
//! of them; `fresh` makes one for each call from what was compiled once, and uses the host function, which is the cheaper way.

use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use extism::{CompiledPlugin, Manifest, PTR, Plugin, PluginBuilder, UserData, Wasm, host_fn};

static GUEST: &[u8] = include_bytes!(env!("GUEST"));

/// What the host function sends with.
struct Http {
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
    key: String,
}

host_fn!(fetch(http: Http; url: String) -> Vec<u8> {
    let http = http.get()?;
    let (client, runtime, key) = {
        let http = http.lock().unwrap();
        (http.client.clone(), http.runtime.clone(), http.key.clone())
    };
    let body = runtime.block_on(async {
        let request = client.get(url).header("authorization", format!("App {key}"));
        request.send().await?.error_for_status()?.bytes().await
    })?;
    Ok(body.to_vec())
});

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("fresh|own-http|function URL KEY");
    let (kind, url, key) = (next(), next(), next());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().expect("a client");
    let http = UserData::new(Http { client, runtime: runtime.handle().clone(), key: key.clone() });
    let manifest = Manifest::new([Wasm::data(GUEST)]).with_allowed_host("127.0.0.1").with_config_key("key", key);
    let builder = PluginBuilder::new(manifest).with_wasi(false).with_function("fetch", [PTR], [PTR], http, fetch);
    let compiled = Arc::new(CompiledPlugin::new(builder).expect("the guest compiles"));
    let export: &'static str = if kind == "own-http" { "own_http" } else { "function" };
    let is_fresh = kind == "fresh";
    let mut callers: Vec<Caller> = Vec::new();
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let parts: Vec<&str> = line.split(' ').collect();
        let (width, calls) = (parts[1].parse::<usize>().unwrap(), parts[2].parse::<usize>().unwrap());
        let work = Work { asked: format!("{url}{}", parts[0]), orders: if parts[0] == "/large" { "580" } else { "6" }, calls };
        while callers.len() < width {
            callers.push(Caller::start(compiled.clone(), export, is_fresh));
        }
        let callers = &callers[..width];
        callers.iter().for_each(|caller| caller.asks.send(work.clone()).expect("it listens"));
        callers.iter().for_each(|caller| caller.ended.recv().expect("it answers"));
        println!("done");
    }
}

/// What a caller does in a turn.
#[derive(Clone)]
struct Work {
    asked: String,
    orders: &'static str,
    calls: usize,
}

/// A thread that calls. It stays, for the kernel tells the time of threads only while they are there.
struct Caller {
    asks: Sender<Work>,
    ended: Receiver<()>,
}

impl Caller {
    fn start(compiled: Arc<CompiledPlugin>, export: &'static str, is_fresh: bool) -> Self {
        let ((asks, asked), (ends, ended)) = (channel::<Work>(), channel());
        std::thread::spawn(move || {
            let made = || Plugin::new_from_compiled(&compiled).expect("a plugin");
            let mut kept = (!is_fresh).then(made);
            for work in asked {
                for _ in 0..work.calls {
                    let mut fresh = None;
                    let plugin = match &mut kept {
                        Some(plugin) => plugin,
                        None => fresh.insert(made()),
                    };
                    let found = plugin.call::<&str, String>(export, &work.asked).expect("it answers");
                    assert_eq!(found, work.orders);
                }
                ends.send(()).expect("somebody waits");
            }
        });
        Self { asks, ended }
    }
}
