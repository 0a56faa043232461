//! Body reader with limits of size, time and shared memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use settings::Limits;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::shares::{Exhausted, Share, Shares};

/// Window over which the rate of an unauthenticated body is measured, and time limit for its first byte.
const WINDOW: Duration = Duration::from_secs(5);

/// Reason why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The body is larger than allowed.
    TooLarge,
    /// The body did not arrive in time.
    TooSlow,
    /// The body is not authenticated yet and arrives below the minimum rate.
    BelowMinRate,
    /// The source's share of the memory for bodies is used up.
    NoMemory,
    /// The sender aborted the body.
    Aborted(String),
}

/// Reader of bodies within limits. Clones share the memory, which is allocated as bytes arrive.
#[derive(Clone)]
pub(super) struct BodyReader {
    /// The largest body, in bytes.
    pub(super) max: usize,
    timeout: Duration,
    /// Fewest bytes of an unauthenticated body in each window.
    min_bytes: usize,
    memory: Arc<Shares>,
}

impl BodyReader {
    pub(super) fn new(limits: &Limits) -> Self {
        BodyReader {
            max: limits.max_body,
            timeout: limits.body_timeout,
            min_bytes: limits.min_rate.saturating_mul(WINDOW.as_secs() as usize),
            memory: Shares::new(limits.buffered, limits.max_body),
        }
    }

    /// Reads the body. Its share of the memory is freed when the last reference to its bytes is dropped.
    ///
    /// If authentication needs the body, it must arrive at the minimum rate, and its memory may be revoked for others.
    pub(super) async fn read(
        &self,
        source: &str,
        is_proven: bool,
        body: Body,
    ) -> Result<Bytes, Unread> {
        let announced = body.size_hint().lower();
        if usize::try_from(announced).unwrap_or(usize::MAX) > self.max {
            return Err(Unread::TooLarge);
        }
        let mut share = self.memory.open(source, !is_proven);
        let revoked = share.revoked();
        let min_bytes = if is_proven { 0 } else { self.min_bytes };
        let collected = timeout(self.timeout, self.collect(body, min_bytes, &mut share));
        let bytes = until_revoked(revoked, collected).await?.map_err(|_| Unread::TooSlow)??;
        share.make_permanent()?;
        Ok(Bytes::from_owner(CountedBytes { bytes, _share: share }))
    }

