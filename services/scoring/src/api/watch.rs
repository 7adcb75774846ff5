//! WatchScores: the own feed as one tenant sees it.

use std::collections::BTreeSet;
use std::sync::Arc;

use ::store::TokenSealer;
use ::store::page_token::Scope;
use contracts::scoring::v1::{
    EventKind, ScoreChange, ScoreChanged, WatchScoresRequest, WatchScoresResponse, WatchedScore,
};
use feed::Entry;
use feed::watch::{Cursor, Seen};
use futures::stream;
use kernel::{CustomerId, TenantId, Violations};
use prost::Message;
use server::Call;
use server::watch::{Item, Options, Watch};
use tonic::Status;

use super::parse;
use crate::app::App;
use crate::error::Error;

const METHOD: &str = "rapport.scoring.v1.ScoringService/WatchScores";
const MAX_CUSTOMERS: usize = 1_000;

/// One caller's view.
struct Watching {
    feed: feed::Watch,
    filter: Filter,
}

/// For whom, and what the tokens are bound to.
struct Filter {
    tenant: TenantId,
    /// None means all.
    customers: BTreeSet<CustomerId>,
    encoded: Vec<u8>,
    tokens: TokenSealer,
}

pub(super) async fn watch_scores(
    app: &Arc<App>,
    call: &Call,
    request: WatchScoresRequest,
) -> Result<Watch<WatchScoresResponse>, Error> {
    let filter = Filter::of(app, call, &request.customer_ids)?;
    let from = filter.open(&request.resume_token)?;
    let feed = feed::Watch::open(&app.tail, call.tenant(), from).await?.only(filter.wanted());
    let start = filter.seal(feed.cursor())?;
    let watching = Watching { feed, filter };
    let source = stream::try_unfold(watching, |mut watching| async move {
        let item = watching.next().await.map_err(|error| server::status(&error))?;
        Ok::<_, Status>(Some((item, watching)))
    });
    let beat = |position: &str| message(position.to_owned(), None);
    Ok(server::watch::stream(call, &app.drain, Options::default(), start, source, beat))
}

fn message(resume_token: String, change: Option<ScoreChange>) -> WatchScoresResponse {
    WatchScoresResponse { resume_token, change }
}

impl Watching {
    /// The next change, or a mere position when long nothing was told.
    async fn next(&mut self) -> Result<Item<WatchScoresResponse>, Error> {
        let (cursor, seen) = self.feed.next().await?;
        let change = match seen {
            Seen::Entry(entry) => Some(change(&entry)?),
            Seen::Nothing => None,
        };
        let resume_token = self.filter.seal(cursor)?;
        Ok(Item { message: message(resume_token.clone(), change), resume_token })
    }
}

impl Filter {
    fn of(app: &App, call: &Call, ids: &[String]) -> Result<Self, Error> {
        let mut violations = Violations::new();
        if ids.len() > MAX_CUSTOMERS {
            violations.add("customer_ids", format!("must have at most {MAX_CUSTOMERS} items"));
        }
        let mut customers = BTreeSet::new();
        for (position, id) in ids.iter().take(MAX_CUSTOMERS).enumerate() {
            let field = format!("customer_ids[{position}]");
            customers.extend(parse::customer(&field, id, &mut violations));
        }
        violations.into_result(())?;
        let encoded = customers.iter().flat_map(|customer| *customer.as_bytes()).collect();
        Ok(Self { tenant: call.tenant(), customers, encoded, tokens: app.tokens.clone() })
    }

    fn scope(&self) -> Scope<'_> {
        Scope { tenant: self.tenant, method: METHOD, filter: &self.encoded }
    }

    fn open(&self, token: &str) -> Result<Option<Cursor>, Error> {
        let Some(bytes) = self.tokens.resume(&self.scope(), token)? else { return Ok(None) };
        Ok(Some(Cursor::from_bytes(&bytes)?))
    }

    fn seal(&self, cursor: Cursor) -> Result<String, Error> {
        Ok(self.tokens.seal(&self.scope(), &cursor.to_bytes())?)
    }

    fn wanted(&self) -> impl Fn(&Entry) -> bool + Send + Sync + 'static {
        let customers = self.customers.clone();
        move |entry| {
            entry.kind == EventKind::ScoreChanged as i16
                && (customers.is_empty() || customers.contains(&CustomerId::new(entry.subject)))
        }
    }
}

fn change(entry: &Entry) -> Result<ScoreChange, Error> {
    let changed = ScoreChanged::decode(entry.data.clone());
    let changed = changed.map_err(|_| feed::Error::Malformed("data"))?;
    let score = |state: contracts::scoring::v1::ScoreState| WatchedScore {
        scorer: state.scorer,
        value: state.value,
        grade: state.grade,
        crossed_up: state.crossed_up,
    };
    Ok(ScoreChange {
        customer_id: CustomerId::new(entry.subject).to_string(),
        profile_version: changed.profile_version,
        scores: changed.scores.into_iter().map(score).collect(),
    })
}
