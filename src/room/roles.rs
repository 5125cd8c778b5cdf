//! Who is on a stage, and who leads. A member is an open socket: what it may do goes with the socket, and
//! only a leader whose line broke is waited for. What a leader may change is in `stage`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::ParticipantId;
use super::command::{Refusal, RefusalCode};
use crate::config::{LeaderLeaves, MayLead};

/// So long a leader whose line broke is waited for: phones come back within seconds from a locked screen
/// or from one access point to the next.
pub const LEADER_AWAITED_MS: i64 = 15_000;

/// Names that are told, of leaders and of followers each.
const NAMES_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Leader,
    Follower,
}

/// How the lead of one stage is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    pub may: MayLead,
    pub leaves: LeaderLeaves,
}

/// Who comes.
#[derive(Clone, Debug, Default)]
pub struct Comer {
    pub socket: u64,
    /// None for a facilitator who did not join.
    pub participant: Option<ParticipantId>,
    pub name: Option<String>,
    /// Has proved to be a facilitator.
    pub facilitator: bool,
    pub wants: Option<Role>,
}

#[derive(Clone, Debug)]
struct Member {
    participant: Option<ParticipantId>,
    name: Option<String>,
    facilitator: bool,
    leads: bool,
    /// In the order of coming.
    came: u64,
}

/// The members of one stage.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    members: BTreeMap<u64, Member>,
    came: u64,
    /// Leads, though the line broke, until then (monotonic).
    awaited: Option<(ParticipantId, i64)>,
}

