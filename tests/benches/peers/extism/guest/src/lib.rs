//! What an Extism plugin does here: asks for a URL, by Extism's own HTTP or by a host function, and parses the answer.

use extism_pdk::*;
use serde_json::Value;

#[host_fn]
extern "ExtismHost" {
    fn fetch(url: String) -> Vec<u8>;
}

fn orders(body: &[u8]) -> FnResult<String> {
    let body: Value = serde_json::from_slice(body)?;
    Ok(body["orders"].as_array().map_or(0, Vec::len).to_string())
}

/// By Extism's own HTTP. The credential is in the plugin's configuration: it is the plugin that sends it.
#[plugin_fn]
pub fn own_http(url: String) -> FnResult<String> {
    let key = config::get("key")?.unwrap_or_default();
    let request = HttpRequest::new(url).with_header("authorization", format!("App {key}"));
    orders(&http::request::<()>(&request, None)?.body())
}

/// By a function of the host, which puts the credential on.
#[plugin_fn]
pub fn function(url: String) -> FnResult<String> {
    orders(&unsafe { fetch(url)? })
}
