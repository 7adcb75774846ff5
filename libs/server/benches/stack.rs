//! What the layers cost: CPU of a call through the whole stack beside the same call to bare
//! tonic, taken by turns in one process. Client and server are in it both times, so the
//! difference is the layers'. Goal: at most 12 µs. `cargo bench -p server --profile dist`
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a bench")]

#[expect(dead_code, reason = "shared with the tests, which use all of it")]
#[path = "../tests/it/probe.rs"]
mod probe;

use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::time::{ClockId, clock_gettime};
use server::{settings, telemetry};
use tokio::io::DuplexStream;
use tonic::Request;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;
use tower::ServiceExt;

use probe::Fixture;

const ROUNDS: usize = 25;
const CALLS: usize = 800;
const AT_ONCE: usize = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let fixture = Fixture::untraced("rate_per_second = 1000000\nrate_burst = 1000000000").await;
    let token = format!("Bearer {}", fixture.token(&["probe:read"]));
    let (client, server) = tokio::io::duplex(256 * 1024);
    tokio::spawn(serve_bare(fixture.probe.clone(), server));
    let bare = channel(client).await;
    let full = channel(fixture.endpoint.memory().connect().unwrap()).await;

    println!("CPU per call, client and server together; median of {ROUNDS} rounds of {CALLS}");
    report("no subscriber", &bare, &full, &token).await;
    let settings = telemetry_settings();
    let guard = telemetry::install("bench", &settings).unwrap();
    report("logs and trace ids", &bare, &full, &token).await;
    guard.flush();
}

async fn report(what: &str, bare: &Channel, full: &Channel, token: &str) {
    round(bare, token).await;
    round(full, token).await;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(round(bare, token).await);
        with.push(round(full, token).await);
    }
    let (without, with) = (median(without), median(with));
    println!(
        "{what:20} bare {without:6.2} µs, full {with:6.2} µs, layers {:+6.2} µs",
        with - without
    );
}

/// Microseconds of CPU per call.
async fn round(channel: &Channel, token: &str) -> f64 {
    let before = cpu();
    let callers = (0..AT_ONCE).map(|_| async {
        for _ in 0..CALLS / AT_ONCE {
            echo(channel.clone(), token).await;
        }
    });
    futures::future::join_all(callers).await;
    (cpu() - before).as_secs_f64() * 1e6 / CALLS as f64
}

async fn echo(channel: Channel, token: &str) {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/rapport.probe.v1.ProbeService/Echo");
    let mut request = Request::new("hello".to_owned());
    request.metadata_mut().insert("authorization", token.parse().unwrap());
    let codec = ProstCodec::<String, String>::default();
    assert_eq!(grpc.unary(request, path, codec).await.unwrap().into_inner(), "hello");
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn channel(io: DuplexStream) -> Channel {
    let mut io = Some(TokioIo::new(io));
    let connect = tower::service_fn(move |_: http::Uri| {
        let io = io.take().ok_or(std::io::ErrorKind::ConnectionRefused);
        async move { Ok::<_, std::io::Error>(io?) }
    });
    let uri = http::Uri::from_static("http://memory");
    Channel::builder(uri).connect_with_connector(connect).await.unwrap()
}

/// As the listener does, without the layers.
async fn serve_bare(probe: probe::Probe, io: DuplexStream) {
    let service = Routes::new(probe)
        .prepare()
        .map_request(|request: http::Request<Incoming>| request.map(Body::new));
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
    let _ = served.await;
}

fn telemetry_settings() -> telemetry::Settings {
    #[derive(serde::Deserialize)]
    struct Whole {
        telemetry: telemetry::Settings,
    }
    settings::load::<Whole>(telemetry::DEFAULTS, &[]).unwrap().telemetry
}
