//! Server reflection: the contracts' own descriptors, of what the caller may call now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peabiru_proto::globalconf::{Contract, GlobalConfiguration};
use peabiru_proto::id::SubsystemId;
use prost::Message as _;
use prost_reflect::{DescriptorPool, FileDescriptor};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming, async_trait};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse, server_reflection_server,
};
use tonic_reflection::pb::v1alpha;

use super::health::asker;
use super::permitted::{Asker, Methods};
use super::{OWN, Own};

/// Answers in both versions of the protocol.
pub(super) struct Reflection;

/// What one stream knows already: each subsystem is asked once.
struct Known {
    asker: Asker,
    told: BTreeMap<SubsystemId, Methods>,
    /// The subsystem whose descriptors were given last: two contracts may have files of one name, and a client that
    /// follows imports means those of the same contract.
    last: Option<SubsystemId>,
}

#[async_trait]
impl server_reflection_server::ServerReflection for Reflection {
    type ServerReflectionInfoStream = ReceiverStream<Result<ServerReflectionResponse, Status>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        serve(request, Ok, Ok)
    }
}

#[async_trait]
impl v1alpha::server_reflection_server::ServerReflection for Reflection {
    type ServerReflectionInfoStream = ReceiverStream<Result<v1alpha::ServerReflectionResponse, Status>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<v1alpha::ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        serve(request, recoded::<v1alpha::ServerReflectionRequest, _>, recoded)
    }
}

/// The two versions differ by their package alone.
#[expect(clippy::needless_pass_by_value, reason = "it stands where the other version hands a message on")]
fn recoded<A: prost::Message, B: prost::Message + Default>(message: A) -> Result<B, Status> {
    B::decode(message.encode_to_vec().as_slice()).map_err(|error| Status::internal(error.to_string()))
}

/// Answers question by question, until the caller ends, says nothing for a while, or has asked for long enough.
fn serve<Q, A>(
    request: Request<Streaming<Q>>,
    read: fn(Q) -> Result<ServerReflectionRequest, Status>,
    write: fn(ServerReflectionResponse) -> Result<A, Status>,
) -> Result<Response<ReceiverStream<Result<A, Status>>>, Status>
where
    Q: Send + 'static,
    A: Send + 'static,
{
    let mut known = Known { asker: asker(&request)?, told: BTreeMap::new(), last: None };
    let mut questions = request.into_inner();
    let (answers, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        let answering = async {
            // Without another question in time the stream ends, as if the caller had ended it.
            while let Ok(Some(Ok(question))) = tokio::time::timeout(QUESTION_WAIT, questions.next()).await {
                let answer = match read(question) {
                    Ok(question) => write(known.answer(question).await),
                    Err(status) => Err(status),
                };
                if answers.send(answer).await.is_err() {
                    return;
                }
            }
        };
        // What has been said stays said: nobody is told that there was no time left.
        let _ = tokio::time::timeout(STREAM_WAIT, answering).await;
    });
    Ok(Response::new(ReceiverStream::new(stream)))
}

impl Known {
    async fn answer(&mut self, question: ServerReflectionRequest) -> ServerReflectionResponse {
        let answer = match &question.message_request {
            Some(MessageRequest::ListServices(_)) => Some(self.list().await),
            Some(MessageRequest::FileContainingSymbol(symbol)) => {
                self.file(|pool| containing_file(pool, symbol), Some(symbol)).await
            }
            Some(MessageRequest::FileByFilename(name)) => {
                self.file(|pool| pool.get_file_by_name(name), None).await
            }
            Some(MessageRequest::FileContainingExtension(extension)) => {
                let number = u32::try_from(extension.extension_number).unwrap_or_default();
                let of = extension.containing_type.as_str();
                self.file(|pool| extension_of(pool, of, number), None).await
            }
            Some(MessageRequest::AllExtensionNumbersOfType(name)) => self.extensions(name).await,
            None => None,
        };
        let error = || {
            MessageResponse::ErrorResponse(ErrorResponse {
                error_code: Code::NotFound as i32,
                error_message: "nothing that you may call has this name".to_owned(),
            })
        };
        ServerReflectionResponse {
            valid_host: question.host.clone(),
            original_request: Some(question),
            message_response: Some(answer.unwrap_or_else(error)),
        }
    }

