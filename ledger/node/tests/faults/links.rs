//! Connections between nodes that can be cut and healed: a proxy for each pair and direction.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes that a proxy takes at a time.
const CHUNK: usize = 64 * 1_024;

/// Who cannot reach whom.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cut {
    /// A bit for each node on the one side; nodes of different sides do not reach each other.
    pub(crate) side: u8,
    /// Whether connections end at the cut, instead of falling silent.
    pub(crate) ends: bool,
}

/// The proxies of a ledger's nodes.
pub(crate) struct Links {
    cut: watch::Sender<Cut>,
    proxies: JoinSet<()>,
}

impl Links {
    pub(crate) fn new() -> Self {
        Self {
            cut: watch::Sender::default(),
            proxies: JoinSet::new(),
        }
    }

    /// An address at which node `from` finds what node `to` has at `target`.
    pub(crate) async fn between(&mut self, from: usize, to: usize, target: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let link = Link {
            pair: (1 << from, 1 << to),
            cut: self.cut.subscribe(),
        };
        self.proxies.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(link.clone().carry(stream, target));
                while open.try_join_next().is_some() {}
            }
        });
        address
    }

    pub(crate) fn cut(&self, cut: Cut) {
        self.cut.send_replace(cut);
    }

    pub(crate) fn heal(&self) {
        self.cut(Cut::default());
    }
}

/// One direction between two nodes.
#[derive(Clone)]
struct Link {
    pair: (u8, u8),
    cut: watch::Receiver<Cut>,
}

impl Link {
    fn is_whole(&self, cut: Cut) -> bool {
        (cut.side & self.pair.0 == 0) == (cut.side & self.pair.1 == 0)
    }

    /// Waits until bytes can pass; false when the connection ends instead.
    async fn passes(&mut self) -> bool {
        let link = self.clone();
        let decided = self.cut.wait_for(|cut| link.is_whole(*cut) || cut.ends).await;
        decided.is_ok_and(|cut| link.is_whole(*cut))
    }

    async fn ended(&mut self) {
        let link = self.clone();
        // An error means that the test is over.
        let _ = self.cut.wait_for(|cut| !link.is_whole(*cut) && cut.ends).await;
    }

    async fn carry(mut self, near: TcpStream, target: SocketAddr) {
        if !self.passes().await {
            return;
        }
        let Ok(far) = TcpStream::connect(target).await else {
            return;
        };
        // Votes are small, and each waits for the one before.
        if near.set_nodelay(true).and(far.set_nodelay(true)).is_err() {
            return;
        }
        let (near, far) = (near.into_split(), far.into_split());
        let (there, back) = (self.clone(), self.clone());
        tokio::select! {
            () = there.pump(near.0, far.1) => {}
            () = back.pump(far.0, near.1) => {}
            () = self.ended() => {}
        }
    }

    async fn pump(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut bytes = vec![0; CHUNK];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            if !self.passes().await || to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    }
}
