//! The stream of offers: those that are open, then each as it begins and ends.
//!
//! A token given out among the open offers means "begin again with the open ones"; one given out
//! later means "go on from here". So nothing is missed; an offer may come twice.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use ::store::TokenSealer;
use ::store::page_token::Scope;
use contracts::routing::v1::{DemandChanged, DemandState, Offer, OfferState};
use contracts::routing::v1::{WatchOffersRequest, WatchOffersResponse};
use feed::watch::{Cursor, Seen};
use feed::{Entry, Watch};
use kernel::{OfferId, TenantId, Violations};
use prost::Message;
use server::Call;
use server::watch::{self, Item, Options};
use tonic::Status;
use uuid::Uuid;

use super::{read, status};
use crate::Error;
use crate::app::App;
use crate::store::{demand, offer};
use crate::{events, message};

const METHOD: &str = "rapport.routing.v1.RoutingService/WatchOffers";
/// How many open offers are read at a time.
const OPEN: i64 = 200;
/// How old a token may get while only others' entries pass.
const QUIET: Duration = Duration::from_secs(60);

pub(super) type Offers = watch::Watch<WatchOffersResponse>;

/// What a resume token means; its first byte says which.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Open offers come first, whatever came before.
    Open,
    /// After this entry.
    After(Cursor),
}

impl Place {
    fn to_bytes(self) -> Vec<u8> {
        match self {
            Self::Open => vec![0],
            Self::After(cursor) => [&[1], cursor.to_bytes().as_slice()].concat(),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, feed::Error> {
        match bytes.split_first() {
            Some((0, _)) => Ok(Self::Open),
            Some((1, cursor)) => Cursor::from_bytes(cursor).map(Self::After),
            _ => Err(feed::Error::Malformed("resume_token")),
        }
    }
}

/// Where a stream stands.
struct Source {
    app: App,
    tenant: TenantId,
    /// Empty means all.
    agent: String,
    watch: Watch,
    open: Option<Open>,
    /// Pending offers that were sent as open ones: the log tells of some of them again.
    sent: HashSet<OfferId>,
    /// When the token last moved.
    moved: Instant,
}

/// What decides whether an entry is wanted: most are not, and each watcher asks. The demand in
/// it is skipped, not decoded.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(string, tag = "4")]
    agent: String,
    #[prost(string, tag = "6")]
    cause: String,
}

impl Head {
    /// What became of an offer, if the entry is about one.
    fn state(&self) -> Option<OfferState> {
        Some(match self.cause.as_str() {
            "offered" => OfferState::Pending,
            "accepted" => OfferState::Accepted,
            "declined" => OfferState::Declined,
            "offer_timed_out" => OfferState::TimedOut,
            _ => return None,
        })
    }
}

/// The open offers that are still to be read.
struct Open {
    after: (i64, Uuid),
    waiting: VecDeque<(OfferId, Offer)>,
    more: bool,
}

pub(super) async fn watch_offers(
    app: &App,
    call: &Call,
    request: WatchOffersRequest,
) -> Result<Offers, Error> {
    let mut violations = Violations::new();
    if !request.agent.is_empty() {
        read::name(&mut violations, "agent", &request.agent);
    }
    violations.into_result(())?;
    let tenant = call.tenant();
    let filter = request.agent.clone().into_bytes();
    let scope = Scope { tenant, method: METHOD, filter: &filter };
    let place = match app.sealer.resume(&scope, &request.resume_token)? {
        Some(bytes) => Place::from_bytes(&bytes)?,
        None => Place::Open,
    };
    let (cursor, open) = match place {
        Place::After(cursor) => (Some(cursor), None),
        Place::Open => {
            let after = (i64::MIN, Uuid::nil());
            (None, Some(Open { after, waiting: VecDeque::new(), more: true }))
        }
    };
    // The log from now on, before the open offers are read: none falls between.
    let watch = Watch::open(&app.tail, tenant, cursor).await?;
    let start = seal(&app.sealer, tenant, &filter, place)?;
    let source = Source {
        app: app.clone(),
        tenant,
        agent: request.agent,
        watch,
        open,
        sent: HashSet::new(),
        moved: Instant::now(),
    };
    let items = futures::stream::try_unfold(source, |mut source| async move {
        let item = source.next().await.map_err(status)?;
        Ok::<_, Status>(Some((item, source)))
    });
    let heartbeat =
        |token: &str| WatchOffersResponse { resume_token: token.to_owned(), offer: None };
    Ok(watch::stream(call, &app.drain, Options::default(), start, items, heartbeat))
}

fn seal(
    sealer: &TokenSealer,
    tenant: TenantId,
    filter: &[u8],
    place: Place,
) -> Result<String, Error> {
    Ok(sealer.seal(&Scope { tenant, method: METHOD, filter }, &place.to_bytes())?)
}

impl Source {
    async fn next(&mut self) -> Result<Item<WatchOffersResponse>, Error> {
        if let Some((id, offer)) = self.next_open().await? {
            self.sent.insert(id);
            return self.item(Place::Open, Some(offer));
        }
        loop {
            let (cursor, seen) = self.watch.next().await?;
            let offer = match seen {
                Seen::Entry(entry) => self.offer(&entry).await?,
                Seen::Nothing => None,
            };
            // Now and then the token moves although nothing happened here: that of a quiet
            // tenant must not fall out of what the log keeps.
            if offer.is_some() || self.moved.elapsed() >= QUIET {
                self.moved = Instant::now();
                return self.item(Place::After(cursor), offer);
            }
        }
    }

