//! `rapport erase`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use contracts::common::v1::Identifier;
use contracts::identity::v1::erase_customer_request::Key;
use contracts::identity::v1::identity_service_client::IdentityServiceClient;
use contracts::identity::v1::{EraseCustomerRequest, Erasure, ErasureState, GetErasureRequest};
use tokio::time::Instant;

use crate::client::{Client, patiently};
use crate::ports;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    whom: Whom,
    /// Only say what would go.
    #[arg(long)]
    dry_run: bool,
    /// Wait until every service has erased; fails after five minutes.
    #[arg(long, conflicts_with = "dry_run")]
    wait: bool,
    /// Where the suite's RPCs are.
    #[arg(long, env = "RAPPORT_ADDRESS", default_value_t = format!("http://127.0.0.1:{}", ports::PUBLIC))]
    address: String,
    /// A token with the scope `identity:admin` (see `rapport token`).
    #[arg(long, env = "RAPPORT_TOKEN", hide_env_values = true)]
    token: String,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// The customer's id, or one that was merged into it.
    #[arg(long, value_name = "ID")]
    customer: Option<String>,
    /// An identifier of the customer, e.g. `email=ada@example.org`.
    #[arg(long, value_name = "NAMESPACE=VALUE", value_parser = identifier)]
    identifier: Option<Identifier>,
}

fn identifier(text: &str) -> Result<Identifier, String> {
    let (namespace, value) =
        text.split_once('=').ok_or("must be NAMESPACE=VALUE, e.g. email=ada@example.org")?;
    Ok(Identifier { namespace: namespace.to_owned(), value: value.to_owned() })
}

/// How long `--wait` waits.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let client = Client::new(&arguments.address, &arguments.token)?;
    let mut identity = IdentityServiceClient::new(client.service());
    let key = match (arguments.whom.customer, arguments.whom.identifier) {
        (Some(id), _) => Key::CustomerId(id),
        (None, Some(identifier)) => Key::Identifier(identifier),
        (None, None) => bail!("name the customer: --customer ID or --identifier NAMESPACE=VALUE"),
    };
    let request = EraseCustomerRequest {
        key: Some(key),
        request_id: if arguments.dry_run { String::new() } else { request_id() },
        validate_only: arguments.dry_run,
    };
    let answer = patiently(async || identity.erase_customer(request.clone()).await).await;
    let mut erasure = answer
        .with_context(|| format!("asking {}", arguments.address))?
        .erasure
        .context("the answer has no erasure")?;
    if arguments.dry_run {
        println!("{}", described(&erasure, "would be erased"));
        return Ok(());
    }
    println!("{}", described(&erasure, "is erased"));
    println!("erasure {}", erasure.erasure_id);
    if arguments.wait {
        erasure = wait(&mut identity, erasure).await?;
    }
    for receipt in &erasure.receipts {
        let state = if receipt.state() == ErasureState::Done { "done" } else { "pending" };
        println!("  {:<10}{state}", receipt.service);
    }
    Ok(())
}

type Identity = IdentityServiceClient<
    tonic::service::interceptor::InterceptedService<
        tonic::transport::Channel,
        crate::client::WithToken,
    >,
>;

/// Waits for the last receipt.
async fn wait(identity: &mut Identity, mut erasure: Erasure) -> anyhow::Result<Erasure> {
    let limit = Instant::now() + PATIENCE;
    while erasure.state() != ErasureState::Done {
        if Instant::now() > limit {
            let open = erasure.receipts.iter().filter(|it| it.state() != ErasureState::Done);
            let open: Vec<&str> = open.map(|receipt| receipt.service.as_str()).collect();
            bail!(
                "no receipt yet of {}: look at the dead letters and the feed lag of these services; \
                 erasure {} goes on without this command",
                open.join(", "),
                erasure.erasure_id
            );
        }
        tokio::time::sleep(LOOK).await;
        let request = GetErasureRequest { erasure_id: erasure.erasure_id.clone() };
        let answer = patiently(async || identity.get_erasure(request.clone()).await).await?;
        erasure = answer.erasure.context("the answer has no erasure")?;
    }
    Ok(erasure)
}

fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn described(erasure: &Erasure, what: &str) -> String {
    let pieces = match erasure.evidence_count {
        1 => "1 piece of evidence".to_owned(),
        count => format!("{count} pieces of evidence"),
    };
    let merged = match erasure.merged_customer_ids.len() {
        0 => String::new(),
        1 => ", 1 id that led to it".to_owned(),
        count => format!(", {count} ids that led to it"),
    };
    format!("customer {} {what}: {pieces}{merged}", erasure.customer_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_a_namespace_and_the_rest() {
        let read = identifier("crm_id=shop:a=b").expect("read");
        assert_eq!((read.namespace.as_str(), read.value.as_str()), ("crm_id", "shop:a=b"));
        assert!(identifier("ada@example.org").is_err());
    }
}