impl Roles {
    /// As a restart finds them: nobody is here, and who led is waited for.
    pub fn remembered(leader: Option<ParticipantId>, now_ms: i64) -> Self {
        Roles {
            awaited: leader.map(|id| (id, now_ms + LEADER_AWAITED_MS)),
            ..Roles::default()
        }
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    pub fn has(&self, socket: u64) -> bool {
        self.members.contains_key(&socket)
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Somebody comes, comes back on another socket, or says more of themselves. Returns the role.
    pub fn enter(&mut self, comer: Comer, lead: Lead) -> Role {
        let known = comer.participant;
        let same = |member: &Member| known.is_some() && member.participant == known;
        let older = self.members.iter().find(|(_, member)| same(member));
        let older = older.map(|(socket, _)| *socket);
        let was = older.and_then(|socket| self.members.remove(&socket));
        let was = was.or_else(|| self.members.remove(&comer.socket));
        let led = was.as_ref().is_some_and(|member| member.leads);
        let awaited = self.awaited.is_some_and(|(id, _)| Some(id) == known);
        if awaited {
            self.awaited = None;
        }
        let nobody = !self.members.values().any(|member| member.leads);
        let leads = match (lead.may, comer.wants) {
            (_, Some(Role::Follower)) => false,
            (MayLead::Facilitator, _) => comer.facilitator,
            (MayLead::First, Some(Role::Leader)) => led || awaited || nobody || comer.facilitator,
            (MayLead::First, None) => {
                led || awaited || (nobody && self.members.is_empty() && self.awaited.is_none())
            }
        };
        self.came += 1;
        let member = Member {
            participant: known,
            name: comer.name.or(was.as_ref().and_then(|was| was.name.clone())),
            facilitator: comer.facilitator,
            leads,
            came: was.map_or(self.came, |was| was.came),
        };
        self.members.insert(comer.socket, member);
        if leads {
            self.awaited = None;
            Role::Leader
        } else {
            if led || awaited {
                self.pass(comer.socket, lead);
            }
            Role::Follower
        }
    }

    /// Takes a role or lays it down; whether that changed anything.
    ///
    /// # Errors
    /// Somebody else leads, or this stage is led by facilitators.
    pub fn set(
        &mut self,
        socket: u64,
        facilitator: bool,
        role: Role,
        lead: Lead,
    ) -> Result<bool, Refusal> {
        let others = self
            .members
            .iter()
            .any(|(other, member)| *other != socket && member.leads);
        let Some(member) = self.members.get_mut(&socket) else {
            return match role {
                Role::Follower => Ok(false),
                Role::Leader => Err(no_lead(lead.may)),
            };
        };
        member.facilitator = facilitator;
        let leads = role == Role::Leader;
        if leads && !member.leads && !facilitator {
            if lead.may == MayLead::Facilitator {
                return Err(no_lead(lead.may));
            }
            if others {
                return Err(Refusal::new(
                    RefusalCode::NotLeader,
                    "Somebody else leads here. Ask again when they have left or laid it down.",
                ));
            }
        }
        let changed = member.leads != leads;
        member.leads = leads;
        if leads {
            self.awaited = None;
        } else if changed {
            self.pass(socket, lead);
        }
        Ok(changed)
    }

    /// Whether this socket may change the stage.
    ///
    /// # Errors
    /// It may not, and why.
    pub fn may_change(
        &mut self,
        socket: u64,
        facilitator: bool,
        lead: Lead,
    ) -> Result<(), Refusal> {
        let Some(member) = self.members.get_mut(&socket) else {
            return Err(no_lead(lead.may));
        };
        // Asked anew each time: a proof runs out, and a new PIN ends it.
        member.facilitator = facilitator;
        if lead.may == MayLead::Facilitator && !facilitator {
            member.leads = false;
            return Err(no_lead(lead.may));
        }
        if !member.leads {
            return Err(Refusal::new(
                RefusalCode::NotLeader,
                "You follow here. Who leads changes the stage; `set_role` asks for the lead.",
            ));
        }
        Ok(())
    }

    /// Somebody goes: by saying so, or because the line broke (`broke`). Whether they were here.
    pub fn go(&mut self, socket: u64, broke: bool, lead: Lead, now_ms: i64) -> bool {
        let Some(member) = self.members.remove(&socket) else {
            return false;
        };
        if !member.leads || lead.may == MayLead::Facilitator {
            return true;
        }
        match member.participant.filter(|_| broke) {
            Some(id) => self.awaited = Some((id, now_ms + LEADER_AWAITED_MS)),
            None => self.pass(socket, lead),
        }
        true
    }

    /// Leaves a facilitator's socket on the stage, without the person who left the session over it.
    pub fn leave(&mut self, socket: u64, lead: Lead, now_ms: i64) -> bool {
        match self.members.get_mut(&socket) {
            Some(member) if member.facilitator => {
                (member.participant, member.name) = (None, None);
                true
            }
            _ => self.go(socket, false, lead, now_ms),
        }
    }

    /// Somebody is to be forgotten. Whether they were here.
    pub fn forget(&mut self, id: ParticipantId, lead: Lead, now_ms: i64) -> bool {
        if self.awaited.is_some_and(|(awaited, _)| awaited == id) {
            self.awaited = None;
            self.pass(0, lead);
        }
        match self.socket_of(id) {
            Some(socket) => self.leave(socket, lead, now_ms),
            None => false,
        }
    }

    pub fn participant(&self, socket: u64) -> Option<ParticipantId> {
        self.members.get(&socket)?.participant
    }

    pub fn socket_of(&self, id: ParticipantId) -> Option<u64> {
        let theirs = |(_, member): &(&u64, &Member)| member.participant == Some(id);
        self.members.iter().find(theirs).map(|(socket, _)| *socket)
    }

    /// Another rule is in force.
    pub fn obey(&mut self, lead: Lead) {
        if lead.may == MayLead::Facilitator {
            self.awaited = None;
            for member in self.members.values_mut() {
                member.leads &= member.facilitator;
            }
        }
    }

    /// When somebody has been waited for long enough.
    pub fn due_ms(&self) -> Option<i64> {
        self.awaited.map(|(_, until_ms)| until_ms)
    }

    /// What time alone brings; whether that was anything.
    pub fn tick(&mut self, lead: Lead, now_ms: i64) -> bool {
        if self.awaited.is_none_or(|(_, until_ms)| until_ms > now_ms) {
            return false;
        }
        self.awaited = None;
        self.pass(0, lead);
        true
    }

    /// Who leads, or is waited for, where one leads.
    pub fn leader(&self) -> Option<ParticipantId> {
        let leads = self
            .members
            .values()
            .find(|member| member.leads && !member.facilitator);
        leads
            .and_then(|member| member.participant)
            .or(self.awaited.map(|(id, _)| id))
    }

    /// Leaders and followers.
    pub fn counts(&self) -> (u32, u32) {
        let all = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        let leaders = self.members.values().filter(|member| member.leads).count();
        let leaders = u32::try_from(leaders).unwrap_or(u32::MAX);
        (leaders, all - leaders)
    }

    /// Names of leaders or of followers, in the order of coming; of very many the first.
    pub fn names(&self, role: Role) -> Vec<String> {
        let leads = role == Role::Leader;
        let named = self.members.values().filter(|member| member.leads == leads);
        let mut named: Vec<_> = named
            .filter_map(|member| Some((member.came, member.name.as_deref()?)))
            .collect();
        named.sort_unstable();
        let names = named.into_iter().take(NAMES_MAX);
        names.map(|(_, name)| name.to_owned()).collect()
    }

    /// The lead has become free; `last` had it.
    fn pass(&mut self, last: u64, lead: Lead) {
        let passes = lead.may == MayLead::First && lead.leaves == LeaderLeaves::PassOn;
        if !passes || self.members.values().any(|member| member.leads) {
            return;
        }
        let others = self
            .members
            .iter_mut()
            .filter(|(socket, member)| **socket != last && member.participant.is_some());
        if let Some((_, next)) = others.min_by_key(|(_, member)| member.came) {
            next.leads = true;
        }
    }
}

fn no_lead(may: MayLead) -> Refusal {
    let message = match may {
        MayLead::Facilitator => {
            "Only a facilitator leads here. Prove to be one with the PIN: `auth`."
        }
        MayLead::First => "Only who has joined this session can lead it: `join_session`.",
    };
    Refusal::new(RefusalCode::NotLeader, message)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const FIRST: Lead = Lead {
        may: MayLead::First,
        leaves: LeaderLeaves::PassOn,
    };
    const NOBODY: Lead = Lead {
        may: MayLead::First,
        leaves: LeaderLeaves::Nobody,
    };
    const FACILITATOR: Lead = Lead {
        may: MayLead::Facilitator,
        leaves: LeaderLeaves::PassOn,
    };

    fn id(n: u128) -> ParticipantId {
        ParticipantId(Uuid::from_u128(n))
    }

    /// Person `n` on socket `n`.
    fn comer(n: u64) -> Comer {
        Comer {
            socket: n,
            participant: Some(id(n.into())),
            name: Some(format!("n{n}")),
            ..Comer::default()
        }
    }

    fn wanting(n: u64, role: Role) -> Comer {
        Comer {
            wants: Some(role),
            ..comer(n)
        }
    }

    /// Persons 1 to 3 in this order: 1 leads.
    fn three(lead: Lead) -> Roles {
        let mut roles = Roles::default();
        let given: Vec<_> = (1..=3).map(|n| roles.enter(comer(n), lead)).collect();
        assert_eq!(given, [Role::Leader, Role::Follower, Role::Follower]);
        roles
    }

    fn leads(roles: &Roles) -> Vec<String> {
        roles.names(Role::Leader)
    }

    #[test]
    fn who_comes_first_leads_and_who_wishes_to_follow_does_not() {
        let roles = three(FIRST);
        assert_eq!(roles.counts(), (1, 2));
        assert_eq!(roles.names(Role::Follower), ["n2", "n3"]);
        let mut roles = Roles::default();
        assert_eq!(
            roles.enter(wanting(1, Role::Follower), FIRST),
            Role::Follower
        );
        assert_eq!(roles.enter(comer(2), FIRST), Role::Follower, "nobody asked");
        assert_eq!(roles.enter(wanting(3, Role::Leader), FIRST), Role::Leader);
        assert_eq!(roles.enter(wanting(4, Role::Leader), FIRST), Role::Follower);
    }

    #[test]
    fn one_leads_at_a_time_and_who_lays_it_down_gives_it_to_the_next() {
        let mut roles = three(FIRST);
        let no = roles
            .set(2, false, Role::Leader, FIRST)
            .expect_err("1 leads");
        assert_eq!(no.code, RefusalCode::NotLeader);
        assert_eq!(roles.set(1, false, Role::Leader, FIRST), Ok(false));
        assert_eq!(roles.set(1, false, Role::Follower, FIRST), Ok(true));
        assert_eq!(leads(&roles), ["n2"]);
        assert!(roles.may_change(2, false, FIRST).is_ok());
        assert!(roles.may_change(1, false, FIRST).is_err());
        assert!(roles.may_change(9, false, FIRST).is_err());
    }

    #[test]
    fn a_leader_who_leaves_passes_the_lead_on_or_leaves_it_free() {
        let mut roles = three(FIRST);
        roles.leave(1, FIRST, 0);
        assert_eq!(leads(&roles), ["n2"]);
        let mut roles = three(NOBODY);
        roles.leave(1, NOBODY, 0);
        assert!(leads(&roles).is_empty());
        assert_eq!(roles.set(3, false, Role::Leader, NOBODY), Ok(true));
    }

    #[test]
    fn a_leader_whose_line_broke_is_waited_for() {
        let mut roles = three(FIRST);
        roles.go(1, true, FIRST, 1_000);
        assert!(leads(&roles).is_empty());
        assert_eq!(roles.leader(), Some(id(1)));
        assert_eq!(roles.enter(comer(4), FIRST), Role::Follower);
        assert!(!roles.tick(FIRST, 15_999));
        // Back on another socket.
        let back = Comer {
            socket: 11,
            ..comer(1)
        };
        assert_eq!(roles.enter(back, FIRST), Role::Leader);
        assert_eq!(roles.due_ms(), None);

        roles.go(11, true, FIRST, 20_000);
        assert_eq!(roles.due_ms(), Some(35_000));
        assert!(roles.tick(FIRST, 35_000));
        assert_eq!(leads(&roles), ["n2"]);
        let late = roles.enter(comer(1), FIRST);
        assert_eq!(late, Role::Follower, "too late");
    }

    #[test]
    fn nobody_needs_to_wait_for_a_leader_who_is_away() {
        let mut roles = three(FIRST);
        roles.go(1, true, FIRST, 0);
        assert_eq!(roles.set(3, false, Role::Leader, FIRST), Ok(true));
        assert_eq!(roles.enter(comer(1), FIRST), Role::Follower);
        assert_eq!(leads(&roles), ["n3"]);
    }

    #[test]
    fn a_newer_socket_of_the_same_person_takes_over() {
        let mut roles = three(FIRST);
        let newer = Comer {
            socket: 10,
            name: None,
            ..comer(1)
        };
        assert_eq!(roles.enter(newer, FIRST), Role::Leader);
        assert_eq!(
            (roles.counts(), leads(&roles)),
            ((1, 2), vec!["n1".to_owned()])
        );
        assert!(
            !roles.go(1, true, FIRST, 0),
            "the older one is no member any more"
        );
    }

    #[test]
    fn where_facilitators_lead_nobody_else_does_and_the_lead_is_never_passed_on() {
        let mut roles = Roles::default();
        assert_eq!(
            roles.enter(wanting(1, Role::Leader), FACILITATOR),
            Role::Follower
        );
        assert!(roles.set(1, false, Role::Leader, FACILITATOR).is_err());
        let prover = |socket| Comer {
            socket,
            facilitator: true,
            ..Comer::default()
        };
        assert_eq!(roles.enter(prover(7), FACILITATOR), Role::Leader);
        assert_eq!(roles.enter(prover(8), FACILITATOR), Role::Leader);
        assert_eq!(roles.counts(), (2, 1));
        assert!(roles.may_change(7, true, FACILITATOR).is_ok());
        let out = roles.may_change(7, false, FACILITATOR);
        assert!(out.is_err(), "the proof has run out");
        assert_eq!(roles.counts(), (1, 2));
        roles.go(8, true, FACILITATOR, 0);
        assert_eq!((roles.counts(), roles.due_ms()), ((0, 2), None));
    }

    #[test]
    fn a_facilitator_leads_where_somebody_else_does() {
        let mut roles = three(FIRST);
        assert_eq!(roles.set(3, true, Role::Leader, FIRST), Ok(true));
        assert_eq!(leads(&roles), ["n1", "n3"]);
        roles.obey(FACILITATOR);
        assert_eq!(leads(&roles), ["n3"], "another rule came into force");
    }

    #[test]
    fn who_is_forgotten_leads_no_more() {
        let mut roles = three(FIRST);
        assert!(roles.forget(id(1), FIRST, 0));
        assert_eq!(leads(&roles), ["n2"]);
        roles.go(2, true, FIRST, 0);
        roles.forget(id(2), FIRST, 0);
        assert_eq!(
            (roles.leader(), leads(&roles)),
            (Some(id(3)), vec!["n3".to_owned()])
        );
    }
}
