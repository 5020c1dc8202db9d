//! UpdateFeatures (key 57): versions 0 to 2 (KIP-584, KIP-778). This release has one level of each feature: it can be confirmed,
//! and nothing else.

use kafka_compat::{
    features::FEATURES,
    protocol::{
        messages::{
            UpdateFeaturesRequest, UpdateFeaturesResponse,
            update_features_request::FeatureUpdateKey,
            update_features_response::UpdatableFeatureResult,
        },
        protocol::StrBytes,
    },
};

use super::{auto_create::Refused, error_code::Kafka};

const UPGRADE: i8 = 1;
const UNSAFE_DOWNGRADE: i8 = 3;

pub(super) fn handle(version: i16, request: &UpdateFeaturesRequest) -> UpdateFeaturesResponse {
    let response = UpdateFeaturesResponse::default().with_error_message(None);
    let mut refused = None;
    let results: Vec<_> = request
        .feature_updates
        .iter()
        .map(|update| {
            let result = UpdatableFeatureResult::default().with_feature(update.feature.clone());
            match judge(version, update) {
                Ok(()) => result.with_error_message(None),
                Err((code, why)) => {
                    refused.get_or_insert((code, why.clone()));
                    result
                        .with_error_code(code.code())
                        .with_error_message(Some(StrBytes::from_string(why)))
                }
            }
        })
        .collect();
    let response = match refused {
        None => response,
        // One that is refused fails them all: no feature has an outcome of its own.
        Some((code, why)) => return response.with_error_code(code.code()).with_error_message(
            Some(StrBytes::from_string(format!(
                "The update failed for all features since the following feature had an error: {why}"
            ))),
        ),
    };
    // From v2 on there is one outcome for the whole request.
    if version >= 2 {
        response
    } else {
        response.with_results(results)
    }
}

fn judge(version: i16, update: &FeatureUpdateKey) -> Result<(), Refused> {
    let name = update.feature.as_str();
    let level = update.max_version_level;
    let invalid = |why: String| {
        let why = format!("Invalid update version {level} for feature {name}. {why}");
        Err((Kafka::InvalidUpdateVersion, why))
    };
    if version >= 1 && !(UPGRADE..=UNSAFE_DOWNGRADE).contains(&update.upgrade_type) {
        return invalid("The upgrade type is unknown.".into());
    }
    match FEATURES.iter().find(|f| f.name == name) {
        None => invalid("Local controller does not support this feature.".into()),
        Some(feature) if !(feature.min..=feature.max).contains(&level) => invalid(format!(
            "Local controller only supports versions {}-{}",
            feature.min, feature.max
        )),
        Some(feature) if feature.finalized && level < feature.max => {
            if version == 0 && update.allow_downgrade || update.upgrade_type > UPGRADE {
                return invalid(format!("This release has level {} alone.", feature.max));
            }
            invalid(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe \
                 downgrade."
                    .into(),
            )
        }
        Some(_) => Ok(()),
    }
}
