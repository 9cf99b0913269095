//! `http`: the whole outbound path, through a guest, against a provider made of a plain socket.

mod credentials;
mod lost;
mod pace;
mod redirects;
mod scope;
mod side_by_side;
mod sizes;
mod statuses;
mod there_and_back;

use serde_json::{Value, json};
use wharfage::{Error, Kind};
use wharfage_tests::{Open, Provider, Reply, Scene, guests};

use crate::assert_exists;
pub(crate) use crate::kept::r13_a_kept_url_stands_nowhere as http_kept;
use side_by_side::http_send_all;
use statuses::http_judges;
use there_and_back::{http_send, http_stream};

wharfage_tests::foreach_http!(assert_exists);

async fn open(provider: &Provider) -> Open {
    Scene::of(guests::HTTP_SEND).with(provider).open().await
}

/// One GET of `/x` with these replies in turn: what came of it, and the provider.
async fn get(replies: impl IntoIterator<Item = Reply>) -> (Result<Value, Error>, Provider, Open) {
    let provider = Provider::scripted(replies).await;
    let open = open(&provider).await;
    let answer = open.call("send", json!({"url": "{api}/x"})).await;
    (answer.map(|answer| answer.output), provider, open)
}

fn denied(rule: &str) -> Kind {
    Kind::PolicyDenied(rule.to_owned())
}

fn header<'a>(answer: &'a Value, name: &str) -> Option<&'a str> {
    let headers = answer["headers"].as_array().unwrap();
    headers.iter().find(|pair| pair[0].as_str() == Some(name)).and_then(|pair| pair[1].as_str())
}
