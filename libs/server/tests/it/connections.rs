//! Sockets that send nothing or too much, and the end of a server.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::StreamExt;
use std::task::Poll;

use server::drain::Outcome;
use server::{Call, Endpoint, Peer, admin, watch};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::codec::Streaming;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tonic_types::StatusExt;

use crate::probe::{Fixture, tenant};
use crate::wire::{call, frame, send};

pub(crate) async fn listen(endpoint: &Endpoint) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    endpoint.listen(listener);
    address
}

/// Until the other side closes; what came before does not matter.
async fn closed(socket: &mut TcpStream) -> bool {
    let mut buffer = Vec::new();
    let read = socket.read_to_end(&mut buffer);
    tokio::time::timeout(Duration::from_secs(5), read).await.is_ok()
}

async fn open_stream(peer: Peer, method: &str) -> Streaming<String> {
    let peer = peer.during(&Call::background(tenant())).without_deadline();
    let mut grpc = tonic::client::Grpc::new(peer);
    grpc.ready().await.unwrap();
    let path = format!("/rapport.probe.v1.ProbeService/{method}").parse().unwrap();
    let codec = ProstCodec::<String, String>::default();
    let greeting = futures::stream::iter(["hello".to_owned()]);
    let silence = futures::StreamExt::chain(greeting, futures::stream::pending());
    let answer = if method == "Chat" {
        grpc.streaming(Request::new(silence), path, codec).await
    } else {
        grpc.server_streaming(Request::new("hello".to_owned()), path, codec).await
    };
    answer.unwrap().into_inner()
}

#[tokio::test]
async fn a_socket_that_sends_no_preface_is_closed() {
    let fixture = Fixture::new("preface_timeout_ms = 100").await;
    let address = listen(&fixture.endpoint).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"PRI * HTTP").await.unwrap();
    assert!(closed(&mut idle).await);
    assert!(closed(&mut half).await);
}

/// Preface and empty settings, then nothing more; with the server's settings by id.
async fn greeted(address: SocketAddr) -> Option<(TcpStream, HashMap<u16, u32>)> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.ok()?;
    let mut head = [0; 9]; // RFC 9113, 4.1: length, type, flags, stream
    socket.read_exact(&mut head).await.ok()?;
    assert_eq!(head[3], 4, "SETTINGS come first");
    let mut settings = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    socket.read_exact(&mut settings).await.unwrap();
    let settings = settings.chunks(6).map(|pair| {
        let (id, value) = pair.split_at(2);
        (u16::from_be_bytes(id.try_into().unwrap()), u32::from_be_bytes(value.try_into().unwrap()))
    });
    Some((socket, settings.collect()))
}

