//! Our keys as x509-cert's builder wants them.

use der::asn1::BitString;
use signature::{Keypair, Signer};
use spki::{
    AlgorithmIdentifierOwned, Document, DynSignatureAlgorithmIdentifier, EncodePublicKey,
    SignatureBitStringEncoding, SubjectPublicKeyInfoOwned,
};

use crate::key::{Algorithm, SecretKey};

/// A public key with its algorithm.
#[derive(Clone)]
pub(crate) struct PublicKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) bytes: Vec<u8>,
}

/// A key on loan to the builder.
pub(crate) struct BuilderKey<'a>(pub(crate) &'a SecretKey);

/// Raw bytes of a signature.
pub(crate) struct RawSignature(Vec<u8>);

impl PublicKey {
    pub(crate) fn of(key: &SecretKey) -> Self {
        Self { algorithm: key.algorithm(), bytes: key.public_key().to_vec() }
    }

    pub(crate) fn info(&self) -> spki::Result<SubjectPublicKeyInfoOwned> {
        let algorithm = match self.algorithm {
            Algorithm::Ed25519 => AlgorithmIdentifierOwned { oid: ED25519, parameters: None },
            Algorithm::P256 => AlgorithmIdentifierOwned {
                oid: const_oid::db::rfc5912::ID_EC_PUBLIC_KEY,
                parameters: Some((&const_oid::db::rfc5912::SECP_256_R_1).into()),
            },
        };
        Ok(SubjectPublicKeyInfoOwned { algorithm, subject_public_key: BitString::from_bytes(&self.bytes)? })
    }
}

impl EncodePublicKey for PublicKey {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        Ok(Document::encode_msg(&self.info()?)?)
    }
}

impl Keypair for BuilderKey<'_> {
    type VerifyingKey = PublicKey;

    fn verifying_key(&self) -> PublicKey {
        PublicKey::of(self.0)
    }
}

impl Signer<RawSignature> for BuilderKey<'_> {
    fn try_sign(&self, message: &[u8]) -> Result<RawSignature, signature::Error> {
        Ok(RawSignature(self.0.sign(message)))
    }
}

impl DynSignatureAlgorithmIdentifier for BuilderKey<'_> {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        let oid = match self.0.algorithm() {
            Algorithm::Ed25519 => ED25519,
            Algorithm::P256 => const_oid::db::rfc5912::ECDSA_WITH_SHA_256,
        };
        Ok(AlgorithmIdentifierOwned { oid, parameters: None })
    }
}

impl SignatureBitStringEncoding for RawSignature {
    fn to_bitstring(&self) -> der::Result<BitString> {
        BitString::from_bytes(&self.0)
    }
}

const ED25519: der::oid::ObjectIdentifier = const_oid::db::rfc8410::ID_ED_25519;
