//! The certificates that this node shows, and whether others know them.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use peabiru_certs::chain;
use peabiru_proto::globalconf::GlobalConfiguration;
use peabiru_proto::id::MemberId;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::CertificateRole;

use crate::core::Core;

/// All of them, as they are now.
pub(crate) struct Shown {
    core: Arc<Core>,
    certificates: ArcSwap<Certificates>,
}

/// DER of each.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    /// To other nodes.
    pub(crate) authentication: Bytes,
    /// Of each hosted member's seals.
    pub(crate) sealing: Vec<(MemberId, Bytes)>,
    /// Of a TCP door with TLS.
    pub(crate) door: Option<Bytes>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShownCertificate {
    pub(crate) role: CertificateRole,
    /// Whose seals.
    pub(crate) member: Option<MemberId>,
    pub(crate) expires_at: Timestamp,
    /// Whether the global configuration has it.
    pub(crate) registered: Registered,
}

/// Whether others know a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registered {
    Yes,
    No,
}

impl Shown {
    pub(crate) fn new(core: &Arc<Core>, certificates: Certificates) -> Self {
        Self { core: Arc::clone(core), certificates: ArcSwap::from_pointee(certificates) }
    }

    /// As they are now.
    pub(crate) fn current(&self) -> Arc<Certificates> {
        self.certificates.load_full()
    }

    /// From now on these.
    pub(crate) fn set(&self, certificates: Certificates) {
        self.certificates.store(Arc::new(certificates));
    }

    /// All of them, judged by this global configuration. One that cannot be read has ended.
    pub(crate) fn all(&self, conf: &GlobalConfiguration) -> Vec<ShownCertificate> {
        let judged = |role, member: Option<&MemberId>, der: &Bytes, known: Option<bool>| ShownCertificate {
            role,
            member: member.cloned(),
            expires_at: chain::expires_at(der).unwrap_or(Timestamp::from_ms(0)),
            registered: if known == Some(true) { Registered::Yes } else { Registered::No },
        };
        let Certificates { authentication, sealing, door } = &*self.current();
        let own = conf.node(&self.core.own).map(|node| node.certificates.contains(authentication));
        let mut all = vec![judged(CertificateRole::Authentication, None, authentication, own)];
        for (member, certificate) in sealing {
            let ledger = self.core.ledger(member).and_then(|ledger| conf.ledger(ledger.origin()));
            let known = ledger.map(|ledger| ledger.has_certificate(certificate));
            all.push(judged(CertificateRole::Sealing, Some(member), certificate, known));
        }
        all.extend(door.iter().map(|door| judged(CertificateRole::Door, None, door, Some(true))));
        all
    }

    /// Tells the administrator what peers would only say by turning this node away.
    pub(crate) fn warn(&self, conf: &GlobalConfiguration) {
        for certificate in self.all(conf).iter().filter(|shown| shown.registered == Registered::No) {
            match &certificate.member {
                None => {
                    tracing::warn!(node = %self.core.own, "this node's authentication certificate is not registered: peers turn it away");
                }
                Some(member) => {
                    tracing::warn!(%member, "this ledger's sealing certificate is not registered: peers refuse its seals");
                }
            }
        }
    }
}
