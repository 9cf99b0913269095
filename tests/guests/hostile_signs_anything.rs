//! Has the host sign what its template does not cover, with what it is not for.

use wharfage_guests::secrets::{Algorithm, sign};
use wharfage_guests::tally;

wharfage_guests::attack!(_input => {
    let (sha256, sha512) = (Algorithm::HmacSha256, Algorithm::HmacSha512);
    let large = vec![b'x'; 8 << 20];
    let data: [&[u8]; 8] = [b"", b"dat", b"Data", b" data", b"\0data", b"\xffdata", b"GET\n/\n", &large];
    let uncovered = data.into_iter().map(|data| sign("signing", sha256, data));
    let others = [sign("verifying", sha256, b"data"), sign("api_key", sha256, b"data"), sign("signing", sha512, b"data")];
    tally(uncovered.chain(others).collect::<Vec<_>>())
});
