//! The tests' HTTP client: requests that are exactly what they are told to be, and connections for what no well-behaved
//! client does.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use contract::event::DeliveryId;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::deliveries::PATIENCE;
use super::receiver::KEY;

/// A request, header by header.
#[derive(Clone)]
pub(crate) struct Request {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    chunked: bool,
}

impl Request {
    /// A JSON body without a key.
    pub(crate) fn post(path: &str, body: impl AsRef<[u8]>) -> Request {
        let headers = vec![("Content-Type", b"application/json; charset=UTF-8".to_vec())];
        let body = body.as_ref().to_vec();
        Request { method: "POST", path: path.to_owned(), headers, body, chunked: false }
    }

    /// What the sender would send: with the live source's key.
    pub(crate) fn live(path: &str, body: impl AsRef<[u8]>) -> Request {
        Request::post(path, body).bearer(KEY)
    }

    pub(crate) fn get(path: &str) -> Request {
        Request { headers: Vec::new(), ..Request::post(path, "").method("GET") }
    }

    pub(crate) fn method(self, method: &'static str) -> Request {
        Request { method, ..self }
    }

    pub(crate) fn bearer(self, key: &str) -> Request {
        self.set("Authorization", format!("Bearer {key}"))
    }

    pub(crate) fn id(self, id: &str) -> Request {
        self.set("X-Directscale-Message-Id", id)
    }

    /// One header in place of all of its name.
    pub(crate) fn set(self, name: &'static str, value: impl AsRef<[u8]>) -> Request {
        self.without(name).add(name, value)
    }

    pub(crate) fn add(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Request {
        self.headers.push((name, value.as_ref().to_vec()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Request {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn body(self, body: impl AsRef<[u8]>) -> Request {
        Request { body: body.as_ref().to_vec(), ..self }
    }

    /// Sends the body in chunks, without its length.
    pub(crate) fn chunked(self) -> Request {
        Request { chunked: true, ..self }
    }

    /// The head alone, which asks to be told when the body is wanted.
    pub(crate) fn expecting(self) -> Vec<u8> {
        let bytes = self.clone().set("Expect", "100-continue").bytes();
        bytes[..bytes.len() - self.body.len()].to_vec()
    }

    /// Sends it and reads the answer.
    pub(crate) async fn send(&self, address: &str) -> Answer {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&self.bytes()).await.unwrap();
        Answer::read(&mut stream).await
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes =
            format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let length = match self.chunked {
            true => "Transfer-Encoding: chunked".to_owned(),
            false => format!("Content-Length: {}", self.body.len()),
        };
        bytes.extend(format!("{length}\r\nConnection: close\r\n\r\n").bytes());
        if !self.chunked {
            bytes.extend(&self.body);
            return bytes;
        }
        for chunk in self.body.chunks(100) {
            bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
            bytes.extend([chunk, b"\r\n"].concat());
        }
        bytes.extend(b"0\r\n\r\n");
        bytes
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Reads to the end of the connection.
    pub(crate) async fn read(stream: &mut TcpStream) -> Answer {
        let mut bytes = Vec::new();
        // A connection that is closed with a body unread may end in a reset, after the answer.
        while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {}", bytes.escape_ascii()));
        Answer::parse(&bytes[..end], bytes[end + 4..].to_vec())
    }

    fn parse(head: &[u8], body: Vec<u8>) -> Answer {
        let mut lines = std::str::from_utf8(head).unwrap().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        Answer { status, headers: lines.map(header).collect(), body }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.body.escape_ascii()))
    }

    /// Asserts that a delivery is accepted, in whatever words its sender needs.
    #[track_caller]
    pub(crate) fn taken(&self) {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body.escape_ascii());
    }

    /// The number of the delivery, and whether it was new, of a 200.
    #[track_caller]
    pub(crate) fn kept(&self) -> (DeliveryId, bool) {
        assert_eq!(self.status, 200, "{}", self.body.escape_ascii());
        assert_eq!(self.header("content-type"), "application/json");
        let answer = self.json();
        let new = match answer["status"].as_str() {
            Some("accepted") => true,
            Some("duplicate") => false,
            other => panic!("{other:?}"),
        };
        (answer["deliveryId"].as_i64().unwrap(), new)
    }

    /// Asserts that the answer is this problem, whole, and returns its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, kind: &str) -> Option<String> {
        assert_eq!(self.status, status, "{}", self.body.escape_ascii());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["type"], format!("/problems/{kind}"));
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string(), "{problem}");
        assert_eq!(self.header("x-request-id").len(), 16);
        problem["detail"].as_str().map(str::to_owned)
    }
}

/// A connection.
pub(crate) struct Wire {
    read: BufReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
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

    /// Posts a custom event, which the fixture's handlers take.
    pub(crate) async fn post(&mut self, id: &str, body: &str) -> io::Result<Answer> {
        self.send(&format!("{}Content-Length: {}\r\n\r\n{body}", head(id), body.len())).await?;
        self.answer().await
    }

    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await?;
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
        "POST /api/webhooks/ClientEvent HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
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
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if read.read_until(b'\n', &mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let mut answer = Answer::parse(&head[..head.len() - 4], Vec::new());
    let length = answer.header("content-length");
    answer.body = vec![0; if length.is_empty() { 0 } else { length.parse().unwrap() }];
    read.read_exact(&mut answer.body).await?;
    Ok(answer)
}
