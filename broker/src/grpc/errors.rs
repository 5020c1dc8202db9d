//! Errors with details that a program can act on: google.rpc.ErrorInfo with domain `chronos`, and more where it helps.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::schedule::control::ControlError;

const DOMAIN: &str = "chronos";

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

pub(super) fn of_control(error: &ControlError) -> Status {
    let message = error.to_string();
    match error {
        ControlError::Closed => status(Code::Unavailable, "PARTITION_OFFLINE", message),
        ControlError::TooFar => status(Code::InvalidArgument, "TOO_FAR", message),
        ControlError::Read(_)
        | ControlError::Frame(..)
        | ControlError::Store(_)
        | ControlError::Append(_) => status(Code::Internal, "STORAGE", message),
    }
}
