//! ListResourceVersions.

use ::store::Resource;
use ::store::history::{self, PageError, Version, Wanted};
use contracts::common::v1::{ResourceMeta, ResourceVersion};
use contracts::json;
use contracts::scoring::v1::{
    ListResourceVersionsRequest, ListResourceVersionsResponse, ModelPolicy, Scorecard,
};
use server::Call;

use super::{model, parse, scorecard};
use crate::app::App;
use crate::domain::{ModelSpec, ScorecardSpec};
use crate::error::Error;

const LIST: &str = "rapport.scoring.v1.ScoringService/ListResourceVersions";

pub(super) async fn list(
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
    let page = history::page(&app.database, &app.tokens, call.tenant(), &wanted).await;
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
            create_time: Some(parse::timestamp(version.time.as_microsecond())),
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
    let (name, body) = (version.name.clone(), version.body.clone());
    match version.kind.as_str() {
        ScorecardSpec::KIND => {
            let spec = serde_json::from_value(body).ok()?;
            let card = scorecard::proto(name, spec, ResourceMeta::default());
            json("rapport.scoring.v1.Scorecard", &Scorecard { meta: None, ..card })
        }
        ModelSpec::KIND => {
            let spec = serde_json::from_value(body).ok()?;
            let policy = model::proto(name, spec, ResourceMeta::default());
            json("rapport.scoring.v1.ModelPolicy", &ModelPolicy { meta: None, ..policy })
        }
        _ => None,
    }
}
