//! The SQL, one file per subject. Functions take the caller's connection where they are part
//! of its transaction. Rows are locked in the order of [`Key`].

pub(crate) mod erase;
pub(crate) mod fact;
pub(crate) mod funnel;
pub(crate) mod label;
pub(crate) mod outcome;
pub(crate) mod quality;
pub(crate) mod survey;

use ::store::Error;
use kernel::{DemandId, TenantId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::domain::Key;

/// Keys as the columns `tenant_id, shard, demand_id`.
struct Keys {
    tenants: Vec<Uuid>,
    shards: Vec<i16>,
    demands: Vec<Uuid>,
}

impl Keys {
    fn of<'k>(keys: impl Iterator<Item = &'k Key> + Clone) -> Self {
        Self {
            tenants: keys.clone().map(|key| key.tenant.uuid()).collect(),
            shards: keys.clone().map(|key| key.shard().number()).collect(),
            demands: keys.map(|key| key.demand.uuid()).collect(),
        }
    }
}

/// The key in the columns `tenant_id` and `demand_id`.
fn key(row: &PgRow) -> Result<Key, Error> {
    Ok(Key {
        tenant: TenantId::new(row.try_get("tenant_id")?),
        demand: DemandId::new(row.try_get("demand_id")?),
    })
}
