//! Our side: a component in a real host, over the library as an embedder uses it.

use std::sync::Arc;

use serde_json::{Value, json};
use wharfage::{Clock, Error};

use super::{ATTEMPT_MS, Ask, Ended, PER_SECOND, Place, Told};
use crate::{Open, Provider, Scene, guests};

/// A host with a connection to the provider.
pub struct Ours(Open);

impl Ours {
    /// Opens it.
    pub async fn open(clock: Arc<dyn Clock>, provider: &Provider, elsewhere: &Provider) -> Self {
        let scene = Scene::of(guests::HTTP_SEND)
            .manifest(&FACTS.replace("{per_second}", &PER_SECOND.to_string()))
            .with(provider)
            .at("paced", &provider.url())
            .at("narrow", &provider.url())
            .at("other", &elsewhere.url())
            .any_clock(clock)
            .grant(|connection| connection.limits.attempt_ms = ATTEMPT_MS);
        Self(scene.open().await)
    }

    /// One request.
    pub async fn ask(&self, ask: &Ask) -> Told {
        let origin = match ask.place {
            Place::Api => "{api}",
            Place::Paced => "{paced}",
            Place::Narrow => "{narrow}",
        };
        let mut input = json!({"url": ask.url.clone().unwrap_or_else(|| format!("{origin}/orders"))});
        if ask.writes {
            input["method"] = json!("POST");
            input["body"] = json!("{\"item\":7}");
            input["headers"] = json!([["content-type", "application/json"]]);
        }
        if ask.keyed {
            input["repeat"] = json!("keyed");
        }
        if ask.key_header {
            input["credential"] = json!("key-header");
        }
        match self.0.call(if ask.writes { "write" } else { "send" }, input).await {
            Ok(answer) => answered(&answer.output),
            Err(error) => failed(&error),
        }
    }
}

fn answered(told: &Value) -> Told {
    let body = told["body"].as_str().unwrap_or_default().to_owned();
    Told {
        ended: Ended::of(told["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(0), &body),
        shown: told.to_string(),
        body_bytes: told["body_bytes"].as_u64().unwrap_or_default(),
        body,
    }
}

fn failed(error: &Error) -> Told {
    Told {
        ended: Ended::Failure(error.kind().name().to_owned()),
        shown: format!("{error:?} {error}"),
        body: String::new(),
        body_bytes: 0,
    }
}

/// What a plugin's manifest says about this provider: facts that its documentation holds, as data.
const FACTS: &str = r#"
[origins.paced]
url = "https://paced.stand-in.test"
methods = ["GET"]
paths = ["/**"]
source = "made up for the tests"
date = "2026-11-24"

[origins.narrow]
url = "https://narrow.stand-in.test"
methods = ["GET"]
paths = ["/**"]
source = "made up for the tests"
date = "2026-11-24"

[credentials.key-header]
scheme = "api-key"
secret = "api_key"
header = "X-Api-Key"
origins = ["api"]

[budgets.per-second]
limit = {per_second}
window_s = 1
origins = ["paced"]
source = "made up for the tests"
date = "2026-11-24"

[budgets.at-once]
concurrency = 2
origins = ["narrow"]
source = "made up for the tests"
date = "2026-11-24"

[[answers]]
pointer = "/result"
contains = "daily"
and = [{ pointer = "/status", equals = "0" }]
kind = "quota-exhausted"
retry_after_s = 3600

[[answers]]
pointer = "/result"
contains = "rate limit"
and = [{ pointer = "/status", equals = "0" }]
kind = "rate-limited"
retry_after_s = 1

[[answers]]
pointer = "/Fault/Error/0/code"
equals = "003001"
kind = "rate-limited"
retry_after_s = 5

[[answers]]
pointer = "/Fault/type"
equals = "ValidationFault"
kind = "invalid-request"
code = "/Fault/Error/0/code"

[[answers]]
pointer = "/errors/*/extensions/code"
equals = "THROTTLED"
kind = "rate-limited"
retry_after_s = 2

[[answers]]
status = [403]
pointer = "/error/errors/*/domain"
equals = "usageLimits"
kind = "rate-limited"

[[answers]]
status = [429]
kind = "rate-limited"
retry_at = "/retry_after"
"#;
