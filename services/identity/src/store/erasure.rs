//! The ledger of erasures.

use kernel::{CustomerId, EvidenceId, Shard, TenantId};
use sqlx::PgConnection;
use store::{Database, Error};
use uuid::Uuid;

use super::snapshot::After;
use crate::domain::{ErasedPart, Receipt};

/// `er` in ASCII: one writer of the ledger at a time, so that its numbers have no gap.
const LOCK: &str = "select pg_advisory_xact_lock($1)";
const LEDGER: i64 = 0x6572;
const INSERT: &str = "insert into erasure (seq, tenant_id, shard, part_id, erasure_id, customer_id,
        customer_ids, evidence_ids, map_versions, erased_us)
    select (select coalesce(max(seq), 0) + 1 from erasure), $1, $2, $3, $4, $5, $6, $7, $8, $9";

/// Writes a part into the ledger. Others that erase wait until the commit.
pub(crate) async fn insert(connection: &mut PgConnection, part: &ErasedPart) -> Result<(), Error> {
    sqlx::query(LOCK).bind(LEDGER).execute(&mut *connection).await?;
    let evidence: Vec<Uuid> = part.evidence.iter().map(|(id, _)| id.uuid()).collect();
    let versions: Vec<i64> = part.evidence.iter().map(|(_, version)| *version).collect();
    sqlx::query(INSERT)
        .bind(part.tenant.uuid())
        .bind(Shard::of(part.part).number())
        .bind(part.part)
        .bind(part.erasure)
        .bind(part.customer.uuid())
        .bind(part.customers.iter().map(|id| id.uuid()).collect::<Vec<Uuid>>())
        .bind(evidence)
        .bind(versions)
        .bind(part.erased_us)
        .execute(connection)
        .await?;
    Ok(())
}

type Row = (i64, Uuid, Uuid, Uuid, Uuid, Vec<Uuid>, Vec<Uuid>, Vec<i64>, i64);

fn part(row: Row) -> (i64, ErasedPart) {
    let (seq, tenant, part, erasure, customer, customers, evidence, versions, erased_us) = row;
    let evidence = evidence.into_iter().map(EvidenceId::new).zip(versions).collect();
    let part = ErasedPart {
        tenant: TenantId::new(tenant),
        part,
        erasure,
        customer: CustomerId::new(customer),
        customers: customers.into_iter().map(CustomerId::new).collect(),
        evidence,
        erased_us,
    };
    (seq, part)
}

const KNOWN: &str = "select exists (select from erasure
    where tenant_id = $1 and shard = $2 and part_id = $3)";

/// True if the ledger has the part.
pub(crate) async fn is_known(
    connection: &mut PgConnection,
    tenant: TenantId,
    part: Uuid,
) -> Result<bool, Error> {
    let known = sqlx::query_scalar(KNOWN)
        .bind(tenant.uuid())
        .bind(Shard::of(part).number())
        .bind(part)
        .fetch_one(connection)
        .await?;
    Ok(known)
}

const OF_CUSTOMER: &str =
    "select erasure_id from erasure where customer_ids @> array[$2] and tenant_id = $1 limit 1";

/// The erasure that an id was gone with.
pub(crate) async fn of_customer(
    connection: &mut PgConnection,
    tenant: TenantId,
    customer: CustomerId,
) -> Result<Option<Uuid>, Error> {
    Ok(sqlx::query_scalar(OF_CUSTOMER)
        .bind(tenant.uuid())
        .bind(customer.uuid())
        .fetch_optional(connection)
        .await?)
}

const PARTS: &str = "select seq, tenant_id, part_id, erasure_id, customer_id, customer_ids,
        evidence_ids, map_versions, erased_us
    from erasure where tenant_id = $1 and erasure_id = $2 order by seq";

/// All parts of an erasure; none if there is no such one.
pub(crate) async fn parts(
    connection: &mut PgConnection,
    tenant: TenantId,
    erasure: Uuid,
) -> Result<Vec<ErasedPart>, Error> {
    let rows: Vec<Row> =
        sqlx::query_as(PARTS).bind(tenant.uuid()).bind(erasure).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| part(row).1).collect())
}

const IDS: &str = "select seq, erasure_id from erasure
    where tenant_id = $1 and seq > $2 and part_id = erasure_id order by seq limit $3";

/// Erasures of a tenant after a place in the ledger.
pub(crate) async fn ids(
    connection: &mut PgConnection,
    tenant: TenantId,
    after: i64,
    limit: i64,
) -> Result<Vec<(i64, Uuid)>, Error> {
    Ok(sqlx::query_as(IDS)
        .bind(tenant.uuid())
        .bind(after)
        .bind(limit)
        .fetch_all(connection)
        .await?)
}

const RECEIPTS: &str = "select service, count(*), max(done_us) from receipt
    where tenant_id = $1 and part_id = any($2) group by service";

/// Who has committed how many of the parts, and when the last of them.
pub(crate) async fn receipts(
    connection: &mut PgConnection,
    tenant: TenantId,
    parts: &[Uuid],
) -> Result<Vec<Receipt>, Error> {
    let rows: Vec<(String, i64, i64)> =
        sqlx::query_as(RECEIPTS).bind(tenant.uuid()).bind(parts).fetch_all(connection).await?;
    let receipt = |(service, parts, done_us)| Receipt { service, parts, done_us };
    Ok(rows.into_iter().map(receipt).collect())
}

const AFTER: &str = "select seq, tenant_id, part_id, erasure_id, customer_id, customer_ids,
        evidence_ids, map_versions, erased_us
    from erasure where seq > $1 order by seq limit $2";

/// The ledger of all tenants after a place in it.
pub(crate) async fn after(
    database: &Database,
    seq: i64,
    limit: i64,
) -> Result<Vec<(i64, ErasedPart)>, Error> {
    let rows: Vec<Row> =
        sqlx::query_as(AFTER).bind(seq).bind(limit).fetch_all(database.pool()).await?;
    Ok(rows.into_iter().map(part).collect())
}

const PENDING: &str = "select count(*) from erasure e
    where (select count(*) from receipt r
        where r.tenant_id = e.tenant_id and r.part_id = e.part_id and r.service = any($1))
        < cardinality($1)";

/// How many parts some of the services have not committed.
pub(crate) async fn pending(database: &Database, services: &[&str]) -> Result<i64, Error> {
    Ok(sqlx::query_scalar(PENDING).bind(services).fetch_one(database.pool()).await?)
}

const SNAPSHOT: &str = "select seq, tenant_id, part_id, erasure_id, customer_id, customer_ids,
        evidence_ids, map_versions, erased_us
    from erasure where (tenant_id, shard, part_id) > ($1, $2, $3) and shard = any($4)
    order by tenant_id, shard, part_id limit $5";

/// The next parts in the order of a snapshot.
pub(crate) async fn snapshot(
    connection: &mut PgConnection,
    shards: &[i16],
    after: After,
    limit: i64,
) -> Result<Vec<ErasedPart>, Error> {
    let (tenant, shard, subject) = super::snapshot::lower_bound(after);
    let rows: Vec<Row> = sqlx::query_as(SNAPSHOT)
        .bind(tenant)
        .bind(shard)
        .bind(subject)
        .bind(shards)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| part(row).1).collect())
}
