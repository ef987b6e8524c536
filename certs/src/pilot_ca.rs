//! A certification authority for sandboxes, pilots and tests. Every certificate says so.

use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use bytes::Bytes;
use der::Decode as _;
use peabiru_proto::id::InstanceId;
use peabiru_proto::time::Timestamp;
use x509_cert::Certificate;
use x509_cert::builder::{Builder as _, CertificateBuilder};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};

use crate::CertsError;
use crate::key::{Algorithm, SecretKey};
use crate::profile::{Profile, ProfileKind, Subject, malformed, name, to_der};
use crate::request::VerifiedRequest;
use crate::signer::{BuilderKey, PublicKey, RawSignature};

/// Issues certificates that nobody should trust outside a pilot.
pub struct PilotCa {
    certificate: Bytes,
    subject: Name,
    key: SecretKey,
    organisation: String,
}

impl PilotCa {
    /// A new authority of an instance, valid for five years from `now`.
    ///
    /// # Errors
    /// `Malformed` if the instance's name cannot be written.
    pub fn create(instance: &InstanceId, now: Timestamp) -> Result<Self, CertsError> {
        let key = SecretKey::generate(Algorithm::P256);
        let organisation = format!("{instance}, {MARK}");
        let subject = name(&organisation, &format!("Pilot CA of {instance}"))?;
        let profile =
            Profile { issuer: subject.clone(), subject: subject.clone(), kind: ProfileKind::Authority };
        let certificate = issue(profile, &PublicKey::of(&key), &key, now, FIVE_YEARS)?;
        Ok(Self { certificate, subject, key, organisation })
    }

    /// An authority made before.
    ///
    /// # Errors
    /// `Malformed` if the certificate does not parse or is not of this key.
    pub fn open(instance: &InstanceId, certificate: Bytes, key: SecretKey) -> Result<Self, CertsError> {
        let parsed = Certificate::from_der(&certificate).map_err(|error| malformed("certificate", &error))?;
        let of_key = parsed.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes()
            == key.public_key();
        if !of_key {
            return Err(malformed("pilot CA", &"its certificate is not of its key"));
        }
        let organisation = format!("{instance}, {MARK}");
        Ok(Self { subject: parsed.tbs_certificate().subject().clone(), certificate, key, organisation })
    }

    /// DER of its own certificate.
    #[must_use]
    pub fn certificate(&self) -> &Bytes {
        &self.certificate
    }

    /// Its key, to be kept in a key file.
    #[must_use]
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    /// Issues a certificate for a request whose signature holds. DER.
    ///
    /// # Errors
    /// `WrongUse` if the key's algorithm does not fit the purpose.
    pub fn issue(
        &self,
        request: &VerifiedRequest,
        subject: Subject,
        now: Timestamp,
    ) -> Result<Bytes, CertsError> {
        self.issue_for(&request.public_key, subject, now)
    }

    /// Issues a certificate for a key at hand. DER.
    ///
    /// # Errors
    /// As `issue`.
    pub fn issue_for_key(
        &self,
        key: &SecretKey,
        subject: Subject,
        now: Timestamp,
    ) -> Result<Bytes, CertsError> {
        self.issue_for(&PublicKey::of(key), subject, now)
    }

    fn issue_for(&self, key: &PublicKey, subject: Subject, now: Timestamp) -> Result<Bytes, CertsError> {
        let wanted = match subject {
            Subject::Sealing { .. } => Algorithm::Ed25519,
            Subject::Node { .. } | Subject::Registry { .. } | Subject::Operator { .. } => Algorithm::P256,
        };
        if key.algorithm != wanted {
            return Err(CertsError::WrongUse("sealing keys are Ed25519, TLS keys are P-256"));
        }
        let validity = subject.validity();
        let profile = Profile::for_subject(self.subject.clone(), &self.organisation, subject)?;
        issue(profile, key, &self.key, now, validity)
    }
}

fn issue(
    profile: Profile,
    key: &PublicKey,
    issuer: &SecretKey,
    now: Timestamp,
    validity: Duration,
) -> Result<Bytes, CertsError> {
    let mut serial = [0; 16];
    SystemRandom::new().fill(&mut serial).expect("the operating system has randomness");
    // Positive, and of one length.
    serial[0] = serial[0] & 0x7f | 0x40;
    let failed = |error: &dyn std::fmt::Display| malformed("certificate", error);
    let serial = SerialNumber::new(&serial).map_err(|error| failed(&error))?;
    // Clocks of one pilot differ a little: valid from a minute ago.
    let not_before = time(now.minus(Duration::from_secs(60)))?;
    let validity = Validity::new(not_before, time(now.plus(validity))?);
    let info = key.info().map_err(|error| failed(&error))?;
    let builder = CertificateBuilder::new(profile, serial, validity, info).map_err(|error| failed(&error))?;
    let certificate =
        builder.build::<_, RawSignature>(&BuilderKey(issuer)).map_err(|error| failed(&error))?;
    Ok(to_der(&certificate, "certificate")?.into())
}

fn time(at: Timestamp) -> Result<Time, CertsError> {
    let at = UNIX_EPOCH + Duration::from_secs(at.as_ms() / 1000);
    Time::try_from(at).map_err(|error| malformed("validity", &error))
}

/// Stands in the organisation of every certificate.
pub const MARK: &str = "PILOT CA - NOT FOR PRODUCTION";
const FIVE_YEARS: Duration = Duration::from_secs(5 * 365 * 24 * 3600);
