//! What the receiver is measured against: an echo, and the least that a durable acceptance can be.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

type Append = (Bytes, oneshot::Sender<()>);

/// Answers with the request's own body.
pub(crate) fn echo() -> anyhow::Result<()> {
    serve(Router::new().fallback(async |body: Bytes| body))
}

/// Appends each body to a file; bodies that arrive during a sync share the next one.
pub(crate) fn append(file: &Path) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(file)?;
    let (sender, mut queue) = mpsc::channel::<Append>(4096);
    std::thread::spawn(move || {
        let (mut bytes, mut waiting) = (Vec::new(), Vec::new());
        while let Some(first) = queue.blocking_recv() {
            let rest = std::iter::from_fn(|| queue.try_recv().ok()).take(511);
            for (body, reply) in std::iter::once(first).chain(rest) {
                bytes.extend_from_slice(&body);
                waiting.push(reply);
            }
            file.write_all(&bytes).expect("the disk has room");
            file.sync_data().expect("the disk syncs");
            bytes.clear();
            for reply in waiting.drain(..) {
                let _ = reply.send(());
            }
        }
    });
    serve(Router::new().fallback(keep).with_state(sender))
}

async fn keep(State(queue): State<mpsc::Sender<Append>>, body: Bytes) -> &'static str {
    let (reply, done) = oneshot::channel();
    queue.send((body, reply)).await.expect("the writer runs");
    done.await.expect("the writer answers");
    r#"{"status":"accepted"}"#
}

#[tokio::main]
async fn serve(router: Router) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}
