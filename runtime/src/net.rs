//! Transport: listeners and channels with the settings every role shares, over TCP or over simulated links.
//!
//! # Settings
//!
//! - `TCP_NODELAY` on both ends. A server that is given a stream of sockets does not set it on them, and without it
//!   a stream of small messages waits for the other side's delayed acknowledgements: [`Incoming`] sets it on each.
//! - HTTP/2 keepalive after 20 s of silence, 10 s to answer, also while nothing is asked.
//! - Everything has a limit: connections of a listener, time to begin speaking, requests and streams of a
//!   connection, headers, time to answer. Refusal for load is `RESOURCE_EXHAUSTED`, never a timeout.
//!
//! The limits of message sizes belong to the services and their clients, which know the messages.

mod connection;
mod places;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::stream::{self, BoxStream};
use http::Uri;
use thiserror::Error;
use tokio::net::TcpListener;
use tonic::transport::{Channel, Endpoint, Server};
use tracing::{debug, warn};

use self::connection::Socket;
use self::places::Places;
use crate::telemetry::Metric;

pub use self::connection::Connection;
pub use self::places::{Known, Limits, host};

const CONNECTIONS: Metric = Metric::gauge("agon_net_connections", "Accepted connections that are open");
const CONNECTIONS_REFUSED: Metric = Metric::counter(
    "agon_net_connections_refused_total",
    "Connections closed as soon as they were accepted, by the limit that stood against them: of one address or in all",
);

/// What listeners count, of whatever role they are.
pub const METRICS: &[Metric] = &[CONNECTIONS, CONNECTIONS_REFUSED];

/// Connections of one listener at a time. About 65 KiB each with both ends in one process, and below the usual
/// limit of open files; those beyond it are closed as soon as they are accepted.
pub const CONNECTIONS_MAX: usize = 896;
/// How long a peer may take to send the 24 bytes that open an HTTP/2 connection.
pub const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence after which the other side is asked whether it is still there.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long the other side may take to say so.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests of one connection that wait for their first answer at a time; more are refused.
pub const REQUESTS_PER_CONNECTION_MAX: usize = 256;
/// Open streams of one connection, answers in progress included. A well-behaved client waits before it opens more.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 1_024;
/// Bytes of all headers of one request.
pub const HEADER_BYTES_MAX: u32 = 16 * 1_024;
/// How long a server works on a request before its answer begins. An answer that streams may go on longer.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client waits for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of an address: more than any host name (253) with scheme and port.
pub const URI_BYTES_MAX: usize = 512;

/// The bytes that open every HTTP/2 connection.
const PREFACE_BYTES: usize = 24;
/// How long a listener rests when it cannot accept, most often for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The network a process lives in; cheap to clone.
#[derive(Debug, Clone)]
pub struct Net(Kind);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Tcp,
    #[cfg(feature = "simulation")]
    Simulated,
}

/// Why there is no channel to an address.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NetError {
    /// The address is longer than any real one.
    #[error("the address has {bytes} bytes, at most {bytes_max} are read")]
    UriTooLong {
        /// How many bytes were given.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The address does not name a scheme, a host and a port that can be connected to.
    #[error("{uri:?} is not an address like http://127.0.0.1:9944")]
    BadUri {
        /// What was given.
        uri: String,
    },
}

/// How long a client waits, and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelOptions {
    /// For a connection.
    pub connect_timeout: Duration,
    /// For the beginning of an answer, the connection included; reading a stream needs a deadline of its own.
    pub timeout: Duration,
    /// Before it asks a silent peer whether it is still there; `None` never asks, for processes that end soon.
    pub keepalive: Option<Duration>,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            timeout: REQUEST_TIMEOUT,
            keepalive: Some(KEEPALIVE_INTERVAL),
        }
    }
}

/// A server with the settings above; services, layers and further limits are added to it.
pub fn server() -> Server {
    Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION_MAX)
        .load_shed(true)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .timeout(REQUEST_TIMEOUT)
}

impl Net {
    /// The machine's network.
    pub fn tcp() -> Self {
        Self(Kind::Tcp)
    }

    /// The links of the network simulation this is used in.
    ///
    /// Listeners are bound to `0.0.0.0` (reached from other hosts) or to loopback (reached from the same host);
    /// channels name hosts by their simulated names or addresses.
    ///
    /// Simulated links do not send again: what is sent over a cut one is lost, and a connection that was open stays
    /// silent after it is mended, until keepalive gives it up ([`KEEPALIVE_INTERVAL`] and [`KEEPALIVE_TIMEOUT`]). A
    /// link that is held delays and loses nothing.
    #[cfg(feature = "simulation")]
    pub fn simulated() -> Self {
        Self(Kind::Simulated)
    }

    /// Listens on `addr` (port 0: any free one) for up to [`CONNECTIONS_MAX`] connections.
    ///
    /// # Errors
    ///
    /// What the operating system says when the address cannot be bound.
    pub async fn listen(&self, addr: SocketAddr) -> io::Result<Incoming> {
        self.listen_capped(addr, CONNECTIONS_MAX).await
    }

