//! `rapport bi-role`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use kernel::TenantId;

use super::{DATA, say_last};
use crate::bi::{self, Name, Password, Place, Reader};
use crate::suite::private;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Whose rows it sees (UUID).
    #[arg(long)]
    tenant: TenantId,
    /// The role's name: bi_ and then lower-case letters, digits and _.
    #[arg(long)]
    name: Name,
    /// Take the role away instead.
    #[arg(long)]
    drop: bool,
    /// How many sessions it may have in each server.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// The data directory of the running `rapport up`.
    #[arg(long, default_value = DATA, value_name = "DIR", conflicts_with = "urls")]
    data: PathBuf,
    /// A service's database as its owner, who may make roles; repeat it for profile, scoring,
    /// routing and feedback. RAPPORT_BI_URLS takes them with spaces between.
    #[arg(long = "url", env = "RAPPORT_BI_URLS", hide_env_values = true, value_delimiter = ' ')]
    urls: Vec<String>,
}

pub(super) async fn run(arguments: Arguments, pg_bin: Option<PathBuf>) -> anyhow::Result<()> {
    let places = places(&arguments, pg_bin)?;
    let Arguments { tenant, name, connections, .. } = arguments;
    if arguments.drop {
        let was_there = bi::drop(&places, &name, tenant).await?;
        let what = if was_there { "is gone" } else { "was not there" };
        say_last(&format!("{name} {what}"));
        return Ok(());
    }
    let password = Password::random()?;
    let reader = Reader { name, tenant, connections };
    let addresses = bi::grant(&places, &reader, &password).await?;
    let name = &reader.name;
    say_last(&format!(
        "{name} reads the views of tenant {tenant} (docs/bi.md). Its password is shown this once;\n\
         run this again for a new one.\n"
    ));
    let mut only_socket = false;
    for (place, address) in places.iter().zip(addresses) {
        match address {
            Some(address) => say_last(&format!("  {address}")),
            None => {
                only_socket = true;
                say_last(&format!("  {}: password {}", place.database(), password.text()));
            }
        }
    }
    if only_socket {
        say_last(
            "\nThis Postgres listens on a unix socket only. For tools on this machine start\n\
             `rapport up` with RAPPORT__LISTEN__POSTGRES_PORT=5433 and run this again.",
        );
    }
    Ok(())
}

fn places(arguments: &Arguments, pg_bin: Option<PathBuf>) -> anyhow::Result<Vec<Place>> {
    if !arguments.urls.is_empty() {
        return arguments.urls.iter().map(|url| Place::new(url)).collect();
    }
    let data = &arguments.data;
    let options = private::postgres_options(data, pg_bin.as_deref());
    let place = |service: &&str| {
        let url = options.running_url(service)?.with_context(|| {
            format!(
                "no Postgres runs below {}: start `rapport up`, or name other databases with --url",
                data.display()
            )
        })?;
        Place::new(&url)
    };
    bi::SERVICES.iter().map(place).collect()
}
