//! Plain HTTP/1.1, as far as these tests need it.

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::world::{PATIENCE, World};

/// An answer, its head read.
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    stream: BufReader<TcpStream>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The next piece of a body that has no length; none at its end.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let read = async {
            let mut size = String::new();
            self.stream.read_line(&mut size).await.expect("a chunk");
            let size = usize::from_str_radix(size.trim(), 16).expect("a size");
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk).await.expect("a whole chunk");
            chunk.truncate(size);
            chunk
        };
        let chunk = tokio::time::timeout(PATIENCE, read).await.expect("a chunk in time");
        Some(chunk).filter(|chunk| !chunk.is_empty())
    }

    /// The next server-sent event that is none of the opening and no comment.
    pub(crate) async fn event(&mut self) -> Option<Event> {
        loop {
            let text = String::from_utf8(self.chunk().await?).expect("UTF-8");
            let field = |name: &str| {
                let lines = text.lines().filter_map(|line| line.strip_prefix(name));
                lines.map(str::to_owned).next()
            };
            let Some(data) = field("data: ") else { continue };
            let data = serde_json::from_str(&data).expect("JSON");
            return Some(Event { name: field("event: "), id: field("id: "), data });
        }
    }

    pub(crate) async fn body(mut self) -> Vec<u8> {
        if self.header("transfer-encoding").is_some() {
            let mut whole = Vec::new();
            while let Some(chunk) = self.chunk().await {
                whole.extend(chunk);
            }
            return whole;
        }
        let mut whole = Vec::new();
        let read = self.stream.read_to_end(&mut whole);
        tokio::time::timeout(PATIENCE, read).await.expect("in time").expect("a body");
        whole
    }

    pub(crate) async fn json(self) -> Value {
        let body = self.body().await;
        serde_json::from_slice(&body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&body)))
    }
}

/// A server-sent event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: Option<String>,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

/// Sends one request on a connection of its own.
pub(crate) async fn send(
    world: &World,
    line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let address = world.suite.http_address().replacen("http://", "", 1);
    let mut stream = TcpStream::connect(&address).await.expect("the gateway");
    let mut head = format!("{line} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).await.expect("sent");
    // A body that is refused from its head is not read to its end.
    let _ = stream.write_all(body).await;
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    let read = async {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.expect("a head");
            if line.trim().is_empty() {
                return;
            }
            lines.push(line.trim().to_owned());
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer in time");
    let status = lines[0].split(' ').nth(1).and_then(|code| code.parse().ok());
    let split = |line: &String| {
        let (name, value) = line.split_once(':').expect("a header");
        (name.to_lowercase(), value.trim().to_owned())
    };
    let headers = lines[1..].iter().map(split).collect();
    Reply { status: status.expect("a status"), headers, stream }
}

/// Calls an RPC by JSON.
pub(crate) async fn call(world: &World, path: &str, token: &str, body: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    send(world, &format!("POST {path}"), &headers, body.as_bytes()).await
}
