//! Logs and traces of the process. [`install`] sets globals, so only a `main` calls it.
//!
//! Logs are JSON lines on standard output, each with the spans it stands in and so with
//! `trace_id` and `request_id`. Traces go to an OTLP collector if there is an endpoint; without
//! one trace ids are made and passed on all the same. The filter is for log lines only: a quiet
//! log does not stop traces. A collector that is away or hangs costs nothing but its spans: the
//! queue is bounded and calls never wait for it.

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider,
};
use serde::Deserialize;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, fmt};

/// Ended spans that wait for the collector; more are dropped and counted.
pub const MAX_QUEUED_SPANS: usize = 2_048;
/// Spans on the way to the collector at a time.
pub const MAX_EXPORTED_SPANS: usize = 512;
const EXPORT_EVERY: Duration = Duration::from_secs(1);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The documented defaults, as TOML with one table `[telemetry]`.
pub const DEFAULTS: &str = "\
[telemetry]
log = \"info\"              # tracing filter: level, or target=level, separated by commas
format = \"json\"           # json or text
otlp_endpoint = \"\"        # http://collector:4317; empty: no export
sample_ratio = 1.0        # of traces begun here; a caller's decision is followed
";

/// Table `[telemetry]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Filter of log lines.
    pub log: String,
    /// How log lines look.
    pub format: Format,
    /// Where traces go; empty for nowhere.
    pub otlp_endpoint: String,
    /// 0 to 1.
    pub sample_ratio: f64,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One object per line.
    Json,
    /// For humans.
    Text,
}

/// Telemetry that cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `telemetry.log` is not a filter.
    #[error("telemetry.log is not a filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// `telemetry.otlp_endpoint` cannot be used.
    #[error("telemetry.otlp_endpoint cannot be used")]
    Exporter(#[from] ExporterBuildError),
    /// Somebody else was first.
    #[error("telemetry is installed already")]
    Installed(#[from] TryInitError),
}

/// Keep until the end of the process, then [`Guard::flush`].
#[derive(Debug)]
#[must_use = "spans are lost when it is dropped early"]
pub struct Guard(SdkTracerProvider);

impl Guard {
    /// Sends what is left. Blocks for three seconds when the collector hangs: call it from
    /// `spawn_blocking` or after the runtime's work is done.
    pub fn flush(&self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::warn!(event = "telemetry_not_flushed", %error);
        }
    }
}

/// Installs logging and tracing for the process. Call within the runtime.
///
/// # Errors
/// Bad settings, or a second call.
pub fn install(service: &str, settings: &Settings) -> Result<Guard, Error> {
    let provider = provider(service, settings)?;
    let lines = match settings.format {
        Format::Json => fmt::layer().json().flatten_event(true).with_current_span(false).boxed(),
        Format::Text => fmt::layer().boxed(),
    };
    // Places in the source and threads cost time at each step of a call and tell nobody anything.
    let traces = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("rapport"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(LevelFilter::INFO);
    tracing_subscriber::registry()
        .with(lines.with_filter(EnvFilter::try_new(&settings.log)?))
        .with(traces)
        .try_init()?;
    Ok(Guard(provider))
}

fn provider(service: &str, settings: &Settings) -> Result<SdkTracerProvider, Error> {
    let sampler = Sampler::TraceIdRatioBased(settings.sample_ratio.clamp(0.0, 1.0));
    let builder = SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(sampler)))
        .with_resource(Resource::builder().with_service_name(service.to_owned()).build());
    if settings.otlp_endpoint.is_empty() {
        return Ok(builder.build());
    }
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&settings.otlp_endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()?;
    let limits = BatchConfigBuilder::default()
        .with_max_queue_size(MAX_QUEUED_SPANS)
        .with_max_export_batch_size(MAX_EXPORTED_SPANS)
        .with_scheduled_delay(EXPORT_EVERY)
        .build();
    let queue = BatchSpanProcessor::builder(exporter).with_batch_config(limits).build();
    Ok(builder.with_span_processor(queue).build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    #[test]
    fn the_documented_defaults_are_usable() {
        #[derive(Deserialize)]
        struct Whole {
            telemetry: Settings,
        }
        let settings = settings::load::<Whole>(DEFAULTS, &[]).unwrap().telemetry;
        assert!(EnvFilter::try_new(&settings.log).is_ok());
        assert!(provider("test", &settings).is_ok());
    }
}
