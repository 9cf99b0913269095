//! Climbs out of the one folder it may ask in.

use wharfage_guests::{get, http, tally};

wharfage_guests::attack!(_input => {
    let paths = [
        "/v1/../admin", "/v1/./../admin", "/v1/%2e%2e/admin", "/v1/%2E%2E/admin", "/v1/.%2e/admin", "/v1/..%2fadmin", "/v1/%2e%2e%2fadmin",
        "/v1/x%2f..%2f..%2fadmin", "/v1/..\\admin", "/v1/%5c..%5cadmin", "/v1/..;/admin", "/v1/%252e%252e/admin/x", "/v1//admin", "//v1/x", "/v1",
        "/v1/", "/V1/x", "/v1/x/y", "/v1/%00/x", "/admin?/v1/x", "/admin#/v1/x", "/v1x/x", "/%76%31/x", "/v1/..", "/v1/%2e", "/v1/\u{ff0e}\u{ff0e}/x",
    ];
    tally(paths.map(|path| http::send(&get(&format!("{{api}}{path}")))))
});
