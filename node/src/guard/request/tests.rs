use data_encoding::BASE64;
use peabiru_ledger::checkpoint::SignedCheckpoint;
use peabiru_ledger::position::LogPosition;
use peabiru_ledger::proof::InclusionProof;
use peabiru_proto::contract::ContractDocument;
use peabiru_proto::entry::{Common, Content, ExchangeId};
use peabiru_proto::hash::{ContentRoot, ContractDigest, SnapshotDigest};
use peabiru_proto::random::SeededRandom;
use peabiru_proto::wire;

use super::*;

const CONTRACT: &str = r#"{"openapi":"3.0.3","x-peabiru-purposes":["planning"],"paths":{
    "/schools/{id}":{"get":{},"put":{}},"/schools/all":{"get":{}},"/admin/{what}":{"get":{}}}}"#;

fn request(method: &str) -> Request {
    Request {
        expires_at: Timestamp::from_ms(2),
        consumer: "PY/GOV/MITIC/app".parse().unwrap(),
        service: "PY/GOV/MEC/app/schools".parse().unwrap(),
        method: method.to_owned(),
        addressee: "PY/GOV/MEC/n1".parse().unwrap(),
        contract_version: 1,
        contract_digest: ContractDigest::of(CONTRACT.as_bytes()),
        side_effects: SideEffects::None,
        purpose: "planning".parse().unwrap(),
        consent_commitment: None,
        content: Content::Whole { root: ContentRoot::from_slice(&[1; 32]).unwrap(), body_bytes: 0 },
        retry_of: None,
    }
}

fn judged(method: &str, verb: &str, path: &str) -> Result<Target, Refusal> {
    let context = Context { verb: verb.to_owned(), path: path.to_owned(), ..Context::default() };
    let document = ContractDocument::parse(CONTRACT.into()).unwrap();
    check_target(&request(method), &context, document.service("schools").unwrap())
}

#[test]
fn a_consumers_node_cannot_seal_one_operation_and_send_another_path() {
    let road = "/r1/PY/GOV/MEC/app/schools";
    let template = "GET /schools/{id}";
    assert!(judged(template, "GET", &format!("{road}/schools/7?x=1")).is_ok());
    for (verb, path) in [
        ("GET", format!("{road}/admin/7")),
        ("GET", format!("{road}/schools/all")),
        ("PUT", format!("{road}/schools/7")),
        ("get", format!("{road}/schools/7")),
        ("GET", format!("{road}/schools/7/8")),
        ("GET", format!("{road}/schools/%2e%2e/admin/7")),
        ("GET", "/r1/PY/GOV/MEC/app/others/schools/7".to_owned()),
        ("GET", "/schools/7".to_owned()),
        ("GET", String::new()),
    ] {
        let refused = judged(template, verb, &path);
        assert!(matches!(refused, Err(Refusal::Target(_))), "{verb} {path}: {refused:?}");
    }
}

/// Well formed; nobody asks here whether the signature holds.
fn unsigned_checkpoint() -> SignedCheckpoint {
    let [root, signature] = [vec![0; 32], vec![0; 68]].map(|bytes| BASE64.encode(&bytes));
    let note = format!("py.example/registry/1\n1\n{root}\n\n\u{2014} py.example/registry/1 {signature}\n");
    SignedCheckpoint::parse(note.as_bytes()).unwrap()
}

fn verified(exchange: ExchangeId) -> Verified {
    let request = request("GET /schools/{id}");
    let node: NodeId = "PY/GOV/MITIC/n1".parse().unwrap();
    let common =
        Common { exchange, created_at: Timestamp::from_ms(1), node: Some(node.clone()), globalconf: None };
    let entry =
        Entry::encode(&"py.example/registry/1".parse().unwrap(), &common, &Body::Request(request.clone()))
            .unwrap();
    let (payload, _) =
        SealedPayload::seal(&SeededRandom::new(1), &exchange, Direction::Request, b"", b"").unwrap();
    let arrived = Arrived {
        peer: node,
        entry,
        position: LogPosition::new(0),
        proof: InclusionProof::default(),
        checkpoint: unsigned_checkpoint(),
        payload,
        opened: None,
        memory: None,
        received_at: Timestamp::from_ms(1),
    };
    let body = OpenBody::Whole(Bytes::new());
    Verified { arrived: Box::new(arrived), request, context: Context::default(), body }
}

fn empty_conf() -> GlobalConfiguration {
    let snapshot = wire::Snapshot {
        instance: "PY".to_owned(),
        version: 1,
        created_at_ms: 1,
        expires_at_ms: 1000,
        domain: "py.example".to_owned(),
        registry_origin: "py.example/registry/1".to_owned(),
        parts: Vec::new(),
    };
    GlobalConfiguration::assemble(&snapshot, SnapshotDigest::from_bytes([1; 32]), &|_| None).unwrap()
}

/// Both copies passed the look-up before either was noted.
#[test]
fn of_two_copies_at_once_one_is_sealed_and_the_other_leaves_nothing_in_the_ledger() {
    let guard = Guard::new("PY/GOV/MEC/n1".parse().unwrap(), ReplayWindow::default());
    let (conf, grants, now) = (empty_conf(), Grants::default(), Timestamp::from_ms(1));
    let exchange = ExchangeId::from_slice(&[1; 16]).unwrap();
    let authorise = |exchange| verified(exchange).authorise(&guard, &conf, &grants, now);
    let Err(Denied::Sealed(first)) = authorise(exchange) else { panic!("no contract allows it") };
    assert!(matches!(first.refusal, Refusal::Contract { .. }));
    let Err(Denied::Unsealed(copy)) = authorise(exchange) else { panic!("a copy is not sealed") };
    assert_eq!(copy, Refusal::Replayed { exchange });

    let guard = Guard::new("PY/GOV/MEC/n1".parse().unwrap(), ReplayWindow::with_limit(0));
    let full = verified(exchange).authorise(&guard, &conf, &grants, now);
    assert!(matches!(full, Err(Denied::Unsealed(Refusal::ReplayWindowFull))), "what is not remembered");
}
