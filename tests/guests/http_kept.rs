//! Sends the requests of its input one after the other and tells what came of each. A `url` that is a number is the
//! `location` of the answer with this number; it logs and keeps everything that it sees.

use wharfage_guests::{
    Error, Operation, Operations, Page, Value, guest, http, json, log, page, read_input, request, state, told, write,
};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        vec![write("send")]
    }

    fn call(_: String, input: String, cursor: Option<String>) -> Result<Page, Error> {
        let input = read_input(&input)?;
        let mut places: Vec<String> = cursor.into_iter().collect();
        let mut seen = Vec::new();
        for mut asked in input["requests"].as_array().cloned().unwrap_or_default() {
            if let Some(at) = asked["url"].as_u64().and_then(|at| usize::try_from(at).ok()) {
                asked["url"] = json!(places.get(at));
            }
            let answered = http::send(&request(&asked));
            let place = answered.as_ref().ok().and_then(|answered| {
                answered.headers.iter().find(|header| header.name == "location").map(|header| header.value.clone())
            });
            places.push(place.unwrap_or_default());
            let told = answered.map_or_else(|error| json!({"error": format!("{error:?}")}), told);
            log::write(log::Level::Info, &told.to_string(), &[]);
            seen.push(told);
        }
        state::set("seen", Value::from(seen.clone()).to_string().as_bytes())?;
        Ok(Page { next: places.into_iter().next(), ..page(json!(seen)) })
    }
}

guest!(Guest);
