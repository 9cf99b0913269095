//! Tries the standard library's other ways to the world: environment, arguments, files, names and sockets.

use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use wharfage_guests::{Error, Operation, Operations, Page, guest, json, page, read};

struct Guest;

impl Operations for Guest {
    fn describe() -> Vec<Operation> {
        ["surroundings", "read", "write", "list", "connect", "listen", "udp", "resolve", "thread", "process"]
            .map(read)
            .into()
    }

    fn call(operation: String, _: String, _: Option<String>) -> Result<Page, Error> {
        let reached = match operation.as_str() {
            "surroundings" => {
                let variables: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
                let arguments: Vec<String> = std::env::args().collect();
                let mut line = String::new();
                let typed = std::io::stdin().read_line(&mut line).unwrap_or(0);
                return Ok(page(json!({"variables": variables, "arguments": arguments, "typed": typed})));
            }
            "read" => std::fs::read("/etc/hostname").is_ok(),
            "write" => std::fs::write("left-behind", "x").is_ok(),
            "list" => std::fs::read_dir("/").is_ok(),
            "connect" => TcpStream::connect(("127.0.0.1", 22)).is_ok(),
            "listen" => TcpListener::bind(("127.0.0.1", 0)).is_ok(),
            "udp" => UdpSocket::bind(("127.0.0.1", 0)).is_ok(),
            "resolve" => ("example.org", 80).to_socket_addrs().is_ok(),
            "thread" => std::thread::Builder::new().spawn(|| {}).is_ok(),
            _ => std::process::Command::new("sh").spawn().is_ok(),
        };
        Ok(page(json!(reached)))
    }
}

guest!(Guest);
