//! Has tokens made until it may have no more, and with claims that are too many.

use wharfage_guests::secrets::make_jwt;
use wharfage_guests::tally;

wharfage_guests::attack!(_input => {
    let odd = ["[]", "{", "null", "{\"exp\":1}", "{\"iat\":1}", "{\"iss\":\"another\"}", &format!("{{\"x\":\"{}\"}}", "x".repeat(1 << 20))];
    let odd = odd.map(|claims| make_jwt("signing", claims));
    tally(odd.into_iter().chain((0..100).map(|number| make_jwt("signing", &format!("{{\"sub\":\"{number}\"}}")))))
});
