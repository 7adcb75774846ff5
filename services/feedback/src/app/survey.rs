//! RecordSurvey.

use super::App;
use crate::domain::survey::Survey;
use crate::error::Error;
use crate::store;

impl App {
    /// Keeps an answer, or replaces the one with the same id.
    pub(crate) async fn record_survey(&self, survey: Survey) -> Result<(), Error> {
        let mut arrival = self.arrival();
        while !store::survey::save(&self.database, &survey).await? {
            arrival.next_chance().await?;
        }
        Ok(())
    }
}
