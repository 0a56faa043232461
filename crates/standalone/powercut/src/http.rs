//! As much of HTTP/1.1 as a client and a target need that keep their connections.

use std::io::{BufRead, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

/// The longest message that is read.
const LONGEST: u64 = 1 << 20;

/// Reads a message with its body, and returns its first line; nothing if the connection has ended.
pub(crate) fn read(connection: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut head = connection.take(LONGEST);
    let mut first = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if head.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
        if first.is_empty() {
            first = line;
        }
    }
    std::io::copy(&mut connection.take(length), &mut std::io::sink())?;
    Ok(Some(first))
}

/// A target that takes whatever comes, for as long as this process runs. Returns its address.
pub(crate) fn target() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || take(connection));
        }
    });
    Ok(address)
}

fn take(mut connection: TcpStream) -> std::io::Result<()> {
    let mut reader = std::io::BufReader::new(connection.try_clone()?);
    while read(&mut reader)?.is_some() {
        connection.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}
