//! `rapport up`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use server::settings::Layer;

use super::{DATA, EXAMPLE_TENANT, say_last};
use crate::suite::{self, ALL_SCOPES, Options, Suite};
use crate::{backup, ports};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where keys, Postgres and Redis live.
    #[arg(long, default_value = DATA, value_name = "DIR")]
    data: PathBuf,
    /// The port of the RPCs.
    #[arg(long, default_value_t = ports::PUBLIC)]
    rpc_port: u16,
    /// The port of the gateway (HTTP).
    #[arg(long, default_value_t = ports::HTTP)]
    http_port: u16,
    /// The port of metrics and health.
    #[arg(long, default_value_t = ports::ADMIN)]
    admin_port: u16,
}

pub(super) async fn run(
    arguments: Arguments,
    pg_bin: Option<PathBuf>,
    layers: Vec<Layer>,
) -> anyhow::Result<()> {
    let mut signals = server::drain::signals()?;
    let telemetry = crate::settings::load(&layers)?.telemetry;
    let guard = server::telemetry::install("rapport", &telemetry)?;
    let options = Options {
        directory: arguments.data,
        pg_bin,
        rpc_port: arguments.rpc_port,
        http_port: arguments.http_port,
        admin_port: arguments.admin_port,
        layers,
        durable: true,
    };
    println!("starting Postgres, Redis and the five services …");
    let (suite, private) = tokio::select! {
        started = suite::start(&options) => started?,
        () = signals.next() => bail!("stopped before it was up"),
    };
    banner(&suite, &options)?;

    signals.next().await;
    say_last("\nstopping: finishing what is at work (Ctrl-C again to stop at once) …");
    tokio::select! {
        _ = suite.stop() => {}
        () = signals.next() => {}
    }
    private.stop().await?;
    let _ = tokio::task::spawn_blocking(move || guard.flush()).await;
    say_last(&format!("stopped; the data stays in {}", options.directory.display()));
    Ok(())
}

/// Where they go, and what is not in them.
fn backups(options: &Options) -> anyhow::Result<String> {
    let settings = crate::settings::load(&options.layers)?.backup;
    if !settings.enabled {
        return Ok("none (backup.enabled = false)".to_owned());
    }
    Ok(format!(
        "{}   (keep a copy of {} elsewhere: no backup has the keys)",
        backup::directory(&settings, &options.directory).display(),
        options.directory.join("keys").display(),
    ))
}

fn banner(suite: &Suite, options: &Options) -> anyhow::Result<()> {
    let tenant = EXAMPLE_TENANT.parse()?;
    let month = Duration::from_secs(30 * 24 * 3_600);
    let token = suite.token(tenant, "developer", ALL_SCOPES, month)?;
    let write_key = suite.token(tenant, "website", &["profile:ingest"], month * 12)?;
    let rpc = suite.rpc_address();
    println!(
        "\nRapport is up.\n\n  \
         RPCs     {rpc}   (gRPC, reflection on)\n  \
         HTTP     {}   (Segment's paths, every RPC as JSON, /rapport.js)\n  \
         metrics  {}/metrics\n  \
         data     {}\n  \
         backups  {}\n",
        suite.http_address(),
        suite.admin_address(),
        options.directory.display(),
        backups(options)?,
    );
    println!(
        "A token with every scope for the example tenant, good for 30 days:\n\n  export TOKEN={token}\n\n\
         A write key, which may only send events, good for a year; for SDKs and web pages:\n\n  export WRITE_KEY={write_key}\n"
    );
    println!(
        "Try, in another terminal (buf is in tests/node/node_modules/.bin after `make setup`):\n"
    );
    println!(
        "  buf curl --http2-prior-knowledge --protocol grpc -H \"authorization: Bearer $TOKEN\" \\\n    \
         -d '{{\"events\":[{{\"message_id\":\"1\",\"type\":\"EVENT_TYPE_TRACK\",\"name\":\"Pricing Viewed\",\
         \"identifiers\":[{{\"namespace\":\"email\",\"value\":\"ada@example.org\"}}]}}]}}' \\\n    \
         {rpc}/rapport.profile.v1.ProfileService/IngestEvents\n"
    );
    println!(
        "  buf curl --http2-prior-knowledge --protocol grpc -H \"authorization: Bearer $TOKEN\" \\\n    \
         -d '{{\"identifier\":{{\"namespace\":\"email\",\"value\":\"ada@example.org\"}}}}' \\\n    \
         {rpc}/rapport.identity.v1.IdentityService/GetCustomer\n"
    );
    println!(
        "  curl -u \"$WRITE_KEY:\" {}/v1/batch \\\n    -d '{{\"batch\":[{{\"type\":\"track\",\"event\":\"Pricing Viewed\",\"userId\":\"u1\",\"messageId\":\"m1\"}}]}}'\n",
        suite.http_address()
    );
    println!("Ctrl-C stops it; `make up` again finds the data.");
    Ok(())
}
