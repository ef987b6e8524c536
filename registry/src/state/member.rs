//! Members and their subsystems.

use std::collections::btree_map::Entry;

use peabiru_proto::id::{MemberId, SubsystemId};
use peabiru_proto::wire;

use super::ledger::Standing;
use super::limits::{MEMBERS_MAX, SUBSYSTEMS_MAX};
use super::{Event, Kind, Member, Refusal, State, check_name};

impl State {
    pub(super) fn add_member(&self, member: &MemberId, name: String) -> Result<Vec<Event>, Refusal> {
        self.check_instance(member, &member.instance())?;
        check_name(&name)?;
        if self.members.contains_key(member) {
            return Err(Kind::Duplicate.because(format!("{member} is registered already")));
        }
        if self.members.len() >= MEMBERS_MAX {
            return Err(Kind::Limit.because(format!("an instance has at most {MEMBERS_MAX} members")));
        }
        Ok(vec![Event::MemberAdded(wire::MemberAdded { member: member.to_string(), name })])
    }

    pub(super) fn add_subsystem(&self, subsystem: &SubsystemId, name: String) -> Result<Vec<Event>, Refusal> {
        let member = self.known_member(&subsystem.member())?;
        check_name(&name)?;
        if member.subsystems.contains_key(subsystem) {
            return Err(Kind::Duplicate.because(format!("{subsystem} is registered already")));
        }
        if member.subsystems.len() >= SUBSYSTEMS_MAX {
            return Err(Kind::Limit.because(format!("a member has at most {SUBSYSTEMS_MAX} subsystems")));
        }
        let record = wire::SubsystemRecord { id: subsystem.to_string(), name };
        Ok(vec![Event::SubsystemAdded(wire::SubsystemAdded { subsystem: Some(record) })])
    }

    pub(super) fn member_added(&mut self, event: wire::MemberAdded) -> Result<(), String> {
        let id: MemberId = event.member.parse().map_err(|error| format!("{error}"))?;
        match self.members.entry(id) {
            Entry::Occupied(twice) => Err(format!("{} was added twice", twice.key())),
            Entry::Vacant(place) => {
                place.insert(Member { name: event.name, ..Member::default() });
                Ok(())
            }
        }
    }

    pub(super) fn subsystem_added(&mut self, event: wire::SubsystemAdded) -> Result<(), String> {
        let record = event.subsystem.ok_or("the event names no subsystem")?;
        let id: SubsystemId = record.id.parse().map_err(|error| format!("{error}"))?;
        let member = self.stored_member(&id.member())?;
        match member.subsystems.insert(id, record.name) {
            None => Ok(()),
            Some(_) => Err(format!("{} was added twice", record.id)),
        }
    }

    /// The member's part of the global configuration: sorted, so that the same state always gives the same bytes.
    fn part(id: &MemberId, member: &Member) -> wire::MemberPart {
        let subsystem = |(id, name): (&SubsystemId, &String)| wire::SubsystemRecord {
            id: id.to_string(),
            name: name.clone(),
        };
        wire::MemberPart {
            member: id.to_string(),
            name: member.name.clone(),
            subsystems: member.subsystems.iter().map(subsystem).collect(),
            nodes: member.nodes.iter().map(|(id, node)| node.record(id)).collect(),
            ledgers: member
                .ledgers
                .values()
                .filter(|ledger| ledger.standing == Standing::Valid)
                .map(|ledger| ledger.record.clone())
                .collect(),
            contracts: member
                .contracts
                .iter()
                .map(|((service, version), digest)| wire::ContractRecord {
                    service: service.to_string(),
                    version: *version,
                    digest: digest.as_bytes().to_vec().into(),
                })
                .collect(),
        }
    }

    /// All members, sorted.
    pub fn member_parts(&self) -> impl Iterator<Item = wire::MemberPart> {
        self.members.iter().map(|(id, member)| Self::part(id, member))
    }

    pub(super) fn known_member(&self, id: &MemberId) -> Result<&Member, Refusal> {
        self.check_instance(id, &id.instance())?;
        let unknown = || Kind::UnknownMember.because(format!("{id} is no registered member: add it first"));
        self.members.get(id).ok_or_else(unknown)
    }

    pub(super) fn stored_member(&mut self, id: &MemberId) -> Result<&mut Member, String> {
        self.members.get_mut(id).ok_or_else(|| format!("{id} was not added before"))
    }
}
