//! Extism as a peer: `extism-peer fresh|own-http|function URL KEY`; see `../../peers.rs` for what it says and hears.
//!
//! A call blocks its thread, as Extism's calls do, so callers are threads. `own-http` and `function` keep a plugin for each
//! of them; `fresh` makes one for each call from what was compiled once, and uses the host function, which is the cheaper way.

use std::io::BufRead as _;
use std::sync::Arc;

use extism::{CompiledPlugin, Manifest, PTR, Plugin, PluginBuilder, UserData, Wasm, host_fn};

static GUEST: &[u8] = include_bytes!(env!("GUEST"));

/// What the host function sends with.
struct Sender {
    client: reqwest::Client,
    runtime: tokio::runtime::Handle,
    key: String,
}

host_fn!(fetch(sender: Sender; url: String) -> Vec<u8> {
    let sender = sender.get()?;
    let (client, runtime, key) = {
        let sender = sender.lock().unwrap();
        (sender.client.clone(), sender.runtime.clone(), sender.key.clone())
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
    let sender = UserData::new(Sender { client, runtime: runtime.handle().clone(), key: key.clone() });
    let manifest = Manifest::new([Wasm::data(GUEST)]).with_allowed_host("127.0.0.1").with_config_key("key", key);
    let builder = PluginBuilder::new(manifest).with_wasi(false).with_function("fetch", [PTR], [PTR], sender, fetch);
    let compiled = Arc::new(CompiledPlugin::new(builder).expect("the guest compiles"));
    let export: &'static str = if kind == "own-http" { "own_http" } else { "function" };
    let is_fresh = kind == "fresh";
    let made = |compiled: &CompiledPlugin| Plugin::new_from_compiled(compiled).expect("a plugin");
    let mut plugins: Vec<Plugin> = Vec::new();
    println!("ready");
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let parts: Vec<&str> = line.split(' ').collect();
        let (asked, width, calls) = (format!("{url}{}", parts[0]), parts[1].parse::<usize>().unwrap(), parts[2].parse::<usize>().unwrap());
        let orders = if parts[0] == "/large" { "580" } else { "6" };
        while !is_fresh && plugins.len() < width {
            plugins.push(made(&compiled));
        }
        std::thread::scope(|scope| {
            let mut kept = plugins.iter_mut();
            for _ in 0..width {
                let (mut own, asked, compiled) = (kept.next(), &asked, &compiled);
                scope.spawn(move || {
                    for _ in 0..calls {
                        let mut fresh = None;
                        let plugin = match &mut own {
                            Some(plugin) => &mut **plugin,
                            None => fresh.insert(made(compiled)),
                        };
                        let found = plugin.call::<&str, String>(export, asked).expect("it answers");
                        assert_eq!(found, orders);
                    }
                });
            }
        });
        println!("done");
    }
}
