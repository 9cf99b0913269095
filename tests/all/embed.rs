//! The crate's front page, run as it stands against a plugin of this repository.

use std::path::Path;

use wharfage::Needs;
use wharfage::stand_in::{Manner, StandIn};
use wharfage::tape::Fixture;
use wharfage_tests::{PLUGINS, component};

#[path = "../../host/examples/embed.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "its main is for a person")]
mod example;

#[tokio::test]
async fn the_front_page_reads_a_list() {
    let mut played = 0;
    for plugin in PLUGINS {
        let folder = Path::new(plugin.folder);
        let component = component::built(plugin.name, || plugin.compiled(), &plugin.manifest()).await;
        let needs = Needs::read(&component).unwrap();
        // A list that takes `limit = 2` alone, as the front page asks for it.
        let fixtures = std::fs::read_dir(folder.join("fixtures")).unwrap().map(|entry| entry.unwrap().path());
        let asked: serde_json::Value = serde_json::json!({ "limit": 2 });
        let fixture = fixtures
            .map(|path| Fixture::parse(&std::fs::read_to_string(path).unwrap()).unwrap())
            .filter(|fixture| fixture.expect.error.is_none())
            // What is asked for by the clock is asked for otherwise each time.
            .filter(|fixture| fixture.exchanges.iter().all(|exchange| !exchange.request.url.contains("%3A")))
            .find(|fixture| serde_json::from_str::<serde_json::Value>(fixture.input.get()).unwrap() == asked);
        let Some(fixture) = fixture else {
            println!("{} has no list that takes a limit alone", plugin.name);
            continue;
        };
        let stand_in =
            StandIn::start(fixture.exchanges.clone(), Manner::default().repeating().filled_for(&needs)).await.unwrap();
        let connection = stand_in.connection(&needs);
        let account = StandIn::account(&needs, "a key for nobody");
        let items = example::embed(&component, &connection, &account, &fixture.operation, &asked).await.unwrap();
        assert_eq!(serde_json::Value::Array(items), fixture.expect.output_value().unwrap());
        played += 1;
    }
    assert!(played > 0, "no plugin has a list that takes a limit alone");
}
