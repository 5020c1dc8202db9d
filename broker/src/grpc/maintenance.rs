//! `MaintenanceService`: settings, levels of log lines, the support bundle, the version.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use proto::admin::v1::{self as pb, maintenance_service_server::MaintenanceService};
use tonic::{Code, Request, Response, Status};

use super::{
    errors::{invalid, status},
    moments, places, settings,
};
use crate::{
    api::Broker,
    build,
    support_bundle::{self, CHUNK_BYTES},
    telemetry::{LEVELS, Loggers},
};

/// A level that somebody forgot to take back fills the disk of logs.
const STAYS_MAX: Duration = Duration::from_hours(24);

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    broker: Arc<Broker>,
}

impl Service {
    pub(super) fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }

    fn levels(&self) -> Vec<pb::LogLevel> {
        let now_ms = self.broker.clock.wall().0;
        let levels = self.broker.loggers.levels().into_iter();
        let told = levels.map(|(logger, level, left)| pb::LogLevel {
            logger: logger.to_owned(),
            level,
            expire_time: left.map(|left| {
                let ms = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
                moments::timestamp(now_ms.saturating_add(ms))
            }),
        });
        told.collect()
    }
}

fn stays(expire_after: prost_types::Duration) -> Result<Duration, Status> {
    let stays = Duration::try_from(expire_after).ok();
    let fits = stays.filter(|stays| !stays.is_zero() && *stays <= STAYS_MAX);
    fits.ok_or_else(|| invalid("expire_after", "it is not more than 0 and at most 24 hours"))
}

#[tonic::async_trait]
impl MaintenanceService for Service {
    async fn get_config(
        &self,
        request: Request<pb::GetConfigRequest>,
    ) -> Result<Response<pb::GetConfigResponse>, Status> {
        let names = request.into_inner().names;
        let mut told = settings::of_node(&self.broker.config.get());
        if let Some(wrong) = names.iter().find(|n| !told.iter().any(|s| s.name == **n)) {
            let why = format!("there is no setting '{wrong}'");
            return Err(status(Code::NotFound, "SETTING_NOT_FOUND", why));
        }
        told.retain(|setting| names.is_empty() || names.contains(&setting.name));
        told.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Response::new(pb::GetConfigResponse { settings: told }))
    }

    async fn reload_config(
        &self,
        request: Request<pb::ReloadConfigRequest>,
    ) -> Result<Response<pb::ReloadConfigResponse>, Status> {
        let dry_run = request.into_inner().dry_run;
        let config = self.broker.config.clone();
        let changes = places::blocking(move || config.reload(dry_run)).await?;
        let changes = changes.map_err(|error| {
            status(
                Code::FailedPrecondition,
                "INVALID_CONFIG",
                error.to_string(),
            )
        })?;
        let shown = |value: String| (!value.is_empty()).then_some(value);
        let changes = changes.into_iter().map(|change| pb::SettingChange {
            name: change.name.to_owned(),
            previous_value: shown(change.before),
            value: shown(change.after),
            needs_restart: change.needs_restart,
            overridden: change.overridden,
        });
        let file = self.broker.config.sources().file.as_ref();
        Ok(Response::new(pb::ReloadConfigResponse {
            changes: changes.collect(),
            file: file.map_or_else(String::new, |file| file.display().to_string()),
        }))
    }

    async fn list_log_levels(
        &self,
        _: Request<pb::ListLogLevelsRequest>,
    ) -> Result<Response<pb::ListLogLevelsResponse>, Status> {
        let levels = self.levels();
        Ok(Response::new(pb::ListLogLevelsResponse { levels }))
    }

    async fn set_log_level(
        &self,
        request: Request<pb::SetLogLevelRequest>,
    ) -> Result<Response<pb::SetLogLevelResponse>, Status> {
        let request = request.into_inner();
        let logger = request.logger.as_str();
        if !Loggers::is_one(logger) {
            let why = format!("there is no part '{logger}': ListLogLevels names them");
            return Err(status(Code::NotFound, "LOGGER_NOT_FOUND", why));
        }
        let level = request.level.to_ascii_uppercase();
        if !level.is_empty() && !LEVELS.contains(&level.as_str()) {
            let why = format!("it is none of {}", LEVELS.join(", "));
            return Err(invalid("level", why));
        }
        let level = (!level.is_empty()).then_some(level.as_str());
        let loggers = &self.broker.loggers;
        let set = match request.expire_after {
            Some(after) => loggers.set_for(logger, level, stays(after)?),
            None => loggers.set([(logger, level)].into_iter()),
        };
        set.map_err(|why| invalid("level", why))?;
        let level = self
            .levels()
            .into_iter()
            .find(|level| level.logger == logger);
        Ok(Response::new(pb::SetLogLevelResponse { level }))
    }

    type CreateSupportBundleStream =
        Pin<Box<dyn Stream<Item = Result<pb::CreateSupportBundleResponse, Status>> + Send>>;

    async fn create_support_bundle(
        &self,
        _: Request<pb::CreateSupportBundleRequest>,
    ) -> Result<Response<Self::CreateSupportBundleStream>, Status> {
        let broker = Arc::clone(&self.broker);
        let packed = places::blocking(move || support_bundle::pack(&broker)).await?;
        let packed = packed.map_err(|error| {
            status(
                Code::Internal,
                "STORAGE",
                format!("packing the bundle: {error}"),
            )
        })?;
        let starts = (0..packed.len()).step_by(CHUNK_BYTES);
        let chunks = futures::stream::iter(starts.collect::<Vec<_>>()).map(move |start| {
            let end = packed.len().min(start + CHUNK_BYTES);
            let chunk = packed.slice(start..end);
            Ok(pb::CreateSupportBundleResponse { chunk })
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn get_version(
        &self,
        _: Request<pb::GetVersionRequest>,
    ) -> Result<Response<pb::GetVersionResponse>, Status> {
        Ok(Response::new(pb::GetVersionResponse {
            version: build::VERSION.into(),
            commit: build::COMMIT.into(),
            rustc: build::RUSTC.into(),
            profile: build::PROFILE.into(),
            data_format: i32::try_from(storage::data_dir::FORMAT).unwrap_or(0),
            kafka_version: build::KAFKA.into(),
        }))
    }
}
