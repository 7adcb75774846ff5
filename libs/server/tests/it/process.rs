//! The end of a real process: this test binary as a small server.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use server::drain;
use tonic::codec::Streaming;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::child;
use crate::connections::listen;
use crate::probe::Fixture;

const READY: &str = "listening at ";

#[tokio::test]
async fn sigterm_ends_a_process_in_time_although_streams_are_open() {
    if child::is_child() {
        return serve().await;
    }
    let test = "process::sigterm_ends_a_process_in_time_although_streams_are_open";
    let mut process = Process::start(test);
    let (address, token) = process.ready();
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let channel = channel.connect().await.unwrap();
    let mut watch = open(channel.clone(), "Watch", &token).await;
    let mut chat = open(channel, "Chat", &token).await;
    assert_eq!(watch.message().await.unwrap().as_deref(), Some("first"));
    assert_eq!(chat.message().await.unwrap().as_deref(), Some("hello"));

    let began = Instant::now();
    process.terminate();
    let end = loop {
        match watch.message().await {
            Ok(beat) => assert_eq!(beat.as_deref(), Some("alive at 1")),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unavailable);
    assert_eq!(end.get_details_error_info().unwrap().metadata["resume_token"], "1");
    assert!(chat.message().await.is_err(), "cut off: it takes no notice");
    assert!(process.exited().await, "not with success");
    // 300 ms of grace, a second for what is cut off; the rest is for a busy machine.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

/// What a `main` does.
async fn serve() {
    let mut signals = drain::signals().unwrap();
    let fixture = Fixture::new("drain_grace_ms = 300").await;
    let address = listen(&fixture.endpoint).await;
    println!("{READY}{address} {}", fixture.token(&["probe:read"]));
    signals.next().await;
    let outcome = fixture.server.drain().run(fixture.server.health()).await;
    assert_eq!(outcome, drain::Outcome::Forced);
}

async fn open(channel: Channel, method: &str, token: &str) -> Streaming<String> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = format!("/rapport.probe.v1.ProbeService/{method}").parse().unwrap();
    let codec = ProstCodec::<String, String>::default();
    let hello = "hello".to_owned();
    let answer = if method == "Chat" {
        let said = futures::stream::iter([hello]).chain(futures::stream::pending());
        grpc.streaming(with_token(said, token), path, codec).await
    } else {
        grpc.server_streaming(with_token(hello, token), path, codec).await
    };
    answer.unwrap().into_inner()
}

fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", bearer);
    request
}

/// Killed when a test fails.
struct Process {
    child: Child,
    output: Option<BufReader<ChildStdout>>,
}

impl Process {
    fn start(test: &str) -> Self {
        let mut child = child::command(test).stdout(Stdio::piped()).spawn().unwrap();
        let output = child.stdout.take().map(BufReader::new);
        Self { child, output }
    }

    /// Address and token, from the line that says so.
    fn ready(&mut self) -> (String, String) {
        for line in self.output.as_mut().unwrap().lines() {
            if let Some((_, said)) = line.unwrap().split_once(READY) {
                let (address, token) = said.split_once(' ').unwrap();
                return (address.to_owned(), token.to_owned());
            }
        }
        panic!("the process ended before it was ready");
    }

    fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// True if it exits with success.
    async fn exited(&mut self) -> bool {
        let limit = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(Instant::now() < limit, "the process is still there");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has exited, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