    /// As [`listen`](Self::listen), with another limit of connections.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    pub async fn listen_capped(&self, addr: SocketAddr, connections_max: usize) -> io::Result<Incoming> {
        self.listen_within(addr, Limits::of(connections_max)).await
    }

    /// As [`listen`](Self::listen), with limits of connections in all and from one address.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    pub async fn listen_within(&self, addr: SocketAddr, limits: Limits) -> io::Result<Incoming> {
        let listener = match self.0 {
            Kind::Tcp => Listener::Tcp(TcpListener::bind(addr).await?),
            #[cfg(feature = "simulation")]
            Kind::Simulated => Listener::Simulated(turmoil::net::TcpListener::bind(addr).await?),
        };
        Incoming::over(listener, limits)
    }

    /// A channel to `uri` (`http://host:port`), which connects when it is first used and again when it is lost.
    ///
    /// Clones share one connection. Must be called inside a tokio runtime; inside a simulation, on the host that
    /// uses it.
    ///
    /// # Errors
    ///
    /// [`NetError`] when `uri` is no such address. A peer that cannot be reached shows only when it is asked.
    pub fn channel(&self, uri: &str, options: ChannelOptions) -> Result<Channel, NetError> {
        let endpoint = endpoint(uri, options)?;
        match self.0 {
            Kind::Tcp => Ok(endpoint.connect_lazy()),
            #[cfg(feature = "simulation")]
            Kind::Simulated => {
                Ok(endpoint.connect_with_connector_lazy(tower::service_fn(simulation::connect)))
            }
        }
    }
}

fn endpoint(uri: &str, options: ChannelOptions) -> Result<Endpoint, NetError> {
    let endpoint = Endpoint::from(parse_uri(uri)?)
        .tcp_nodelay(true)
        .connect_timeout(options.connect_timeout)
        .timeout(options.timeout);
    Ok(match options.keepalive {
        Some(interval) => endpoint
            .http2_keep_alive_interval(interval)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true),
        None => endpoint,
    })
}

fn parse_uri(text: &str) -> Result<Uri, NetError> {
    if text.len() > URI_BYTES_MAX {
        return Err(NetError::UriTooLong {
            bytes: text.len(),
            bytes_max: URI_BYTES_MAX,
        });
    }
    let bad = || NetError::BadUri { uri: text.to_owned() };
    let uri: Uri = text.parse().map_err(|_| bad())?;
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    let complete = uri.scheme_str() == Some("http") && has_host && uri.port_u16().is_some();
    if complete { Ok(uri) } else { Err(bad()) }
}

/// The connections of a listener, as a stream for `serve_with_incoming_shutdown`. It never ends and never fails: a
/// socket that cannot be accepted is logged and the next one awaited.
pub struct Incoming {
    local_addr: SocketAddr,
    known: Known,
    connections: BoxStream<'static, io::Result<Connection>>,
}

impl Incoming {
    fn over(listener: Listener, limits: Limits) -> io::Result<Self> {
        let local_addr = listener.local_addr()?;
        let places = Places::new(limits);
        let known = places.known();
        let acceptor = Acceptor { listener, places };
        let connections = stream::unfold(acceptor, |acceptor| async move {
            let connection = acceptor.next().await;
            Some((Ok(connection), acceptor))
        });
        Ok(Self {
            local_addr,
            known,
            connections: Box::pin(connections),
        })
    }

    /// The address that is listened on, with its real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Whose connections may take the places that are kept for known addresses; for whoever learns who is worth it.
    pub fn known(&self) -> Known {
        self.known.clone()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("local_addr", &self.local_addr)
            .finish_non_exhaustive()
    }
}

impl Stream for Incoming {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connections.as_mut().poll_next(cx)
    }
}

struct Acceptor {
    listener: Listener,
    places: Places,
}

impl Acceptor {
    async fn next(&self) -> Connection {
        loop {
            match self.listener.accept().await {
                Ok((socket, peer)) => match self.admit(socket, peer) {
                    Ok(connection) => return connection,
                    Err(error) => debug!(%peer, %error, "connection closed at once"),
                },
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(&self, socket: Socket, peer: SocketAddr) -> io::Result<Connection> {
        let place = self
            .places
            .take(peer.ip())
            .map_err(|limit| io::Error::other(format!("as many connections as are allowed: {limit}")))?;
        Connection::begin(socket, peer, place)
    }
}

enum Listener {
    Tcp(TcpListener),
    #[cfg(feature = "simulation")]
    Simulated(turmoil::net::TcpListener),
}

impl Listener {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr(),
            #[cfg(feature = "simulation")]
            Self::Simulated(listener) => listener.local_addr(),
        }
    }

    async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        match self {
            Self::Tcp(listener) => listener
                .accept()
                .await
                .map(|(socket, peer)| (Socket::Tcp(socket), peer)),
            #[cfg(feature = "simulation")]
            Self::Simulated(listener) => listener
                .accept()
                .await
                .map(|(socket, peer)| (Socket::Simulated(socket), peer)),
        }
    }
}

#[cfg(feature = "simulation")]
mod simulation {
    use std::io;

    use http::Uri;
    use hyper_util::rt::TokioIo;

    /// Connects over the simulated link to the host and port of `uri`, which `parse_uri` has seen.
    pub(super) async fn connect(uri: Uri) -> io::Result<TokioIo<turmoil::net::TcpStream>> {
        let (Some(host), Some(port)) = (uri.host(), uri.port_u16()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        turmoil::net::TcpStream::connect((host, port))
            .await
            .map(TokioIo::new)
    }
}

#[cfg(test)]
mod tests;
