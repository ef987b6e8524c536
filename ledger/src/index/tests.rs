//! The index over a real ledger: as the writer goes on, and again from the segments alone.

use std::collections::BTreeMap;
use std::path::Path;

use peabiru_certs::key::Algorithm;
use peabiru_certs::{SecretKey, StorageKey};
use peabiru_proto::entry::{Body, Common, Content, Entry, Response};
use peabiru_proto::hash::LeafHash;
use peabiru_proto::random::{Random, SeededRandom};
use peabiru_proto::time::Timestamp;

use super::*;
use crate::checkpoint::SealingKey;
use crate::disk::{Disk, RealDisk};
use crate::item::Append;
use crate::ledger::{Ledger, LedgerIdentity, Store, StoreConfig};
use crate::payload::{Direction, Payload, SealedPayload};

type Positions = BTreeMap<[u8; 16], Vec<LogPosition>>;

struct Opened {
    store: Store,
    ledger: Ledger,
}

fn open(folder: &Path, key: &SecretKey, random: &Arc<dyn Random>) -> Opened {
    let origin: Origin = "py.peabiru.example/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/1".parse().unwrap();
    let identity = LedgerIdentity {
        origin: origin.clone(),
        key: SealingKey::from_pkcs8(key.pkcs8()).unwrap(),
        next_key: None,
    };
    // Segments so small that the stream goes through several.
    let config =
        StoreConfig { segment_bytes: 64 * 1024, min_free_bytes: 0, ..StoreConfig::new(folder.to_owned()) };
    let storage_key = Some(StorageKey::from_bytes([5; 32]));
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let opened = Store::open(&disk, &config, vec![identity], storage_key, Arc::clone(random), &mut |_| {});
    let (store, _) = opened.unwrap();
    let ledger = store.ledger(&origin).unwrap();
    Opened { store, ledger }
}

fn append(ledger: &Ledger, exchange: ExchangeId, random: &dyn Random) -> Append {
    let (payload, content_root) =
        SealedPayload::seal(random, &exchange, Direction::Answer, b"context", &[7; 500]).unwrap();
    let leaf = LeafHash::from_slice(&[3; 32]).unwrap();
    let common = Common {
        exchange,
        created_at: Timestamp::from_ms(1_900_000_000_000),
        node: Some("PY/GOV/MEC/node".parse().unwrap()),
        globalconf: None,
    };
    let response = Response {
        request_leaf: leaf,
        received_leaf: leaf,
        addressee: "PY/GOV/MITIC/node".parse().unwrap(),
        outcome: 0,
        content: Content::Whole { root: content_root, body_bytes: 500 },
    };
    let entry = Entry::encode(ledger.origin(), &common, &Body::Response(response)).unwrap();
    Append { entry, payload: Some(Arc::new(Payload::Sealed(payload))), foreign: None }
}

fn assert_found(ledger: &Ledger, expected: &Positions) {
    for (exchange, positions) in expected {
        let exchange = ExchangeId::from_slice(exchange).unwrap();
        assert_eq!(ledger.positions_of(&exchange).unwrap(), *positions);
        for position in positions {
            assert_eq!(ledger.read(*position).unwrap().entry.exchange(), exchange);
        }
    }
}

#[tokio::test]
async fn entries_of_an_exchange_are_found_whenever_they_came_and_after_a_rebuild() {
    let folder = tempfile::tempdir().unwrap();
    let key = SecretKey::generate(Algorithm::Ed25519);
    let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
    let Opened { store, ledger } = open(folder.path(), &key, &random);
    let exchanges: Vec<ExchangeId> = (0..20).map(|_| ExchangeId::new(&*random)).collect();
    let mut expected = Positions::new();
    for round in 0..4 {
        for exchange in &exchanges {
            // Two in one commit, then one in each: together in the index, or apart.
            let count = if round == 0 { 2 } else { 1 };
            let appends = (0..count).map(|_| append(&ledger, *exchange, &*random)).collect();
            let sealed = ledger.append(appends).await.unwrap();
            let positions = expected.entry(*exchange.as_bytes()).or_default();
            positions.extend(sealed.iter().map(|sealed| sealed.seal.position));
        }
        if round % 2 == 0 {
            assert_found(&ledger, &expected);
        }
    }
    store.close().await;
    drop((store, ledger));
    let Opened { store, ledger } = open(folder.path(), &key, &random);
    assert_found(&ledger, &expected);
    store.close().await;
    drop((store, ledger));
    std::fs::remove_dir_all(folder.path().join("index")).unwrap();
    let Opened { ledger, store } = open(folder.path(), &key, &random);
    assert_found(&ledger, &expected);
    store.close().await;
}
