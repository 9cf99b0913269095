//! Puts a second request into the body of the first, and says that the body is shorter or longer than it is.

use wharfage_guests::http::{self, Method, Request, Upload};
use wharfage_guests::{get, tally};

wharfage_guests::attack!(_input => {
    let smuggled = b"\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: evil.test\r\n\r\n".as_slice();
    let request = |url| Request { method: Method::Post, repeat: http::Repeat::Never, ..get(url) };
    let declared = [Some(0), Some(4), Some(smuggled.len() as u64), Some(u64::MAX), None];
    let uploads = declared.map(|length| {
        let upload = http::start(&request("{api}/upload"), length)?;
        let written = upload.write(smuggled);
        Upload::finish(upload).and(written)
    });
    let whole = http::send(&Request { body: Some(smuggled.to_vec()), ..request("{api}/whole") });
    let in_url = http::send(&request("{api}/x HTTP/1.1\r\nhost: evil.test\r\n\r\nGET /smuggled"));
    tally(uploads.into_iter().chain([whole.map(drop), in_url.map(drop)]))
});
