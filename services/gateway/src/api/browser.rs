//! `POST /v1/browser-tokens`: a back end exchanges its own token for one that a page may hold.
//! Short-lived, with fewer scopes, bound to origins if wanted. It does not make more of its
//! kind, and it ends by itself: revoking the back end's token does not end those made of it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::header};
use kernel::Violations;
use serde::{Deserialize, Serialize};
use server::Principal;
use server::token::{Audience, Browser, Grant};
use tonic::Status;

use super::call::bearer;
use super::failure::{self, Refusal};
use super::{Api, origin};

pub(crate) const MAX_SECONDS: u64 = 3_600;
const MAX_ORIGINS: usize = 16;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    #[serde(default)]
    scopes: Vec<String>,
    ttl_seconds: Option<u64>,
    #[serde(default)]
    origins: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    token: String,
    expire_time: jiff::Timestamp,
    scopes: Vec<String>,
    origins: Vec<String>,
}

pub(crate) async fn issue(State(api): State<Arc<Api>>, request: Request) -> Response {
    match try_issue(&api, request).await {
        Ok(issued) => ([(header::CACHE_CONTROL, "no-store")], Json(issued)).into_response(),
        Err(status) => failure::response(&status),
    }
}

async fn try_issue(api: &Api, request: Request) -> Result<Issued, Status> {
    let (parts, body) = request.into_parts();
    let token = bearer(&parts.headers).unwrap_or_default();
    let caller = api.verifier.verify(token).await.map_err(|_| Refusal::Token)?;
    if caller.internal || caller.browser.is_some() {
        let why = "a token of this kind makes no tokens for browsers: use one of a back end";
        return Err(Refusal::Denied(why.to_owned()).into());
    }
    let held = api.read(&parts.headers, body).await?;
    let wanted: Wanted = serde_json::from_slice(&held.bytes)
        .map_err(|error| Refusal::malformed("", format!("the body cannot be read: {error}")))?;
    let seconds = wanted.ttl_seconds.unwrap_or(api.config.browser_token_seconds);
    let violations = check(api, &caller, &wanted, seconds);
    violations.into_result(()).map_err(Refusal::Invalid)?;
    let scopes: Vec<&str> = wanted.scopes.iter().map(String::as_str).collect();
    let grant = Grant {
        audience: Audience::Public,
        tenant: caller.tenant,
        subject: &caller.subject,
        scopes: &scopes,
        ttl: Duration::from_secs(seconds),
    };
    let browser = Browser { origins: wanted.origins.clone() };
    let expire_time = jiff::Timestamp::now() + grant.ttl;
    let issued = api.signer.issue_for_browser(&grant, browser);
    let (token, _) = issued.map_err(|error| server::status(&error))?;
    Ok(Issued { token, expire_time, scopes: wanted.scopes, origins: wanted.origins })
}

fn check(api: &Api, caller: &Principal, wanted: &Wanted, seconds: u64) -> Violations {
    let mut violations = Violations::new();
    if wanted.scopes.is_empty() {
        violations.add("scopes", "must name at least one scope");
    }
    for (place, scope) in wanted.scopes.iter().enumerate() {
        let field = format!("scopes[{place}]");
        if !api.config.browser_scopes.contains(scope) {
            violations.add(field, "is not among gateway.browser_scopes");
        } else if !caller.scopes.contains(scope) {
            violations.add(field, "is not among the scopes of your own token");
        }
    }
    if !(1..=MAX_SECONDS).contains(&seconds) {
        violations.add("ttlSeconds", format!("must be 1 to {MAX_SECONDS}"));
    }
    if wanted.origins.len() > MAX_ORIGINS {
        violations.add("origins", format!("must be at most {MAX_ORIGINS}"));
    }
    for (place, origin) in wanted.origins.iter().enumerate() {
        let field = format!("origins[{place}]");
        if !origin::is_well_formed(origin) {
            violations.add(field, "must look like https://shop.example");
        } else if !api.origins.contains(origin) {
            violations.add(field, "is not among gateway.allowed_origins");
        }
    }
    violations
}
