//! One trace from an event to the offer of the demand it causes: the context travels in the feed
//! rows, and where nobody asks – an offer, a time-out – it is that of the demand.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message as _;
use sqlx::{Connection as _, PgConnection};
use testkit::eventually;
use tonic::Request;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use contracts::profile::v1::IngestEventsRequest;
use contracts::routing::v1 as routing;

use crate::world::{PATIENCE, World, event, identifier, tenant};

const HOUSE: &str = r#"
kind: Scorecard
name: interest
rules:
  - {name: pricing, when: 'events["Pricing Viewed"].total >= 1', points: 60}
thresholds: [{name: hot, value: 50}]
---
kind: Team
name: sales
---
kind: Agent
name: ada
team: sales
capacity: 1
---
kind: RoutingPolicy
name: default
triggers:
  - {scorer: interest, threshold: hot, demand_kind: lead}
"#;

const DATA_OF_TRACE: &str = "select data from feed where traceparent like $1 order by seq";

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_an_event_reaches_the_demand_and_its_offer() {
    // Trace ids are made and passed on; nothing is exported.
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("journeys"));
    tracing_subscriber::registry().with(layer).try_init().expect("no other subscriber");
    let world = World::start().await;
    let mut desk = world.desk(tenant());
    desk.apply(HOUSE).await;
    let online = routing::SetPresenceRequest {
        agent: "ada".to_owned(),
        presence: routing::Presence::Online.into(),
    };
    desk.routing.set_presence(online).await.expect("online");

    let trace_id = uuid::Uuid::new_v4().simple().to_string();
    let events = vec![event("m1", "Pricing Viewed", vec![identifier("user_id", "u1")])];
    let mut request = Request::new(IngestEventsRequest { events });
    let parent = format!("00-{trace_id}-00f067aa0ba902b7-01").parse().expect("ASCII");
    request.metadata_mut().insert("traceparent", parent);
    desk.profile.ingest_events(request).await.expect("ingested");

    for service in ["profile", "scoring", "routing"] {
        let url = world.database_url(service).to_owned();
        eventually(PATIENCE, &format!("the trace in the feed of {service}"), || {
            let (url, pattern) = (url.clone(), format!("00-{trace_id}-%"));
            async move {
                let rows = of_trace(&url, pattern).await.map_err(|error| error.to_string())?;
                match service {
                    "routing" if !causes(&rows).contains(&"offered".to_owned()) => {
                        Err(format!("only {:?}", causes(&rows)))
                    }
                    _ if rows.is_empty() => Err("no row".to_owned()),
                    _ => Ok(()),
                }
            }
        })
        .await;
    }
    world.stop().await;
}

/// What happened to demands, by the feed of routing.
fn causes(rows: &[Vec<u8>]) -> Vec<String> {
    let changed = |row: &Vec<u8>| routing::DemandChanged::decode(row.as_slice());
    rows.iter().map(|row| changed(row).expect("an entry of routing").cause).collect()
}

async fn of_trace(url: &str, pattern: String) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    let rows = sqlx::query_scalar(DATA_OF_TRACE).bind(pattern).fetch_all(&mut connection).await?;
    connection.close().await?;
    Ok(rows)
}
