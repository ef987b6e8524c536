//! Four eyes, role by role: nothing here waits, so thousands of sequences are tried.

use peabiru_certs::SecretKey;
use peabiru_certs::key::Algorithm;
use peabiru_certs::pilot_ca::PilotCa;
use peabiru_certs::profile::Subject;
use peabiru_proto::id::NodeId;
use peabiru_proto::origin::Epoch;
use proptest::prelude::*;
use prost::Message as _;

use super::limits::PROPOSAL_VALIDITY;
use super::*;

const NOW: Timestamp = Timestamp::from_ms(1_800_000_000_000);

/// Operators by a letter: the first byte of their certificate's digest.
const REGISTRATION: u8 = b'r';
const SECURITY: u8 = b's';
/// The same person as `SECURITY`, with a second certificate and, by mistake, more roles.
const SECURITY_AGAIN: u8 = b't';
const AUDITOR: u8 = b'a';
/// A registration officer and security officer of MEC.
const OF_MEC: u8 = b'm';
const NOBODY: u8 = b'n';

struct Registry {
    state: State,
    said: Vec<wire::RegistryEvent>,
}

impl Registry {
    /// One authority, five operators.
    fn new(ca: &PilotCa) -> Self {
        let mut registry = Self { state: blank(), said: Vec::new() };
        let command = Command::AddAuthority {
            certificate: ca.certificate().clone(),
            purposes: vec![KeyPurpose::Authentication, KeyPurpose::Sealing, KeyPurpose::Operator],
            name: "pilot".to_owned(),
        };
        let trusted = registry.state.decide(command, NOW).unwrap();
        registry.take(
            trusted
                .into_iter()
                .map(|event| wire::RegistryEvent { event: Some(event), ..wire::RegistryEvent::default() }),
        );
        use Role::{Auditor, RegistrationOfficer, SecurityOfficer, ServiceAdministrator};
        let operators = [
            operator(REGISTRATION, "Ana", &[RegistrationOfficer, ServiceAdministrator]),
            operator(SECURITY, "Luis", &[SecurityOfficer]),
            operator(SECURITY_AGAIN, "Luis", &[RegistrationOfficer, SecurityOfficer, ServiceAdministrator]),
            operator(AUDITOR, "Rosa", &[Auditor]),
            Operator {
                member: Some(mec()),
                ..operator(OF_MEC, "Juana", &[RegistrationOfficer, SecurityOfficer])
            },
        ];
        let listed = registry.state.list_operators(&operators);
        registry.take(listed);
        assert_eq!(registry.state.list_operators(&operators), None, "they are listed once");
        registry
    }

    fn take(&mut self, events: impl IntoIterator<Item = wire::RegistryEvent>) {
        for event in events {
            self.state.apply(event.clone()).unwrap();
            self.said.push(event);
        }
    }

    fn ask_at(&mut self, by: u8, ask: Ask, now: Timestamp) -> Result<usize, Kind> {
        let events = self.state.ask(&certificate(by), ask, now).map_err(|refusal| refusal.kind())?;
        let count = events.len();
        self.take(events);
        Ok(count)
    }

    fn ask(&mut self, by: u8, command: Command) -> Result<usize, Kind> {
        self.ask_at(by, Ask::Change(command), NOW)
    }

    fn approve(&mut self, by: u8, number: u64) -> Result<usize, Kind> {
        self.approve_at(by, number, NOW)
    }

    /// As an officer does who has seen what there is.
    fn approve_at(&mut self, by: u8, number: u64, now: Timestamp) -> Result<usize, Kind> {
        let listed = self.state.proposals(now).find(|proposal| proposal.number == number);
        let seen = change_digest(&listed.and_then(|proposal| proposal.change).unwrap_or_default());
        self.ask_at(by, Ask::Approve { number, seen }, now)
    }

    fn both(&mut self, command: Command) {
        self.ask(REGISTRATION, command).unwrap();
        let number = self.state.proposals(NOW).last().unwrap().number;
        self.approve(SECURITY, number).unwrap();
    }

