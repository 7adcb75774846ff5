//! Policies, agents and teams as the hot path knows them: compiled, at most a second old.

use std::collections::HashMap;
use std::sync::Arc;

use ::store::resource::Stored;
use ::store::{Error, Resources, View};
use kernel::TenantId;

use crate::domain::hours::Calendar;
use crate::domain::plan::Member;
use crate::domain::policy::{self, Compiled};
use crate::domain::{Agent, Policy, Team};

/// Policies by name; `default` is always there.
pub(crate) type Policies = HashMap<String, Compiled>;
type Agents = Vec<Stored<Agent>>;
type Teams = HashMap<String, Team>;

/// Views of all kinds; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    policies: View<Policy, Policies>,
    agents: View<Agent, Agents>,
    teams: View<Team, Teams>,
}

impl Configuration {
    pub(crate) fn new(resources: &Resources) -> Self {
        let by_name = |_, stored: Vec<Stored<Team>>| {
            stored.into_iter().map(|team| (team.name, team.body)).collect()
        };
        Self {
            policies: View::new(resources.clone(), |_, stored| compile(stored)),
            agents: View::of(resources.clone()),
            teams: View::new(resources.clone(), by_name),
        }
    }

    /// The policies of a tenant.
    pub(crate) async fn policies(&self, tenant: TenantId) -> Result<Arc<Policies>, Error> {
        self.policies.get(tenant).await
    }

    /// Has the next reads see what another replica changed.
    pub(crate) fn recheck(&self) {
        self.policies.recheck();
        self.agents.recheck();
        self.teams.recheck();
    }

    /// Forgets what is known of a tenant after a change.
    pub(crate) fn refresh(&self, tenant: TenantId) {
        self.policies.refresh(tenant);
        self.agents.refresh(tenant);
        self.teams.refresh(tenant);
    }
}

fn compile(stored: Vec<Stored<Policy>>) -> Policies {
    let mut policies = Policies::new();
    let built_in = (policy::DEFAULT.to_owned(), 0, Policy::built_in());
    let stored = stored.into_iter().map(|policy| (policy.name, policy.version, policy.body));
    for (name, version, policy) in std::iter::once(built_in).chain(stored) {
        match Compiled::of(version, &policy) {
            Ok(compiled) => {
                policies.insert(name, compiled);
            }
            Err(problems) => {
                let count = problems.len();
                tracing::error!(policy = name, version, count, "stored policy does not compile");
                policies.remove(&name);
            }
        }
    }
    policies
}

/// The agents of one tenant, ready to be asked, while neither agents nor teams change.
struct Crew {
    agents: Arc<Agents>,
    teams: Arc<Teams>,
    members: Arc<Vec<Member>>,
}

/// More tenants than this and the memory starts afresh.
const REMEMBERED_TENANTS: usize = 1_000;

/// Remembers the crews of tenants.
#[derive(Default)]
pub(crate) struct Crews(HashMap<TenantId, Crew>);

impl Crews {
    /// The agents of a tenant, by name.
    pub(crate) async fn of(
        &mut self,
        configuration: &Configuration,
        tenant: TenantId,
    ) -> Result<Arc<Vec<Member>>, Error> {
        let agents = configuration.agents.get(tenant).await?;
        let teams = configuration.teams.get(tenant).await?;
        if let Some(crew) = self.0.get(&tenant)
            && Arc::ptr_eq(&crew.agents, &agents)
            && Arc::ptr_eq(&crew.teams, &teams)
        {
            return Ok(Arc::clone(&crew.members));
        }
        if self.0.len() >= REMEMBERED_TENANTS {
            self.0.clear();
        }
        let members = Arc::new(agents.iter().map(|agent| member(agent, &teams)).collect());
        self.0.insert(tenant, Crew { agents, teams, members: Arc::clone(&members) });
        Ok(members)
    }
}

fn member(agent: &Stored<Agent>, teams: &Teams) -> Member {
    let team = teams.get(&agent.body.team);
    let hours = agent.body.hours.as_ref().or(team.and_then(|team| team.hours.as_ref()));
    Member {
        name: agent.name.clone(),
        team: agent.body.team.clone(),
        team_display_name: team.map(|team| team.display_name.clone()).unwrap_or_default(),
        skills: agent.body.skills.clone(),
        skill_names: agent.body.skills.keys().cloned().collect(),
        capacity: agent.body.capacity,
        calendar: hours.and_then(Calendar::of),
    }
}
