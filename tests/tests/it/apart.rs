//! The six processes of a cluster, apart from each other, with the arguments, files and settings
//! that `k8s/base` gives them and with exactly the connections that its network policies allow.
//! Each "pod" has a loopback address of its own, so all listen on the ports of the manifests.

mod manifests;

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use contracts::common::v1::Identifier;
use contracts::identity::v1 as identity;
use contracts::routing::v1 as routing;
use contracts::scoring::v1 as scoring;
use kernel::TenantId;
use rapport::client::Client;
use rapport::suite::{ALL_SCOPES, Keys, SERVICES};
use rustix::process::{Pid, Signal, kill_process};
use server::health::LIVENESS;
use server::token::{Audience, Grant};
use testkit::{Stack, TestDatabase, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use uuid::Uuid;

use crate::world::{identifier, pool, tenant};
use manifests::Container;

/// Six debug programs start on a machine that builds and tests beside.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is left of terminationGracePeriodSeconds after preStop.
const GRACE: Duration = Duration::from_secs(45 - 8);

const GATEWAY: &str = "gateway";

/// What each consumer follows: the edges at which nobody else would notice a closed door.
const FOLLOWED: [(&str, &str); 5] = [
    ("profile", "profile.identity"),
    ("scoring", "scoring.profile"),
    ("scoring", "scoring.feedback"),
    ("routing", "routing.scoring"),
    ("feedback", "feedback.routing"),
];

const CARD: &str = r#"
kind: Scorecard
name: interest
rules:
  - {name: looked, when: 'events["Pricing Viewed"].last_30_days > 0', points: 70}
thresholds:
  - {name: hot, value: 60}
"#;
const HANDS: &str = r#"
kind: Team
name: sales
working_hours:
  time_zone: UTC
  intervals: [{weekdays: [1, 2, 3, 4, 5, 6, 7], start: "00:00", end: "24:00"}]
---
kind: RoutingPolicy
name: default
triggers: [{scorer: interest, threshold: hot, demand_kind: lead}]
"#;

/// One process with what is mounted into it.
struct Pod {
    service: &'static str,
    address: Ipv4Addr,
    child: Child,
    log: PathBuf,
    liveness: Option<String>,
}

/// All of them; the directory goes with it.
struct Cluster {
    directory: PathBuf,
    network: [u8; 2],
    keys: Keys,
    pods: Vec<Pod>,
    _databases: Vec<TestDatabase>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _absent_is_fine = fs::remove_dir_all(&self.directory);
    }
}

fn rapport() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_suite"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end, as the migration Job does.
async fn run(args: &[&str]) {
    let output = rapport().args(args).output().await.expect("started");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn secret(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, Permissions::from_mode(0o400)).expect("closed");
}

impl Cluster {
    async fn start() -> Self {
        let id = *Uuid::new_v4().as_bytes();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let directory = target.join(format!("apart-{}", Uuid::from_bytes(id).simple()));
        let keys = directory.join("keys");
        fs::create_dir_all(&directory).expect("a directory");
        run(&["keys", path_text(&keys)]).await;
        let mut cluster = Self {
            // Never 127.0.x: that is where everything else of this machine listens.
            network: [id[0] | 1, id[1]],
            keys: Keys::load(&keys).expect("keys"),
            directory,
            pods: Vec::new(),
            _databases: Vec::new(),
        };
        cluster.secrets().await;
        for service in SERVICES.into_iter().chain([GATEWAY]) {
            let pod = cluster.pod(service);
            cluster.pods.push(pod);
        }
        cluster
    }

    /// The secrets of each service, and its database brought to the newest version.
    async fn secrets(&mut self) {
        let stack = Stack::get().await;
        for service in SERVICES {
            let empty = stack.database("apart", "", async |_| anyhow::Ok(())).await;
            let database = empty.expect("a database");
            let directory = self.directory.join(format!("secrets-{service}"));
            fs::create_dir(&directory).expect("a directory");
            secret(&directory.join("database.url"), database.url());
            secret(&directory.join("redis.url"), stack.redis().url());
            run(&["migrate", service, "--secrets", path_text(&directory)]).await;
            self._databases.push(database);
        }
        fs::create_dir(self.directory.join(format!("secrets-{GATEWAY}"))).expect("a directory");
    }