    async fn list(&mut self) -> MessageResponse {
        let mut names: BTreeSet<_> = OWN.iter().map(|(name, _)| (*name).to_owned()).collect();
        if let Some(conf) = self.asker.exchange.globalconf() {
            let contracts = self.asker.reachable(&conf);
            self.ask(&contracts).await;
            let callable = contracts.into_iter().filter(|contract| self.methods(contract).is_some());
            names.extend(callable.map(|contract| contract.service.code()));
        }
        let service = names.into_iter().map(|name| ServiceResponse { name }).collect();
        MessageResponse::ListServicesResponse(ListServiceResponse { service })
    }

    /// A file of a contract of which something may be called. A symbol that is a service or a method must be callable.
    async fn file(
        &mut self,
        find: impl Fn(&DescriptorPool) -> Option<FileDescriptor>,
        symbol: Option<&str>,
    ) -> Option<MessageResponse> {
        let conf = self.asker.exchange.globalconf();
        let found = match &conf {
            Some(conf) => self.file_of_contract(conf, &find, symbol).await,
            None => None,
        };
        let bytes = found.or_else(|| own_file(&find))?;
        Some(MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
            file_descriptor_proto: vec![bytes],
        }))
    }

    async fn file_of_contract(
        &mut self,
        conf: &GlobalConfiguration,
        find: impl Fn(&DescriptorPool) -> Option<FileDescriptor>,
        symbol: Option<&str>,
    ) -> Option<Vec<u8>> {
        let holds = |contract: &&Contract| contract.document.pool().is_some_and(|pool| find(pool).is_some());
        let mut holding: Vec<_> = self.asker.reachable(conf).into_iter().filter(holds).collect();
        holding.sort_by_key(|contract| Some(contract.service.subsystem()) != self.last);
        self.ask(&holding).await;
        for contract in holding {
            let (Some(pool), Some(_)) = (contract.document.pool(), self.methods(contract)) else { continue };
            let may_call =
                |service: &str, method: Option<&str>| self.may_call(conf, contract, service, method);
            let names_callable = symbol.is_none_or(|symbol| callable(pool, symbol, &may_call));
            if let Some(file) = find(pool).filter(|_| names_callable) {
                let bytes = shown(&file, &may_call);
                self.last = Some(contract.service.subsystem());
                return Some(bytes);
            }
        }
        None
    }

    async fn extensions(&mut self, name: &str) -> Option<MessageResponse> {
        let conf = self.asker.exchange.globalconf()?;
        let has = |contract: &&Contract| {
            contract.document.pool().is_some_and(|pool| pool.get_message_by_name(name).is_some())
        };
        let holding: Vec<_> = self.asker.reachable(&conf).into_iter().filter(has).collect();
        self.ask(&holding).await;
        let mut callable = holding.into_iter().filter(|contract| self.methods(contract).is_some());
        let message = callable.next()?.document.pool()?.get_message_by_name(name)?;
        let numbers = message.extensions().filter_map(|extension| i32::try_from(extension.number()).ok());
        Some(MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
            base_type_name: name.to_owned(),
            extension_number: numbers.collect(),
        }))
    }

    async fn ask(&mut self, contracts: &[&Contract]) {
        let subsystems = contracts.iter().map(|contract| contract.service.subsystem());
        let unknown = subsystems.filter(|subsystem| !self.told.contains_key(subsystem)).collect();
        self.told.extend(self.asker.ask(unknown).await);
    }

    /// Those of the contract's service that may be called.
    fn methods(&self, contract: &Contract) -> Option<&BTreeSet<String>> {
        self.told.get(&contract.service.subsystem())?.get(&contract.service.code())
    }

    /// Whether a service of a contract's document can be reached as a service of the same subsystem, and called.
    fn may_call(
        &self,
        conf: &GlobalConfiguration,
        contract: &Contract,
        service: &str,
        method: Option<&str>,
    ) -> bool {
        let reachable = self.asker.reachable(conf);
        let of = contract.service.subsystem();
        let told = self.told.get(&of).and_then(|methods| methods.get(service));
        reachable.iter().any(|it| it.service.subsystem() == of && it.service.code() == service)
            && told.is_some_and(|methods| method.is_none_or(|method| methods.contains(method)))
    }
}

