//! What is well, what needs care, what is broken: decided from what the node gathered. Pure.

use std::time::Duration;

use peabiru_proto::limits::CLOCK_SKEW;
use peabiru_proto::time::Timestamp;
use peabiru_proto::wire::{
    CertificateRole, ExamineResponse, ExaminedCertificate, ExaminedPeer, ExaminedRegistry, Grant,
};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Well,
    /// It works, and will not for ever.
    Care,
    /// It does not work.
    Broken,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) fact: Fact,
}

/// What was found; the words for it are elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fact {
    /// Against the registry or a peer.
    Clock {
        other: String,
        ahead_ms: i64,
    },
    /// Nobody says what time it is.
    ClockUnknown {
        other: String,
    },
    RegistryAnswers {
        url: String,
    },
    RegistrySilent {
        url: String,
        failure: String,
    },
    NoGlobalconf,
    Globalconf {
        version: u64,
        age: Duration,
        left: Duration,
    },
    GlobalconfExpired {
        version: u64,
        at: Timestamp,
    },
    /// With what the node listens, and how others are told to reach it.
    Listens {
        address: String,
        carriers: Vec<String>,
        registered: Vec<String>,
    },
    /// The registry does not know the node, or where it is.
    NotReachable {
        address: String,
    },
    PeerReached {
        node: String,
        carrier: String,
    },
    /// Over HTTP/2, and why not over QUIC.
    PeerWithoutQuic {
        node: String,
        why: String,
    },
    PeerNotReached {
        node: String,
        failure: String,
    },
    /// It has to dial this node, and has not.
    PeerSilent {
        node: String,
    },
    PeersLeftOut {
        count: u32,
    },
    Certificate {
        role: CertificateRole,
        member: String,
        left: Duration,
    },
    CertificateExpired {
        role: CertificateRole,
        member: String,
        at: Timestamp,
    },
    CertificateUnregistered {
        role: CertificateRole,
        member: String,
    },
    Disk {
        free_bytes: u64,
        needed_bytes: u64,
    },
    NoGrants,
    GrantsLast {
        count: usize,
    },
    GrantEnds {
        id: String,
        consumer: String,
        left: Duration,
    },
}

/// Everything that was looked at, the worst first.
pub(super) fn judge(examined: &ExamineResponse) -> Vec<Finding> {
    let now = Timestamp::from_ms(examined.now_ms);
    let mut findings = Vec::new();
    let mut found = |level, fact| findings.push(Finding { level, fact });
    for registry in &examined.registries {
        of_registry(registry, &mut found);
    }
    of_globalconf(examined, now, &mut found);
    of_ports(examined, &mut found);
    for peer in &examined.peers {
        of_peer(peer, &mut found);
    }
    if examined.peers_left_out > 0 {
        found(Level::Well, Fact::PeersLeftOut { count: examined.peers_left_out });
    }
    for certificate in &examined.certificates {
        of_certificate(certificate, now, &mut found);
    }
    if let Some(disk) = &examined.disk {
        let (free_bytes, needed_bytes) = (disk.free_bytes, disk.needed_bytes);
        let level = match free_bytes {
            free if free < needed_bytes => Level::Broken,
            free if free < needed_bytes.saturating_mul(DISK_CARE) => Level::Care,
            _ => Level::Well,
        };
        found(level, Fact::Disk { free_bytes, needed_bytes });
    }
    of_grants(&examined.grants, now, &mut found);
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}

fn of_registry(registry: &ExaminedRegistry, found: &mut impl FnMut(Level, Fact)) {
    let url = registry.url.clone();
    if !registry.failure.is_empty() {
        // Exchanges go on with the global configuration that is in force.
        return found(Level::Care, Fact::RegistrySilent { url, failure: registry.failure.clone() });
    }
    found(Level::Well, Fact::RegistryAnswers { url: url.clone() });
    match registry.clock_ahead_ms {
        Some(ahead_ms) => of_clock(url, ahead_ms, found),
        None => found(Level::Care, Fact::ClockUnknown { other: url }),
    }
}

