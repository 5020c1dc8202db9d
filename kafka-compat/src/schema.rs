//! Kafka's request schemas, as Apache Kafka ships them (`common/message/*Request.json` of kafka-clients 4.3.1, comments
//! removed), parsed at first use.

use std::{collections::HashMap, sync::OnceLock};

use serde::Deserialize;

/// A request.
#[derive(Debug)]
pub(crate) struct Schema {
    flexible: Versions,
    pub(crate) fields: Vec<Field>,
}

/// A field, or a struct's member.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) kind: Kind,
    pub(crate) versions: Versions,
    pub(crate) nullable: Versions,
    pub(crate) tagged: Versions,
    pub(crate) tag: Option<u32>,
}

/// What a field holds.
#[derive(Debug)]
pub(crate) enum Kind {
    /// So many bytes.
    Fixed(usize),
    String,
    Bytes,
    Array(Box<Kind>),
    Struct(Vec<Field>),
}

/// An inclusive range; empty where `min > max`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Versions {
    min: i16,
    max: i16,
}

impl Versions {
    const NONE: Self = Self { min: 1, max: 0 };

    pub(crate) fn has(self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    fn parse(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::NONE };
        let number = |s: &str| s.trim().parse::<i16>().ok();
        if let Some(from) = text.strip_suffix('+').and_then(number) {
            return Self {
                min: from,
                max: i16::MAX,
            };
        }
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        match (number(min), number(max)) {
            (Some(min), Some(max)) => Self { min, max },
            _ => Self::NONE,
        }
    }
}

impl Schema {
    pub(crate) fn is_flexible(&self, version: i16) -> bool {
        self.flexible.has(version)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    api_key: i16,
    flexible_versions: String,
    fields: Vec<RawField>,
    #[serde(default)]
    common_structs: Vec<RawStruct>,
}

#[derive(Deserialize)]
struct RawStruct {
    name: String,
    fields: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawField {
    #[serde(rename = "type")]
    kind: String,
    versions: Option<String>,
    nullable_versions: Option<String>,
    tagged_versions: Option<String>,
    tag: Option<u32>,
    #[serde(default)]
    fields: Vec<RawField>,
}

const FILES: [&str; 45] = [
    include_str!("../schema/ProduceRequest.json"),
    include_str!("../schema/FetchRequest.json"),
    include_str!("../schema/ListOffsetsRequest.json"),
    include_str!("../schema/MetadataRequest.json"),
    include_str!("../schema/FindCoordinatorRequest.json"),
    include_str!("../schema/ApiVersionsRequest.json"),
    include_str!("../schema/CreateTopicsRequest.json"),
    include_str!("../schema/DeleteTopicsRequest.json"),
    include_str!("../schema/InitProducerIdRequest.json"),
    include_str!("../schema/DescribeConfigsRequest.json"),
    include_str!("../schema/AlterConfigsRequest.json"),
    include_str!("../schema/CreatePartitionsRequest.json"),
    include_str!("../schema/IncrementalAlterConfigsRequest.json"),
    include_str!("../schema/DescribeClusterRequest.json"),
    include_str!("../schema/DescribeTopicPartitionsRequest.json"),
    include_str!("../schema/DeleteRecordsRequest.json"),
    include_str!("../schema/OffsetForLeaderEpochRequest.json"),
    include_str!("../schema/AlterReplicaLogDirsRequest.json"),
    include_str!("../schema/DescribeLogDirsRequest.json"),
    include_str!("../schema/ElectLeadersRequest.json"),
    include_str!("../schema/AlterPartitionReassignmentsRequest.json"),
    include_str!("../schema/ListPartitionReassignmentsRequest.json"),
    include_str!("../schema/DescribeQuorumRequest.json"),
    include_str!("../schema/UpdateFeaturesRequest.json"),
    include_str!("../schema/DescribeProducersRequest.json"),
    include_str!("../schema/ListConfigResourcesRequest.json"),
    include_str!("../schema/OffsetCommitRequest.json"),
    include_str!("../schema/OffsetFetchRequest.json"),
    include_str!("../schema/JoinGroupRequest.json"),
    include_str!("../schema/HeartbeatRequest.json"),
    include_str!("../schema/LeaveGroupRequest.json"),
    include_str!("../schema/SyncGroupRequest.json"),
    include_str!("../schema/DescribeGroupsRequest.json"),
    include_str!("../schema/ListGroupsRequest.json"),
    include_str!("../schema/DeleteGroupsRequest.json"),
    include_str!("../schema/OffsetDeleteRequest.json"),
    include_str!("../schema/AddPartitionsToTxnRequest.json"),
    include_str!("../schema/AddOffsetsToTxnRequest.json"),
    include_str!("../schema/EndTxnRequest.json"),
    include_str!("../schema/WriteTxnMarkersRequest.json"),
    include_str!("../schema/TxnOffsetCommitRequest.json"),
    include_str!("../schema/DescribeTransactionsRequest.json"),
    include_str!("../schema/ListTransactionsRequest.json"),
    include_str!("../schema/ConsumerGroupHeartbeatRequest.json"),
    include_str!("../schema/ConsumerGroupDescribeRequest.json"),
];

/// The schema of an API's requests.
pub(crate) fn find(api_key: i16) -> Option<&'static Schema> {
    static ALL: OnceLock<HashMap<i16, Schema>> = OnceLock::new();
    ALL.get_or_init(|| FILES.iter().filter_map(|file| parse(file)).collect())
        .get(&api_key)
}

fn parse(file: &str) -> Option<(i16, Schema)> {
    let message: Message = serde_json::from_str(file).ok()?;
    let fields = fields(&message.fields, &message.common_structs)?;
    let flexible = Versions::parse(Some(&message.flexible_versions));
    Some((message.api_key, Schema { flexible, fields }))
}

fn fields(raw: &[RawField], structs: &[RawStruct]) -> Option<Vec<Field>> {
    raw.iter()
        .map(|f| {
            Some(Field {
                kind: kind(&f.kind, f, structs)?,
                versions: Versions::parse(f.versions.as_deref()),
                nullable: Versions::parse(f.nullable_versions.as_deref()),
                tagged: Versions::parse(f.tagged_versions.as_deref()),
                tag: f.tag,
            })
        })
        .collect()
}

fn kind(name: &str, field: &RawField, structs: &[RawStruct]) -> Option<Kind> {
    if let Some(element) = name.strip_prefix("[]") {
        return Some(Kind::Array(Box::new(kind(element, field, structs)?)));
    }
    Some(match name {
        "bool" | "int8" => Kind::Fixed(1),
        "int16" | "uint16" => Kind::Fixed(2),
        "int32" | "uint32" => Kind::Fixed(4),
        "int64" | "float64" => Kind::Fixed(8),
        "uuid" => Kind::Fixed(16),
        "string" => Kind::String,
        "bytes" | "records" => Kind::Bytes,
        _ if !field.fields.is_empty() => Kind::Struct(fields(&field.fields, structs)?),
        _ => {
            let common = structs.iter().find(|s| s.name == name)?;
            Kind::Struct(fields(&common.fields, structs)?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_table::APIS;

    #[test]
    fn every_api_of_the_table_has_a_schema() {
        for api in APIS {
            assert!(find(api.key as i16).is_some(), "{:?}", api.key);
        }
    }
}
