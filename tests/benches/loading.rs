//! Loading a plugin whose code is there, against loading it for the first time, which compiles it.
//!
//! Both are `Host::connect` as a whole: manifest and schemas read, grant judged, code found or made, linked, and
//! `describe` asked. Each time a host that knows nothing opens the folder.

use std::time::Instant;

use wharfage::{Connection, Host, Needs};
use wharfage_tests::measured::{self, Memory};
use wharfage_tests::{PLUGINS, component};

use crate::measure::Spread;

/// What it came to for one component.
pub(crate) struct Loading {
    /// What was loaded.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) bytes: usize,
    /// Milliseconds with compiling, and from the folder.
    pub(crate) ms: [Spread; 2],
    /// How many times as fast.
    pub(crate) times: Spread,
}

/// Of a guest, and of the largest plugin that there is.
pub(crate) async fn measure(is_smoke: bool) -> Vec<Loading> {
    let (rounds, again) = if is_smoke { (1, 1) } else { (3, 5) };
    let guest = ("a guest".to_owned(), measured::component().await);
    let mut measured = vec![load(guest, rounds, again).await];
    // Making the largest takes a moment, and shows nothing that the small one does not.
    if !is_smoke {
        let largest = PLUGINS.iter().max_by_key(|plugin| plugin.compiled().0.len()).expect("there are plugins");
        let bytes = component::built(largest.name, || largest.compiled(), &largest.manifest()).await;
        measured.push(load((format!("the plugin {}", largest.name), bytes), rounds, again).await);
    }
    measured
}

async fn load((name, bytes): (String, std::sync::Arc<Vec<u8>>), rounds: usize, again: usize) -> Loading {
    let connection = Connection::granting(&Needs::read(&bytes).expect("it carries its manifest"));
    let (mut compiled, mut found) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let folder = tempfile::tempdir().expect("a folder");
        let code = folder.path().join("code");
        let mut connect_ms = Vec::new();
        for _ in 0..=again {
            let host = Host::builder().transport(Memory(Default::default())).code_dir(&code).build().expect("a host");
            let began = Instant::now();
            host.connect("loaded", &bytes, &connection, None).await.unwrap_or_else(|error| panic!("{error}"));
            connect_ms.push(began.elapsed().as_secs_f64() * 1e3);
        }
        compiled.push(connect_ms[0]);
        found.push(Spread::of(connect_ms[1..].to_vec()).median);
    }
    let times = Spread::of(compiled.iter().zip(&found).map(|(compiled, found)| compiled / found).collect());
    Loading { name, bytes: bytes.len(), ms: [Spread::of(compiled), Spread::of(found)], times }
}
