//! The floors of reads: a server with all layers of the house, the same tokens and the same
//! answer as profile's GetProfile, and behind them nothing – or one SELECT by primary key.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use contracts::profile::v1::GetProfileRequest;
use kernel::{CustomerId, Shard};
use prometheus_client::registry::Registry;
use prost::bytes::Bytes;
use server::layers::metrics::Metrics;
use server::settings::Layer;
use server::token::{Audience, Signer, Verifier};
use server::{Call, Drain, Health, Server, Surface};
use sqlx::PgConnection;
use store::Database;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::server::{NamedService, UnaryService};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use super::wire::Prepared;

/// How to serve a floor.
#[derive(Debug)]
pub struct Door {
    /// The keys of the suite.
    pub keys: PathBuf,
    /// The port on 127.0.0.1.
    pub port: u16,
    /// A file with the encoded answer.
    pub answer: PathBuf,
    /// Read the answer here instead: one SELECT.
    pub database: Option<String>,
    /// Settings of the process.
    pub environment: BTreeMap<String, String>,
}

/// Serves until SIGTERM.
///
/// # Errors
/// When keys, answer, port or database are not there.
pub async fn serve(door: Door) -> anyhow::Result<()> {
    let mut signals = server::drain::signals()?;
    let layer = Layer::env("RAPPORT__", &door.environment).only("server");
    let settings = server::settings::Server::load(&[layer])?;
    let telemetry = server::telemetry::Settings {
        log: "warn".to_owned(),
        format: server::telemetry::Format::Json,
        otlp_endpoint: String::new(),
        sample_ratio: 1.0,
    };
    let _guard = server::telemetry::install("bench-door", &telemetry)?;
    let signer = Signer::from_pem(&fs::read_to_string(door.keys.join("token-signing.pem"))?)?;
    let verifier = Verifier::new([(Audience::Public, signer.public_key())]);
    let drain = Drain::new(CancellationToken::new(), TaskTracker::new(), &settings);
    let health = Health::new();
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let server = Server::new(
        settings,
        contracts::DESCRIPTORS,
        verifier,
        metrics,
        health.clone(),
        drain.clone(),
    )?;
    let database = match &door.database {
        Some(url) => {
            Some(Database::connect(&store::database::Options::new(url, "bench-door")).await?)
        }
        None => None,
    };
    let handler = Handler { answer: fs::read(&door.answer)?.into(), database };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, door.port)).await?;
    server.mount(Routes::new(Mounted(handler)), Surface::Public)?.listen(listener);
    signals.next().await;
    drain.run(&health).await;
    Ok(())
}

const CREATE: &str = "create table if not exists point (tenant_id uuid, shard smallint,
    customer_id uuid, profile bytea not null, primary key (tenant_id, shard, customer_id))";
const FILL: &str = "insert into point select tenant_id, shard, customer_id, $1 from customer
    on conflict do nothing";
const SELECT: &str =
    "select profile from point where tenant_id = $1 and shard = $2 and customer_id = $3";

/// Makes the table that the SELECT reads, with one answer per customer.
pub(crate) async fn prepare(connection: &mut PgConnection, answer: &[u8]) -> anyhow::Result<()> {
    sqlx::query(CREATE).execute(&mut *connection).await?;
    sqlx::query(FILL).bind(answer).execute(&mut *connection).await?;
    sqlx::raw_sql("vacuum analyze point").execute(connection).await?;
    Ok(())
}

#[derive(Debug, Clone)]
struct Handler {
    answer: Bytes,
    database: Option<Database>,
}

impl Handler {
    async fn read(&self, request: Request<GetProfileRequest>) -> Result<Bytes, Status> {
        let call = Call::of(&request)?;
        let id: CustomerId = request
            .get_ref()
            .customer_id
            .parse()
            .map_err(|_| Status::invalid_argument("customer_id"))?;
        let Some(database) = &self.database else { return Ok(self.answer.clone()) };
        let row: Option<Vec<u8>> = sqlx::query_scalar(SELECT)
            .bind(call.tenant().uuid())
            .bind(Shard::of(id.uuid()).number())
            .bind(id.uuid())
            .fetch_optional(database.pool())
            .await
            .map_err(|error| Status::internal(error.to_string()))?;
        row.map(Bytes::from).ok_or_else(|| Status::not_found("no such customer"))
    }
}

type Answering<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl UnaryService<GetProfileRequest> for Handler {
    type Response = Bytes;
    type Future = Answering<Response<Bytes>, Status>;

    fn call(&mut self, request: Request<GetProfileRequest>) -> Self::Future {
        let handler = self.clone();
        Box::pin(async move { handler.read(request).await.map(Response::new) })
    }
}

/// In the place of profile, so that the same rule and the same client apply.
#[derive(Debug, Clone)]
struct Mounted(Handler);

impl NamedService for Mounted {
    const NAME: &'static str = "rapport.profile.v1.ProfileService";
}

impl tower::Service<http::Request<Body>> for Mounted {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let handler = self.0.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(Prepared::<GetProfileRequest>::default());
            Ok(grpc.unary(handler, request).await)
        })
    }
}
