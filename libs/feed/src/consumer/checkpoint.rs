//! The row that says how far a lane has come and who may move it.
//!
//! Moving it by compare-and-set on (position, epoch) is the fence: a holder that was presumed
//! dead and wakes up changes nothing. The lease and its expiry, by the database clock, only save
//! work that would be rolled back.

use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;
use uuid::Uuid;

use crate::Error;

/// Which row, and on whose behalf.
#[derive(Debug, Clone)]
pub(crate) struct Checkpoint {
    pub(crate) consumer: String,
    pub(crate) lanes: i16,
    pub(crate) lane: i16,
    pub(crate) holder: Uuid,
    pub(crate) lease: Duration,
}

/// What the row says while its lease is held, and how far beyond it nothing was to be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) epoch: i64,
    pub(crate) position: i64,
    pub(crate) feed_epoch: Option<Uuid>,
    /// Entries up to here that the row does not know of had no effect; at least `position`. Lost
    /// with the process: they are read again.
    pub(crate) passed: i64,
    /// When the row was last written.
    pub(crate) written: Instant,
}

/// Where the row moves to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) position: i64,
    pub(crate) feed_epoch: Option<Uuid>,
}

/// A new lane begins at the lowest position of the consumer's lanes under another number of
/// lanes (versions absorb what is repeated), or at 0.
const CREATE: &str = "
    insert into checkpoint (consumer, lanes, lane, feed_epoch, position, epoch, holder, lease_until)
    select $1, $2, $3, known.feed_epoch,
           case when known.feed_epoch is null then 0 else known.position end, 0, $4, '-infinity'
    from (select case when count(distinct feed_epoch) = 1 and count(feed_epoch) = count(*)
                      then min(feed_epoch::text)::uuid end as feed_epoch,
                 min(position) as position
          from checkpoint where consumer = $1) known
    on conflict do nothing";

const ACQUIRE: &str = "
    with free as (
        select consumer from checkpoint
        where consumer = $1 and lanes = $2 and lane = $3
          and (lease_until < clock_timestamp() or holder = $4)
        for update skip locked)
    update checkpoint c
    set epoch = epoch + 1, holder = $4, lease_until = clock_timestamp() + make_interval(secs => $5)
    from free where c.consumer = free.consumer and c.lanes = $2 and c.lane = $3
    returning c.epoch, c.position, c.feed_epoch";

const ADVANCE: &str = "
    with moved as (
        update checkpoint
        set position = $6, feed_epoch = $7,
            lease_until = clock_timestamp() + make_interval(secs => $8)
        where consumer = $1 and lanes = $2 and lane = $3 and epoch = $4 and position = $5
        returning 1)
    select (select count(*) from moved) = 1, exists (select from dead_letter where consumer = $1)";

const RELEASE: &str = "
    update checkpoint set lease_until = '-infinity'
    where consumer = $1 and lanes = $2 and lane = $3 and epoch = $4";

impl Checkpoint {
    /// Takes the lease; nothing when somebody else has it.
    pub(crate) async fn acquire(
        &self,
        connection: &mut PgConnection,
    ) -> Result<Option<Held>, Error> {
        if let Some(held) = self.try_acquire(connection).await? {
            return Ok(Some(held));
        }
        sqlx::query(CREATE)
            .bind(&self.consumer)
            .bind(self.lanes)
            .bind(self.lane)
            .bind(self.holder)
            .execute(&mut *connection)
            .await?;
        self.try_acquire(connection).await
    }

    async fn try_acquire(&self, connection: &mut PgConnection) -> Result<Option<Held>, Error> {
        let row: Option<(i64, i64, Option<Uuid>)> = sqlx::query_as(ACQUIRE)
            .bind(&self.consumer)
            .bind(self.lanes)
            .bind(self.lane)
            .bind(self.holder)
            .bind(self.lease.as_secs_f64())
            .fetch_optional(connection)
            .await?;
        let written = Instant::now();
        Ok(row.map(|(epoch, position, feed_epoch)| Held {
            epoch,
            position,
            feed_epoch,
            passed: position,
            written,
        }))
    }

    /// Moves the row, or only renews the lease when the target is where it is; says whether the
    /// consumer has any dead letters. The first statement of every effect.
    pub(crate) async fn advance(
        &self,
        connection: &mut PgConnection,
        held: &Held,
        to: Target,
    ) -> Result<bool, Error> {
        let (moved, letters): (bool, bool) = sqlx::query_as(ADVANCE)
            .bind(&self.consumer)
            .bind(self.lanes)
            .bind(self.lane)
            .bind(held.epoch)
            .bind(held.position)
            .bind(to.position)
            .bind(to.feed_epoch)
            .bind(self.lease.as_secs_f64())
            .fetch_one(connection)
            .await?;
        if moved { Ok(letters) } else { Err(Error::LeaseLost) }
    }

    /// Gives the lease back.
    pub(crate) async fn release(
        &self,
        connection: &mut PgConnection,
        held: &Held,
    ) -> Result<(), Error> {
        sqlx::query(RELEASE)
            .bind(&self.consumer)
            .bind(self.lanes)
            .bind(self.lane)
            .bind(held.epoch)
            .execute(connection)
            .await?;
        Ok(())
    }
}

impl Held {
    /// Where the row is.
    pub(crate) fn here(&self) -> Target {
        Target { position: self.position, feed_epoch: self.feed_epoch }
    }

    /// True if entries were passed that the row does not know of.
    pub(crate) fn has_passed(&self) -> bool {
        self.passed > self.position
    }

    /// Notes that the row has moved.
    pub(crate) fn moved(&mut self, to: Target) {
        self.position = to.position;
        self.feed_epoch = to.feed_epoch;
        self.passed = to.position;
        self.written = Instant::now();
    }
}
