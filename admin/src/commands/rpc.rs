//! `chronosctl rpc [SERVICE/METHOD [JSON]]`: any method of the admin API, by the files that it is made of.

use std::{io::Read, process::ExitCode};

use anyhow::{Context, bail};
use clap::Args;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, MethodDescriptor,
    SerializeOptions, ServiceDescriptor,
};
use serde::Serialize;
use serde_json::Value;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
};

use crate::{
    grpc,
    output::{self, Format},
};

/// Which method.
#[derive(Debug, Args)]
pub struct RpcArgs {
    /// As TopicService/GetTopic; without it, all are listed
    #[arg(value_name = "SERVICE/METHOD")]
    method: Option<String>,
    /// The request, as {"topic": "orders"}; - reads it from standard input [default: {}]
    #[arg(value_name = "JSON")]
    request: Option<String>,
}

#[derive(Serialize)]
struct Row {
    method: String,
    request: String,
    answer: String,
}

/// All of the admin API.
pub(super) fn pool() -> anyhow::Result<DescriptorPool> {
    DescriptorPool::decode(proto::DESCRIPTORS).context("reading the admin API's own description")
}

/// Runs it: an answer a line, as JSON, until the stream ends.
pub(super) async fn run(admin: &str, format: Format, args: RpcArgs) -> anyhow::Result<ExitCode> {
    let pool = pool()?;
    let Some(name) = args.method else {
        let services = pool.services().collect::<Vec<_>>();
        let methods = services.iter().flat_map(ServiceDescriptor::methods);
        let rows: Vec<Row> = methods.map(|method| row(&method)).collect();
        output::rows(format, &rows)?;
        return Ok(ExitCode::SUCCESS);
    };
    let method = find(&pool, &name)?;
    let request = read(method.input(), args.request)?;
    let mut client =
        Grpc::new(grpc::connect(admin, None).await?).max_decoding_message_size(usize::MAX);
    client.ready().await?;
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let codec = Dynamic(method.output());
    let path: PathAndQuery = path.parse()?;
    // On the wire, one answer is a stream of one.
    let answers = client
        .server_streaming(Request::new(request), path, codec)
        .await;
    let mut answers = answers.map_err(grpc::told)?.into_inner();
    while let Some(answer) = answers.message().await.map_err(grpc::told)? {
        print(format, &answer)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(method: &MethodDescriptor) -> Row {
    let stream = if method.is_server_streaming() {
        "stream of "
    } else {
        ""
    };
    Row {
        method: format!("{}/{}", method.parent_service().name(), method.name()),
        request: method.input().name().to_owned(),
        answer: format!("{stream}{}", method.output().name()),
    }
}

/// By its own name and its service's, with or without the package.
fn find(pool: &DescriptorPool, name: &str) -> anyhow::Result<MethodDescriptor> {
    let parts = name.rsplit_once('/').or_else(|| name.rsplit_once('.'));
    let Some((service, method)) = parts else {
        bail!("'{name}' is not SERVICE/METHOD; `chronosctl rpc` lists them");
    };
    let mut services = pool.services();
    let service = services.find(|s| s.name() == service || s.full_name() == service);
    let found = service.and_then(|s| s.methods().find(|m| m.name() == method));
    found.with_context(|| format!("there is no method '{name}'; `chronosctl rpc` lists them"))
}

fn read(kind: MessageDescriptor, text: Option<String>) -> anyhow::Result<DynamicMessage> {
    let mut text = text.unwrap_or_else(|| "{}".to_owned());
    if text == "-" {
        text.clear();
        std::io::stdin().read_to_string(&mut text)?;
    }
    let name = kind.name().to_owned();
    let mut from = serde_json::Deserializer::from_str(&text);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let read = DynamicMessage::deserialize_with_options(kind, &mut from, &options)
        .with_context(|| format!("the request is no {name}"))?;
    from.end()?;
    Ok(read)
}

/// As JSON, also where a table was asked for: an answer is no table.
fn print(format: Format, answer: &DynamicMessage) -> anyhow::Result<()> {
    let options = SerializeOptions::new().skip_default_fields(false);
    let value: Value = answer.serialize_with_options(serde_json::value::Serializer, &options)?;
    let text = if format.is_for_people() {
        serde_json::to_string_pretty(&value)?
    } else {
        String::new()
    };
    output::row(format, &value, &text)
}

/// Requests are written as they are; answers are read as messages of that kind.
#[derive(Clone)]
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(to).map_err(|e| Status::internal(e.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let read = DynamicMessage::decode(self.0.clone(), from);
        read.map(Some).map_err(|e| Status::internal(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_found_by_its_short_and_its_full_name() {
        let pool = pool().unwrap();
        for name in [
            "TopicService/GetTopic",
            "TopicService.GetTopic",
            "chronos.admin.v1.TopicService/GetTopic",
            "chronos.admin.v1.TopicService.GetTopic",
        ] {
            assert_eq!(find(&pool, name).unwrap().name(), "GetTopic");
        }
        for wrong in ["GetTopic", "TopicService/Get", "Topics/GetTopic", "/"] {
            let why = find(&pool, wrong).unwrap_err().to_string();
            assert!(why.contains("chronosctl rpc"), "{why}");
        }
    }

    #[test]
    fn a_request_with_a_field_that_there_is_not_is_refused() {
        let kind = || {
            find(&pool().unwrap(), "TopicService/GetTopic")
                .unwrap()
                .input()
        };
        let read_text = |text: &str| read(kind(), Some(text.to_owned()));
        assert!(read_text("{\"topic\": \"a\"}").is_ok());
        for wrong in ["{\"tpoic\": \"a\"}", "{\"topic\": 1}", "{} {}", "", "["] {
            assert!(read_text(wrong).is_err(), "{wrong}");
        }
    }
}
