//! HTTP by hand, for everything that no well-behaved client does.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::deliveries::PATIENCE;

/// A connection.
pub(crate) struct Wire {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

/// A response; the head in lower case.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (read, write) = stream.into_split();
        Ok(Wire { read: BufReader::new(read), write })
    }

    pub(crate) async fn send(&mut self, text: &str) -> io::Result<()> {
        self.write.write_all(text.as_bytes()).await
    }

    /// Ends this side; the other one may still speak.
    pub(crate) async fn end(&mut self) -> io::Result<()> {
        self.write.shutdown().await
    }

    /// The next response, or why there is none.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        within_patience(read_answer(&mut self.read)).await
    }

    /// Posts a custom event, which the shipped handlers take.
    pub(crate) async fn post(&mut self, id: &str, body: &str) -> io::Result<Answer> {
        self.send(&format!("{}Content-Length: {}\r\n\r\n{body}", head(id), body.len())).await?;
        self.answer().await
    }

    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")).await?;
        self.answer().await
    }

    /// Sends the piece over and over, with pauses, until there is an answer or the connection ends.
    pub(crate) async fn answer_to_endless(
        &mut self,
        piece: &str,
        pause: Duration,
    ) -> io::Result<Answer> {
        let Wire { read, write } = self;
        let pour = async {
            while write.write_all(piece.as_bytes()).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            answer = within_patience(read_answer(read)) => answer,
            () = pour => unreachable!("it pours until the answer comes"),
        }
    }

    /// Waits until the other side closes; it must not say anything before.
    pub(crate) async fn closed(&mut self) {
        let ended = within_patience(async { self.read.read_u8().await }).await;
        let error = ended.expect_err("nothing more is said");
        assert!(is_end(&error), "{error}");
    }
}

/// A delivery's head, but for what says how long its body is.
pub(crate) fn head(id: &str) -> String {
    format!(
        "POST /api/webhooks/ClientEvent HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
         X-Directscale-Message-Id: {id}\r\n"
    )
}

/// Whether the other side ended the connection, as opposed to being silent.
pub(crate) fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    [BrokenPipe, ConnectionReset, UnexpectedEof].contains(&error.kind())
}

async fn within_patience<T>(answer: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(PATIENCE, answer).await?
}

async fn read_answer(read: &mut BufReader<OwnedReadHalf>) -> io::Result<Answer> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if read.read_line(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    head.make_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    read.read_exact(&mut body).await?;
    let status = head[9..12].parse().unwrap();
    Ok(Answer { status, head, body: String::from_utf8(body).unwrap() })
}
