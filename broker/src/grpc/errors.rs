//! Errors with details that a program can act on: google.rpc.ErrorInfo with domain `chronos`, and more where it helps.

use std::{collections::HashMap, time::Duration};

use storage::log::AppendError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::schedule::control::ControlError;

const DOMAIN: &str = "chronos";
/// What a client that may try again waits before.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A status with a reason.
pub(super) fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    with(code, reason, message, HashMap::new())
}

/// The same, with metadata.
pub(super) fn with(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: HashMap<String, String>,
) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(code, message, details)
}

/// A field of the request is wrong.
pub(super) fn invalid(field: &str, why: impl Into<String>) -> Status {
    let why = why.into();
    let mut details = ErrorDetails::with_bad_request_violation(field, &why);
    details.set_error_info("INVALID_ARGUMENT", DOMAIN, HashMap::new());
    let message = format!("{field}: {why}");
    Status::with_error_details(Code::InvalidArgument, message, details)
}

/// What passes by itself: the client may try again.
pub(super) fn again_soon(reason: &str, message: impl Into<String>) -> Status {
    retry(Code::Unavailable, reason, message)
}

fn retry(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    details.set_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(code, message, details)
}

pub(super) fn of_control(error: &ControlError) -> Status {
    let message = error.to_string();
    match error {
        ControlError::Closed
        | ControlError::Append(AppendError::Closed | AppendError::Poisoned) => {
            status(Code::Unavailable, "PARTITION_OFFLINE", message)
        }
        ControlError::Append(AppendError::StorageFull) => {
            retry(Code::ResourceExhausted, "DISK_FULL", message)
        }
        ControlError::RequestIdReused => invalid("request_id", message),
        ControlError::Read(_)
        | ControlError::Frame(..)
        | ControlError::Store(_)
        | ControlError::Append(_) => status(Code::Internal, "STORAGE", message),
    }
}