type MayCall<'a> = &'a dyn Fn(&str, Option<&str>) -> bool;

/// A file as the contract has it, without the services and methods that may not be called. One from which something was
/// taken out has lost the options that gRPC itself does not know.
fn shown(file: &FileDescriptor, may_call: MayCall<'_>) -> Vec<u8> {
    let hidden = |service: &prost_reflect::ServiceDescriptor| {
        let name = service.full_name();
        !may_call(name, None) || service.methods().any(|method| !may_call(name, Some(method.name())))
    };
    if !file.services().any(|service| hidden(&service)) {
        return file.encode_to_vec();
    }
    let mut proto = file.file_descriptor_proto().clone();
    let package = file.package_name().to_owned();
    let full = |name: &str| if package.is_empty() { name.to_owned() } else { format!("{package}.{name}") };
    proto.service.retain(|service| may_call(&full(service.name()), None));
    for service in &mut proto.service {
        let name = full(service.name());
        service.method.retain(|method| may_call(&name, Some(method.name())));
    }
    // Comments are found by numbers that have just changed.
    proto.source_code_info = None;
    proto.encode_to_vec()
}

/// Whether a symbol names nothing that is called, or something that may be.
fn callable(pool: &DescriptorPool, symbol: &str, may_call: MayCall<'_>) -> bool {
    if pool.get_service_by_name(symbol).is_some() {
        return may_call(symbol, None);
    }
    match symbol.rsplit_once('.') {
        Some((service, method)) if pool.get_service_by_name(service).is_some() => {
            may_call(service, Some(method))
        }
        _ => true,
    }
}

/// The file that declares a symbol, also one inside another: a method, a field, an enum's value.
fn containing_file(pool: &DescriptorPool, symbol: &str) -> Option<FileDescriptor> {
    pool.files().find(|file| declares(file, symbol)).or_else(|| {
        let (outer, _) = symbol.rsplit_once('.')?;
        pool.files().find(|file| declares(file, outer))
    })
}

fn declares(file: &FileDescriptor, symbol: &str) -> bool {
    let pool = file.parent_pool();
    let found = pool
        .get_message_by_name(symbol)
        .map(|it| it.parent_file())
        .or_else(|| pool.get_enum_by_name(symbol).map(|it| it.parent_file()))
        .or_else(|| pool.get_service_by_name(symbol).map(|it| it.parent_file()))
        .or_else(|| pool.get_extension_by_name(symbol).map(|it| it.parent_file()));
    found.is_some_and(|found| found.name() == file.name())
}

fn extension_of(pool: &DescriptorPool, of: &str, number: u32) -> Option<FileDescriptor> {
    Some(pool.get_message_by_name(of)?.get_extension(number)?.parent_file())
}

/// Of the door's own services.
fn own_file(find: impl Fn(&DescriptorPool) -> Option<FileDescriptor>) -> Option<Vec<u8>> {
    let sets = OWN.iter().map(|(_, own)| match own {
        Own::Health => tonic_health::pb::FILE_DESCRIPTOR_SET,
        Own::Reflection => tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        Own::ReflectionAlpha => v1alpha::FILE_DESCRIPTOR_SET,
    });
    let mut pools = sets.filter_map(|set| DescriptorPool::decode(set).ok());
    pools.find_map(|pool| find(&pool)).map(|file| file.encode_to_vec())
}

/// For the next question of a stream.
const QUESTION_WAIT: Duration = Duration::from_secs(60);
/// For all of them.
const STREAM_WAIT: Duration = Duration::from_secs(600);