    async fn collect(
        &self,
        mut body: Body,
        min_bytes: usize,
        share: &mut Share,
    ) -> Result<Bytes, Unread> {
        let most = match body.size_hint().exact() {
            Some(announced) => usize::try_from(announced).unwrap_or(self.max).min(self.max),
            None => self.max,
        };
        let mut meter = RateMeter { min_bytes, received: 0, until: Instant::now() + WINDOW };
        let Some(first) = meter.next(&mut body).await? else { return Ok(Bytes::new()) };
        if first.len() > self.max {
            return Err(Unread::TooLarge);
        }
        share.grow(first.len())?;
        // After an early response, the end of the body itself would arrive only with the next request.
        if body.is_end_stream() {
            return Ok(first);
        }
        let mut counted = first.len();
        let mut bytes = Vec::from(first);
        while !body.is_end_stream() {
            let Some(data) = meter.next(&mut body).await? else { break };
            let length = bytes.len() + data.len();
            if length > self.max {
                return Err(Unread::TooLarge);
            }
            if length > bytes.capacity() {
                let capacity = (2 * bytes.capacity()).min(most).max(length);
                share.grow(capacity.saturating_sub(counted))?;
                counted = counted.max(capacity);
                bytes.reserve_exact(capacity - bytes.len());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.into())
    }
}

async fn until_revoked<T>(
    revoked: Option<CancellationToken>,
    reading: impl Future<Output = T>,
) -> Result<T, Unread> {
    match revoked {
        Some(revoked) => revoked.run_until_cancelled(reading).await.ok_or(Unread::NoMemory),
        None => Ok(reading.await),
    }
}

impl From<Exhausted> for Unread {
    fn from(_: Exhausted) -> Self {
        Unread::NoMemory
    }
}

/// Measures the rate of a body.
struct RateMeter {
    /// Fewest bytes in each window; 0 for no minimum.
    min_bytes: usize,
    received: usize,
    until: Instant,
}

impl RateMeter {
    async fn next(&mut self, body: &mut Body) -> Result<Option<Bytes>, Unread> {
        if self.min_bytes == 0 {
            return next(body).await;
        }
        loop {
            if let Ok(chunk) = timeout_at(self.until, next(body)).await {
                let chunk = chunk?;
                self.received += chunk.as_ref().map_or(0, Bytes::len);
                return Ok(chunk);
            }
            if self.received < self.min_bytes {
                return Err(Unread::BelowMinRate);
            }
            *self = RateMeter {
                min_bytes: self.min_bytes,
                received: 0,
                until: Instant::now() + WINDOW,
            };
        }
    }
}

/// Bytes that hold their share of the memory.
struct CountedBytes {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, Unread> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Unread::Aborted(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    fn reader() -> BodyReader {
        BodyReader::new(&Limits {
            max_body: 4096,
            buffered: 8192,
            min_rate: 100,
            ..Limits::default()
        })
    }

    async fn read(reader: &BodyReader, body: Body) -> Result<Bytes, Unread> {
        reader.read("one", true, body).await
    }

    async fn read_unproven(reader: &BodyReader, body: Body) -> Result<Bytes, Unread> {
        reader.read("one", false, body).await
    }

    fn chunks(count: usize) -> Body {
        let chunk = || Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1000]));
        Body::from_stream(stream::iter((0..count).map(move |_| chunk())))
    }

    fn whole(bytes: usize) -> Body {
        Body::from(vec![b'x'; bytes])
    }

    /// Body that sends `at_once` bytes, then `drip` bytes every second.
    fn dripping(at_once: usize, drip: usize) -> Body {
        let drop = |size| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; size]));
        let drops = stream::unfold((), move |()| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((drop(drip), ()))
        });
        let drops = stream::iter([drop(at_once)]).chain(drops);
        Body::from_stream(drops)
    }

    #[tokio::test]
    async fn a_chunked_body_is_bounded_too() {
        let body = read(&reader(), chunks(4)).await.unwrap();
        assert_eq!(body.len(), 4000);
        assert_eq!(read(&reader(), chunks(5)).await.unwrap_err(), Unread::TooLarge);
    }

    #[tokio::test]
    async fn an_announced_length_is_refused_unread() {
        assert!(read(&reader(), whole(4096)).await.is_ok());
        assert_eq!(read(&reader(), whole(4097)).await.unwrap_err(), Unread::TooLarge);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_too_slow() {
        let never = Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
        assert_eq!(read(&reader(), never).await.unwrap_err(), Unread::TooSlow);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_proves_nothing_yet_has_a_minimum_rate() {
        let start = Instant::now();
        assert_eq!(read(&reader(), dripping(1, 1)).await.unwrap_err(), Unread::TooSlow);
        assert_eq!(start.elapsed(), Limits::default().body_timeout);
        for (at_once, drip, windows) in [(1, 1, 1), (80, 80, 1), (600, 1, 2), (3000, 0, 2)] {
            let start = Instant::now();
            let refused = read_unproven(&reader(), dripping(at_once, drip)).await.unwrap_err();
            assert_eq!(refused, Unread::BelowMinRate, "{at_once} {drip}");
            assert_eq!(start.elapsed(), WINDOW * windows, "{at_once} {drip}");
        }
        let fast = read_unproven(&reader(), dripping(101, 101)).await.unwrap_err();
        assert_eq!(fast, Unread::TooSlow);
    }

    #[tokio::test]
    async fn memory_is_shared_and_given_back() {
        let reader = reader();
        let first = read(&reader, whole(4000)).await.unwrap();
        let second = read(&reader, whole(3500)).await.unwrap();
        assert_eq!(read(&reader, chunks(1)).await.unwrap_err(), Unread::NoMemory);
        drop((first, second));
        assert!(read(&reader, chunks(1)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_announced_takes_no_memory_and_what_proves_nothing_gives_way() {
        let limits = Limits { max_body: 4096, buffered: 16384, ..Limits::default() };
        let reader = BodyReader::new(&limits);
        let unfinished = |at_once| {
            let reader = reader.clone();
            tokio::spawn(async move { read_unproven(&reader, dripping(at_once, 0)).await })
        };
        let silent: Vec<_> = (0..100).map(|_| unfinished(0)).collect();
        let large: Vec<_> = (0..2).map(|_| unfinished(3500)).collect();
        tokio::time::sleep(WINDOW / 2).await;
        for _ in 0..20 {
            assert!(read_unproven(&reader, whole(2000)).await.is_ok());
        }
        let mut refused = Vec::new();
        for reading in silent.into_iter().chain(large) {
            refused.push(reading.await.unwrap().unwrap_err());
        }
        let given_up = refused.iter().filter(|refused| **refused == Unread::NoMemory).count();
        assert_eq!(given_up, 1, "no more than has to");
    }
}
