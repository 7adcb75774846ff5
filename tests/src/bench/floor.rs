//! The floor of ingest: the rows that profile writes, into a clone of its database, in the same
//! groups, by SQL alone. Payloads and states are those that the service wrote; nobody decodes,
//! encrypts, folds or answers. Two connections, as the service has two committers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::load::{CHUNK, Random, Zipf};
use super::meter::{Phase, Processes};

const CONNECTIONS: u64 = 2;
const WARM_UP: Duration = Duration::from_secs(1);
const PAYLOADS: i64 = 5_000;
/// `EVENT_KIND_PROFILE_CHANGED`.
const KIND: i16 = 1;

/// The database of the floor.
pub(crate) const DATABASE: &str = "floor";

/// Copies profile's database; nobody may be connected to it.
pub(crate) async fn clone_database(admin: &mut PgConnection) -> anyhow::Result<()> {
    let clone = AssertSqlSafe(format!("create database {DATABASE} template profile"));
    sqlx::query(clone).execute(admin).await?;
    Ok(())
}

const FRAGMENTS: &str = "select f.tenant_id, f.shard, f.evidence_id, f.behaviour,
        c.shard, c.customer_id, c.behaviour
    from fragment f join customer c using (tenant_id, customer_id)
    where f.version > 0 order by c.version desc, c.customer_id, f.evidence_id";
const SOME_PAYLOADS: &str = "select payload from event limit $1";

type FragmentRow = (Uuid, i16, Uuid, Vec<u8>, i16, Uuid, Option<Vec<u8>>);

/// What is written, from memory.
#[derive(Debug)]
pub(crate) struct Rows {
    tenant: Uuid,
    fragments: Vec<Fragment>,
    customers: Vec<Customer>,
    popularity: Zipf,
    payloads: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Fragment {
    shard: i16,
    id: Uuid,
    state: Vec<u8>,
    customer: usize,
}

#[derive(Debug)]
struct Customer {
    shard: i16,
    id: Uuid,
    merged: Option<Vec<u8>>,
    /// As a feed entry carries it.
    changed: Vec<u8>,
    fragments: std::ops::Range<usize>,
}

impl Rows {
    /// Reads them from the clone.
    pub(crate) async fn read(connection: &mut PgConnection) -> anyhow::Result<Self> {
        let rows: Vec<FragmentRow> = sqlx::query_as(FRAGMENTS).fetch_all(&mut *connection).await?;
        let payloads =
            sqlx::query_scalar(SOME_PAYLOADS).bind(PAYLOADS).fetch_all(connection).await?;
        let tenant = rows.first().context("profile has no fragments")?.0;
        let (mut fragments, mut customers) = (Vec::new(), Vec::<Customer>::new());
        for (_, shard, id, state, customer_shard, customer_id, merged) in rows {
            let next = fragments.len() + 1;
            match customers.last_mut() {
                Some(last) if last.id == customer_id => last.fragments.end = next,
                _ => customers.push(Customer {
                    shard: customer_shard,
                    id: customer_id,
                    changed: changed(merged.as_deref().unwrap_or(&state)),
                    merged,
                    fragments: next - 1..next,
                }),
            }
            fragments.push(Fragment { shard, id, state, customer: customers.len() - 1 });
        }
        let popularity = Zipf::new(customers.len());
        Ok(Self { tenant, fragments, customers, popularity, payloads })
    }
}

/// `ProfileChanged { state }`.
fn changed(state: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x0a];
    prost::encoding::encode_varint(state.len() as u64, &mut bytes);
    bytes.extend_from_slice(state);
    bytes
}

