//! The connection's byte stream: withholds the bare responses of the HTTP library itself, and lingers after a response
//! that was sent before the end of its request.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::request_id::REQUEST_ID;

/// Longest time for reading the rest of a refused request, so that its sender reads the response instead of a reset.
const LINGER: Duration = Duration::from_secs(10);

/// Longest silence of the sender meanwhile.
const SILENCE: Duration = Duration::from_secs(2);

/// Largest number of bytes read meanwhile.
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// Reads until the other side closes, within bounds. Closing a connection with unread bytes causes a reset, which discards
/// a response that the other side has not read yet.
pub(super) async fn linger(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = vec![0; 16 * 1024];
    let mut left = LINGER_BYTES;
    let reading = async {
        while let Ok(Ok(read @ 1..)) = timeout(SILENCE, stream.read(&mut buffer)).await {
            let Some(rest) = left.checked_sub(read) else { return };
            left = rest;
        }
    };
    let _ = timeout(LINGER, reading).await;
}

/// Stream that withholds the HTTP library's own responses and records their status instead.
pub(super) struct FilteredStream<S> {
    pub(super) stream: S,
    /// True while the other side has not accepted the latest write.
    is_blocked: Arc<AtomicBool>,
    /// Status of the library's own response, after which it writes nothing more.
    pub(super) withheld: Option<StatusCode>,
}

impl<S> FilteredStream<S> {
    pub(super) fn new(stream: S, is_blocked: &Arc<AtomicBool>) -> Self {
        FilteredStream { stream, is_blocked: Arc::clone(is_blocked), withheld: None }
    }

    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        self.is_blocked.store(written.is_pending(), Ordering::Relaxed);
        written
    }

    /// True if this and all later writes are withheld. Every response of a route carries its request id.
    fn withholds(&mut self, written: &[u8]) -> bool {
        if written.starts_with(b"HTTP/1.1 4")
            && memmem::find(written, REQUEST_ID.as_str().as_bytes()).is_none()
        {
            self.withheld = StatusCode::from_bytes(&written[9..written.len().min(12)]).ok();
        }
        self.withheld.is_some()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FilteredStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FilteredStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.withholds(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.withholds(slices.first().map_or(&[][..], |first| first)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Request body that records whether its end was read.
pub(super) struct WatchedBody {
    body: Incoming,
    is_unread: Arc<AtomicBool>,
}

impl WatchedBody {
    pub(super) fn new(body: Incoming, is_unread: &Arc<AtomicBool>) -> Self {
        is_unread.store(!body.is_end_stream(), Ordering::Relaxed);
        WatchedBody { body, is_unread: Arc::clone(is_unread) }
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_ready() && (self.body.is_end_stream() || matches!(polled, Poll::Ready(None))) {
            self.is_unread.store(false, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
