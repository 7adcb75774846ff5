//! Opens one session and closes it: the only sure sign that Postgres serves.
//!
//! Speaks just enough of protocol 3.0 (PostgreSQL documentation, "Message Flow: Start-up")
//! that this crate needs no driver.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const LIMIT: Duration = Duration::from_secs(5);
const PROTOCOL: u32 = 3 << 16;
const LONGEST_MESSAGE: u32 = 64 << 10;

/// Connects as `user` to the database `postgres`; the reason if no session comes about.
pub(super) async fn session(socket: &Path, user: &str) -> Result<(), String> {
    match tokio::time::timeout(LIMIT, open(socket, user)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(error.to_string()),
        Err(_elapsed) => Err("no answer".to_owned()),
    }
}

async fn open(socket: &Path, user: &str) -> io::Result<Result<(), String>> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(&startup_message(user)).await?;
    loop {
        let kind = stream.read_u8().await?;
        let length = stream.read_u32().await?;
        let Some(body_length) = length.checked_sub(4).filter(|body| *body <= LONGEST_MESSAGE)
        else {
            return Ok(Err("not a Postgres server".to_owned()));
        };
        let mut body = vec![0; body_length as usize];
        stream.read_exact(&mut body).await?;
        match kind {
            b'Z' => break,
            b'E' => return Ok(Err(error_text(&body))),
            // Authentication request: 0 is "you are in", anything else wants a password.
            b'R' if body != [0; 4] => return Ok(Err("asks for a password".to_owned())),
            _ => {}
        }
    }
    stream.write_all(&[b'X', 0, 0, 0, 4]).await?;
    Ok(Ok(()))
}

fn startup_message(user: &str) -> Vec<u8> {
    let parameters = format!("user\0{user}\0database\0postgres\0application_name\0probe\0\0");
    let length = u32::try_from(parameters.len() + 8).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(parameters.len() + 8);
    message.extend(length.to_be_bytes());
    message.extend(PROTOCOL.to_be_bytes());
    message.extend(parameters.as_bytes());
    message
}

/// The human-readable field `M` of an error response.
fn error_text(body: &[u8]) -> String {
    body.split(|byte| *byte == 0)
        .find_map(|field| field.strip_prefix(b"M"))
        .map_or_else(|| "refused".to_owned(), |text| String::from_utf8_lossy(text).into_owned())
}
