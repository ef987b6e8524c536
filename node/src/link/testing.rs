//! A ledger that signs whatever a test wants, also what a real one never would.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use data_encoding::BASE64;
use peabiru_ledger::checkpoint::{SignedCheckpoint, VerifyingKey};
use peabiru_ledger::position::TreeSize;
use peabiru_ledger::tree::Tree;
use peabiru_proto::hash::{Digest, LeafHash};
use peabiru_proto::origin::Origin;

use super::heads::Update;

pub(crate) const ORIGIN: &str = "py.example/registry/1";

pub(crate) struct TestLedger {
    signing: Ed25519KeyPair,
    tree: Tree,
}

impl TestLedger {
    /// Leaves of one `flavour` differ from those of another from the first on; the key is always the same.
    pub(crate) fn of(entries: u64, flavour: &str) -> Self {
        let mut tree = Tree::default();
        for index in 0..entries {
            let leaf = Digest::of(format!("{flavour}{index}").as_bytes());
            tree.push(LeafHash::from_bytes(*leaf.as_bytes()), &mut |_, _, _| {});
        }
        Self { signing: Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap(), tree }
    }

    pub(crate) fn origin(&self) -> Origin {
        ORIGIN.parse().unwrap()
    }

    pub(crate) fn key(&self) -> VerifyingKey {
        VerifyingKey::from_bytes(self.signing.public_key().as_ref().try_into().unwrap())
    }

    pub(crate) fn checkpoint(&self, size: TreeSize) -> SignedCheckpoint {
        let root = BASE64.encode(self.tree.root_at(size, &()).unwrap().as_bytes());
        let text = format!("{ORIGIN}\n{size}\n{root}\n");
        let id = Digest::of_parts(&[ORIGIN.as_bytes(), b"\n\x01", self.signing.public_key().as_ref()]);
        let signature = self.signing.sign(text.as_bytes());
        let signature = BASE64.encode(&[&id.as_bytes()[..4], signature.as_ref()].concat());
        SignedCheckpoint::parse(format!("{text}\n\u{2014} {ORIGIN} {signature}\n").as_bytes()).unwrap()
    }

    pub(crate) fn update(&self, from: TreeSize, to: TreeSize) -> Update {
        let proof = self.tree.consistency(from, to, &()).unwrap();
        Update { checkpoint: self.checkpoint(to), from, proof }
    }
}
