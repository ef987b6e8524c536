//! `peabiru contract`.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Subcommand;
use peabiru_proto::contract::{ContractDocument, Delivery, ServiceFacts};
use peabiru_proto::entry::SideEffects as Effects;
use peabiru_proto::id::ServiceId;
use peabiru_proto::wire::{
    AddContractRequest, GetContractRequest, GetContractResponse, ListServicesRequest, OPTIONS_PROTO,
    ServiceSummary, SideEffects,
};
use prost_reflect::DescriptorPool;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

use crate::CliError;
use crate::args::Connect;
use crate::output::{self, Table};

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Registers the next version of a contract.
    #[command(
        after_help = "Example:\n  peabiru contract add PY/GOV/MEC/education/py.mec.v1.SchoolService school.proto --include proto\n  peabiru contract add PY/GOV/MEC/education/schools openapi.yaml"
    )]
    Add {
        /// MEMBER/SUBSYSTEM/SERVICE, where SERVICE is the full gRPC name; for REST any code.
        service: ServiceId,
        /// The .proto file, a descriptor set with its imports, or an OpenAPI 3 document in JSON or YAML.
        file: PathBuf,
        /// Folder of the .proto files that it imports.
        #[arg(long = "include", value_name = "FOLDER")]
        includes: Vec<PathBuf>,
    },
    /// The services that a node knows.
    #[command(after_help = "Example:\n  peabiru contract list")]
    List,
    /// The messages and methods of a service.
    #[command(after_help = "Example:\n  peabiru contract show py.mec.v1.SchoolService")]
    Show {
        /// Its identifier, or its gRPC name if only one member offers it.
        service: String,
    },
}

pub(crate) async fn run(verb: Verb, connect: &Connect) -> Result<(), CliError> {
    match verb {
        Verb::Add { service, file, includes } => {
            let document = document(&file, &includes)?;
            let request = AddContractRequest { service: service.to_string(), document };
            let added = connect.registry().await?.add_contract(request).await?.into_inner();
            let (version, globalconf) = (added.contract_version, added.globalconf_version);
            output::done(
                connect,
                &connect.language().of_both(
                    format!("versión {version} de {service} registrada (configuración global {globalconf})"),
                    format!(
                        "version {version} of {service} is registered (global configuration {globalconf})"
                    ),
                ),
            );
        }
        Verb::List => {
            let listed = connect.node().await?.list_services(ListServicesRequest {}).await?.into_inner();
            let language = connect.language();
            let mut table = Table::new(&[
                ("service", "servicio"),
                ("version", "versión"),
                ("method", "método"),
                ("side_effects", "efectos"),
                ("purposes", "finalidades"),
            ]);
            for ServiceSummary { service, contract_version, methods } in listed.services {
                for method in methods {
                    let side_effects = match method.side_effects() {
                        SideEffects::None => "no",
                        SideEffects::Present | SideEffects::Unspecified => language.of_both("sí", "yes"),
                    };
                    table.row([
                        service.clone(),
                        contract_version.to_string(),
                        method.name,
                        side_effects.to_owned(),
                        method.purposes.join(" "),
                    ]);
                }
            }
            table.print(connect);
        }
        Verb::Show { service } => {
            let contract =
                connect.node().await?.get_contract(GetContractRequest { service }).await?.into_inner();
            if contract.document.starts_with(b"{") {
                return show_operations(contract.document, connect);
            }
            show_types(contract, connect)?;
        }
    }
    Ok(())
}

/// The methods of a gRPC service, and what they take and give.
fn show_types(contract: GetContractResponse, connect: &Connect) -> Result<(), CliError> {
    let parsed = ContractDocument::parse(contract.document.clone());
    let pool = DescriptorPool::decode(contract.document)
        .map_err(|error| CliError::Usage(format!("the contract does not parse: {error}")))?;
    let mut table =
        Table::new(&[("type", "tipo"), ("field", "campo"), ("number", "número"), ("kind", "clase")]);
    let code = contract.service.rsplit('/').next().unwrap_or_default().to_owned();
    let package = code.rsplit_once('.').map(|(package, _)| package.to_owned()).unwrap_or_default();
    let facts = parsed.as_ref().ok().and_then(|parsed| parsed.service(&code));
    for service in pool.services().filter(|service| service.full_name() == code) {
        for method in service.methods() {
            let (input, output) = (method.input(), method.output());
            let stream = |is: bool| if is { "stream " } else { "" };
            let kind = format!(
                "{}{} → {}{}{}",
                stream(method.is_client_streaming()),
                input.name(),
                stream(method.is_server_streaming()),
                output.name(),
                live(facts, method.name()),
            );
            table.row([service.name().to_owned(), method.name().to_owned(), String::new(), kind]);
        }
    }
    for message in pool.all_messages().filter(|message| message.package_name() == package) {
        for field in message.fields() {
            let many = if field.is_list() { "repeated " } else { "" };
            let kind = format!("{many}{:?}", field.kind());
            table.row([message.name().to_owned(), field.name().to_owned(), field.number().to_string(), kind]);
        }
    }
    table.print(connect);
    Ok(())
}

