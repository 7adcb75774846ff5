//! A gateway, what stands behind it, and a client of plain HTTP/1.1.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contracts::common::v1::Identifier;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use contracts::profile::v1::{Event, EventType, GetProfileRequest, IngestEventsRequest, Profile};
use kernel::TenantId;
use server::Peer;
use server::client::{Endpoint, Later};
use server::settings::Layer;
use testkit::{House, TestDatabase};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) house: House,
    pub(crate) address: SocketAddr,
    pub(crate) tenant: TenantId,
    profile: Option<Endpoint>,
    _clones: Vec<TestDatabase>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl World {
    /// With the real services.
    pub(crate) async fn new() -> Self {
        let mut house = House::new(contracts::DESCRIPTORS).unwrap();
        let (identity_clone, database) =
            house.database("identity", identity::MIGRATIONS).await.unwrap();
        let deps = identity::Deps {
            database,
            keys: house.keys.clone(),
            cache: house.cache().await.unwrap(),
            drain: house.drain.clone(),
        };
        let config = identity::Config::load(&[]).unwrap();
        let service = identity::build(config, deps, &mut house.registry).await.unwrap();
        let identity = house.serve(service.own).unwrap();

        let (profile_clone, database) =
            house.database("profile", profile::MIGRATIONS).await.unwrap();
        let peers =
            profile::Peers { identity: Peer::new(identity, house.internal_tokens("profile")) };
        let deps = profile::Deps {
            database,
            keys: house.keys.clone(),
            cache: house.cache().await.unwrap(),
            drain: house.drain.clone(),
            peers,
        };
        let config = profile::Config::load(&[]).unwrap();
        let service = profile::build(config, deps, &mut house.registry).await.unwrap();
        let profile = house.serve(service.own).unwrap();
        Self::before(house, Some(profile), "", vec![identity_clone, profile_clone]).await
    }

    /// The profile of a user, found by an event that only asks who it is.
    pub(crate) async fn profile_of(&self, user: &str) -> Profile {
        let identifier = Identifier { namespace: "user_id".to_owned(), value: user.to_owned() };
        let event = Event {
            message_id: "who".to_owned(),
            r#type: EventType::Identify.into(),
            identifiers: vec![identifier],
            ..Event::default()
        };
        let mut profiles = self.profiles();
        let request = IngestEventsRequest { events: vec![event] };
        let mut results = profiles.ingest_events(request).await.unwrap().into_inner().results;
        let customer_id = results.remove(0).customer_id;
        let request = GetProfileRequest { customer_id, ..Default::default() };
        profiles.get_profile(request).await.unwrap().into_inner().profile.unwrap()
    }

    /// With nothing behind it, and these lines in `[gateway]`.
    pub(crate) async fn alone(lines: &str) -> Self {
        let house = House::new(contracts::DESCRIPTORS).unwrap();
        Self::before(house, None, lines, Vec::new()).await
    }

    async fn before(
        mut house: House,
        profile: Option<Endpoint>,
        lines: &str,
        clones: Vec<TestDatabase>,
    ) -> Self {
        let endpoint = profile.clone().unwrap_or_else(|| Endpoint::Later(Later::default()));
        let peer = |at: Endpoint| Peer::new(at, house.internal_tokens("gateway"));
        let away = || peer(Endpoint::Later(Later::default()));
        let deps = gateway::Deps {
            verifier: house.verifier(),
            signer: house.signer(),
            drain: house.drain.clone(),
            peers: gateway::Peers {
                identity: away(),
                profile: peer(endpoint),
                scoring: away(),
                routing: away(),
                feedback: away(),
            },
        };
        let layer = Layer::toml("test", format!("[gateway]\n{lines}"));
        let config = gateway::Config::load(&[layer]).unwrap();
        let gateway = gateway::build(config, deps, &mut house.registry).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        gateway.listen(listener);
        let tenant = TenantId::new(Uuid::new_v4());
        Self { house, address, tenant, profile, _clones: clones }
    }

    pub(crate) fn key(&self) -> String {
        self.house.token(self.tenant, &["profile:ingest"]).unwrap()
    }

    pub(crate) fn profiles(&self) -> ProfileServiceClient<Peer> {
        let endpoint = self.profile.as_ref().unwrap();
        ProfileServiceClient::new(self.house.peer(endpoint, self.tenant))
    }

    /// A batch as analytics-node sends it.
    pub(crate) async fn send(&self, body: &str) -> Answer {
        self.post(&[&basic(&self.key()), "Content-Type: application/json"], body.as_bytes()).await
    }

    pub(crate) async fn post(&self, headers: &[&str], body: &[u8]) -> Answer {
        self.post_to("/v1/batch", headers, body).await
    }

    pub(crate) async fn post_to(&self, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let head = format!("POST {path} HTTP/1.1\r\nContent-Length: {}", body.len());
        self.request(&head, headers, body).await
    }

    pub(crate) async fn request(&self, head: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let mut text = format!("{head}\r\nHost: test\r\nConnection: close\r\n");
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        // A body that is refused from its head is not read to the end.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap();
        drop(read);
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_lowercase(), body: body.to_owned() }
    }
}

pub(crate) fn basic(key: &str) -> String {
    format!("Authorization: Basic {}", STANDARD.encode(format!("{key}:")))
}
