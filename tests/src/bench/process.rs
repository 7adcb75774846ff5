//! The processes that are measured: the real binary beside this one, in the places of the bench.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use embedded::{Postgres, PostgresOptions, Redis, RedisOptions};
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tonic::Code;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::floor;
use crate::process::{Program, free_ports, postmaster, postmaster_file, sockets, up};

const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(50);

/// The bench asks more of one principal than the limits for one allow; they stay in place, wider. The
/// log is archived as always; a base backup would fall into some phase and not into others.
const LIMITS: [(&str, &str); 5] = [
    ("RAPPORT__BACKUP__FIRST_MINUTES", "600"),
    ("RAPPORT__SERVER__RATE_PER_SECOND", "1000000"),
    ("RAPPORT__SERVER__RATE_BURST", "1000000"),
    ("RAPPORT__SERVER__DRAIN_LAG_MS", "0"),
    ("RAPPORT__TELEMETRY__LOG", "warn"),
];

/// A running program.
pub(crate) struct Process {
    program: Program,
    /// Its id.
    pub(crate) pid: u32,
    /// Where its RPCs are.
    pub(crate) rpc: SocketAddr,
    /// Where its HTTP is, if it has a gateway.
    http: Option<SocketAddr>,
}

/// Where things are for all processes of a run.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Everything of this run.
    pub(crate) directory: PathBuf,
}

impl Place {
    /// Data of the suite.
    pub(crate) fn data(&self) -> PathBuf {
        self.directory.join("bench-data")
    }

