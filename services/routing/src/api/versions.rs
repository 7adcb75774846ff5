//! ListResourceVersions.

use ::store::Resource;
use ::store::history::{self, PageError, Version, Wanted};
use contracts::common::v1::ResourceVersion;
use contracts::json;
use contracts::routing::v1::{Agent as AgentMessage, *};
use server::Call;

use crate::Error;
use crate::app::App;
use crate::domain::plan::Seat;
use crate::domain::{Agent, Policy, Presence, Team};
use crate::message::{self, Meta};

const LIST: &str = "rapport.routing.v1.RoutingService/ListResourceVersions";

pub(super) async fn list_resource_versions(
    app: &App,
    call: &Call,
    request: ListResourceVersionsRequest,
) -> Result<ListResourceVersionsResponse, Error> {
    let wanted = Wanted {
        method: LIST,
        kind: &request.kind,
        name: &request.name,
        change_id: &request.change_id,
        page_size: request.page_size,
        page_token: &request.page_token,
    };
    let page = history::page(&app.database, &app.sealer, call.tenant(), &wanted).await;
    let page = page.map_err(|error| match error {
        PageError::Invalid(violations) => Error::Invalid(violations),
        PageError::Store(error) => error.into(),
    })?;
    let mut versions = Vec::with_capacity(page.versions.len());
    for version in page.versions {
        let body_json = body(&version).unwrap_or_default();
        versions.push(ResourceVersion {
            kind: version.kind,
            name: version.name,
            version: version.version,
            etag: version.etag,
            create_time: Some(message::timestamp(version.time.as_microsecond())),
            author: version.author,
            change_id: version.change_id,
            deleted: version.deleted,
            current: version.current,
            body_json,
        });
    }
    Ok(ListResourceVersionsResponse { versions, next_page_token: page.next_page_token })
}

/// The resource without what is output only; nothing for what does not read back.
fn body(version: &Version) -> Option<String> {
    let (name, body) = (version.name.as_str(), version.body.clone());
    let meta = Meta { version: 0, etag: String::new(), updated_us: 0 };
    match version.kind.as_str() {
        Team::KIND => {
            let team = message::team(name, &serde_json::from_value(body).ok()?, &meta);
            json("rapport.routing.v1.Team", &contracts::routing::v1::Team { meta: None, ..team })
        }
        Agent::KIND => {
            let body = serde_json::from_value(body).ok()?;
            let seat =
                Seat { presence: Presence::Offline, load: 0, capacity: 1, last_offer_us: None };
            let agent = message::agent(name, &body, &seat, &meta);
            let agent = AgentMessage { presence: 0, load: 0, meta: None, ..agent };
            json("rapport.routing.v1.Agent", &agent)
        }
        Policy::KIND => {
            let policy = message::policy(name, &serde_json::from_value(body).ok()?, &meta);
            json("rapport.routing.v1.RoutingPolicy", &RoutingPolicy { meta: None, ..policy })
        }
        _ => None,
    }
}
