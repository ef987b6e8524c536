//! `peabiru call`: any method of any registered service, JSON in and out, as an ordinary gRPC client of the door. Of a
//! method with many answers each is printed as it comes.

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use peabiru_proto::context::{CLIENT, EXCHANGE_ID, PURPOSE, SERVICE, TOKEN};
use peabiru_proto::id::SubsystemId;
use peabiru_proto::language::Language;
use peabiru_proto::policy::Purpose;
use peabiru_proto::wire::{GetContractRequest, GetContractResponse};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::CliError;
use crate::args::Connect;
use crate::client::unix_channel;
use crate::error::Whom;
use crate::output;

/// Arguments of `peabiru call`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  peabiru call py.mec.v1.SchoolService ListSchools --data '{\"pageSize\": 2}' --purpose connectivity-planning --door unix:MITIC/door.sock"
)]
pub(crate) struct Call {
    /// Its identifier, or its gRPC name if only one member offers it.
    service: String,
    /// Bare name.
    method: String,
    /// The request as JSON; @FILE reads a file, - reads the standard input.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    data: String,
    /// The node's door: http://HOST:PORT or unix:PATH.
    #[arg(long, value_name = "DOOR", env = "PEABIRU_DOOR")]
    door: String,
    /// For which subsystem, if the credential speaks for several.
    #[arg(long)]
    client: Option<SubsystemId>,
    /// Why.
    #[arg(long)]
    purpose: Option<Purpose>,
    /// File with the token that the door knows; not needed over a Unix socket.
    #[arg(long, value_name = "FILE", env = "PEABIRU_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

pub(crate) async fn run(call: Call, connect: &Connect) -> Result<(), CliError> {
    let mut node = connect.node().await?;
    let contract =
        node.get_contract(GetContractRequest { service: call.service.clone() }).await?.into_inner();
    let method = method(&contract, &call.method)?;
    let message = parse(&read(&call.data)?, method.input())?;
    let channel = open(&call.door).await?;
    let mut request = Request::new(message);
    for (name, value) in headers(&call, &contract)? {
        request.metadata_mut().insert(name, value);
    }
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = path.parse().map_err(|error| CliError::Usage(format!("{path}: {error}")))?;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|error| CliError::unreachable(Whom::Door(call.door.clone()), &error))?;
    let codec = Dynamic(method.output());
    if method.is_server_streaming() {
        let answer = grpc.server_streaming(request, path, codec).await;
        say_exchange(answer.as_ref().map_or_else(Status::metadata, Response::metadata), connect.language());
        let mut messages = answer?.into_inner();
        // Each as it comes.
        while let Some(message) = messages.message().await? {
            show(&message)?;
        }
        return Ok(());
    }
    let answer = grpc.unary(request, path, codec).await;
    say_exchange(answer.as_ref().map_or_else(Status::metadata, Response::metadata), connect.language());
    show(answer?.get_ref())
}

fn say_exchange(metadata: &MetadataMap, language: Language) {
    let id = metadata.get(EXCHANGE_ID).and_then(|id| id.to_str().ok());
    let [exchange, none] = language.of_both(
        ["intercambio", "ninguno: se rechazó antes de hacerlo"],
        ["exchange", "none: refused before one was made"],
    );
    output::progress(&format!("{exchange} {}", id.unwrap_or(none)));
}

fn show(message: &DynamicMessage) -> Result<(), CliError> {
    let options = SerializeOptions::new().skip_default_fields(false);
    let json = message.serialize_with_options(serde_json::value::Serializer, &options);
    output::document(&json.map_err(|error| CliError::Usage(format!("the answer is no JSON: {error}")))?);
    Ok(())
}

fn method(contract: &GetContractResponse, name: &str) -> Result<MethodDescriptor, CliError> {
    let pool = DescriptorPool::decode(contract.document.clone())
        .map_err(|error| CliError::Usage(format!("the contract does not parse: {error}")))?;
    let code = contract.service.rsplit('/').next().unwrap_or_default();
    let service = pool.get_service_by_name(code);
    let mut methods = service.iter().flat_map(prost_reflect::ServiceDescriptor::methods);
    methods.find(|method| method.name() == name).ok_or_else(|| {
        let known: Vec<_> = service
            .iter()
            .flat_map(prost_reflect::ServiceDescriptor::methods)
            .map(|it| it.name().to_owned())
            .collect();
        CliError::Usage(format!("{} has no method {name}, but: {}", contract.service, known.join(", ")))
    })
}

fn read(data: &str) -> Result<String, CliError> {
    if data == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(CliError::file("standard input".as_ref()))?;
        return Ok(text);
    }
    match data.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).map_err(CliError::file(file.as_ref())),
        None => Ok(data.to_owned()),
    }
}

fn parse(json: &str, descriptor: MessageDescriptor) -> Result<DynamicMessage, CliError> {
    let name = descriptor.full_name().to_owned();
    let invalid = |error: serde_json::Error| CliError::Usage(format!("--data is no {name}: {error}"));
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(descriptor, &mut deserializer).map_err(invalid)?;
    deserializer.end().map_err(invalid)?;
    Ok(message)
}

async fn open(door: &str) -> Result<Channel, CliError> {
    let unreachable =
        |error: tonic::transport::Error| CliError::unreachable(Whom::Door(door.to_owned()), &error);
    if let Some(path) = door.strip_prefix("unix:") {
        return unix_channel(path.into()).await.map_err(unreachable);
    }
    let endpoint = Endpoint::from_shared(door.to_owned());
    let endpoint = endpoint.map_err(|error| CliError::Usage(format!("`{door}` is no door: {error}")))?;
    endpoint.connect().await.map_err(unreachable)
}

type Header = (&'static str, MetadataValue<Ascii>);

fn headers(call: &Call, contract: &GetContractResponse) -> Result<Vec<Header>, CliError> {
    let token = call.token_file.as_deref().map(|file| {
        std::fs::read_to_string(file).map(|token| token.trim_end().to_owned()).map_err(CliError::file(file))
    });
    let texts = [
        (SERVICE, Some(contract.service.clone())),
        (CLIENT, call.client.as_ref().map(ToString::to_string)),
        (PURPOSE, call.purpose.as_ref().map(ToString::to_string)),
        (TOKEN, token.transpose()?),
    ];
    let header = |(name, text): (&'static str, String)| {
        let value = text.parse().map_err(|_| CliError::Usage(format!("{name}: it does not fit a header")))?;
        Ok((name, value))
    };
    texts.into_iter().filter_map(|(name, text)| Some((name, text?))).map(header).collect()
}

/// Messages of a contract that nobody compiled in.
struct Dynamic(MessageDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        DynamicDecoder(self.0.clone())
    }
}

struct DynamicEncoder;

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

struct DynamicDecoder(MessageDescriptor);

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.clone(), buffer);
        message.map(Some).map_err(|error| Status::internal(format!("the answer does not parse: {error}")))
    }
}