    /// What four eyes watch over: who is on the road, with which keys, and whom everyone trusts.
    fn keys(&self) -> (Vec<wire::MemberPart>, wire::TrustPart) {
        let bare = |part: wire::MemberPart| wire::MemberPart {
            subsystems: Vec::new(),
            contracts: Vec::new(),
            nodes: part
                .nodes
                .into_iter()
                .map(|node| wire::NodeRecord { addresses: Vec::new(), ..node })
                .collect(),
            ..part
        };
        (self.state.member_parts().map(bare).collect(), self.state.trust_part())
    }
}

fn blank() -> State {
    State::new("PY".parse().unwrap(), "py.peabiru.example".parse().unwrap())
}

fn operator(letter: u8, name: &str, roles: &[Role]) -> Operator {
    Operator {
        name: name.to_owned(),
        certificate_sha256: certificate(letter),
        roles: roles.iter().copied().collect(),
        member: None,
    }
}

fn certificate(letter: u8) -> Digest {
    Digest::of(&[letter])
}

fn mec() -> MemberId {
    "PY/GOV/MEC".parse().unwrap()
}

fn node() -> NodeId {
    "PY/GOV/MEC/node1".parse().unwrap()
}

fn add_member(code: &str) -> Command {
    Command::AddMember { member: format!("PY/GOV/{code}").parse().unwrap(), name: code.to_owned() }
}

fn origin(epoch: u32) -> Origin {
    let domain = "py.peabiru.example".parse().unwrap();
    Origin::of_ledger(&domain, &mec(), &node(), Epoch::new(epoch).unwrap())
}

fn node_certificate(ca: &PilotCa) -> Bytes {
    let subject = Subject::Node { id: node(), hosts: vec!["127.0.0.1".to_owned()] };
    ca.issue_for_key(&SecretKey::generate(Algorithm::P256), subject, NOW).unwrap()
}

fn sealing_certificate(ca: &PilotCa, key: &SecretKey, epoch: u32) -> Bytes {
    let subject = Subject::Sealing { origin: origin(epoch), member: mec() };
    ca.issue_for_key(key, subject, NOW).unwrap()
}

fn add_node(certificate: Bytes) -> Command {
    Command::AddNode { node: node(), addresses: vec![Address::DialOut], certificates: vec![certificate] }
}

fn add_ledger(epoch: u32, sealing_certificate: Bytes) -> Command {
    Command::AddLedger {
        member: mec(),
        node: node(),
        epoch: Epoch::new(epoch).unwrap(),
        origin: origin(epoch),
        sealing_certificate,
    }
}

fn pilot_ca() -> PilotCa {
    PilotCa::create(&"PY".parse().unwrap(), NOW).unwrap()
}

#[test]
fn a_member_is_enrolled_by_two_officers_and_the_ledger_says_who() {
    let ca = pilot_ca();
    let mut registry = Registry::new(&ca);
    let before = registry.keys();
    assert_eq!(registry.ask(REGISTRATION, add_member("MEC")), Ok(1));
    assert_eq!(registry.keys(), before, "a proposal changes nothing");
    let open = registry.state.proposals(NOW).next().unwrap();
    assert_eq!(
        (open.number, open.proposed_by.as_str(), open.needs()),
        (1, "Ana", wire::OfficerRole::Security)
    );
    assert_eq!(registry.approve(SECURITY, 1), Ok(2));
    assert_eq!(registry.state.member_parts().map(|part| part.member).collect::<Vec<_>>(), ["PY/GOV/MEC"]);
    let [approved, added] = registry.said.last_chunk().unwrap();
    assert!(matches!(approved.event, Some(Event::ProposalApproved(_))));
    assert_eq!(approved.operator_certificate_sha256, certificate(SECURITY).as_bytes().as_slice());
    assert!(matches!(added.event, Some(Event::MemberAdded(_))));
    assert_eq!(added.operator_certificate_sha256, certificate(REGISTRATION).as_bytes().as_slice());
    let closed = registry.state.proposals(NOW).next().unwrap();
    assert_eq!((closed.state(), closed.closed_by.as_str()), (wire::ProposalState::Approved, "Luis"));
    // The ledger's bytes give the same state.
    let mut replayed = blank();
    for event in &registry.said {
        replayed.apply(wire::RegistryEvent::decode(event.encode_to_vec().as_slice()).unwrap()).unwrap();
    }
    assert_eq!(replayed, registry.state);
}

