//! The paths of events: Segment's with their short forms, and those of its relatives.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::from_fn;
use axum::routing::{MethodRouter, get, post};
use axum::{Router, response::Response};
use contracts::profile::v1::EventType;

use crate::intake::{Door, Shared, serve};
use crate::reading::Form;
use crate::{cors, project};

const fn door(name: &'static str, form: Form) -> Door {
    Door { name, form }
}

/// Long name, short name and door of each kind of Segment's events.
const KINDS: [(&str, &str, Door); 6] = [
    ("identify", "i", door("/v1/identify", Form::Single(EventType::Identify))),
    ("track", "t", door("/v1/track", Form::Single(EventType::Track))),
    ("page", "p", door("/v1/page", Form::Single(EventType::Page))),
    ("screen", "s", door("/v1/screen", Form::Single(EventType::Screen))),
    ("group", "g", door("/v1/group", Form::Single(EventType::Group))),
    ("alias", "a", door("/v1/alias", Form::Single(EventType::Alias))),
];
const BATCH: Door = door("/v1/batch", Form::Batch);
const IMPORT: Door = door("/v1/import", Form::Batch);
const DITTOFEED: Door = door("/api/public/apps/batch", Form::Batch);
const POSTHOG: Door = door("/batch/", Form::PostHog);
const CLOUD_EVENTS: Door = door("/v1/cloudevents", Form::CloudEvents);

/// All of them. `bare`: Segment's also without `/v1`.
pub(crate) fn segment_routes(shared: Arc<Shared>, bare: bool) -> Router {
    let mut router = segment(Router::new(), "/v1");
    if bare {
        router = segment(router, "");
    }
    for (name, _, door) in KINDS {
        router = router
            .route(&format!("/api/s/{name}"), at(door))
            .route(&format!("/api/s/s2s/{name}"), at(door))
            .route(&format!("/api/public/apps/{name}"), at(door));
    }
    router
        .route(DITTOFEED.name, at(DITTOFEED))
        .route(POSTHOG.name, at(POSTHOG))
        .route(CLOUD_EVENTS.name, at(CLOUD_EVENTS))
        .route_layer(from_fn(cors::allow))
        .with_state(shared)
}

fn segment(mut router: Router<Arc<Shared>>, base: &str) -> Router<Arc<Shared>> {
    for (long, short, door) in KINDS {
        router = router
            .route(&format!("{base}/{long}"), at(door))
            .route(&format!("{base}/{short}"), at(door));
    }
    router
        .route(&format!("{base}/batch"), at(BATCH))
        .route(&format!("{base}/b"), at(BATCH))
        .route(&format!("{base}/import"), at(IMPORT))
        .route(&format!("{base}/projects/{{key}}/settings"), get(project::settings))
}

fn at(door: Door) -> MethodRouter<Arc<Shared>> {
    post(move |State(shared): State<Arc<Shared>>, request: Request| async move {
        let answer: Response = serve(&shared, door, request).await;
        answer
    })
}