/// Said of a method whose messages are delivered one by one.
fn live(facts: Option<&ServiceFacts>, method: &str) -> &'static str {
    let delivery = facts.and_then(|facts| facts.method(method)).map(|facts| facts.delivery);
    if delivery == Some(Delivery::Live) { ", live" } else { "" }
}

fn show_operations(document: Bytes, connect: &Connect) -> Result<(), CliError> {
    let document = ContractDocument::parse(document)
        .map_err(|error| CliError::Usage(format!("the contract does not parse: {error}")))?;
    let yes = connect.language().of_both("sí", "yes");
    let mut table = Table::new(&[
        ("operation", "operación"),
        ("side_effects", "efectos"),
        ("purposes", "finalidades"),
        ("timeout_ms", "plazo_ms"),
    ]);
    // Whatever its code is, an OpenAPI document describes one service.
    for method in document.service("").into_iter().flat_map(ServiceFacts::methods) {
        table.row([
            method.name.clone(),
            if method.side_effects == Effects::None { "no" } else { yes }.to_owned(),
            method.purposes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            method.timeout.map(|timeout| timeout.as_millis().to_string()).unwrap_or_default(),
        ]);
    }
    table.print(connect);
    Ok(())
}

/// A descriptor set or an OpenAPI document in JSON as it is; what is compiled from a .proto file, or JSON made from YAML.
/// The registry, every node and every proof know these bytes alone, so the same file must always become the same bytes.
/// Checked here already: a mistake is named before anything is sent.
fn document(file: &Path, includes: &[PathBuf]) -> Result<Bytes, CliError> {
    let bytes = match file.extension().and_then(|extension| extension.to_str()) {
        Some("proto") => compile(file, includes)?,
        Some("yaml" | "yml") => json_of(&std::fs::read_to_string(file).map_err(CliError::file(file))?)
            .map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))?,
        _ => std::fs::read(file).map_err(CliError::file(file))?,
    };
    let bytes = Bytes::from(bytes);
    ContractDocument::parse(bytes.clone())
        .map_err(|error| CliError::Usage(format!("{}: {error}", file.display())))?;
    Ok(bytes)
}

/// The JSON that a YAML document is: keys in order, no white space. Anchors are written out; what has no JSON (a key that
/// is a list, two documents, the same key twice) is refused.
fn json_of(yaml: &str) -> Result<Vec<u8>, String> {
    let value: serde_json::Value = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
    serde_json::to_vec(&value).map_err(|error| error.to_string())
}

fn compile(file: &Path, includes: &[PathBuf]) -> Result<Vec<u8>, CliError> {
    let unusable = |error: protox::Error| CliError::Usage(format!("{}: {error}", file.display()));
    let mut resolver = ChainFileResolver::new();
    resolver.add(Options);
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for include in includes.iter().map(PathBuf::as_path).chain([folder]) {
        resolver.add(IncludeFileResolver::new(include.to_owned()));
    }
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file(file).map_err(unusable)?;
    Ok(compiler.encode_file_descriptor_set())
}

/// The options of Peabiru itself, which every contract imports.
struct Options;

impl FileResolver for Options {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "peabiru/v1/options.proto" => File::from_source(name, OPTIONS_PROTO),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = r#"
openapi: 3.0.3
info: { title: Schools, version: "1" }
x-peabiru-purposes: &why [planning]
paths:
  /schools/{id}:
    get:
      x-peabiru-purposes: *why
      x-peabiru-timeout-ms: 2000
      responses:
        200: { description: "One school: año, g̃" }
"#;
    const JSON: &str = r#"{"info":{"title":"Schools","version":"1"},"openapi":"3.0.3","paths":{"/schools/{id}":{"get":{"responses":{"200":{"description":"One school: año, g̃"}},"x-peabiru-purposes":["planning"],"x-peabiru-timeout-ms":2000}}},"x-peabiru-purposes":["planning"]}"#;

    #[test]
    fn yaml_becomes_the_same_json_every_time() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["openapi.yaml", "openapi.yml"] {
            let file = folder.path().join(name);
            std::fs::write(&file, YAML).unwrap();
            assert_eq!(document(&file, &[]).unwrap(), JSON);
        }
        let contract = ContractDocument::parse(JSON.into()).unwrap();
        assert!(contract.service("schools").unwrap().method("GET /schools/{id}").is_some());
    }

    #[test]
    fn what_has_no_json_is_refused_with_its_place() {
        // One that grows a thousandfold with each line, as far as it goes.
        let laughs = (1..20).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, level| {
            let many = vec![format!("*a{}", level - 1); 10].join(",");
            format!("{text}a{level}: &a{level} [{many}]\n")
        });
        let deep = "[".repeat(100_000);
        for yaml in ["a: 1\na: 2\n", "[1]: x\n", "a: 1\n---\nb: 2\n", "a: [1\n", "a: *none\n", &laughs, &deep]
        {
            assert!(json_of(yaml).is_err(), "{}", yaml.chars().take(40).collect::<String>());
        }
        assert!(json_of("a: 1\nb: [\n").unwrap_err().contains("line"), "an error says where");
    }
}