#[test]
fn who_may_not_approve_is_told_why() {
    let mut registry = Registry::new(&pilot_ca());
    registry.ask(SECURITY_AGAIN, add_member("MEC")).unwrap();
    assert_eq!(registry.approve(SECURITY_AGAIN, 1), Err(Kind::SamePerson));
    assert_eq!(registry.approve(SECURITY, 1), Err(Kind::SamePerson), "another certificate, the same person");
    assert_eq!(registry.approve(REGISTRATION, 1), Err(Kind::Role), "it needs a security officer");
    assert_eq!(registry.approve(AUDITOR, 1), Err(Kind::Role));
    assert_eq!(registry.approve(OF_MEC, 1), Err(Kind::OtherMember), "the instance approves");
    assert_eq!(registry.approve(NOBODY, 1), Err(Kind::UnknownOperator));
    assert_eq!(registry.approve(SECURITY, 2), Err(Kind::UnknownProposal));
    assert_eq!(registry.ask(AUDITOR, add_member("INE")), Err(Kind::Role));
    assert_eq!(registry.ask(SECURITY, add_member("INE")), Err(Kind::Role));
    assert_eq!(registry.ask(NOBODY, add_member("INE")), Err(Kind::UnknownOperator));
    assert_eq!(registry.ask(REGISTRATION, add_member("MEC")), Err(Kind::Duplicate), "proposal 1 asks it");
    assert_eq!(registry.state.member_parts().count(), 0);
}

#[test]
fn a_new_name_makes_no_second_person() {
    use Role::{RegistrationOfficer, SecurityOfficer};
    let mut registry = Registry::new(&pilot_ca());
    registry.ask(REGISTRATION, add_member("MEC")).unwrap();
    for (proposer, approver) in [("Luis", "Luis"), ("Eva", "ANA"), ("luis", "Luis")] {
        let listed = registry.state.list_operators(&[
            operator(REGISTRATION, proposer, &[RegistrationOfficer]),
            operator(SECURITY, approver, &[SecurityOfficer]),
        ]);
        registry.take(listed);
        assert_eq!(registry.approve(SECURITY, 1), Err(Kind::SamePerson), "{proposer} and {approver}");
    }
}

#[test]
fn who_must_approve_is_decided_by_the_proposers_role_of_now() {
    use Role::SecurityOfficer;
    let ca = pilot_ca();
    let mut registry = Registry::new(&ca);
    registry.both(add_member("MEC"));
    let certificate = node_certificate(&ca);
    let removed = Digest::of(&certificate);
    registry.both(add_node(certificate));
    registry.ask(REGISTRATION, Command::RemoveNodeCertificate { node: node(), sha256: removed }).unwrap();
    let listed = registry.state.list_operators(&[
        operator(REGISTRATION, "Ana", &[SecurityOfficer]),
        operator(SECURITY, "Luis", &[SecurityOfficer]),
    ]);
    registry.take(listed);
    assert_eq!(registry.approve(SECURITY, 3), Err(Kind::ProposalOvertaken), "two security officers");
}

