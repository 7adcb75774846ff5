//! Puts the services together: build each, mount it, connect them, listen.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use server::client::{Endpoint, Later};
use server::layers::metrics::Metrics;
use server::{Drain, Health, Peer, Server, Surface, admin, settings};
use store::{Cache, Database};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use super::{Keys, Options, SERVICES, Suite};

/// One database per service.
#[derive(Debug, Clone)]
pub struct Databases {
    identity: Database,
    profile: Database,
    scoring: Database,
    routing: Database,
    feedback: Database,
}

impl Databases {
    /// In the order of [`SERVICES`].
    ///
    /// # Errors
    /// When there are not five.
    pub fn from_five(databases: Vec<Database>) -> anyhow::Result<Self> {
        let databases: [Database; 5] = databases.try_into().map_err(|wrong: Vec<Database>| {
            anyhow::anyhow!("{} databases, not five", wrong.len())
        })?;
        let [identity, profile, scoring, routing, feedback] = databases;
        Ok(Self { identity, profile, scoring, routing, feedback })
    }
}

/// Sockets that are bound before anything is built, so that a taken port is an early error.
#[derive(Debug)]
pub struct Listeners {
    rpc: TcpListener,
    http: TcpListener,
    admin: TcpListener,
}

impl Listeners {
    /// Binds them on 127.0.0.1.
    ///
    /// # Errors
    /// Names the port that is taken.
    pub async fn bind(options: &Options) -> anyhow::Result<Self> {
        let bind = async |port: u16, what: &str| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            TcpListener::bind(address).await.with_context(|| {
                format!("port {port} for {what} is taken: choose another one with --{what}-port")
            })
        };
        Ok(Self {
            rpc: bind(options.rpc_port, "rpc").await?,
            http: bind(options.http_port, "http").await?,
            admin: bind(options.admin_port, "admin").await?,
        })
    }
}

/// Builds and starts everything on the given databases.
///
/// # Errors
/// When settings are wrong or a service cannot be built.
pub async fn assemble(
    options: &Options,
    keys: Keys,
    databases: Databases,
    caches: impl Fn(&str) -> anyhow::Result<Cache>,
    listeners: Listeners,
) -> anyhow::Result<Suite> {
    assemble_with(options, keys, databases, caches, listeners, |_| {}).await
}

/// As [`assemble`], with more metrics than the services have.
pub(super) async fn assemble_with(
    options: &Options,
    keys: Keys,
    databases: Databases,
    caches: impl Fn(&str) -> anyhow::Result<Cache>,
    listeners: Listeners,
    register: impl FnOnce(&mut Registry),
) -> anyhow::Result<Suite> {
    let layers = &options.layers;
    let settings = settings::Server::load(&section(layers, "server"))?;
    let drain = Drain::new(CancellationToken::new(), TaskTracker::new(), &settings);
    let health = Health::new();
    let mut registry = Registry::default();
    register(&mut registry);
    let metrics = Metrics::register(&mut registry);
    let server = Server::new(
        settings,
        contracts::DESCRIPTORS,
        keys.verifier(),
        metrics,
        health.clone(),
        drain.clone(),
    )?;

    let wiring = Wiring { keys: &keys, drain: &drain, registry: &mut registry, caches: &caches };
    let public = build_all(layers, wiring, databases, &server).await?;
    let public = server.mount(public, Surface::Public)?;

    let rpc = listeners.rpc.local_addr()?;
    public.listen(listeners.rpc);
    let http = listeners.http.local_addr()?;
    let config = gateway::Config::load(&section(layers, gateway::NAME))?;
    let deps = gateway::Deps {
        verifier: keys.verifier(),
        signer: keys.signer.clone(),
        drain: drain.clone(),
        peers: gateway_peers(&public, &keys),
    };
    gateway::build(config, deps, registry.sub_registry_with_prefix("gateway"))?
        .listen(listeners.http);
    for service in SERVICES {
        health.set(service_name(service).as_str(), true).await;
    }
    let admin = listeners.admin.local_addr()?;
    admin::listen(listeners.admin, admin::router(Arc::new(registry), health.clone()), &drain);
    Ok(Suite { keys, drain, health, rpc, http, admin })
}

