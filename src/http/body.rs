//! Bodies, bounded in size, time and the memory they may take together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The unit in which memory is counted, in bytes.
const UNIT: usize = 1024;

/// Why a body could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is larger than allowed.
    TooLarge,
    /// It did not arrive in time.
    TooSlow,
    /// The memory for bodies is used up.
    NoMemory,
    /// The sender broke off.
    Broken(String),
}

/// Reads bodies within bounds. Clones share the memory.
#[derive(Clone)]
pub(super) struct Reader {
    /// The largest body, in bytes.
    pub(super) max: usize,
    timeout: Duration,
    memory: Arc<Semaphore>,
}

impl Reader {
    /// `max` bytes a body within `timeout`, `buffered` bytes of all bodies at once.
    pub(super) fn new(max: usize, timeout: Duration, buffered: usize) -> Self {
        Reader { max, timeout, memory: Arc::new(Semaphore::new(buffered.div_ceil(UNIT))) }
    }

    /// The body. Its share of the memory is given back when the last of its bytes is let go, wherever that is.
    pub(super) async fn read(&self, body: Body) -> Result<Bytes, Unread> {
        let announced = body.size_hint().exact().unwrap_or(0);
        let announced = usize::try_from(announced).unwrap_or(usize::MAX);
        if announced > self.max {
            return Err(Unread::TooLarge);
        }
        let mut share = self.reserve(announced)?;
        let collected = self.collect(announced, body, &mut share);
        match tokio::time::timeout(self.timeout, collected).await {
            Ok(bytes) => Ok(Bytes::from_owner(Counted { bytes: bytes?, _share: share })),
            Err(_) => Err(Unread::TooSlow),
        }
    }

    async fn collect(
        &self,
        announced: usize,
        mut body: Body,
        share: &mut OwnedSemaphorePermit,
    ) -> Result<Bytes, Unread> {
        let Some(first) = next(&mut body).await? else { return Ok(Bytes::new()) };
        if announced == first.len() {
            return Ok(first);
        }
        let mut bytes = BytesMut::with_capacity(announced.max(first.len()));
        let mut chunk = Some(first);
        while let Some(data) = chunk {
            let length = bytes.len() + data.len();
            if length > self.max {
                return Err(Unread::TooLarge);
            }
            let missing = length.saturating_sub(share.num_permits() * UNIT);
            if missing > 0 {
                share.merge(self.reserve(missing)?);
            }
            bytes.extend_from_slice(&data);
            // Behind an answer that was given early, the end itself would come only with the next request.
            chunk = if body.is_end_stream() { None } else { next(&mut body).await? };
        }
        Ok(bytes.freeze())
    }

    fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Unread> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX);
        Arc::clone(&self.memory).try_acquire_many_owned(units).map_err(|_| Unread::NoMemory)
    }
}

/// Bytes that count as long as they live.
struct Counted {
    bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, Unread> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Unread::Broken(error.to_string()))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn reader() -> Reader {
        Reader::new(4096, Duration::from_secs(5), 8192)
    }

    fn chunks(count: usize) -> Body {
        let chunk = || Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 1000]));
        Body::from_stream(stream::iter((0..count).map(move |_| chunk())))
    }

    fn whole(bytes: usize) -> Body {
        Body::from(vec![b'x'; bytes])
    }

    #[tokio::test]
    async fn a_chunked_body_is_bounded_too() {
        let body = reader().read(chunks(4)).await.unwrap();
        assert_eq!(body.len(), 4000);
        assert_eq!(reader().read(chunks(5)).await.unwrap_err(), Unread::TooLarge);
    }

    #[tokio::test]
    async fn an_announced_length_is_refused_unread() {
        assert!(reader().read(whole(4096)).await.is_ok());
        assert_eq!(reader().read(whole(4097)).await.unwrap_err(), Unread::TooLarge);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_too_slow() {
        let never = Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
        assert_eq!(reader().read(never).await.unwrap_err(), Unread::TooSlow);
    }

    #[tokio::test]
    async fn memory_is_shared_and_given_back() {
        let reader = reader();
        let first = reader.read(whole(4000)).await.unwrap();
        let second = reader.read(chunks(4)).await.unwrap();
        assert_eq!(reader.read(chunks(1)).await.unwrap_err(), Unread::NoMemory);
        drop((first, second));
        assert!(reader.read(chunks(1)).await.is_ok());
    }
}