#[test]
fn what_is_approved_is_what_was_seen() {
    let mut registry = Registry::new(&pilot_ca());
    registry.ask(REGISTRATION, add_member("MEC")).unwrap();
    registry.ask(REGISTRATION, add_member("INE")).unwrap();
    let other = registry.state.proposals(NOW).nth(1).and_then(|proposal| proposal.change).unwrap();
    let seen = change_digest(&other);
    assert_eq!(registry.ask_at(SECURITY, Ask::Approve { number: 1, seen }, NOW), Err(Kind::Invalid));
    assert_eq!(registry.ask_at(SECURITY, Ask::Approve { number: 2, seen }, NOW), Ok(2));
    let name = "Ministerio\u{202e}".to_owned();
    let unseen = Command::AddMember { member: "PY/GOV/MSP".parse().unwrap(), name };
    assert_eq!(registry.ask(REGISTRATION, unseen), Err(Kind::Invalid));
}

#[test]
fn a_proposal_ends_once() {
    let mut registry = Registry::new(&pilot_ca());
    registry.both(add_member("MEC"));
    assert_eq!(registry.approve(SECURITY, 1), Err(Kind::ProposalClosed));
    registry.ask(REGISTRATION, add_member("INE")).unwrap();
    assert_eq!(registry.ask_at(OF_MEC, Ask::Reject(2), NOW), Err(Kind::OtherMember));
    assert_eq!(registry.ask_at(REGISTRATION, Ask::Reject(2), NOW), Ok(1), "who proposed takes it back");
    assert_eq!(registry.approve(SECURITY, 2), Err(Kind::ProposalClosed));
    registry.ask(REGISTRATION, add_member("INE")).unwrap();
    let late = NOW.plus(PROPOSAL_VALIDITY);
    assert_eq!(registry.approve_at(SECURITY, 3, late), Err(Kind::ProposalExpired));
    // The next one clears it away; it is still known to have expired.
    registry.ask_at(REGISTRATION, Ask::Change(add_member("INE")), late).unwrap();
    assert_eq!(registry.approve_at(SECURITY, 3, late), Err(Kind::ProposalExpired));
    assert_eq!(registry.approve_at(SECURITY, 4, late), Ok(2));
}

#[test]
fn a_proposal_that_no_longer_follows_was_overtaken() {
    let ca = pilot_ca();
    let mut registry = Registry::new(&ca);
    registry.both(add_member("MEC"));
    let (first, second) = (node_certificate(&ca), node_certificate(&ca));
    registry.ask(REGISTRATION, add_node(first)).unwrap();
    registry.ask(REGISTRATION, add_node(second)).unwrap();
    registry.approve(SECURITY, 2).unwrap();
    assert_eq!(registry.approve(SECURITY, 3), Err(Kind::ProposalOvertaken), "the node is there");
    // Nor does it follow when who proposed it is an officer no more.
    registry.ask(REGISTRATION, add_member("INE")).unwrap();
    let security = operator(SECURITY, "Luis", &[Role::SecurityOfficer]);
    let listed = registry.state.list_operators(&[security]);
    registry.take(listed);
    assert_eq!(registry.approve(SECURITY, 4), Err(Kind::ProposalOvertaken));
}

#[test]
fn an_officer_of_a_member_proposes_for_that_member_alone() {
    let ca = pilot_ca();
    let mut registry = Registry::new(&ca);
    assert_eq!(registry.ask(OF_MEC, add_member("INE")), Err(Kind::OtherMember));
    let authority = Command::WithdrawAuthority { sha256: Digest::of(ca.certificate()) };
    assert_eq!(registry.ask(OF_MEC, authority), Err(Kind::OtherMember));
    registry.both(add_member("MEC"));
    let certificate = node_certificate(&ca);
    assert_eq!(registry.ask(OF_MEC, add_node(certificate)), Ok(1));
    assert_eq!(registry.approve(OF_MEC, 2), Err(Kind::SamePerson));
    assert_eq!(registry.approve(SECURITY, 2), Ok(2));
}

