//! How full the pools of a database are: what an operator watches.
//!
//! Read when somebody scrapes, so it costs nothing otherwise. A [`Database`](crate::Database)
//! and its [`keyed`](crate::Database::keyed) companion count together: they share a server's
//! connection limit.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use sqlx::PgPool;

/// The pools of one database.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    pools: Mutex<Vec<PgPool>>,
    refused: AtomicU64,
}

impl Pools {
    pub(crate) fn add(&self, pool: &PgPool) {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool.clone());
    }

    /// A caller waited in vain because all connections were in use.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// In use, and allowed.
    fn fullness(&self) -> (i64, i64) {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let mut totals = (0, 0);
        for pool in pools.iter() {
            let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
            totals.0 += i64::from(pool.size().saturating_sub(idle));
            totals.1 += i64::from(pool.options().get_max_connections());
        }
        totals
    }
}

/// The registry owns one of these; the pools live on in it until it is dropped.
#[derive(Debug)]
pub(crate) struct Gauges(pub(crate) std::sync::Arc<Pools>);

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let (used, allowed) = self.0.fullness();
        let gauges = [
            ("db_client_connections_used", "Connections of the pools in use", used),
            ("db_client_connections_max", "Connections that the pools may open", allowed),
        ];
        for (name, help, value) in gauges {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)?;
        }
        let refused = ConstCounter::new(self.0.refused.load(Ordering::Relaxed));
        let help = "Times that a caller waited in vain because all connections were in use";
        let name = "db_client_connection_refusals";
        refused.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
    }
}