    /// Removes the data of an earlier run, and its servers if that run was killed.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        let data = self.data();
        if postmaster_file(&data).exists() {
            Postgres::start(&PostgresOptions::new(data.join("postgres"))).await?.stop().await?;
        }
        if data.join("redis/redis.pid").exists() {
            Redis::start(&RedisOptions::new(data.join("redis"))).await?.stop().await?;
        }
        if data.exists() {
            fs::remove_dir_all(&data).with_context(|| format!("removing {}", data.display()))?;
        }
        Ok(())
    }

    /// Its keys.
    pub(crate) fn keys(&self) -> PathBuf {
        self.data().join("keys")
    }

    /// Keeps an encoded answer for the floors of reads; answers where.
    pub(crate) fn answer(&self, answer: &[u8]) -> anyhow::Result<String> {
        let path = self.directory.join("profile.bin");
        fs::write(&path, answer).with_context(|| path.display().to_string())?;
        Ok(path.display().to_string())
    }

    /// The id of its postmaster.
    pub(crate) fn postmaster(&self) -> anyhow::Result<u32> {
        Ok(postmaster(&self.data())?.try_into()?)
    }

    /// Copies profile's database for the floor of ingest, while nobody is connected to it.
    pub(crate) async fn copy_for_floor(&self) -> anyhow::Result<()> {
        let options = PostgresOptions::new(self.data().join("postgres"));
        let postgres = Postgres::start(&options).await?;
        let mut admin = PgConnection::connect(&self.database("postgres")).await?;
        let copied = floor::clone_database(&mut admin).await;
        admin.close().await?;
        postgres.stop().await?;
        copied
    }

    /// The address of a database while the suite runs its private server.
    pub(crate) fn database(&self, name: &str) -> String {
        let sockets = sockets(&self.data().join("postgres"));
        format!("postgres:///{name}?host={}&user=postgres", sockets.display())
    }

    /// `rapport up`, ready.
    pub(crate) async fn up(&self) -> anyhow::Result<Process> {
        let [rpc, http, admin] = free_ports()?;
        let command = up(&rapport()?, &self.data(), [rpc, http, admin]);
        let mut process = self.start(command, "up", rpc, Some(admin)).await?;
        process.http = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, http)));
        Ok(process)
    }

    /// `rapport serve`, ready.
    pub(crate) async fn serve(
        &self,
        service: &str,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Process> {
        let [rpc, admin] = free_ports()?;
        let mut command = Command::new(rapport()?);
        command
            .args(["serve", service])
            .env("RAPPORT__LISTEN__RPC", format!("127.0.0.1:{rpc}"))
            .env("RAPPORT__LISTEN__ADMIN", format!("127.0.0.1:{admin}"))
            .env("RAPPORT__KEYS__DIRECTORY", self.keys())
            .envs(settings.iter().copied());
        self.start(command, service, rpc, Some(admin)).await
    }

    /// `rapport serve gateway`, ready. Of the other services nobody asks anything.
    pub(crate) async fn gateway(
        &self,
        identity: &Process,
        profile: &Process,
    ) -> anyhow::Result<Process> {
        let [http] = free_ports()?;
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, http));
        let (identity, profile) =
            (format!("http://{}", identity.rpc), format!("http://{}", profile.rpc));
        let nobody = "http://127.0.0.1:9";
        let settings = [
            ("RAPPORT__LISTEN__HTTP", &*http.to_string()),
            ("RAPPORT__PEERS__IDENTITY", &identity),
            ("RAPPORT__PEERS__PROFILE", &profile),
            ("RAPPORT__PEERS__SCORING", nobody),
            ("RAPPORT__PEERS__ROUTING", nobody),
            ("RAPPORT__PEERS__FEEDBACK", nobody),
        ];
        let mut gateway = self.serve("gateway", &settings).await?;
        gateway.http = Some(http);
        Ok(gateway)
    }

    /// This program again, as a floor.
    pub(crate) async fn door(&self, arguments: &[&str]) -> anyhow::Result<Process> {
        let [port] = free_ports()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("door").arg("--keys").arg(self.keys()).args(arguments);
        command.args(["--port", &port.to_string()]);
        self.start(command, "door", port, None).await
    }

    async fn start(
        &self,
        mut command: Command,
        name: &str,
        rpc: u16,
        admin: Option<u16>,
    ) -> anyhow::Result<Process> {
        fs::create_dir_all(&self.directory)?;
        let log = self.directory.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let program = Program::start(name, command.envs(LIMITS), log, output)?;
        let pid = program.pid()?.as_raw_nonzero().get().cast_unsigned();
        let rpc = SocketAddr::from((Ipv4Addr::LOCALHOST, rpc));
        let mut process = Process { program, pid, rpc, http: None };
        process.wait_ready(name, admin).await?;
        Ok(process)
    }

    /// A token with all scopes for the tenant of the bench, from the tool that users have.
    pub(crate) async fn token(&self) -> anyhow::Result<Token> {
        let token = self.issue(&["--subject", "bench"]).await?;
        Ok(Token(format!("Bearer {token}").parse()?))
    }

    /// The authorisation that Segment's clients send, with a write key.
    pub(crate) async fn write_key(&self) -> anyhow::Result<String> {
        let key = self.issue(&["--subject", "bench-web", "--scope", "profile:ingest"]).await?;
        Ok(format!("Basic {}", STANDARD.encode(format!("{key}:"))))
    }

    async fn issue(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(rapport()?)
            .arg("token")
            .args(arguments)
            .args(["--ttl", "1d", "--keys"])
            .arg(self.keys())
            .output()
            .await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "rapport token: {said}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

impl Process {
    async fn wait_ready(&mut self, name: &str, admin: Option<u16>) -> anyhow::Result<()> {
        let limit = Instant::now() + START_LIMIT;
        loop {
            self.program.ensure_running()?;
            let ready = match admin {
                Some(port) => is_ready(port).await,
                None => TcpStream::connect(self.rpc).await.is_ok(),
            };
            if ready {
                return Ok(());
            }
            let in_time = Instant::now() < limit;
            ensure!(in_time, "{name} is not ready: {}", self.program.last_words());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Asks it to end and waits.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if self.program.is_running()? {
            self.program.terminate()?;
        }
        let status = self.program.ended(STOP_LIMIT).await?;
        ensure!(status.success(), "it ended with {status}: {}", self.program.last_words());
        Ok(())
    }

    /// Where its gateway is.
    pub(crate) fn http(&self) -> anyhow::Result<SocketAddr> {
        self.http.context("it has no gateway")
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self, token: &Token) -> anyhow::Result<Connection> {
        let channel = Channel::from_shared(format!("http://{}", self.rpc))?
            .tcp_nodelay(true)
            .connect()
            .await?;
        Ok(InterceptedService::new(channel, token.clone()))
    }

    /// Some connections.
    pub(crate) async fn connections(
        &self,
        count: usize,
        token: &Token,
    ) -> anyhow::Result<Vec<Connection>> {
        let mut connections = Vec::new();
        for _ in 0..count {
            connections.push(self.connect(token).await?);
        }
        Ok(connections)
    }
}

/// A channel with the token on every call.
pub(crate) type Connection = InterceptedService<Channel, Token>;

/// `Bearer …`.
#[derive(Clone)]
pub(crate) struct Token(MetadataValue<Ascii>);

impl Token {
    /// As a header of HTTP.
    pub(crate) fn bearer(&self) -> anyhow::Result<&str> {
        Ok(self.0.to_str()?)
    }
}

impl tonic::service::Interceptor for Token {
    fn call(
        &mut self,
        mut request: tonic::Request<()>,
    ) -> Result<tonic::Request<()>, tonic::Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Whether a server said that it cannot take the call now, which a client repeats later.
pub(crate) fn is_refusal(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<tonic::Status>().map(tonic::Status::code);
    matches!(code, Some(Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded))
}

/// The program that is measured, built with this one.
pub(crate) fn rapport() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().unwrap_or(Path::new(".")).join("rapport");
    ensure!(path.is_file(), "{} is not there: build it first (`make bench` does)", path.display());
    Ok(path)
}

/// Whether `/readyz` says 200.
async fn is_ready(port: u16) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")
            .await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with("HTTP/1.1 200"))
    };
    // A bound port that nobody serves yet accepts and says nothing.
    tokio::time::timeout(Duration::from_secs(1), ask)
        .await
        .is_ok_and(|answer| answer.unwrap_or(false))
}
