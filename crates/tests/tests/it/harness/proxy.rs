//! The network between a process and its database: a proxy that delays, stalls, forgets and cuts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// Treatment of what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Up,
    /// Everything comes later by this.
    Slow(Duration),
    /// Nothing passes, and nobody is told.
    Stalled,
    /// Nothing passes from the server to the process, which is as if it stood still.
    Deaf,
    /// Connections are reset, new ones too.
    Cut,
}

/// The link, and how often the connections before were forgotten.
#[derive(Debug, Clone, Copy)]
struct State {
    link: Link,
    epoch: u64,
}

/// A proxy from a port to a socket of the server. It ends with the runtime.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: watch::Sender<State>,
}

impl Proxy {
    pub(crate) async fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, states) = watch::channel(State { link: Link::Up, epoch: 0 });
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, socket.clone(), states.clone()));
            }
        });
        Proxy { address, state }
    }

    pub(crate) fn set(&self, link: Link) {
        self.state.send_modify(|state| state.link = link);
    }

    /// Lets nothing pass through the present connections any more, and tells nobody; new ones work.
    pub(crate) fn forget(&self) {
        self.state.send_modify(|state| state.epoch += 1);
    }
}

async fn pass(mut client: TcpStream, socket: PathBuf, mut states: watch::Receiver<State>) {
    let Ok(mut server) = UnixStream::connect(socket).await else { return };
    let others = states.clone();
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let is_cut = tokio::select! {
        () = copy(from_client, to_server, &[Link::Stalled], others.clone()) => false,
        () = copy(from_server, to_client, &[Link::Stalled, Link::Deaf], others) => false,
        _ = states.wait_for(|state| state.link == Link::Cut) => true,
    };
    if is_cut {
        let _ = client.set_zero_linger();
    }
}

/// Copies until one side ends. Nothing passes while the link is one of `blocked`.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    blocked: &[Link],
    mut states: watch::Receiver<State>,
) {
    let epoch = states.borrow().epoch;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let passes = |state: &State| !blocked.contains(&state.link) && state.epoch == epoch;
        let link = states.wait_for(passes).await.map(|state| state.link);
        match link {
            Ok(Link::Slow(delay)) => tokio::time::sleep(delay).await,
            Ok(_) => {}
            Err(_) => return,
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
