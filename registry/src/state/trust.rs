//! Whom the instance trusts to issue certificates.

use bytes::Bytes;
use peabiru_certs::{CertsError, chain};
use peabiru_proto::hash::Digest;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{self, KeyPurpose};

use super::certificate::{Holder, Parsed};
use super::limits::AUTHORITIES_MAX;
use super::{Authority, Event, Kind, Refusal, State, check_name};

impl State {
    pub(super) fn add_authority(
        &self,
        certificate: Bytes,
        mut purposes: Vec<KeyPurpose>,
        name: String,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        check_name(&name)?;
        purposes.sort_unstable();
        purposes.dedup();
        if purposes.is_empty() || purposes.contains(&KeyPurpose::Unspecified) {
            let message =
                "name what the authority is trusted for: authentication, sealing or operator".to_owned();
            return Err(Kind::Authority.because(message));
        }
        check_authority(&certificate, now)?;
        if self.authorities.contains_key(&certificate) {
            return Err(Kind::Duplicate.because("this authority is trusted already".to_owned()));
        }
        if self.authorities.len() >= AUTHORITIES_MAX {
            return Err(Kind::Limit.because(format!("at most {AUTHORITIES_MAX} authorities are trusted")));
        }
        let purposes = purposes.into_iter().map(i32::from).collect();
        let authority = wire::CertificateAuthority { certificate, purposes, name };
        Ok(vec![Event::AuthorityAdded(wire::AuthorityAdded { authority: Some(authority) })])
    }

    pub(super) fn authority_added(&mut self, event: wire::AuthorityAdded) -> Result<(), String> {
        let record = event.authority.ok_or("the event names no authority")?;
        let authority = Authority { purposes: record.purposes().collect(), name: record.name };
        match self.authorities.insert(record.certificate, authority) {
            None => Ok(()),
            Some(twice) => Err(format!("the authority {} was added twice", twice.name)),
        }
    }

    /// The last authority of a purpose stays: without one, every certificate of that kind would fall at once.
    pub(super) fn withdraw_authority(&self, sha256: &Digest) -> Result<Vec<Event>, Refusal> {
        let unknown = || Kind::UnknownCertificate.because(format!("no authority {sha256} is trusted"));
        let mut authorities = self.authorities.iter();
        let (_, authority) =
            authorities.find(|(certificate, _)| Digest::of(certificate) == *sha256).ok_or_else(unknown)?;
        if let Some(purpose) = authority.purposes.iter().find(|purpose| self.trusted(**purpose).len() == 1) {
            let message = format!(
                "`{}` is the last authority trusted for {purpose:?}: trust another one first",
                authority.name
            );
            return Err(Kind::Authority.because(message));
        }
        let certificate_sha256 = sha256.as_bytes().to_vec().into();
        Ok(vec![Event::AuthorityWithdrawn(wire::AuthorityWithdrawn { certificate_sha256 })])
    }

    pub(super) fn authority_withdrawn(&mut self, event: &wire::AuthorityWithdrawn) -> Result<(), String> {
        let sha256 = Digest::from_slice(&event.certificate_sha256).map_err(|error| error.to_string())?;
        let before = self.authorities.len();
        self.authorities.retain(|certificate, _| Digest::of(certificate) != sha256);
        if self.authorities.len() == before {
            return Err(format!("the authority {sha256} was not trusted before"));
        }
        Ok(())
    }

    /// The trust part of the global configuration, sorted by certificate.
    #[must_use]
    pub fn trust_part(&self) -> wire::TrustPart {
        let record = |(certificate, authority): (&Bytes, &Authority)| wire::CertificateAuthority {
            certificate: certificate.clone(),
            purposes: authority.purposes.iter().copied().map(i32::from).collect(),
            name: authority.name.clone(),
        };
        wire::TrustPart { authorities: self.authorities.iter().map(record).collect() }
    }

    /// DER of the authorities trusted for a purpose.
    #[must_use]
    pub fn trusted(&self, purpose: KeyPurpose) -> Vec<Bytes> {
        let for_purpose =
            self.authorities.iter().filter(|(_, authority)| authority.purposes.contains(&purpose));
        for_purpose.map(|(certificate, _)| certificate.clone()).collect()
    }
}

fn check_authority(certificate: &Bytes, now: Timestamp) -> Result<(), Refusal> {
    let refuse = |reason: String| Kind::Authority.because(format!("certificate of the authority: {reason}"));
    if Parsed::from_der(certificate).map_err(refuse)?.holder() == Holder::EndEntity {
        return Err(refuse("it is not an authority's (basicConstraints CA is not set)".to_owned()));
    }
    // Judged as if it were an end entity's, which an authority's never is: what is wrong before that is named.
    match chain::verify(certificate, &[certificate], KeyPurpose::Sealing, now) {
        Err(
            error @ (CertsError::Expired { .. }
            | CertsError::NotYetValid { .. }
            | CertsError::Malformed { .. }),
        ) => Err(refuse(error.to_string())),
        _ => Ok(()),
    }
}
