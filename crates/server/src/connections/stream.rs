//! A connection's bytes: without the bare answers that the HTTP library gives by itself, and read on for a while after
//! an answer that did not wait for its request's end.

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

/// How long the rest of a refused request is read for, so that its sender comes to read the answer instead of a reset.
const LINGER: Duration = Duration::from_secs(10);

/// How long its sender may be silent meanwhile.
const SILENCE: Duration = Duration::from_secs(2);

/// How many bytes are read meanwhile.
const MOST: usize = 64 * 1024 * 1024;

/// Reads on until the other side ends, within bounds. Closed with bytes unread, a connection ends in a reset, which takes
/// the answer away from whoever has not read it yet.
pub(super) async fn linger(stream: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = vec![0; 16 * 1024];
    let mut left = MOST;
    let reading = async {
        while let Ok(Ok(read @ 1..)) = timeout(SILENCE, stream.read(&mut buffer)).await {
            let Some(rest) = left.checked_sub(read) else { return };
            left = rest;
        }
    };
    let _ = timeout(LINGER, reading).await;
}

/// A stream that keeps back what the library answers on its own, and takes down its status instead.
pub(super) struct Routed<S> {
    pub(super) stream: S,
    /// Whether the other side has yet to take what was written last.
    is_blocked: Arc<AtomicBool>,
    /// The status of the library's own answer, behind which it writes nothing more.
    pub(super) kept_back: Option<StatusCode>,
}

impl<S> Routed<S> {
    pub(super) fn new(stream: S, is_blocked: &Arc<AtomicBool>) -> Self {
        Routed { stream, is_blocked: Arc::clone(is_blocked), kept_back: None }
    }

    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        self.is_blocked.store(written.is_pending(), Ordering::Relaxed);
        written
    }

    /// Whether nothing more is to be written. Every answer of a route carries its request's id.
    fn keeps_back(&mut self, written: &[u8]) -> bool {
        if written.starts_with(b"HTTP/1.1 4")
            && memmem::find(written, REQUEST_ID.as_str().as_bytes()).is_none()
        {
            self.kept_back = StatusCode::from_bytes(&written[9..written.len().min(12)]).ok();
        }
        self.kept_back.is_some()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Routed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Routed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.keeps_back(bytes) {
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
        if self.keeps_back(slices.first().map_or(&[][..], |first| first)) {
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

/// A request's body that tells whether its end was read.
pub(super) struct Watched {
    body: Incoming,
    is_unread: Arc<AtomicBool>,
}

impl Watched {
    pub(super) fn new(body: Incoming, is_unread: &Arc<AtomicBool>) -> Self {
        is_unread.store(!body.is_end_stream(), Ordering::Relaxed);
        Watched { body, is_unread: Arc::clone(is_unread) }
    }
}

impl Body for Watched {
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
