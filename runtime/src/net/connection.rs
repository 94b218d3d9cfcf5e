//! A connection that was accepted: its place among others, and its time to begin to speak.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::places::Place;
use super::{PREFACE_BYTES, PREFACE_TIMEOUT};

/// An accepted connection. It occupies one of its listener's places until it is dropped, and reading from it fails
/// when the peer does not begin to speak within [`PREFACE_TIMEOUT`].
///
/// A service finds the peer's address with `Request::remote_addr`.
pub struct Connection {
    socket: Socket,
    info: TcpConnectInfo,
    preface: Option<Preface>,
    _place: Place,
}

struct Preface {
    bytes_missing: usize,
    deadline: Pin<Box<Sleep>>,
}

impl Connection {
    /// A connection that was just accepted from `peer` and occupies `place`.
    pub(super) fn begin(socket: Socket, peer: SocketAddr, place: Place) -> io::Result<Self> {
        socket.set_nodelay()?;
        Ok(Self {
            info: TcpConnectInfo {
                local_addr: socket.local_addr().ok(),
                remote_addr: Some(peer),
            },
            preface: Some(Preface {
                bytes_missing: PREFACE_BYTES,
                deadline: Box::pin(tokio::time::sleep(PREFACE_TIMEOUT)),
            }),
            socket,
            _place: place,
        })
    }

    /// The address of the peer.
    pub fn peer_addr(&self) -> SocketAddr {
        self.info
            .remote_addr
            .expect("set when the connection was accepted")
    }

    /// Whether small writes are sent at once. Simulated links always do.
    ///
    /// # Errors
    ///
    /// What the operating system says about a socket that is no longer one.
    pub fn nodelay(&self) -> io::Result<bool> {
        match &self.socket {
            Socket::Tcp(socket) => socket.nodelay(),
            #[cfg(feature = "simulation")]
            Socket::Simulated(_) => Ok(true),
        }
    }

    fn note_read(&mut self, bytes: usize) {
        self.preface = self
            .preface
            .take()
            .filter(|preface| preface.bytes_missing > bytes)
            .map(|mut preface| {
                preface.bytes_missing -= bytes;
                preface
            });
    }

    fn poll_preface_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(preface) = &mut self.preface else {
            return Poll::Pending;
        };
        preface
            .deadline
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled_before = buf.filled().len();
        match self.socket.duplex().poll_read(cx, buf) {
            Poll::Ready(result) => {
                self.note_read(buf.filled().len() - filled_before);
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_preface_deadline(cx),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.socket.duplex().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.socket.duplex().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self.socket, Socket::Tcp(_))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.duplex().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.duplex().poll_shutdown(cx)
    }
}

pub(super) enum Socket {
    Tcp(TcpStream),
    #[cfg(feature = "simulation")]
    Simulated(turmoil::net::TcpStream),
}

/// What bytes go through in both directions.
trait Duplex: AsyncRead + AsyncWrite {}

impl<T: AsyncRead + AsyncWrite> Duplex for T {}

impl Socket {
    fn duplex(&mut self) -> Pin<&mut (dyn Duplex + Unpin)> {
        match self {
            Self::Tcp(socket) => Pin::new(socket),
            #[cfg(feature = "simulation")]
            Self::Simulated(socket) => Pin::new(socket),
        }
    }

    fn set_nodelay(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nodelay(true),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => Ok(()),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr(),
            #[cfg(feature = "simulation")]
            Self::Simulated(socket) => socket.local_addr(),
        }
    }
}
