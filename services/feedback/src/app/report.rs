//! GetFunnel and GetModelReport: few at a time, because each may read a million rows.

use std::time::Duration;

use kernel::TenantId;
use tokio::sync::SemaphorePermit;

use super::App;
use crate::domain::{funnel, quality};
use crate::error::Error;
use crate::store;

impl App {
    /// How demands move through their stages.
    pub(crate) async fn funnel(
        &self,
        tenant: TenantId,
        filter: &funnel::Filter,
        patience: Duration,
    ) -> Result<funnel::Funnel, Error> {
        let _place = self.place(patience).await?;
        Ok(store::funnel::read(&self.database, tenant, filter).await?)
    }

    /// How good the scores of a scorer were.
    pub(crate) async fn quality(
        &self,
        tenant: TenantId,
        filter: &quality::Filter,
        patience: Duration,
    ) -> Result<quality::Quality, Error> {
        let _place = self.place(patience).await?;
        let sample =
            store::quality::read(&self.database, tenant, filter, self.report_max_rows).await?;
        // Sorting a million rows would hold up the runtime.
        let judged = tokio::task::spawn_blocking(move || quality::quality(sample));
        judged.await.map_err(Error::Broken)
    }

    async fn place(&self, patience: Duration) -> Result<SemaphorePermit<'_>, Error> {
        match tokio::time::timeout(patience, self.reports.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(Error::Busy),
        }
    }
}