    fn address(&self, service: &str) -> Ipv4Addr {
        let all = SERVICES.into_iter().chain([GATEWAY]);
        let place = all.zip(10_u8..).find(|(name, _)| *name == service).expect("a service").1;
        Ipv4Addr::new(127, self.network[0], self.network[1], place)
    }

    /// Starts one as its Deployment says.
    fn pod(&self, service: &'static str) -> Pod {
        let container = Container::of(service);
        assert_eq!(container.args[..2], ["serve", service]);
        let config = self.directory.join(format!("config-{service}"));
        fs::create_dir(&config).expect("a directory");
        let mut settings =
            manifests::settings().replace("0.0.0.0", &self.address(service).to_string());
        let edges = manifests::edges();
        for peer in SERVICES {
            // Where no policy lets a packet through, nobody listens.
            let closed = Ipv4Addr::new(127, self.network[0], self.network[1], 250);
            let open = edges.contains(&(service.to_owned(), peer.to_owned()));
            let address = if open { self.address(peer) } else { closed };
            let (name, there) = (format!("//rapport-{peer}:"), format!("//{address}:"));
            assert!(settings.contains(&name), "{name} is in the settings");
            settings = settings.replace(&name, &there);
        }
        let mut args = container.args;
        for (volume, mounted) in container.mounts {
            let here = match volume.as_str() {
                "config" => config.clone(),
                "keys" => self.directory.join("keys"),
                _ => self.directory.join(format!("secrets-{service}")),
            };
            settings = settings.replace(&mounted, path_text(&here));
            args = args.iter().map(|word| word.replace(&mounted, path_text(&here))).collect();
        }
        fs::write(config.join("rapport.toml"), settings).expect("written");
        let log = self.directory.join(format!("{service}.log"));
        let output = File::create(&log).expect("a log");
        let errors = output.try_clone().expect("a log");
        let child = rapport().args(args).stdout(output).stderr(errors).spawn().expect("started");
        let liveness = container.liveness;
        Pod { service, address: self.address(service), child, log, liveness }
    }

    fn token(&self, tenant: TenantId, scopes: &[&str]) -> String {
        let ttl = Duration::from_secs(3_600);
        let audience = Audience::Public;
        let grant = Grant { audience, tenant, subject: "apart", scopes, ttl };
        self.keys.signer.issue(&grant).expect("a token").0
    }

    fn client(&self, service: &str, tenant: TenantId) -> Client {
        let address = format!("http://{}:7400", self.address(service));
        Client::new(&address, &self.token(tenant, ALL_SCOPES)).expect("a client")
    }
}

fn path_text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

impl Pod {
    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    async fn ask(&self, entry: &str) -> Result<ServingStatus, tonic::Status> {
        let channel = Channel::from_shared(format!("http://{}:7400", self.address));
        let channel = channel.expect("an address").connect_lazy();
        let request = HealthCheckRequest { service: entry.to_owned() };
        HealthClient::new(channel).check(request).await.map(|answer| answer.into_inner().status())
    }

    /// Whether its readiness probe would succeed.
    async fn is_ready(&self) -> bool {
        if self.service == GATEWAY {
            return http(self.address, 7490, "GET /readyz", "")
                .await
                .is_some_and(|(it, _)| it == 200);
        }
        self.ask("").await.is_ok_and(|status| status == ServingStatus::Serving)
    }

    async fn metrics(&self) -> String {
        http(self.address, 7490, "GET /metrics", "")
            .await
            .map(|answer| answer.1)
            .unwrap_or_default()
    }

    fn terminate(&self) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        kill_process(pid.expect("it runs"), Signal::TERM).expect("signalled");
    }
}

