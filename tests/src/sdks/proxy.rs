//! What stands between an SDK and the gateway and makes deliveries fail by schedule.
//!
//! Only requests that carry events suffer; settings and preflights pass. While the gateway is
//! down, connections are reset, as they would be without a proxy. The injected answers look
//! like the gateway's own, with the headers that let a page of another origin read them.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue, ORIGIN, RETRY_AFTER,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::schedule::{FAULTS, Fault, Schedule};

type Whole = Response<Full<Bytes>>;

/// A listening proxy; gone when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    schedule: Schedule,
    /// Requests with events.
    requests: AtomicU64,
    /// Those of them that the gateway took.
    taken: AtomicU64,
    /// Those that did not reach it, or whose answer did not come back: it was down.
    broken: AtomicU64,
    injected: [AtomicU64; FAULTS.len()],
    /// Answers of the gateway other than 200, by the first of them.
    refused: AtomicU64,
}

/// What a proxy saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Requests with events.
    pub requests: u64,
    /// Those of them that the gateway answered with 200.
    pub taken: u64,
    /// Those that met a gateway that was down.
    pub broken: u64,
    /// Those that the gateway itself put off or refused.
    pub refused: u64,
    /// How often each fault of [`FAULTS`] was injected.
    pub injected: [u64; FAULTS.len()],
}

impl Proxy {
    /// Listens on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(upstream: SocketAddr, schedule: Schedule) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            schedule,
            requests: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            injected: Default::default(),
            refused: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// `http://…`, what an SDK is told to be its host.
    #[must_use]
    pub fn host(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it saw until now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Seen {
            requests: read(&self.shared.requests),
            taken: read(&self.shared.taken),
            broken: read(&self.shared.broken),
            refused: read(&self.shared.refused),
            injected: self.shared.injected.each_ref().map(read),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Owns its connections: they end with it.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        // An error of accept is one client's; without one it waits for the next.
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, Arc::clone(&shared)));
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // A second hold on the socket, for hyper owns the first. Not one for the suite that is being
    // started again, which would keep it open.
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(&stream, 0) else { return };
    let socket = Arc::new(socket);
    let service = service_fn(move |request| {
        let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
        async move { shared.pass(request).await.map_err(|error| resetting(&socket, error)) }
    });
    // An error is a reset of ours, or a client that left.
    let _ended = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

/// Closing now throws away what was not sent and tells the other side so.
fn resetting(socket: &OwnedFd, error: io::Error) -> io::Error {
    let at_once = Some(Duration::ZERO);
    let _closes_anyway = rustix::net::sockopt::set_socket_linger(socket, at_once);
    error
}

impl Shared {
    async fn pass(&self, request: Request<Incoming>) -> io::Result<Whole> {
        if request.method() != Method::POST {
            return self.forward(request).await.map_err(|_| reset());
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let fault = self.schedule.fault(number);
        if let Some(fault) = fault {
            self.injected[fault as usize].fetch_add(1, Ordering::Relaxed);
        }
        let origin = request.headers().get(ORIGIN).cloned();
        match fault {
            Some(Fault::TooMany) => injected(StatusCode::TOO_MANY_REQUESTS, origin, request).await,
            Some(Fault::Unavailable) => {
                injected(StatusCode::SERVICE_UNAVAILABLE, origin, request).await
            }
            Some(Fault::AnswerLost) => {
                self.deliver(request).await?;
                Err(reset())
            }
            None => self.deliver(request).await,
        }
    }

    /// Brings events to the gateway and counts what it says.
    async fn deliver(&self, request: Request<Incoming>) -> io::Result<Whole> {
        let answer = self.forward(request).await;
        let counter = match &answer {
            Ok(answer) if answer.status() == StatusCode::OK => &self.taken,
            Ok(_) => &self.refused,
            Err(_) => &self.broken,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        answer.map_err(|_| reset())
    }

    /// One connection per request: none outlives the gateway that it was made to.
    async fn forward(&self, request: Request<Incoming>) -> anyhow::Result<Whole> {
        let stream = TcpStream::connect(self.upstream).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let exchange = async {
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Response::from_parts(parts, Full::new(body)))
        };
        driven(exchange, connection).await
    }
}

/// Awaits an exchange while its connection works.
async fn driven<T>(
    exchange: impl Future<Output = anyhow::Result<T>>,
    connection: impl Future<Output = Result<(), hyper::Error>>,
) -> anyhow::Result<T> {
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        done = exchange.as_mut() => return done,
        ended = connection => ended.context("the gateway's connection broke")?,
    }
    // It ended in order: the rest of the answer is here.
    exchange.await
}

/// An answer of ours, once the request was read to its end.
async fn injected(
    status: StatusCode,
    origin: Option<HeaderValue>,
    request: Request<Incoming>,
) -> io::Result<Whole> {
    request.into_body().collect().await.map_err(|_| reset())?;
    let text = r#"{"success":false,"code":"injected","message":"try again later"}"#;
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    if status == StatusCode::TOO_MANY_REQUESTS {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let readable = HeaderValue::from_static("retry-after");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, readable);
    }
    Ok(answer)
}
