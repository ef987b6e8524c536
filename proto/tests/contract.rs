//! Contracts as agencies write them, compiled here from their sources.

use std::time::Duration;

use peabiru_proto::contract::{ContractDocument, ContractError, Delivery, Streaming, compatible};
use peabiru_proto::entry::SideEffects;
use peabiru_proto::wire::OPTIONS_PROTO;
use prost::Message as _;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

struct Sources(String);

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match name {
            "school.proto" => File::from_source(name, &self.0),
            "peabiru/v1/options.proto" => File::from_source(name, OPTIONS_PROTO),
            _ => Err(protox::Error::file_not_found(name)),
        }
    }
}

fn document(methods: &str, message: &str) -> Result<ContractDocument, ContractError> {
    let source = format!(
        r#"syntax = "proto3";
        package py.mec.v1;
        import "peabiru/v1/options.proto";
        message Page {{ string token = 1; {message} }}
        service Schools {{
          option (peabiru.v1.service) = {{ purposes: ["planning", "statistics"] }};
          {methods}
        }}"#
    );
    let mut resolver = ChainFileResolver::new();
    resolver.add(Sources(source));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file("school.proto").expect("the source compiles");
    ContractDocument::parse(compiler.encode_file_descriptor_set().into())
}

const READ: &str = "rpc List(Page) returns (Page) { option idempotency_level = NO_SIDE_EFFECTS; }";
const WRITE: &str = r#"rpc Flag(Page) returns (stream Page) { option (peabiru.v1.method) = { purposes: ["inspection"], timeout_ms: 500 }; }"#;

#[test]
fn facts_of_a_method_come_from_its_options() {
    let contract = document(&format!("{READ} {WRITE}"), "").unwrap();
    assert_eq!(contract.services().collect::<Vec<_>>(), ["py.mec.v1.Schools"]);
    let schools = contract.service("py.mec.v1.Schools").unwrap();
    let list = schools.method("List").unwrap();
    assert_eq!(
        (list.side_effects, list.streaming, list.timeout),
        (SideEffects::None, Streaming::Unary, None)
    );
    assert_eq!(
        list.purposes.iter().map(peabiru_proto::policy::Purpose::as_str).collect::<Vec<_>>(),
        ["planning", "statistics"]
    );
    let flag = schools.method("Flag").unwrap();
    assert_eq!(
        (flag.side_effects, flag.streaming),
        (SideEffects::Present, Streaming::Server),
        "silence means effects"
    );
    assert_eq!(flag.timeout, Some(Duration::from_millis(500)));
    assert_eq!(
        flag.purposes.iter().map(peabiru_proto::policy::Purpose::as_str).collect::<Vec<_>>(),
        ["inspection"]
    );
}

#[test]
fn a_stream_is_live_if_its_contract_says_so_and_a_unary_method_has_none() {
    let live = "option (peabiru.v1.method) = { streaming: true };";
    let contract =
        document(&format!("{WRITE} rpc Watch(Page) returns (stream Page) {{ {live} }}"), "").unwrap();
    let schools = contract.service("py.mec.v1.Schools").unwrap();
    let delivery = |name| schools.method(name).unwrap().delivery;
    assert_eq!([delivery("Flag"), delivery("Watch")], [Delivery::Whole, Delivery::Live]);
    let refused = document(&format!("rpc Get(Page) returns (Page) {{ {live} }}"), "").unwrap_err();
    assert_eq!(refused, ContractError::NoStream { method: "py.mec.v1.Schools.Get".to_owned() });
}

#[test]
fn what_is_no_contract_is_refused_with_its_reason() {
    assert!(matches!(
        ContractDocument::parse(b"\x0a\x05hello".as_slice().into()),
        Err(ContractError::Unparsable(_))
    ));
    let empty = prost_types::FileDescriptorSet::default().encode_to_vec();
    assert_eq!(ContractDocument::parse(empty.into()).unwrap_err(), ContractError::NoService);
    let purposeless = r#"rpc List(Page) returns (Page) { option (peabiru.v1.method) = { purposes: [""] }; }"#;
    assert!(
        matches!(document(purposeless, ""), Err(ContractError::Purpose { method, .. }) if method == "py.mec.v1.Schools.List")
    );
}

#[test]
fn a_new_version_may_add_and_nothing_else() {
    let old = document(READ, "int32 size = 2;").unwrap();
    let wider = document(&format!("{READ} {WRITE}"), "int32 size = 2; string more = 3;").unwrap();
    assert_eq!(compatible(&old, &wider), Ok(()));
    let broken = |new: &ContractDocument| compatible(&old, new).unwrap_err().join("; ");
    assert_eq!(broken(&document(WRITE, "int32 size = 2;").unwrap()), "method py.mec.v1.Schools.List is gone");
    assert_eq!(broken(&document(READ, "").unwrap()), "field py.mec.v1.Page.size is gone");
    assert!(broken(&document(READ, "string size = 2;").unwrap()).contains("py.mec.v1.Page.size changed"));
    let unsafe_now = document("rpc List(Page) returns (Page);", "int32 size = 2;").unwrap();
    assert!(broken(&unsafe_now).contains("now has side effects"));
}

#[test]
fn a_long_chain_of_types_is_compared_without_a_deep_stack() {
    // As long as a document may be: a type whose field is of the next type, and so on.
    let links = 20_000;
    let mut chain = "M0 next = 2; }".to_owned();
    for link in 0..links {
        chain += &format!("message M{link} {{ M{} n = 1; }}", link + 1);
    }
    chain += &format!("message M{links} {{ string n = 1;");
    let old = document(READ, &chain).unwrap();
    let last = chain.rfind("string n").unwrap();
    let new = document(READ, &format!("{}bytes n = 1;", &chain[..last])).unwrap();
    assert_eq!(compatible(&old, &old), Ok(()));
    assert_eq!(
        compatible(&old, &new),
        Err(vec![format!("field py.mec.v1.M{links}.n changed its name or type")])
    );
}

#[test]
fn a_syntax_of_the_future_is_refused_by_name() {
    let whole = document(READ, "").unwrap();
    let set = prost_types::FileDescriptorSet::decode(whole.bytes().clone()).unwrap();
    for (number, syntax) in (0..set.file.len()).flat_map(|number| [(number, "editions"), (number, "")]) {
        let mut set = set.clone();
        set.file[number].syntax = Some(syntax.to_owned());
        let refused = ContractDocument::parse(set.encode_to_vec().into()).unwrap_err().to_string();
        assert!(refused.contains(&format!("has the syntax `{syntax}`")), "{refused}");
    }
}
