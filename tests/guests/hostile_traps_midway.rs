//! Fails while answers are open, a request is half written, and its state is changed.

use wharfage_guests::http::{self, Method, Request};
use wharfage_guests::{get, state};

wharfage_guests::attack!(_input => {
    let open = http::open(&get("{api}/endless"))?;
    let upload = http::start(&Request { method: Method::Post, ..get("{api}/half") }, Some(100))?;
    upload.write(b"half")?;
    state::set("half", b"done")?;
    panic!("with {open:?} and {upload:?}")
});
