//! `rapport serve`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;
use prometheus_client::registry::Registry;
use server::client::Endpoint;
use server::layers::metrics::Metrics;
use server::settings::Layer;
use server::{Drain, Health, Peer, Server, Surface, admin, drain};
use store::{Cache, Database};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::settings::Settings;
use crate::suite::{Keys, SERVICES, private, section, service_name};

/// What can be served alone.
const SERVABLE: [&str; 6] =
    [SERVICES[0], SERVICES[1], SERVICES[2], SERVICES[3], SERVICES[4], gateway::NAME];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Which one.
    #[arg(value_parser = SERVABLE)]
    service: String,
}

/// What a service that is served alone is built with.
struct Alone<'a> {
    layers: &'a [Layer],
    settings: &'a Settings,
    keys: &'a Keys,
    drain: &'a Drain,
}

pub(super) async fn run(arguments: Arguments, layers: Vec<Layer>) -> anyhow::Result<()> {
    // Settings first: nothing is bound before they are known to be good.
    let settings = crate::settings::load(&layers)?;
    let server_settings = server::settings::Server::load(&section(&layers, "server"))?;
    let service = arguments.service.as_str();
    let mut signals = drain::signals()?;
    let guard = server::telemetry::install(&format!("rapport-{service}"), &settings.telemetry)?;
    let keys = Keys::load(Path::new(&settings.keys.directory))?;
    let drain = Drain::new(CancellationToken::new(), TaskTracker::new(), &server_settings);
    let health = Health::new();
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);

    let alone = Alone { layers: &layers, settings: &settings, keys: &keys, drain: &drain };
    if service == gateway::NAME {
        let listener = bind(&settings.listen.http).await?;
        alone.gateway(&mut registry)?.listen(listener);
    } else {
        let listener = bind(&settings.listen.rpc).await?;
        let routes = alone.build(service, &mut registry).await?;
        let server = Server::new(
            server_settings,
            contracts::DESCRIPTORS,
            keys.verifier(),
            metrics,
            health.clone(),
            drain.clone(),
        )?;
        server.mount(routes, Surface::All)?.listen(listener);
        health.set(&service_name(service), true).await;
    }
    let listener = bind(&settings.listen.admin).await?;
    admin::listen(listener, admin::router(Arc::new(registry), health.clone()), &drain);

    signals.next().await;
    tokio::select! {
        _ = drain.run(&health) => {}
        () = signals.next() => {}
    }
    let _ = tokio::task::spawn_blocking(move || guard.flush()).await;
    Ok(())
}

async fn bind(address: &str) -> anyhow::Result<TcpListener> {
    let address: SocketAddr = address
        .parse()
        .with_context(|| format!("{address} is no address: expected e.g. 0.0.0.0:7400"))?;
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("{address} cannot be bound"))?;
    tracing::info!(event = "listening", address = %listener.local_addr()?);
    Ok(listener)
}

impl Alone<'_> {
    fn peer(&self, to: &str, from: &str) -> anyhow::Result<Peer> {
        let address =
            self.settings.peers.get(to).with_context(|| format!("peers.{to} is not set"))?;
        let uri = address
            .parse()
            .with_context(|| format!("peers.{to} is no address: expected http://host:port"))?;
        Ok(Peer::new(Endpoint::Tcp(uri), self.keys.internal_tokens(from)))
    }

    async fn database(&self, service: &str) -> anyhow::Result<Database> {
        if self.settings.database.url.is_empty() {
            bail!("no database: set database.url (RAPPORT__DATABASE__URL or a secret file)");
        }
        let mut options = store::database::Options::new(
            &self.settings.database.url,
            format!("rapport-{service}"),
        );
        options.max_connections = self.settings.database.max_connections;
        let database = Database::connect(&options).await?;
        store::migrate::check(&database, private::migrations(service))
            .await
            .with_context(|| format!("run `rapport migrate {service}` first"))?;
        Ok(database)
    }

    fn cache(&self, service: &str) -> anyhow::Result<Cache> {
        if self.settings.redis.url.is_empty() {
            return Ok(Cache::disabled());
        }
        Ok(Cache::new(&self.settings.redis.url, format!("rapport:{service}:"))?)
    }

    fn gateway(&self, registry: &mut Registry) -> anyhow::Result<gateway::Gateway> {
        let config = gateway::Config::load(&section(self.layers, gateway::NAME))?;
        let peer = |to: &str| self.peer(to, gateway::NAME);
        let peers = gateway::Peers {
            identity: peer("identity")?,
            profile: peer("profile")?,
            scoring: peer("scoring")?,
            routing: peer("routing")?,
            feedback: peer("feedback")?,
        };
        let deps = gateway::Deps {
            verifier: self.keys.verifier(),
            signer: self.keys.signer.clone(),
            drain: self.drain.clone(),
            peers,
        };
        // Under the names that `up` gives.
        let registry = registry.sub_registry_with_prefix(gateway::NAME);
        Ok(gateway::build(config, deps, registry)?)
    }

    async fn build(&self, service: &str, registry: &mut Registry) -> anyhow::Result<Routes> {
        macro_rules! built {
            ($name:ident, $($peers:tt)*) => {{
                let deps = $name::Deps {
                    database: self.database(service).await?,
                    keys: Arc::clone(&self.keys.ring),
                    cache: self.cache(service)?,
                    drain: self.drain.clone(),
                    $($peers)*
                };
                deps.database.register(registry);
                let config = $name::Config::load(&section(self.layers, service))?;
                $name::build(config, deps, registry).await?.own
            }};
        }
        let peer = |to: &str| self.peer(to, service);
        Ok(match service {
            "identity" => built!(identity,),
            "profile" => {
                built!(profile, peers: profile::Peers { identity: peer("identity")? })
            }
            "scoring" => built!(scoring, peers: scoring::Peers {
                profile: peer("profile")?,
                feedback: peer("feedback")?,
            }),
            "routing" => built!(routing, peers: routing::Peers { scoring: peer("scoring")? }),
            "feedback" => built!(feedback, peers: feedback::Peers { routing: peer("routing")? }),
            other => bail!("unknown service {other}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gateway_alone_names_its_metrics_as_the_suite_does() {
        let name = format!("rapport-serve-{}", uuid::Uuid::new_v4().simple());
        let directory = std::env::temp_dir().join(name);
        let keys = Keys::load_or_generate(&directory).expect("keys");
        std::fs::remove_dir_all(&directory).expect("its own directory");
        let settings = crate::settings::load(&[]).expect("defaults");
        let server_settings = server::settings::Server::load(&[]).expect("defaults");
        let drain = Drain::new(CancellationToken::new(), TaskTracker::new(), &server_settings);
        let alone = Alone { layers: &[], settings: &settings, keys: &keys, drain: &drain };
        let mut registry = Registry::default();
        alone.gateway(&mut registry).expect("a gateway");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        assert!(text.contains("gateway_key_mismatches_total 0"), "{text}");
    }
}
