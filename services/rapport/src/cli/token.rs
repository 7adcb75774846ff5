//! `rapport token`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use kernel::TenantId;
use server::token::{Audience, Grant};

use super::{DATA, EXAMPLE_TENANT};
use crate::suite::{ALL_SCOPES, Keys};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The tenant (UUID). Its first token creates what it needs.
    #[arg(long, default_value = EXAMPLE_TENANT)]
    tenant: TenantId,
    /// Who the token is for; shown in audit and limits.
    #[arg(long, default_value = "developer")]
    subject: String,
    /// A scope such as `profile:read`; repeatable. `all` means every scope. A Segment write key
    /// is a token with `profile:ingest` alone.
    #[arg(long = "scope", default_value = "all")]
    scopes: Vec<String>,
    /// How long it is good: 15m, 12h, 30d.
    #[arg(long, default_value = "30d")]
    ttl: String,
    /// The directory of the keys.
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let default = PathBuf::from(DATA).join("keys");
    let directory = arguments.keys.as_ref().unwrap_or(&default);
    if !directory.is_dir() {
        let directory = directory.display();
        bail!(
            "no keys in {directory}: start `rapport up` once, or name their directory with --keys"
        );
    }
    let keys = Keys::load(directory)?;
    let mut scopes: Vec<&str> = Vec::new();
    for scope in &arguments.scopes {
        match ALL_SCOPES.iter().find(|known| **known == scope.as_str()) {
            Some(known) => scopes.push(known),
            None if scope == "all" => scopes.extend(ALL_SCOPES),
            None => bail!("unknown scope {scope}: one of all, {}", ALL_SCOPES.join(", ")),
        }
    }
    let grant = Grant {
        audience: Audience::Public,
        tenant: arguments.tenant,
        subject: &arguments.subject,
        scopes: &scopes,
        ttl: duration(&arguments.ttl)?,
    };
    let (token, id) = keys.signer.issue(&grant)?;
    tracing::debug!(token_id = id, "token issued");
    println!("{token}");
    Ok(())
}

fn duration(text: &str) -> anyhow::Result<Duration> {
    let expected = || format!("--ttl {text}: expected a number with s, m, h or d, e.g. 30d");
    let position = text.find(|letter: char| letter.is_alphabetic()).with_context(expected)?;
    let (digits, unit) = text.split_at(position);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => bail!(expected()),
    };
    let count: u64 = digits.parse().with_context(expected)?;
    Ok(Duration::from_secs(count.checked_mul(seconds).with_context(expected)?))
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("15m").expect("minutes").as_secs(), 900);
        assert!(duration("15").is_err());
        assert!(duration("x").is_err());
        assert!(duration("99999999999999999999d").is_err());
    }
}
