//! Where rows come from: the paged lists of the public API.

use anyhow::{Context as _, bail};
use contracts::common::v1::trait_value::Kind as Value;
use contracts::feedback::v1 as feedback;
use contracts::feedback::v1::feedback_service_client::FeedbackServiceClient;
use contracts::profile::v1 as profile;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use contracts::routing::v1 as routing;
use contracts::routing::v1::routing_service_client::RoutingServiceClient;
use contracts::scoring::v1 as scoring;
use contracts::scoring::v1::scoring_service_client::ScoringServiceClient;
use jiff::Timestamp;

use super::table::{Cell, Column, Kind, Row};
use super::{Options, What};
use crate::client::{Client, patiently};

const PAGE: i32 = 500;
/// Reasons that a score names.
const REASONS: usize = 3;

/// Pages of one kind, one after the other.
pub(crate) struct Source {
    what: What,
    client: Client,
    columns: Vec<Column>,
    traits: Vec<profile::TraitDefinition>,
    with_personal: bool,
    as_of: prost_types::Timestamp,
    /// Of the next page; none after the last.
    token: Option<String>,
}

impl Source {
    pub(crate) async fn open(options: &Options, client: &Client) -> anyhow::Result<Self> {
        let now = Timestamp::now();
        let as_of = prost_types::Timestamp {
            seconds: now.as_second(),
            nanos: now.subsec_nanosecond().max(0),
        };
        let (what, client) = (options.what, client.clone());
        let traits = match what {
            What::Profiles => wanted_traits(options, &client).await?,
            What::Scores | What::Demands | What::Outcomes => Vec::new(),
        };
        let columns = columns(what, &traits);
        let token = Some(String::new());
        let with_personal = options.with_personal;
        Ok(Self { what, client, columns, traits, with_personal, as_of, token })
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The next page; nothing after the last.
    pub(crate) async fn page(&mut self) -> anyhow::Result<Option<Vec<Row>>> {
        let Some(page_token) = self.token.take() else { return Ok(None) };
        let (rows, next) = match self.what {
            What::Profiles => self.profiles(page_token).await,
            What::Scores => self.scores(page_token).await,
            What::Demands => self.demands(page_token).await,
            What::Outcomes => self.outcomes(page_token).await,
        }
        .with_context(|| format!("reading from {}", self.client.address()))?;
        self.token = Some(next).filter(|next| !next.is_empty());
        Ok(Some(rows))
    }

    async fn profiles(&self, page_token: String) -> anyhow::Result<(Vec<Row>, String)> {
        let mut client = ProfileServiceClient::new(self.client.service());
        let as_of_time = Some(self.as_of);
        let (profiles, next) = if self.with_personal {
            let request =
                profile::ExportProfilesRequest { page_size: PAGE, page_token, as_of_time };
            let page = patiently(async || client.export_profiles(request.clone()).await).await?;
            (page.profiles, page.next_page_token)
        } else {
            let request = profile::ListProfilesRequest { page_size: PAGE, page_token, as_of_time };
            let page = patiently(async || client.list_profiles(request.clone()).await).await?;
            (page.profiles, page.next_page_token)
        };
        let rows = profiles.into_iter().map(|profile| profile_row(profile, &self.traits));
        Ok((rows.collect(), next))
    }

    async fn scores(&self, page_token: String) -> anyhow::Result<(Vec<Row>, String)> {
        let mut client = ScoringServiceClient::new(self.client.service());
        let request = scoring::ListScoresRequest { page_size: PAGE, page_token };
        let page = patiently(async || client.list_scores(request.clone()).await).await?;
        Ok((page.scores.into_iter().map(score_row).collect(), page.next_page_token))
    }

    async fn demands(&self, page_token: String) -> anyhow::Result<(Vec<Row>, String)> {
        let mut client = RoutingServiceClient::new(self.client.service());
        let request =
            routing::ListDemandsRequest { page_size: PAGE, page_token, ..Default::default() };
        let page = patiently(async || client.list_demands(request.clone()).await).await?;
        Ok((page.demands.into_iter().map(demand_row).collect(), page.next_page_token))
    }

    async fn outcomes(&self, page_token: String) -> anyhow::Result<(Vec<Row>, String)> {
        let mut client = FeedbackServiceClient::new(self.client.service());
        let request = feedback::ListOutcomesRequest { page_size: PAGE, page_token };
        let page = patiently(async || client.list_outcomes(request.clone()).await).await?;
        Ok((page.outcomes.into_iter().map(outcome_row).collect(), page.next_page_token))
    }
}

/// The attributes that get a column, by name.
async fn wanted_traits(
    options: &Options,
    client: &Client,
) -> anyhow::Result<Vec<profile::TraitDefinition>> {
    let mut all = Vec::new();
    let mut client = ProfileServiceClient::new(client.service());
    let mut page_token = String::new();
    loop {
        let request = profile::ListTraitsRequest { page_size: PAGE, page_token };
        let page = patiently(async || client.list_traits(request.clone()).await).await;
        let page = page.context("reading the attributes of profiles")?;
        all.extend(page.traits);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    for name in &options.traits {
        match all.iter().find(|known| known.name == *name) {
            None => {
                let known: Vec<&str> = all.iter().map(|known| known.name.as_str()).collect();
                bail!("--traits {name}: there is no such attribute, only {}", known.join(", "));
            }
            Some(known) if known.personal && !options.with_personal => {
                bail!("--traits {name}: it is personal, and needs --with-personal");
            }
            Some(_) => {}
        }
    }
    all.retain(|known| {
        let named = options.traits.is_empty() || options.traits.contains(&known.name);
        named && (options.with_personal || !known.personal)
    });
    all.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(all)
}

const PROFILE: [(&str, Kind); 18] = [
    ("customer_id", Kind::Text),
    ("version", Kind::Whole),
    ("life_cycle_stage", Kind::Text),
    ("events", Kind::Whole),
    ("first_seen_at", Kind::Time),
    ("last_seen_at", Kind::Time),
    ("engagement", Kind::Number),
    ("orders", Kind::Whole),
    ("first_order_at", Kind::Time),
    ("last_order_at", Kind::Time),
    ("revenue", Kind::Amount),
    ("currency", Kind::Text),
    ("recency_days", Kind::Whole),
    ("recency_band", Kind::Whole),
    ("frequency_band", Kind::Whole),
    ("monetary_band", Kind::Whole),
    ("open_tickets", Kind::Whole),
    ("points_balance", Kind::Whole),
];
const SCORE: [(&str, Kind); 12] = [
    ("customer_id", Kind::Text),
    ("scorer", Kind::Text),
    ("kind", Kind::Text),
    ("value", Kind::Number),
    ("probability", Kind::Number),
    ("grade", Kind::Text),
    ("scorer_version", Kind::Whole),
    ("profile_version", Kind::Whole),
    ("scored_at", Kind::Time),
    ("reason_1", Kind::Text),
    ("reason_2", Kind::Text),
    ("reason_3", Kind::Text),
];
const DEMAND: [(&str, Kind); 16] = [
    ("demand_id", Kind::Text),
    ("customer_id", Kind::Text),
    ("kind", Kind::Text),
    ("policy", Kind::Text),
    ("state", Kind::Text),
    ("priority", Kind::Whole),
    ("required_skills", Kind::Text),
    ("team", Kind::Text),
    ("agent", Kind::Text),
    ("arose_at", Kind::Time),
    ("created_at", Kind::Time),
    ("due_at", Kind::Time),
    ("result", Kind::Text),
    ("value", Kind::Amount),
    ("currency", Kind::Text),
    ("result_reason", Kind::Text),
];
const OUTCOME: [(&str, Kind); 12] = [
    ("demand_id", Kind::Text),
    ("customer_id", Kind::Text),
    ("demand_kind", Kind::Text),
    ("team", Kind::Text),
    ("agent", Kind::Text),
    ("result", Kind::Text),
    ("value", Kind::Amount),
    ("currency", Kind::Text),
    ("reason", Kind::Text),
    ("occurred_at", Kind::Time),
    ("recorded_at", Kind::Time),
    ("version", Kind::Whole),
];

fn columns(what: What, traits: &[profile::TraitDefinition]) -> Vec<Column> {
    let fixed: &[(&str, Kind)] = match what {
        What::Profiles => &PROFILE,
        What::Scores => &SCORE,
        What::Demands => &DEMAND,
        What::Outcomes => &OUTCOME,
    };
    let fixed = fixed.iter().map(|(name, kind)| Column::new(*name, *kind));
    let declared = traits
        .iter()
        .map(|declared| Column::new(format!("traits.{}", declared.name), kind_of(declared)));
    fixed.chain(declared).collect()
}

fn kind_of(declared: &profile::TraitDefinition) -> Kind {
    match declared.r#type() {
        profile::TraitType::Number => Kind::Number,
        profile::TraitType::Boolean => Kind::Flag,
        profile::TraitType::Time => Kind::Time,
        profile::TraitType::String | profile::TraitType::Unspecified => Kind::Text,
    }
}

/// A word of the contract without its prefix, in lower case; nothing for what is unspecified.
fn word(name: &str, prefix: &str) -> Cell {
    let word = name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase();
    if word == "unspecified" { Cell::Empty } else { Cell::text(word) }
}

fn profile_row(profile: profile::Profile, traits: &[profile::TraitDefinition]) -> Row {
    let ledger = profile.ledger.clone().unwrap_or_default();
    let rfm = profile.rfm.clone().unwrap_or_default();
    let whole = |number: i32| Cell::Whole(number.into());
    let days = rfm.recency.map(|recency| Cell::Whole(recency.seconds / 86_400));
    let currency = rfm.monetary.as_ref().map(|money| money.currency_code.as_str());
    let mut row = vec![
        Cell::text(profile.customer_id.as_str()),
        Cell::Whole(profile.version),
        word(profile.life_cycle_stage().as_str_name(), "LIFE_CYCLE_STAGE_"),
        Cell::Whole(profile.total_events),
        Cell::time(profile.first_event_time.as_ref()),
        Cell::time(profile.last_event_time.as_ref()),
        Cell::Number(profile.engagement),
        Cell::Whole(ledger.orders),
        Cell::time(ledger.first_order_time.as_ref()),
        Cell::time(ledger.last_order_time.as_ref()),
        Cell::amount(rfm.monetary.as_ref()),
        Cell::text(currency.unwrap_or_default()),
        days.unwrap_or(Cell::Empty),
        whole(rfm.recency_band),
        whole(rfm.frequency_band),
        whole(rfm.monetary_band),
        Cell::Whole(ledger.open_tickets),
        Cell::Whole(ledger.points_balance),
    ];
    row.extend(traits.iter().map(|declared| {
        let value = profile.traits.get(&declared.name).and_then(|kept| kept.value.as_ref());
        trait_cell(value.and_then(|value| value.kind.as_ref()), kind_of(declared))
    }));
    row
}

/// The value in the type of its column; one of an earlier declaration may not have it.
fn trait_cell(value: Option<&Value>, kind: Kind) -> Cell {
    let cell = match value {
        None => return Cell::Empty,
        Some(Value::StringValue(text)) => Cell::text(text.as_str()),
        Some(Value::NumberValue(number)) => Cell::Number(*number),
        Some(Value::BoolValue(flag)) => Cell::Flag(*flag),
        Some(Value::TimeValue(time)) => Cell::time(Some(time)),
    };
    match (&cell, kind) {
        (Cell::Text(_), Kind::Text)
        | (Cell::Number(_), Kind::Number)
        | (Cell::Flag(_), Kind::Flag)
        | (Cell::Time(_), Kind::Time) => cell,
        (_, Kind::Text) => Cell::text(cell.written()),
        _ => Cell::Empty,
    }
}

fn score_row(score: scoring::Score) -> Row {
    let mut row = vec![
        Cell::text(score.customer_id.as_str()),
        Cell::text(score.scorer.as_str()),
        word(score.kind().as_str_name(), "SCORER_KIND_"),
        Cell::Number(score.value),
        Cell::number(score.probability),
        Cell::text(score.grade.as_str()),
        Cell::Whole(score.scorer_version),
        Cell::Whole(score.profile_version),
        Cell::time(score.as_of_time.as_ref()),
    ];
    let reasons = score.top_reasons.into_iter().map(|reason| {
        let is_described = !reason.description.is_empty();
        Cell::text(if is_described { reason.description } else { reason.name })
    });
    row.extend(reasons.chain(std::iter::repeat(Cell::Empty)).take(REASONS));
    row
}

fn demand_row(demand: routing::Demand) -> Row {
    let currency = demand.value.as_ref().map(|money| money.currency_code.as_str());
    vec![
        Cell::text(demand.demand_id.as_str()),
        Cell::text(demand.customer_id.as_str()),
        Cell::text(demand.kind.as_str()),
        Cell::text(demand.policy.as_str()),
        word(demand.state().as_str_name(), "DEMAND_STATE_"),
        Cell::Whole(demand.priority.into()),
        Cell::text(demand.required_skills.join(", ")),
        Cell::text(demand.team.as_str()),
        Cell::text(demand.agent.as_str()),
        Cell::time(demand.event_time.as_ref()),
        Cell::time(demand.create_time.as_ref()),
        Cell::time(demand.due_time.as_ref()),
        word(demand.result().as_str_name(), "DEMAND_RESULT_"),
        Cell::amount(demand.value.as_ref()),
        Cell::text(currency.unwrap_or_default()),
        Cell::text(demand.result_reason.as_str()),
    ]
}

fn outcome_row(listed: feedback::ListedOutcome) -> Row {
    let outcome = listed.outcome.unwrap_or_default();
    let currency = outcome.value.as_ref().map(|money| money.currency_code.as_str());
    vec![
        Cell::text(outcome.demand_id.as_str()),
        Cell::text(listed.customer_id),
        Cell::text(listed.demand_kind),
        Cell::text(listed.team),
        Cell::text(listed.agent),
        word(outcome.result().as_str_name(), "OUTCOME_RESULT_"),
        Cell::amount(outcome.value.as_ref()),
        Cell::text(currency.unwrap_or_default()),
        Cell::text(outcome.reason.as_str()),
        Cell::time(outcome.event_time.as_ref()),
        Cell::time(listed.record_time.as_ref()),
        Cell::Whole(outcome.version),
    ]
}
