//! RFC 6962 §2.1 hashing: the same rule for ledgers and for payloads.

use crate::hash::{Digest, LeafHash};

/// `SHA-256(0x00 ‖ leaf)`.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest::of_parts(&[&[0], leaf])
}

/// `SHA-256(0x00 ‖ entry)`.
#[must_use]
pub fn entry_hash(entry: &[u8]) -> LeafHash {
    LeafHash::from_bytes(*leaf_hash(entry).as_bytes())
}

/// `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::of_parts(&[&[1], left.as_bytes(), right.as_bytes()])
}

/// Root of the tree over leaf hashes; of none, SHA-256 of nothing.
#[must_use]
pub fn tree_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [leaf] => *leaf,
        _ => {
            // The largest power of two smaller than the count.
            let split = leaves.len().div_ceil(2).next_power_of_two();
            let (left, right) = leaves.split_at(split);
            node_hash(&tree_root(left), &tree_root(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves and roots of the Certificate Transparency reference implementations' test tree.
    const LEAVES: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_equal_those_of_certificate_transparency() {
        let leaves: Vec<_> = LEAVES.iter().map(|leaf| leaf_hash(leaf)).collect();
        for (size, root) in (1..).zip(ROOTS) {
            assert_eq!(tree_root(&leaves[..size]).to_string(), root, "size {size}");
        }
        assert_eq!(
            tree_root(&[]).to_string(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