    fn item(&self, place: Place, offer: Option<Offer>) -> Result<Item<WatchOffersResponse>, Error> {
        let resume_token = seal(&self.app.sealer, self.tenant, self.agent.as_bytes(), place)?;
        let message = WatchOffersResponse { resume_token: resume_token.clone(), offer };
        Ok(Item { resume_token, message })
    }

    async fn next_open(&mut self) -> Result<Option<(OfferId, Offer)>, Error> {
        let pool = self.app.database.pool();
        while let Some(open) = &mut self.open {
            if let Some(offer) = open.waiting.pop_front() {
                return Ok(Some(offer));
            }
            if !open.more {
                self.open = None;
                break;
            }
            let agent = (!self.agent.is_empty()).then_some(self.agent.as_str());
            let page = offer::pending(pool, self.tenant, agent, open.after, OPEN).await?;
            open.more = page.len() as i64 == OPEN;
            let keys: Vec<_> = page.iter().map(|offer| (self.tenant, offer.demand)).collect();
            let found = demand::find(pool, &keys).await?.demands;
            let demands: HashMap<_, _> =
                found.iter().map(|demand| (demand.offer, demand)).collect();
            for offer in page {
                open.after = (offer.created_us, offer.id.uuid());
                // One that ended meanwhile is told by the log.
                if let Some(demand) = demands.get(&Some(offer.id)) {
                    open.waiting.push_back((offer.id, message::offer(&offer, demand)));
                }
            }
        }
        Ok(None)
    }

    /// What an entry says about an offer, if it does and is wanted.
    async fn offer(&mut self, entry: &Entry) -> Result<Option<Offer>, Error> {
        let Ok(head) = Head::decode(&*entry.data) else {
            return Err(feed::Error::Malformed("data").into());
        };
        let Some(state) = head.state() else { return Ok(None) };
        if !self.agent.is_empty() && head.agent != self.agent {
            return Ok(None);
        }
        let Some(changed) = events::read(entry)? else { return Ok(None) };
        let id: Option<OfferId> = changed.offer_id.parse().ok();
        let pending = state == OfferState::Pending;
        if pending && id.is_some_and(|id| self.sent.remove(&id)) {
            return Ok(None);
        }
        let expire_time = match id {
            Some(id) if pending => self.expire_time(id, &changed).await?,
            _ => None,
        };
        Ok(Some(Offer {
            offer_id: changed.offer_id,
            agent: changed.agent,
            demand: changed.demand,
            state: state.into(),
            expire_time,
        }))
    }

    /// The demand's next action is the offer's time-out, unless the SLA comes before it.
    async fn expire_time(
        &self,
        id: OfferId,
        changed: &DemandChanged,
    ) -> Result<Option<prost_types::Timestamp>, Error> {
        let Some(demand) = &changed.demand else { return Ok(None) };
        let offered = demand.state == i32::from(DemandState::Offered);
        if offered && demand.next_action_time != demand.due_time {
            return Ok(demand.next_action_time);
        }
        let mut connection = self.app.database.acquire().await?;
        let found = offer::find(&mut connection, &[(self.tenant, id)]).await?;
        Ok(found.first().map(|offer| message::timestamp(offer.expire_us)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_an_entry_is_that_of_the_contract() {
        let whole = DemandChanged {
            demand: Some(contracts::routing::v1::Demand {
                demand_id: "d".to_owned(),
                ..Default::default()
            }),
            agent: "ann".to_owned(),
            offer_id: "o".to_owned(),
            cause: "declined".to_owned(),
            ..Default::default()
        };
        let head = Head::decode(whole.encode_to_vec().as_slice()).expect("a head");
        assert_eq!((head.agent.as_str(), head.state()), ("ann", Some(OfferState::Declined)));
    }
}
