//! gRPC: messages to domain with all violations at once, use case, answer. Decides nothing.

mod list;
mod outcome;
mod read;
mod report;
mod survey;

use std::time::Duration;

use contracts::feedback::v1 as proto;
use contracts::feedback::v1::feedback_service_server::FeedbackService;
use server::Call;
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::error::Error;

/// How long a report waits for its place when the caller has no deadline.
const PATIENCE: Duration = Duration::from_secs(5);

/// The service of the contract.
#[derive(Debug, Clone)]
pub(crate) struct Api(pub(crate) App);

fn status(error: &Error) -> Status {
    server::status(error)
}

fn patience(call: &Call) -> Duration {
    call.remaining().unwrap_or(PATIENCE)
}

#[tonic::async_trait]
impl FeedbackService for Api {
    async fn record_outcome(
        &self,
        request: Request<proto::RecordOutcomeRequest>,
    ) -> Result<Response<proto::RecordOutcomeResponse>, Status> {
        let call = Call::of(&request)?;
        let recording = outcome::recording(&call, request.into_inner(), jiff::Timestamp::now());
        let recording = recording.map_err(|violations| server::invalid(&violations))?;
        let demand = recording.key.demand;
        let in_force = self.0.record_outcome(recording).await.map_err(|error| status(&error))?;
        let outcome = Some(outcome::message(demand, &in_force));
        Ok(Response::new(proto::RecordOutcomeResponse { outcome }))
    }

    async fn record_survey(
        &self,
        request: Request<proto::RecordSurveyRequest>,
    ) -> Result<Response<proto::RecordSurveyResponse>, Status> {
        let call = Call::of(&request)?;
        let survey = survey::survey(&call, request.into_inner(), jiff::Timestamp::now());
        let survey = survey.map_err(|violations| server::invalid(&violations))?;
        self.0.record_survey(survey).await.map_err(|error| status(&error))?;
        Ok(Response::new(proto::RecordSurveyResponse {}))
    }

    async fn list_outcomes(
        &self,
        request: Request<proto::ListOutcomesRequest>,
    ) -> Result<Response<proto::ListOutcomesResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = list::outcomes(&self.0, &call, &request.into_inner()).await;
        answer.map(Response::new).map_err(|error| status(&error))
    }

    async fn get_funnel(
        &self,
        request: Request<proto::GetFunnelRequest>,
    ) -> Result<Response<proto::GetFunnelResponse>, Status> {
        let call = Call::of(&request)?;
        let filter = report::funnel_filter(request.into_inner());
        let filter = filter.map_err(|violations| server::invalid(&violations))?;
        let funnel = self.0.funnel(call.tenant(), &filter, patience(&call)).await;
        Ok(Response::new(report::funnel(&funnel.map_err(|error| status(&error))?)))
    }

    async fn get_model_report(
        &self,
        request: Request<proto::GetModelReportRequest>,
    ) -> Result<Response<proto::GetModelReportResponse>, Status> {
        let call = Call::of(&request)?;
        let filter = report::quality_filter(request.into_inner());
        let filter = filter.map_err(|violations| server::invalid(&violations))?;
        let quality = self.0.quality(call.tenant(), &filter, patience(&call)).await;
        Ok(Response::new(report::quality(quality.map_err(|error| status(&error))?)))
    }
}
