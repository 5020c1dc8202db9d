//! ApiVersions (key 18): versions 0 to 4, answered by the connection itself, from the table.
//!
//! An unknown version gets error 35 in the shape of version 0 with this API's own range (KIP-511). v3 names the client's
//! software (KIP-511) and gets the features (KIP-584); a feature that can be at level 0 is told from v4 on (KIP-1022).

use kafka_protocol::{
    messages::{
        ApiKey, ApiVersionsRequest, ApiVersionsResponse,
        api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey},
    },
    protocol::StrBytes,
};

use crate::{
    api_table::{APIS, Api},
    features::FEATURES,
};

const INVALID_REQUEST: i16 = 42;
const UNSUPPORTED_VERSION: i16 = 35;
const FEATURES_FROM: i16 = 3;
const LEVEL_0_FROM: i16 = 4;

pub(crate) fn api_versions(version: i16, request: &ApiVersionsRequest) -> ApiVersionsResponse {
    if version < FEATURES_FROM {
        return ApiVersionsResponse::default()
            .with_api_keys(APIS.iter().copied().map(row).collect());
    }
    let named = is_name(&request.client_software_name) && is_name(&request.client_software_version);
    if !named {
        return ApiVersionsResponse::default().with_error_code(INVALID_REQUEST);
    }
    let told = FEATURES
        .iter()
        .filter(|f| version >= LEVEL_0_FROM || f.min > 0);
    let supported = told.map(|f| {
        SupportedFeatureKey::default()
            .with_name(StrBytes::from_static_str(f.name))
            .with_min_version(f.min)
            .with_max_version(f.max)
    });
    let finalized = FEATURES.iter().filter(|f| f.finalized).map(|f| {
        FinalizedFeatureKey::default()
            .with_name(StrBytes::from_static_str(f.name))
            .with_min_version_level(f.max)
            .with_max_version_level(f.max)
    });
    ApiVersionsResponse::default()
        .with_api_keys(APIS.iter().copied().map(row).collect())
        .with_supported_features(supported.collect())
        .with_finalized_features_epoch(0)
        .with_finalized_features(finalized.collect())
}

pub(crate) fn unsupported() -> ApiVersionsResponse {
    let own = APIS.iter().filter(|api| api.key == ApiKey::ApiVersions);
    ApiVersionsResponse::default()
        .with_error_code(UNSUPPORTED_VERSION)
        .with_api_keys(own.copied().map(row).collect())
}

fn row(api: Api) -> ApiVersion {
    ApiVersion::default()
        .with_api_key(api.key as i16)
        .with_min_version(api.listed_min)
        .with_max_version(api.max)
}

/// Letters and digits, with dots and dashes between them. Source: Apache Kafka, `ApiVersionsRequest`.
fn is_name(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'.';
    let outer = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let mut bytes = text.bytes();
    outer(bytes.clone().next()) && outer(bytes.clone().next_back()) && bytes.all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kafka_does() {
        for name in ["a", "apache-kafka-java", "4.3.1", "a--b"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "-a", "a.", "a b", "a_b"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