#[test]
fn a_withdrawn_sealing_key_never_comes_back() {
    let ca = pilot_ca();
    let mut registry = Registry::new(&ca);
    registry.both(add_member("MEC"));
    registry.both(add_node(node_certificate(&ca)));
    let key = SecretKey::generate(Algorithm::Ed25519);
    registry.both(add_ledger(1, sealing_certificate(&ca, &key, 1)));
    registry.both(Command::WithdrawLedger { origin: origin(1) });
    assert_eq!(registry.state.member_parts().next().unwrap().ledgers, []);
    let again = Command::WithdrawLedger { origin: origin(1) };
    assert_eq!(registry.ask(REGISTRATION, again), Ok(0), "it is so already");
    let unknown = Command::WithdrawLedger { origin: origin(7) };
    assert_eq!(registry.ask(REGISTRATION, unknown), Err(Kind::UnknownLedger));
    let same = add_ledger(1, sealing_certificate(&ca, &key, 1));
    assert_eq!(registry.ask(REGISTRATION, same), Err(Kind::Duplicate));
    let same_key = add_ledger(2, sealing_certificate(&ca, &key, 2));
    assert_eq!(registry.ask(REGISTRATION, same_key), Err(Kind::KeyReused));
    let fresh = SecretKey::generate(Algorithm::Ed25519);
    registry.both(add_ledger(2, sealing_certificate(&ca, &fresh, 2)));
    assert_eq!(registry.state.member_parts().next().unwrap().ledgers.len(), 1);
}

#[test]
fn a_ledger_goes_over_to_a_second_key_and_the_first_never_comes_back() {
    let ca = pilot_ca();
    let mut registry = Registry::new(&ca);
    registry.both(add_member("MEC"));
    registry.both(add_node(node_certificate(&ca)));
    let keys = [(); 3].map(|()| SecretKey::generate(Algorithm::Ed25519));
    let [first, second, third] = keys.each_ref().map(|key| sealing_certificate(&ca, key, 1));
    registry.both(add_ledger(1, first.clone()));
    let add = |certificate: &Bytes| Command::AddLedgerCertificate {
        origin: origin(1),
        certificate: certificate.clone(),
    };
    let remove = |certificate: &Bytes| Command::RemoveLedgerCertificate {
        origin: origin(1),
        sha256: Digest::of(certificate),
    };
    assert_eq!(registry.ask(REGISTRATION, add(&first)), Err(Kind::Duplicate));
    assert_eq!(registry.ask(REGISTRATION, remove(&first)), Err(Kind::Invalid), "the only one");
    let elsewhere = sealing_certificate(&ca, &keys[1], 2);
    assert_eq!(
        registry.ask(REGISTRATION, add(&elsewhere)),
        Err(Kind::Certificate),
        "it names another ledger"
    );
    registry.both(add(&second));
    assert_eq!(registry.ask(REGISTRATION, add(&third)), Err(Kind::Limit));
    assert_eq!(registry.ask(REGISTRATION, remove(&third)), Err(Kind::UnknownCertificate));
    registry.both(remove(&first));
    let record = registry.state.member_parts().next().unwrap().ledgers.remove(0);
    assert_eq!((record.sealing_certificate, record.next_sealing_certificate), (second.clone(), Bytes::new()));
    assert_eq!(registry.ask(REGISTRATION, add(&first)), Err(Kind::KeyReused));
    // The same key for longer.
    let renewed = sealing_certificate(&ca, &keys[1], 1);
    assert_ne!(renewed, second);
    registry.both(add(&renewed));
    registry.both(remove(&renewed));
    let record = registry.state.member_parts().next().unwrap().ledgers.remove(0);
    assert_eq!(record.sealing_certificate, second);
}