/// Writes for a while. `seed` makes other events of another turn.
pub(crate) async fn write(
    url: &str,
    rows: &Arc<Rows>,
    processes: &Processes,
    (time, seed): (Duration, u64),
) -> anyhow::Result<(Phase, u64)> {
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut writers = JoinSet::new();
    for number in 0..CONNECTIONS {
        let mut connection = connect(url).await?;
        let (rows, done, stop) = (Arc::clone(rows), Arc::clone(&done), Arc::clone(&stop));
        writers.spawn(async move {
            let mut random = Random::new(90_000 + seed * 1_000 + number);
            while !stop.load(Ordering::Relaxed) {
                Batch::new(&rows, &mut random).write(&mut connection).await?;
                done.fetch_add(CHUNK as u64, Ordering::Relaxed);
            }
            anyhow::Ok(connection.close().await?)
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let phase = Phase::measure(time, &done, processes).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    Ok((phase?, done.load(Ordering::Relaxed)))
}

/// As the service's transactions are planned.
const SESSION: &str = "set enable_seqscan = off; set enable_bitmapscan = off; \
    set enable_hashjoin = off; set enable_mergejoin = off; \
    set plan_cache_mode = force_generic_plan";

async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(SESSION).execute(&mut connection).await?;
    Ok(connection)
}

const INSERT_EVENTS: &str = "insert into event
    (tenant_id, shard, evidence_id, message_id, type, occurred_us, received_us, payload)
    select $1, u.* from unnest($2::smallint[], $3::uuid[], $4::text[], $5::smallint[],
        $6::bigint[], $7::bigint[], $8::bytea[]) u
    on conflict do nothing returning evidence_id, message_id";
const LOCK_FRAGMENTS: &str = "select f.customer_id, f.map_version, f.version, f.behaviour
    from unnest($2::smallint[], $3::uuid[]) with ordinality k(shard, evidence_id, ord)
    join fragment f on f.tenant_id = $1 and f.shard = k.shard and f.evidence_id = k.evidence_id
    order by k.ord for no key update of f";
const WRITE_FRAGMENTS: &str = "update fragment f
    set version = f.version + 1, behaviour = u.behaviour
    from unnest($2::smallint[], $3::uuid[], $4::bytea[]) u(shard, evidence_id, behaviour)
    where f.tenant_id = $1 and f.shard = u.shard and f.evidence_id = u.evidence_id";
const LOCK_CUSTOMERS: &str = "select c.version, c.fragments, c.behaviour
    from unnest($2::smallint[], $3::uuid[]) with ordinality k(shard, customer_id, ord)
    join customer c on c.tenant_id = $1 and c.shard = k.shard and c.customer_id = k.customer_id
    order by k.ord for no key update of c";
const WRITE_CUSTOMERS: &str = "update customer c
    set version = c.version + 1, behaviour = u.behaviour
    from unnest($2::smallint[], $3::uuid[], $4::bytea[]) u(shard, customer_id, behaviour)
    where c.tenant_id = $1 and c.shard = u.shard and c.customer_id = u.customer_id";
const INSERT_LEDGER: &str = "insert into ledger_entry
    (tenant_id, shard, evidence_id, message_id, type, entry_id, occurred_us, amount_micros,
     currency)
    select $1, u.*, 49900000::numeric, 'EUR' from unnest($2::smallint[], $3::uuid[], $4::text[],
        $5::smallint[], $6::text[], $7::bigint[]) u";
const APPEND: &str = "select feed_append($1, $2, $3, $4, $5, $6, $7)";

/// What one transaction writes, sorted as the service sorts it.
struct Batch<'a> {
    tenant: Uuid,
    /// Fragment and message id.
    events: Vec<(&'a Fragment, String, &'a [u8])>,
    fragments: Vec<&'a Fragment>,
    customers: Vec<&'a Customer>,
}

impl<'a> Batch<'a> {
    fn new(rows: &'a Rows, random: &mut Random) -> Self {
        let mut events = Vec::with_capacity(CHUNK);
        for _ in 0..CHUNK {
            let customer = &rows.customers[rows.popularity.sample(random)];
            let range = &customer.fragments;
            let fragment = &rows.fragments[range.start + random.below(range.len())];
            let payload = rows.payloads[random.below(rows.payloads.len())].as_slice();
            events.push((fragment, random.uuid().to_string(), payload));
        }
        events.sort_unstable_by(|a, b| (a.0.shard, a.0.id, &a.1).cmp(&(b.0.shard, b.0.id, &b.1)));
        let mut fragments: Vec<&Fragment> = events.iter().map(|event| event.0).collect();
        fragments.dedup_by_key(|fragment| fragment.id);
        let of = |fragment: &&Fragment| &rows.customers[fragment.customer];
        let mut customers: Vec<&Customer> = fragments.iter().map(of).collect();
        customers.sort_unstable_by_key(|customer| (customer.shard, customer.id));
        customers.dedup_by_key(|customer| customer.id);
        Self { tenant: rows.tenant, events, fragments, customers }
    }

    async fn write(&self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let mut transaction = connection.begin().await?;
        self.insert_events(&mut transaction).await?;
        self.update_fragments(&mut transaction).await?;
        self.update_customers(&mut transaction).await?;
        self.insert_ledger(&mut transaction).await?;
        self.append(&mut transaction).await?;
        Ok(transaction.commit().await?)
    }

    async fn insert_events(&self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let now = jiff::Timestamp::now().as_microsecond();
        let times = vec![now; self.events.len()];
        let inserted: Vec<(Uuid, String)> = sqlx::query_as(INSERT_EVENTS)
            .bind(self.tenant)
            .bind(self.events.iter().map(|event| event.0.shard).collect::<Vec<_>>())
            .bind(self.events.iter().map(|event| event.0.id).collect::<Vec<_>>())
            .bind(self.events.iter().map(|event| event.1.as_str()).collect::<Vec<_>>())
            .bind(vec![1_i16; self.events.len()])
            .bind(&times)
            .bind(&times)
            .bind(self.events.iter().map(|event| event.2).collect::<Vec<_>>())
            .fetch_all(connection)
            .await?;
        ensure!(inserted.len() == CHUNK, "the floor wrote {} of {CHUNK} events", inserted.len());
        Ok(())
    }

    async fn update_fragments(&self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let shards: Vec<i16> = self.fragments.iter().map(|fragment| fragment.shard).collect();
        let ids: Vec<Uuid> = self.fragments.iter().map(|fragment| fragment.id).collect();
        let locked: Vec<(Uuid, i64, i64, Vec<u8>)> = sqlx::query_as(LOCK_FRAGMENTS)
            .bind(self.tenant)
            .bind(&shards)
            .bind(&ids)
            .fetch_all(&mut *connection)
            .await?;
        ensure!(locked.len() == ids.len(), "the floor lacks fragments");
        let states = self.fragments.iter().map(|fragment| fragment.state.as_slice());
        sqlx::query(WRITE_FRAGMENTS)
            .bind(self.tenant)
            .bind(&shards)
            .bind(&ids)
            .bind(states.collect::<Vec<_>>())
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn update_customers(&self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let shards: Vec<i16> = self.customers.iter().map(|customer| customer.shard).collect();
        let ids: Vec<Uuid> = self.customers.iter().map(|customer| customer.id).collect();
        let locked: Vec<(i64, i32, Option<Vec<u8>>)> = sqlx::query_as(LOCK_CUSTOMERS)
            .bind(self.tenant)
            .bind(&shards)
            .bind(&ids)
            .fetch_all(&mut *connection)
            .await?;
        ensure!(locked.len() == ids.len(), "the floor lacks customers");
        let states = self.customers.iter().map(|customer| customer.merged.as_deref());
        sqlx::query(WRITE_CUSTOMERS)
            .bind(self.tenant)
            .bind(&shards)
            .bind(&ids)
            .bind(states.collect::<Vec<_>>())
            .execute(connection)
            .await?;
        Ok(())
    }

    /// One event in sixteen carries an order.
    async fn insert_ledger(&self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let orders: Vec<_> = self.events.iter().step_by(16).collect();
        sqlx::query(INSERT_LEDGER)
            .bind(self.tenant)
            .bind(orders.iter().map(|event| event.0.shard).collect::<Vec<_>>())
            .bind(orders.iter().map(|event| event.0.id).collect::<Vec<_>>())
            .bind(orders.iter().map(|event| event.1.as_str()).collect::<Vec<_>>())
            .bind(vec![1_i16; orders.len()])
            .bind(orders.iter().map(|event| event.1.as_str()).collect::<Vec<_>>())
            .bind(vec![jiff::Timestamp::now().as_microsecond(); orders.len()])
            .execute(connection)
            .await?;
        Ok(())
    }

    async fn append(&self, connection: &mut PgConnection) -> anyhow::Result<()> {
        let count = self.customers.len();
        let _first: i64 = sqlx::query_scalar(APPEND)
            .bind(self.customers.iter().map(|customer| customer.shard).collect::<Vec<_>>())
            .bind(vec![self.tenant; count])
            .bind(self.customers.iter().map(|customer| customer.id).collect::<Vec<_>>())
            .bind(vec![KIND; count])
            .bind(vec![1_i64; count])
            .bind(vec![None::<String>; count])
            .bind(self.customers.iter().map(|it| it.changed.as_slice()).collect::<Vec<_>>())
            .fetch_one(connection)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use testkit::House;

    use super::*;
    use crate::bench::door;

    const SEED: &str = "
        insert into customer (tenant_id, shard, customer_id, version, fragments, behaviour)
        select '00000000-0000-4000-8000-000000000001', n % 64, md5('c' || n)::uuid, n, 1 + n % 2,
               case n % 2 when 1 then 'merged'::bytea end
        from generate_series(1, 40) n;
        insert into fragment
            (tenant_id, shard, evidence_id, customer_id, map_version, version, behaviour)
        select c.tenant_id, c.shard, md5(c.customer_id::text || n)::uuid, c.customer_id, 1, 1, 'own'
        from customer c, generate_series(1, c.fragments) n;
        insert into event (tenant_id, shard, evidence_id, message_id, type, occurred_us,
            received_us, payload)
        select tenant_id, shard, evidence_id, 'first', 1, 0, 0, 'sealed' from fragment";

    /// The floor has SQL of its own: it must keep up with profile's tables.
    #[tokio::test]
    async fn a_batch_writes_every_table_that_profile_writes() {
        let house = House::new(contracts::DESCRIPTORS).unwrap();
        let (database, _pool) = house.database("profile", profile::MIGRATIONS).await.unwrap();
        let mut connection = connect(database.url()).await.unwrap();
        sqlx::raw_sql(SEED).execute(&mut connection).await.unwrap();

        let rows = Rows::read(&mut connection).await.unwrap();
        assert_eq!((rows.customers.len(), rows.fragments.len()), (40, 60));
        let batch = Batch::new(&rows, &mut Random::new(1));
        batch.write(&mut connection).await.unwrap();

        let count = "select (select count(*) from event), (select count(*) from ledger_entry),
            (select count(*) from feed), (select count(*) from fragment where version = 2),
            (select count(*) from customer where behaviour is not null)";
        let counts: (i64, i64, i64, i64, i64) =
            sqlx::query_as(count).fetch_one(&mut connection).await.unwrap();
        let touched = (batch.customers.len() as i64, batch.fragments.len() as i64);
        assert_eq!(counts, (60 + CHUNK as i64, 32, touched.0, touched.1, 20));
        door::prepare(&mut connection, b"answer").await.unwrap();
    }
}