fn of_clock(other: String, ahead_ms: i64, found: &mut impl FnMut(Level, Fact)) {
    let apart = Duration::from_millis(ahead_ms.unsigned_abs());
    let level = match apart {
        apart if apart > CLOCK_SKEW => Level::Broken,
        apart if apart > CLOCK_CARE => Level::Care,
        _ => Level::Well,
    };
    found(level, Fact::Clock { other, ahead_ms });
}

fn of_globalconf(examined: &ExamineResponse, now: Timestamp, found: &mut impl FnMut(Level, Fact)) {
    let version = examined.globalconf_version;
    if version == 0 {
        return found(Level::Broken, Fact::NoGlobalconf);
    }
    let expires_at = Timestamp::from_ms(examined.globalconf_expires_at_ms);
    if expires_at <= now {
        return found(Level::Broken, Fact::GlobalconfExpired { version, at: expires_at });
    }
    let age = now.since(Timestamp::from_ms(examined.globalconf_created_at_ms));
    let left = expires_at.since(now);
    let level = if left < GLOBALCONF_CARE { Level::Care } else { Level::Well };
    found(level, Fact::Globalconf { version, age, left });
}

fn of_ports(examined: &ExamineResponse, found: &mut impl FnMut(Level, Fact)) {
    let (address, registered) = (examined.link_address.clone(), examined.registered_addresses.clone());
    if registered.is_empty() {
        return found(Level::Broken, Fact::NotReachable { address });
    }
    found(Level::Well, Fact::Listens { address, carriers: examined.carriers.clone(), registered });
}

fn of_peer(peer: &ExaminedPeer, found: &mut impl FnMut(Level, Fact)) {
    let node = peer.node.clone();
    match (peer.failure.as_str(), peer.without_quic.as_str()) {
        ("", "") => found(Level::Well, Fact::PeerReached { node, carrier: peer.carrier.clone() }),
        ("", why) => found(Level::Care, Fact::PeerWithoutQuic { node, why: why.to_owned() }),
        (_, _) if peer.dials_out => found(Level::Well, Fact::PeerSilent { node }),
        (failure, _) => found(Level::Broken, Fact::PeerNotReached { node, failure: failure.to_owned() }),
    }
    if let Some(ahead_ms) = peer.clock_ahead_ms {
        of_clock(peer.node.clone(), ahead_ms, found);
    }
}

fn of_certificate(certificate: &ExaminedCertificate, now: Timestamp, found: &mut impl FnMut(Level, Fact)) {
    let (role, member) = (certificate.role(), certificate.member.clone());
    if !certificate.registered {
        found(Level::Broken, Fact::CertificateUnregistered { role, member: member.clone() });
    }
    let expires_at = Timestamp::from_ms(certificate.expires_at_ms);
    if expires_at <= now {
        return found(Level::Broken, Fact::CertificateExpired { role, member, at: expires_at });
    }
    let left = expires_at.since(now);
    let level = if left < CERTIFICATE_CARE { Level::Care } else { Level::Well };
    found(level, Fact::Certificate { role, member, left });
}