#[test]
fn an_authority_is_withdrawn_unless_it_is_the_last() {
    let (ca, other) = (pilot_ca(), pilot_ca());
    let mut registry = Registry::new(&ca);
    let withdraw = Command::WithdrawAuthority { sha256: Digest::of(ca.certificate()) };
    assert_eq!(registry.ask(SECURITY, withdraw.clone()), Err(Kind::Authority));
    let trust = Command::AddAuthority {
        certificate: other.certificate().clone(),
        purposes: vec![KeyPurpose::Authentication, KeyPurpose::Sealing, KeyPurpose::Operator],
        name: "next".to_owned(),
    };
    assert_eq!(registry.ask(REGISTRATION, trust.clone()), Err(Kind::Role));
    registry.ask(SECURITY, trust).unwrap();
    registry.approve(REGISTRATION, 1).unwrap();
    registry.ask(SECURITY, withdraw).unwrap();
    registry.approve(REGISTRATION, 2).unwrap();
    assert_eq!(registry.state.trusted(KeyPurpose::Operator), [other.certificate().clone()]);
}

/// What one person may try, in any order.
#[derive(Debug, Clone, Copy)]
enum Try {
    Change(usize),
    Approve(u64),
    Reject(u64),
    Wait,
}

fn tries() -> impl Strategy<Value = Vec<(bool, Try)>> {
    let one = prop_oneof![
        4 => (0..11_usize).prop_map(Try::Change),
        4 => (1..12_u64).prop_map(Try::Approve),
        1 => (1..12_u64).prop_map(Try::Reject),
        1 => Just(Try::Wait),
    ];
    proptest::collection::vec((any::<bool>(), one), 1..40)
}

proptest! {
    #[test]
    fn nothing_that_one_person_does_changes_keys(tries in tries()) {
        let ca = pilot_ca();
        let mut registry = Registry::new(&ca);
        registry.both(add_member("MEC"));
        let first = node_certificate(&ca);
        registry.both(add_node(first.clone()));
        let sealing = sealing_certificate(&ca, &SecretKey::generate(Algorithm::Ed25519), 1);
        registry.both(add_ledger(1, sealing.clone()));
        let another = sealing_certificate(&ca, &SecretKey::generate(Algorithm::Ed25519), 1);
        registry.both(Command::AddLedgerCertificate { origin: origin(1), certificate: another.clone() });
        let another = sealing_certificate(&ca, &SecretKey::generate(Algorithm::Ed25519), 1);
        let next = sealing_certificate(&ca, &SecretKey::generate(Algorithm::Ed25519), 2);
        let other = pilot_ca();
        let trust = |ca: &PilotCa| Command::AddAuthority {
            certificate: ca.certificate().clone(),
            purposes: vec![KeyPurpose::Sealing],
            name: "other".to_owned(),
        };
        let commands = [
            add_member("INE"),
            add_node(node_certificate(&ca)),
            Command::AddNodeCertificate { node: node(), certificate: node_certificate(&ca) },
            Command::RemoveNodeCertificate { node: node(), sha256: Digest::of(&first) },
            add_ledger(2, next),
            Command::WithdrawLedger { origin: origin(1) },
            Command::AddLedgerCertificate { origin: origin(1), certificate: another.clone() },
            Command::RemoveLedgerCertificate { origin: origin(1), sha256: Digest::of(&sealing) },
            trust(&other),
            Command::WithdrawAuthority { sha256: Digest::of(ca.certificate()) },
            Command::AddSubsystem { subsystem: "PY/GOV/MEC/app".parse().unwrap(), name: "App".to_owned() },
        ];
        let before = registry.keys();
        let mut now = NOW;
        for (first_certificate, tried) in tries {
            let by = if first_certificate { SECURITY } else { SECURITY_AGAIN };
            // What is refused is refused: only what is done counts here.
            let _ = match tried {
                Try::Change(index) => registry.ask_at(by, Ask::Change(commands[index].clone()), now),
                Try::Approve(number) => registry.approve_at(by, number, now),
                Try::Reject(number) => registry.ask_at(by, Ask::Reject(number), now),
                Try::Wait => { now = now.plus(PROPOSAL_VALIDITY / 2); Ok(0) }
            };
            prop_assert_eq!(registry.keys(), before.clone());
        }
    }
}