/// One request: status and body, unless nobody answers.
async fn http(to: Ipv4Addr, port: u16, line: &str, rest: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect((to, port)).await.ok()?;
    let rest = if rest.is_empty() { "\r\n" } else { rest };
    let request = format!("{line} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n{rest}");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn six_processes_with_the_manifests_of_kubernetes_carry_an_event_to_a_demand() {
    let mut cluster = Cluster::start().await;
    for pod in &cluster.pods {
        eventually(PATIENCE, &format!("{} is ready", pod.service), async || pod.is_ready().await)
            .await;
        if let Some(liveness) = pod.liveness.clone() {
            assert_eq!(liveness, LIVENESS);
            assert_eq!(pod.ask(&liveness).await.expect("an answer"), ServingStatus::Serving);
        }
    }
    let owner = tenant();
    journey(&cluster, owner).await;

    // Every feed has been reached, also those through which nothing came.
    for (service, consumer) in FOLLOWED {
        let pod = cluster.pods.iter().find(|pod| pod.service == service).expect("a pod");
        eventually(PATIENCE, consumer, async || {
            let line = format!("feed_consumer_lag{{consumer=\"{consumer}\",lane=\"0\"}} 0");
            pod.metrics().await.contains(&line)
        })
        .await;
    }
    drained(&mut cluster).await;
    for pod in &cluster.pods {
        let log = pod.log();
        let error = log.lines().find(|line| line.contains("\"level\":\"ERROR\""));
        assert!(error.is_none(), "{}: {}", pod.service, error.unwrap_or_default());
    }
}

/// An event at the gateway becomes a customer, a score and a demand.
async fn journey(cluster: &Cluster, owner: TenantId) {
    apply(cluster.client("scoring", owner), CARD).await;
    apply(cluster.client("routing", owner), HANDS).await;
    let body = r#"{"batch": [{"type": "track", "event": "Pricing Viewed", "messageId": "m1",
        "userId": "u1"}]}"#;
    let rest = format!(
        "authorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        cluster.token(owner, &["profile:ingest"]),
        body.len()
    );
    let sent = http(cluster.address(GATEWAY), 7480, "POST /v1/batch", &rest).await;
    let (status, answer) = sent.expect("an answer");
    assert_eq!(status, 200, "{answer}");

    let customer_id = customer(cluster, owner, identifier("user_id", "u1")).await;
    let at = cluster.client("scoring", owner).service();
    let scores = scoring::scoring_service_client::ScoringServiceClient::new(at);
    eventually(PATIENCE, "the score", async || {
        let request = scoring::GetScoresRequest { customer_id: customer_id.clone() };
        let answer = scores.clone().get_scores(request).await;
        answer.is_ok_and(|answer| {
            answer.into_inner().scores.iter().any(|score| (score.value - 70.0).abs() < 0.5)
        })
    })
    .await;
    let at = cluster.client("routing", owner).service();
    let demands = routing::routing_service_client::RoutingServiceClient::new(at);
    eventually(PATIENCE, "the demand", async || {
        let request =
            routing::ListDemandsRequest { customer_id: customer_id.clone(), ..Default::default() };
        let answer = demands.clone().list_demands(request).await;
        answer.is_ok_and(|answer| answer.into_inner().demands.len() == 1)
    })
    .await;
}

async fn apply(mut client: Client, yaml: &str) {
    let (pool, file) = (pool(), Path::new("apart.yaml"));
    let resources = rapport::apply::read_text(file, yaml, &pool).expect("valid YAML");
    rapport::apply::apply(&mut client, &pool, &resources, false).await.expect("saved");
}

async fn customer(cluster: &Cluster, owner: TenantId, who: Identifier) -> String {
    let at = cluster.client("identity", owner).service();
    let customers = identity::identity_service_client::IdentityServiceClient::new(at);
    eventually(PATIENCE, "the customer", async || {
        let key = identity::get_customer_request::Key::Identifier(who.clone());
        let request = identity::GetCustomerRequest { key: Some(key) };
        let answer = customers.clone().get_customer(request).await?.into_inner();
        Ok::<_, tonic::Status>(answer.customer.unwrap_or_default().customer_id)
    })
    .await
}

/// SIGTERM to all at once, as `kubectl delete` does: each leaves the readiness first, lives on,
/// and ends by itself in time.
async fn drained(cluster: &mut Cluster) {
    for pod in &cluster.pods {
        pod.terminate();
    }
    let pod = cluster.pods.first().expect("a pod");
    eventually(PATIENCE, "not ready", async || !pod.is_ready().await).await;
    if let Ok(status) = pod.ask(LIVENESS).await {
        assert_eq!(status, ServingStatus::Serving, "a drain is no reason for a restart");
    }
    let statuses = BTreeMap::from_iter(
        futures::future::join_all(cluster.pods.iter_mut().map(async |pod| {
            let ended = tokio::time::timeout(GRACE, pod.child.wait()).await;
            (pod.service, ended.map(|status| status.is_ok_and(|status| status.success())))
        }))
        .await,
    );
    for (service, ended) in statuses {
        assert_eq!(ended, Ok(true), "{service} ends by itself and says so");
    }
}
