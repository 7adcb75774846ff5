//! Connections: accepted within limits, served with explicit HTTP/2 settings, ended by age or
//! drain.
//!
//! hyper is driven directly: tonic's transport has no limit on connections, none on the time to
//! the preface, and its own time-out (CANCELLED) cannot be switched off.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, Sleep};
use tonic::body::Body;

use crate::request::Ending;
use crate::server::Endpoint;
use crate::settings::millis;

/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n` (RFC 9113, 3.4).
const PREFACE_BYTES: usize = 24;
const MEMORY_BUFFER_BYTES: usize = 256 * 1024;
/// After an error of `accept`, such as too many open files: let some close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An endpoint inside the process: same codec, same layers, no network.
#[derive(Debug, Clone)]
pub struct Memory(Endpoint);

impl Memory {
    /// The client's end of a new connection.
    ///
    /// # Errors
    /// Refused after the end of the drain.
    pub fn connect(&self) -> io::Result<DuplexStream> {
        if self.0.drain.idle().is_cancelled() {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (client, server) = tokio::io::duplex(MEMORY_BUFFER_BYTES);
        // Calls at work need their connections to other services until they are done, so
        // these are apart and end after the calls.
        self.0.drain.inner().spawn(self.0.clone().serve(server, None));
        Ok(client)
    }
}

impl Endpoint {
    /// This endpoint inside the process.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory(self.clone())
    }

    /// Serves on a socket until the drain.
    pub fn listen(&self, listener: TcpListener) {
        let tracker = self.drain.tracker();
        tracker.spawn(self.clone().accept(listener));
    }

    async fn accept(self, listener: TcpListener) {
        let stop = self.drain.token();
        let tracker = self.drain.tracker();
        let places = Arc::new(Semaphore::new(self.settings.max_connections));
        let peers = Peers::default();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return, // and closes the socket
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(event = "accept_failed", %error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(event = "connection_refused", limit = "max_connections");
                continue;
            };
            let Some(guest) = peers.admit(address.ip(), self.settings.max_connections_per_peer)
            else {
                tracing::warn!(event = "connection_refused", limit = "max_connections_per_peer");
                continue;
            };
            let endpoint = self.clone();
            tracker.spawn(async move {
                let _held = (place, guest);
                endpoint.serve_tcp(stream).await;
            });
        }
    }

    async fn serve_tcp(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(event = "nodelay_failed", %error);
        }
        let age = millis(self.settings.connection_age_ms);
        // Up to a tenth more, so that connections opened together do not end together.
        let tenth = u64::try_from(age.as_millis() / 10).unwrap_or(u64::MAX).max(1);
        let jitter = millis(RandomState::new().hash_one(0) % tenth);
        self.serve(stream, Some(age + jitter)).await;
    }

    /// One connection. Without an age it lasts until its client or the drain ends it.
    async fn serve<IO>(self, io: IO, age: Option<Duration>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let settings = Arc::clone(&self.settings);
        let abort = self.drain.abort();
        let ending = self.drain.token().child_token();
        let mark = ending.clone();
        let stack = self.stack;
        let service = service_fn(move |request: http::Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Ending(mark.clone()));
            let answer = stack.call(request);
            async move { Ok::<_, Infallible>(answer.await) }
        });
        let io = TokioIo::new(Guarded::new(io, millis(settings.preface_timeout_ms)));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.max_concurrent_streams)
            .max_header_list_size(settings.max_header_bytes)
            .keep_alive_interval(Some(millis(settings.keepalive_interval_ms)))
            .keep_alive_timeout(millis(settings.keepalive_timeout_ms))
            .max_pending_accept_reset_streams(20) // CVE-2023-44487
            .max_local_error_reset_streams(1024) // CVE-2025-8671
            .serve_connection(io, service);
        let mut connection = pin!(connection);

        let (in_memory, idle) = (age.is_none(), self.drain.idle());
        let old = async {
            match age {
                Some(age) => tokio::time::sleep(age).await,
                None => std::future::pending().await,
            }
        };
        let drained =
            async { if in_memory { idle.cancelled().await } else { ending.cancelled().await } };
        let grace = tokio::select! {
            _ = connection.as_mut() => return,
            () = drained => None,
            () = old => Some(millis(settings.connection_age_grace_ms)),
        };
        ending.cancel(); // streams end with UNAVAILABLE and a token to resume with
        connection.as_mut().graceful_shutdown();
        let cut_off = async {
            match grace {
                Some(grace) => tokio::time::sleep(grace).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = connection => {}
            () = cut_off => {}
            () = abort.cancelled() => {}
        }
    }
}

/// How many connections each address has.
#[derive(Debug, Clone, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Peers {
    fn admit(&self, address: IpAddr, limit: usize) -> Option<Guest> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Guest { peers: self.clone(), address })
    }
}

#[derive(Debug)]
struct Guest {
    peers: Peers,
    address: IpAddr,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Fails the first reads when the preface does not come in time. From then on HTTP/2 pings
/// find out who is gone.
struct Guarded<IO> {
    io: IO,
    missing: usize,
    timeout: Pin<Box<Sleep>>,
}

impl<IO> Guarded<IO> {
    fn new(io: IO, timeout: Duration) -> Self {
        let timeout = Box::pin(tokio::time::sleep_until(Instant::now() + timeout));
        Self { io, missing: PREFACE_BYTES, timeout }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Guarded<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if self.missing > 0 {
            let count = buffer.filled().len() - before;
            self.missing = self.missing.saturating_sub(count);
            if read.is_pending() && self.timeout.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Guarded<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }
}