#[tokio::test]
async fn the_limits_of_a_connection_are_advertised() {
    let fixture = Fixture::new("max_concurrent_streams = 7\nmax_header_bytes = 5000").await;
    let address = listen(&fixture.endpoint).await;
    let (_socket, settings) = greeted(address).await.unwrap();
    assert_eq!(settings.get(&3), Some(&7), "MAX_CONCURRENT_STREAMS of {settings:?}");
    assert_eq!(settings.get(&6), Some(&5000), "MAX_HEADER_LIST_SIZE of {settings:?}");
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_closed() {
    let lines = "keepalive_interval_ms = 50\nkeepalive_timeout_ms = 50";
    let fixture = Fixture::new(lines).await;
    let address = listen(&fixture.endpoint).await;
    let (mut silent, _) = greeted(address).await.unwrap();
    // One that answers pings stays, although it asks for nothing either.
    let mut watch = open_stream(fixture.tcp_peer(address), "Chat").await;
    assert_eq!(watch.message().await.unwrap().as_deref(), Some("hello"));
    assert!(closed(&mut silent).await);
    let still_open = tokio::time::timeout(Duration::from_millis(300), watch.message()).await;
    assert!(still_open.is_err(), "{still_open:?}");
}

#[tokio::test]
async fn one_peer_does_not_get_all_connections() {
    let fixture = Fixture::new("max_connections_per_peer = 2").await;
    let address = listen(&fixture.endpoint).await;
    let _held = [greeted(address).await.unwrap(), greeted(address).await.unwrap()];
    assert!(greeted(address).await.is_none());
}

#[tokio::test]
async fn connections_are_limited_together_and_a_closed_one_makes_room() {
    let fixture = Fixture::new("max_connections = 2").await;
    let address = listen(&fixture.endpoint).await;
    let (first, second) = (greeted(address).await.unwrap(), greeted(address).await.unwrap());
    assert!(greeted(address).await.is_none());
    drop(first);
    let limit = Instant::now() + Duration::from_secs(10);
    while greeted(address).await.is_none() {
        assert!(Instant::now() < limit, "the place is not free again");
    }
    drop(second);
}

#[tokio::test]
async fn a_header_of_20_kib_is_refused() {
    let fixture = Fixture::new("").await;
    let large = "x".repeat(20 * 1024);
    let answer = send(&fixture.endpoint, "Open", &[("x-large", &large)], frame("x")).await;
    assert_eq!(answer.http, http::StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn a_watch_beats_and_ends_with_the_position_to_resume_from() {
    let fixture = Fixture::new("").await;
    let mut stream = open_stream(fixture.peer(), "Watch").await;
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("first"));
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("alive at 1"));
    let (drain, health) = (fixture.server.drain().clone(), fixture.server.health().clone());
    let draining = tokio::spawn(async move { drain.run(&health).await });
    let end = loop {
        match stream.message().await {
            Ok(Some(beat)) => assert_eq!(beat, "alive at 1"),
            Ok(None) => panic!("a watch ends with a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::Unavailable);
    assert_eq!(end.get_details_error_info().unwrap().metadata["resume_token"], "1");
    assert_eq!(draining.await.unwrap(), Outcome::Clean);
}

#[tokio::test]
async fn a_watch_that_is_not_read_ends_with_the_position_that_was() {
    let fixture = Fixture::new("").await;
    let options = watch::Options {
        buffer: 2,
        patience: Duration::from_millis(20),
        ..watch::Options::default()
    };
    let item = |n: u64| Ok(watch::Item { resume_token: n.to_string(), message: n });
    let source = futures::stream::iter((1..).map(item));
    let drain = fixture.server.drain();
    let call = Call::background(tenant());
    let watch = watch::stream(&call, drain, options, "0".to_owned(), source, |_| 0);
    let tasks = drain.tracker();
    crate::wire::eventually("patience ends", || tasks.is_empty()).await;
    let mut items: Vec<Result<u64, Status>> = watch.collect().await;
    let end = items.pop().unwrap().unwrap_err();
    assert_eq!(items.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(end.code(), Code::ResourceExhausted);
    assert_eq!(end.get_details_error_info().unwrap().metadata["resume_token"], "2");
}

#[tokio::test]
async fn a_watch_whose_source_hears_of_the_drain_first_can_be_resumed_too() {
    for _ in 0..16 {
        let fixture = Fixture::new("").await;
        let drain = fixture.server.drain();
        let stop = drain.token();
        let failing = futures::stream::once(async move {
            stop.cancelled().await;
            Err::<watch::Item<u64>, _>(Status::unavailable("the log is read no more"))
        });
        let item = Ok(watch::Item { resume_token: "1".to_owned(), message: 1 });
        let source = futures::stream::iter([item]).chain(failing);
        let call = Call::background(tenant());
        let options = watch::Options::default();
        let mut watch = watch::stream(&call, drain, options, "0".to_owned(), source, |_| 0);
        assert_eq!(watch.next().await.unwrap().unwrap(), 1);
        drain.run(fixture.server.health()).await;
        let end = watch.next().await.unwrap().unwrap_err();
        assert_eq!(end.code(), Code::Unavailable);
        assert_eq!(end.get_details_error_info().unwrap().metadata["resume_token"], "1");
    }
}

#[tokio::test]
async fn a_watch_whose_source_panics_does_not_look_like_one_at_its_end() {
    let fixture = Fixture::new("").await;
    let call = Call::background(tenant());
    let item = Ok(watch::Item { resume_token: "1".to_owned(), message: 1 });
    for panics in [false, true] {
        let rest = futures::stream::poll_fn(move |_| {
            assert!(!panics, "row of ada@example.com is damaged");
            Poll::Ready(None)
        });
        let source = futures::stream::iter([item.clone()]).chain(rest);
        let options = watch::Options::default();
        let drain = fixture.server.drain();
        let watch = watch::stream(&call, drain, options, "0".to_owned(), source, |_| 0);
        let codes: Vec<Code> =
            watch.map(|item| item.err().map_or(Code::Ok, |e| e.code())).collect().await;
        let expected: &[Code] = if panics { &[Code::Ok, Code::Internal] } else { &[Code::Ok] };
        assert_eq!(codes, expected);
    }
}

#[tokio::test]
async fn a_watch_of_grpcs_own_health_does_not_hold_the_drain() {
    let fixture = Fixture::new("").await;
    let address = listen(&fixture.endpoint).await;
    let channel = fixture.tcp_peer(address);
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.without_deadline());
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    assert_eq!(fixture.server.drain().run(fixture.server.health()).await, Outcome::Clean);
    let last = watch.message().await.unwrap().unwrap();
    assert_eq!(last.status, i32::from(tonic_health::ServingStatus::NotServing as u8));
    assert_eq!(watch.message().await.unwrap_err().code(), Code::Unavailable);
}

/// Whoever asks for liveness restarts what does not answer SERVING.
#[tokio::test]
async fn liveness_serves_from_the_start_to_the_end_of_a_drain() {
    let fixture = Fixture::new("").await;
    let address = listen(&fixture.endpoint).await;
    let mut client = tonic_health::pb::health_client::HealthClient::new(fixture.tcp_peer(address));
    let mut ask = async |service: &str| {
        let request = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        let answer = client.check(request).await.map(tonic::Response::into_inner);
        answer.map(|answer| answer.status())
    };
    let health = fixture.server.health();
    health.set("a", false).await;
    use tonic_health::pb::health_check_response::ServingStatus::{NotServing, Serving};
    assert_eq!(ask("").await.unwrap(), NotServing, "a declared service does not serve yet");
    assert_eq!(ask(server::health::LIVENESS).await.unwrap(), Serving);
    health.set("a", true).await;
    assert_eq!(ask("").await.unwrap(), Serving);
    health.drain().await;
    assert_eq!(ask("").await.unwrap(), NotServing);
    assert_eq!(ask("a").await.unwrap(), NotServing);
    assert_eq!(ask(server::health::LIVENESS).await.unwrap(), Serving);
}

#[tokio::test]
async fn a_drain_lets_calls_finish_and_refuses_new_connections() {
    let fixture = Fixture::new("").await;
    let address = listen(&fixture.endpoint).await;
    let token = fixture.token(&["probe:write"]);
    let endpoint = fixture.endpoint.clone();
    let at_work = tokio::spawn(async move { call(&endpoint, "Work", &token, frame("300")).await });
    let started = &fixture.probe.started;
    crate::wire::eventually("one is at work", || {
        started.load(std::sync::atomic::Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(fixture.server.drain().run(fixture.server.health()).await, Outcome::Clean);
    assert_eq!(at_work.await.unwrap().code(), Code::Ok);
    assert!(TcpStream::connect(address).await.is_err());
    assert!(fixture.endpoint.memory().connect().is_err());
}

#[tokio::test]
async fn a_stream_that_ignores_the_drain_does_not_hold_the_exit() {
    let fixture = Fixture::new("drain_grace_ms = 200").await;
    let address = listen(&fixture.endpoint).await;
    let mut chat = open_stream(fixture.tcp_peer(address), "Chat").await;
    assert_eq!(chat.message().await.unwrap().as_deref(), Some("hello"));
    let began = Instant::now();
    assert_eq!(fixture.server.drain().run(fixture.server.health()).await, Outcome::Forced);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert!(chat.message().await.is_err());
}

#[tokio::test]
async fn an_old_connection_ends_its_watches_with_a_token() {
    let fixture = Fixture::new("connection_age_ms = 100").await;
    let address = listen(&fixture.endpoint).await;
    let mut stream = open_stream(fixture.tcp_peer(address), "Watch").await;
    let end = loop {
        if let Err(status) = stream.message().await {
            break status;
        }
    };
    assert_eq!(end.code(), Code::Unavailable);
    assert_eq!(end.get_details_error_info().unwrap().metadata["resume_token"], "1");
}

#[tokio::test]
async fn the_admin_port_tells_readiness_and_metrics() {
    let fixture = Fixture::new("").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let health = fixture.server.health();
    let router = admin::router(fixture.registry.clone(), health.clone());
    admin::listen(listener, router, fixture.server.drain());
    let get = async |path: &str| {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        text
    };
    assert!(get("/readyz").await.starts_with("HTTP/1.1 200"));
    health.set("rapport.late.v1.LateService", false).await;
    assert!(get("/readyz").await.starts_with("HTTP/1.1 503"));
    health.set("rapport.late.v1.LateService", true).await;
    assert!(get("/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get("/metrics").await.contains("rpc_server_calls_in_flight 0"));
    health.drain().await;
    assert!(get("/readyz").await.starts_with("HTTP/1.1 503"));
    assert!(get("/livez").await.starts_with("HTTP/1.1 200"));
}