fn of_grants(grants: &[Grant], now: Timestamp, found: &mut impl FnMut(Level, Fact)) {
    let left = |grant: &Grant| Timestamp::from_ms(grant.expires_at_ms).since(now);
    let (ending, lasting): (Vec<_>, Vec<_>) = grants.iter().partition(|grant| left(grant) < GRANT_CARE);
    if grants.is_empty() {
        found(Level::Well, Fact::NoGrants);
    }
    if !lasting.is_empty() {
        found(Level::Well, Fact::GrantsLast { count: lasting.len() });
    }
    for grant in ending {
        let (id, consumer) = (grant.id.clone(), grant.consumer.clone());
        found(Level::Care, Fact::GrantEnds { id, consumer, left: left(grant) });
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A clock that is so far off goes further off.
const CLOCK_CARE: Duration = Duration::from_secs(10);
/// Of the 72 hours that a snapshot is good for.
const GLOBALCONF_CARE: Duration = DAY;
const CERTIFICATE_CARE: Duration = Duration::from_secs(30 * DAY.as_secs());
const GRANT_CARE: Duration = Duration::from_secs(30 * DAY.as_secs());
/// So many times what must stay free.
const DISK_CARE: u64 = 4;

#[cfg(test)]
mod tests {
    use peabiru_proto::wire::ExaminedDisk;

    use peabiru_proto::language::Language;

    use super::super::words::say;
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;
    const DAY_MS: u64 = 86_400_000;

    /// A node with which all is well.
    fn healthy() -> ExamineResponse {
        let registry = ExaminedRegistry {
            url: "https://registry:443".to_owned(),
            clock_ahead_ms: Some(400),
            ..ExaminedRegistry::default()
        };
        let peer = ExaminedPeer {
            node: "PY/GOV/MEC/node1".to_owned(),
            carrier: "quic".to_owned(),
            clock_ahead_ms: Some(-20),
            ..ExaminedPeer::default()
        };
        let certificate = ExaminedCertificate {
            role: CertificateRole::Authentication.into(),
            expires_at_ms: NOW_MS + 31 * DAY_MS,
            registered: true,
            ..ExaminedCertificate::default()
        };
        let grant =
            Grant { id: "census".to_owned(), expires_at_ms: NOW_MS + 31 * DAY_MS, ..Grant::default() };
        ExamineResponse {
            node: "PY/GOV/MITIC/node1".to_owned(),
            now_ms: NOW_MS,
            globalconf_version: 7,
            globalconf_created_at_ms: NOW_MS - DAY_MS,
            globalconf_expires_at_ms: NOW_MS + 2 * DAY_MS,
            registries: vec![registry],
            peers: vec![peer],
            certificates: vec![certificate],
            disk: Some(ExaminedDisk { free_bytes: 4 << 30, needed_bytes: 1 << 30 }),
            grants: vec![grant],
            link_address: "0.0.0.0:443".to_owned(),
            carriers: vec!["quic".to_owned(), "http2".to_owned()],
            registered_addresses: vec!["node.mitic.gov.py:443".to_owned()],
            peers_left_out: 0,
        }
    }

    /// What is not well once something was changed; each said in both languages, with something to do.
    fn faults(change: impl FnOnce(&mut ExamineResponse)) -> Vec<(Level, Fact)> {
        let mut examined = healthy();
        change(&mut examined);
        let ill = judge(&examined).into_iter().filter(|finding| finding.level != Level::Well);
        let faults: Vec<_> = ill.map(|finding| (finding.level, finding.fact)).collect();
        for (_, fact) in &faults {
            let (english, spanish) = (say(fact, Language::English), say(fact, Language::Spanish));
            assert!(!english.to_do.is_empty() && !spanish.to_do.is_empty(), "{fact:?}");
            assert!(english.finding != spanish.finding && english.to_do != spanish.to_do, "{fact:?}");
        }
        faults
    }

    fn only(faults: Vec<(Level, Fact)>) -> (Level, Fact) {
        let [fault] = <[_; 1]>::try_from(faults).unwrap();
        fault
    }

    #[test]
    fn a_healthy_node_has_findings_and_all_are_well() {
        assert_eq!(faults(|_| ()), []);
        assert_eq!(judge(&healthy()).len(), 9);
        let consumer = judge(&ExamineResponse { grants: Vec::new(), ..healthy() });
        let said: Vec<_> = consumer.iter().map(|finding| say(&finding.fact, Language::Spanish)).collect();
        assert!(said.iter().any(|it| it.about == "autorizaciones" && it.finding == "no hay ninguna dada"));
    }

    #[test]
    fn clocks_are_compared_with_registry_and_peers() {
        let registry = only(faults(|examined| examined.registries[0].clock_ahead_ms = Some(-61_000)));
        let other = "https://registry:443".to_owned();
        assert_eq!(registry, (Level::Broken, Fact::Clock { other: other.clone(), ahead_ms: -61_000 }));
        assert!(say(&registry.1, Language::Spanish).finding.contains("61,0 s atrasado"));
        let peer = only(faults(|examined| examined.peers[0].clock_ahead_ms = Some(11_000)));
        assert_eq!(peer.0, Level::Care);
        let unknown = only(faults(|examined| examined.registries[0].clock_ahead_ms = None));
        assert_eq!(unknown, (Level::Care, Fact::ClockUnknown { other }));
        let limit = i64::MIN;
        assert_eq!(only(faults(|examined| examined.peers[0].clock_ahead_ms = Some(limit))).0, Level::Broken);
    }

    #[test]
    fn a_peer_says_how_it_is_reached_and_why() {
        let tcp = only(faults(|examined| examined.peers[0].without_quic = "no handshake".to_owned()));
        let node = "PY/GOV/MEC/node1".to_owned();
        assert_eq!(
            tcp,
            (Level::Care, Fact::PeerWithoutQuic { node: node.clone(), why: "no handshake".to_owned() })
        );
        assert!(say(&tcp.1, Language::English).to_do.starts_with("open UDP"));
        let down = only(faults(|examined| examined.peers[0].failure = "refused".to_owned()));
        assert_eq!(down, (Level::Broken, Fact::PeerNotReached { node, failure: "refused".to_owned() }));
        let dials_out = faults(|examined| {
            examined.peers[0] = ExaminedPeer {
                failure: "there is no connection".to_owned(),
                dials_out: true,
                ..ExaminedPeer::default()
            };
        });
        assert_eq!(dials_out, []);
    }

    #[test]
    fn registry_and_global_configuration() {
        let silent = only(faults(|examined| examined.registries[0].failure = "refused".to_owned()));
        assert_eq!(silent.0, Level::Care);
        assert_eq!(
            only(faults(|examined| examined.globalconf_expires_at_ms = NOW_MS + DAY_MS - 1)).0,
            Level::Care
        );
        let ended = only(faults(|examined| examined.globalconf_expires_at_ms = NOW_MS));
        assert_eq!(
            ended,
            (Level::Broken, Fact::GlobalconfExpired { version: 7, at: Timestamp::from_ms(NOW_MS) })
        );
        assert_eq!(
            only(faults(|examined| examined.globalconf_version = 0)),
            (Level::Broken, Fact::NoGlobalconf)
        );
        assert_eq!(only(faults(|examined| examined.registered_addresses.clear())).0, Level::Broken);
    }

    #[test]
    fn certificates_disk_and_grants_are_told_ahead() {
        let soon = only(faults(|examined| examined.certificates[0].expires_at_ms = NOW_MS + 29 * DAY_MS));
        assert_eq!(soon.0, Level::Care);
        assert!(say(&soon.1, Language::Spanish).finding.contains("29 días"));
        assert_eq!(only(faults(|examined| examined.certificates[0].expires_at_ms = NOW_MS)).0, Level::Broken);
        assert_eq!(only(faults(|examined| examined.certificates[0].registered = false)).0, Level::Broken);
        let disk = |free_bytes| Some(ExaminedDisk { free_bytes, needed_bytes: 1 << 30 });
        assert_eq!(only(faults(|examined| examined.disk = disk((4 << 30) - 1))).0, Level::Care);
        assert_eq!(only(faults(|examined| examined.disk = disk((1 << 30) - 1))).0, Level::Broken);
        let grant = only(faults(|examined| examined.grants[0].expires_at_ms = NOW_MS + DAY_MS));
        assert_eq!(grant.0, Level::Care);
    }

    #[test]
    fn the_worst_stands_first() {
        let mut examined = healthy();
        examined.registries[0].failure = "refused".to_owned();
        examined.globalconf_version = 0;
        let levels: Vec<_> = judge(&examined).iter().map(|finding| finding.level).collect();
        assert_eq!(levels[..2], [Level::Broken, Level::Care]);
        assert!(levels[2..].iter().all(|level| *level == Level::Well));
    }
}
