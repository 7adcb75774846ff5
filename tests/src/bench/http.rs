//! A client of the gateway over HTTP/1.1: one connection, one request after the other, bodies as
//! they are. Beside a loaded server on the same two cores the client must be cheap.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use prost::bytes::Bytes;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// One connection; closed when dropped.
#[derive(Debug)]
pub(crate) struct Http {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    authorization: String,
    connection: AbortHandle,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    /// Connects. Every request carries `authorization`.
    pub(crate) async fn connect(address: SocketAddr, authorization: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async move {
            // Its error is also the error of the request that it breaks.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            host: address.to_string(),
            authorization: authorization.to_owned(),
            connection: connection.abort_handle(),
        })
    }

    /// Posts JSON and reads the whole answer.
    pub(crate) async fn post(&mut self, path: &str, body: Bytes) -> anyhow::Result<Answer> {
        self.sender.ready().await?;
        let request = Request::post(path)
            .header(header::HOST, self.host.as_str())
            .header(header::AUTHORIZATION, self.authorization.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// As [`Http::post`], and anything but 200 is an error.
    pub(crate) async fn post_ok(&mut self, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let answer = self.post(path, body).await?;
        let said = || format!("{path}: {}", String::from_utf8_lossy(&answer.body));
        ensure!(answer.status == StatusCode::OK, "{} ({})", said(), answer.status);
        Ok(answer.body)
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Answer {
    /// Seconds to wait, of a refusal that passes.
    pub(crate) fn retry_after(&self) -> anyhow::Result<u64> {
        let value = self.headers.get(header::RETRY_AFTER).context("no Retry-After")?;
        Ok(value.to_str()?.parse()?)
    }
}
