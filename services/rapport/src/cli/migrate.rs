//! `rapport migrate`.

use anyhow::{Context as _, bail};
use clap::Args;
use server::settings::Layer;
use store::Database;

use crate::suite::{SERVICES, private};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The service whose database it is.
    #[arg(value_parser = SERVICES)]
    service: String,
    /// Change nothing; fail if the schema is not the newest.
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(arguments: Arguments, layers: Vec<Layer>) -> anyhow::Result<()> {
    let settings = crate::settings::load(&layers)?;
    if settings.database.url.is_empty() {
        bail!("no database: set database.url (RAPPORT__DATABASE__URL or a secret file)");
    }
    let options = store::database::Options::new(settings.database.url, "rapport-migrate");
    let database = Database::connect(&options).await?;
    let migrations = private::migrations(&arguments.service);
    if arguments.check {
        store::migrate::check(&database, migrations).await?;
        println!("{}: the schema is the newest", arguments.service);
        return Ok(());
    }
    let applied = store::migrate::apply(&database, migrations)
        .await
        .with_context(|| format!("migrating {}", arguments.service))?;
    println!("{}: {applied} migrations applied, {} in all", arguments.service, migrations.len());
    Ok(())
}
