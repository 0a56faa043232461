//! A vendor that hooks call back: real sockets, one scripted answer for all requests, and what it was asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The key of the direction from the receiver to the vendor.
pub(crate) const VENDOR_KEY: &str = "the DirectScale secret!";

/// What the vendor does with a request.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Answers with this status and body.
    Says(u16, &'static str),
    /// Answers with the very body that it was sent.
    Echo,
    /// Answers these bytes and closes the connection.
    Bytes(&'static [u8]),
    /// Answers one request after the other with these bytes, the last for all further ones, and closes the connection.
    InTurn(&'static [&'static str]),
    /// Answers the first request of each connection with 200 and this body, and hangs up at the second one.
    OnceEach(&'static str),
    /// Keeps the connection open and says nothing.
    Silence,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Asked {
    /// The value of a header, which must be there at most once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(own, _)| own.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value);
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }
}

/// A running vendor; it ends with the value.
pub(crate) struct Vendor {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl Vendor {
    pub(crate) async fn start(reply: Reply) -> Vendor {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let seen = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, reply.clone(), Arc::clone(&seen)));
            }
        });
        Vendor { url, asked, serving }
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut stream: TcpStream, reply: Reply, seen: Arc<Mutex<Vec<Asked>>>) {
    let mut answered = 0;
    while let Some(asked) = read(&mut stream).await {
        let turn = {
            let mut seen = seen.lock().unwrap();
            seen.push(asked.clone());
            seen.len() - 1
        };
        answered += 1;
        let (status, body) = match &reply {
            Reply::Says(status, body) => (*status, (*body).to_owned()),
            Reply::OnceEach(_) if answered > 1 => return,
            Reply::OnceEach(body) => (200, (*body).to_owned()),
            Reply::Echo => (200, asked.body),
            Reply::Bytes(bytes) => {
                let _ = stream.write_all(bytes).await;
                return;
            }
            Reply::InTurn(answers) => {
                let answer = answers[turn.min(answers.len() - 1)];
                let _ = stream.write_all(answer.as_bytes()).await;
                return;
            }
            Reply::Silence => return std::future::pending().await,
        };
        let location = if status == 302 { "Location: http://127.0.0.1:1/\r\n" } else { "" };
        let answer = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{location}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    // Latin-1, so that every byte can be told.
    let head = bytes[..end].iter().copied().map(char::from).collect();
    let asked = Asked { head, body: String::new() };
    let length: usize = asked.header("content-length").map_or(0, |text| text.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    Some(Asked { body: String::from_utf8(bytes[end + 4..].to_vec()).unwrap(), ..asked })
}