/// The health entry of a service.
pub(crate) fn service_name(service: &str) -> String {
    let mut letters = service.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let capitalised: String = first.into_iter().chain(letters).collect();
    format!("rapport.{service}.v1.{capitalised}Service")
}

/// Settings of one table: each service checks its own.
pub(crate) fn section(layers: &[settings::Layer], table: &str) -> Vec<settings::Layer> {
    layers.iter().map(|layer| layer.only(table)).collect()
}

/// What every service is built with.
struct Wiring<'a, C> {
    keys: &'a Keys,
    drain: &'a Drain,
    registry: &'a mut Registry,
    caches: &'a C,
}

/// The gateway sees what callers from outside see, and calls it without a connection: its
/// own callers have one already.
fn gateway_peers(public: &server::Endpoint, keys: &Keys) -> gateway::Peers {
    let peer = || {
        let endpoint = Endpoint::Direct(public.clone());
        Peer::new(endpoint, keys.internal_tokens(gateway::NAME))
    };
    gateway::Peers {
        identity: peer(),
        profile: peer(),
        scoring: peer(),
        routing: peer(),
        feedback: peer(),
    }
}

/// Builds the services and connects them in a circle: identity → profile → scoring →
/// routing → feedback → scoring. Answers the routes of the public port.
async fn build_all<C: Fn(&str) -> anyhow::Result<Cache>>(
    layers: &[settings::Layer],
    mut wiring: Wiring<'_, C>,
    databases: Databases,
    server: &Server,
) -> anyhow::Result<Routes> {
    let later: [Later; 5] = Default::default();
    let [identity_at, profile_at, scoring_at, routing_at, feedback_at] = later.clone();
    let tokens = wiring.keys.clone();
    let peer = |at: &Later, from: &str| {
        Peer::new(Endpoint::Later(at.clone()), tokens.internal_tokens(from))
    };

    macro_rules! service {
        ($name:ident, $($peers:tt)*) => {{
            let deps = $name::Deps {
                database: databases.$name.clone(),
                keys: Arc::clone(&wiring.keys.ring),
                cache: (wiring.caches)($name::NAME)?,
                drain: wiring.drain.clone(),
                $($peers)*
            };
            let config = $name::Config::load(&section(layers, $name::NAME))?;
            let registry = wiring.labelled($name::NAME);
            deps.database.register(registry);
            $name::build(config, deps, registry)
                .await
                .with_context(|| format!("building {}", $name::NAME))?
        }};
    }
    let identity = service!(identity,);
    let profile =
        service!(profile, peers: profile::Peers { identity: peer(&identity_at, "profile") });
    let scoring = service!(scoring, peers: scoring::Peers {
        profile: peer(&profile_at, "scoring"),
        feedback: peer(&feedback_at, "scoring"),
    });
    let routing =
        service!(routing, peers: routing::Peers { scoring: peer(&scoring_at, "routing") });
    let feedback =
        service!(feedback, peers: feedback::Peers { routing: peer(&routing_at, "feedback") });

    let built = [
        (identity.public, identity.own),
        (profile.public, profile.own),
        (scoring.public, scoring.own),
        (routing.public, routing.own),
        (feedback.public, feedback.own),
    ];
    let mut router = axum::Router::new();
    for ((routes, own), at) in built.into_iter().zip(&later) {
        at.set(server.mount(own, Surface::All)?.memory());
        // Each has a fallback of its own; authorisation refuses what is in no table.
        router = router.merge(routes.into_axum_router().reset_fallback());
    }
    Ok(Routes::from(router))
}

impl<C> Wiring<'_, C> {
    /// The metrics of a service carry its name.
    fn labelled(&mut self, service: &'static str) -> &mut Registry {
        self.registry.sub_registry_with_label(("service".into(), service.into()))
    }
}
