-- The views of schema `bi` (docs/bi.md is written from the comments here). Each filters by the
-- reader's tenant and is a security barrier: no function of the reader's sees other rows.
-- Reasons are left out: they are free words, and may name somebody.

create view bi.demands with (security_barrier) as
select d.demand_id,
    nullif(d.customer_id, '00000000-0000-0000-0000-000000000000') as customer_id,
    d.kind,
    d.policy,
    case d.state when 1 then 'queued' when 2 then 'offered' when 3 then 'accepted'
        when 4 then 'in_progress' when 5 then 'closed' end as state,
    d.priority::integer as priority,
    nullif(d.team, '') as team,
    nullif(d.agent, '') as agent,
    bi.instant(d.event_us) as arose_at,
    bi.instant(d.created_us) as created_at,
    bi.instant(d.due_us) as due_at,
    d.breached,
    d.offers,
    case d.result when 1 then 'won' when 2 then 'lost' when 3 then 'solved' when 4 then 'unsolved'
        when 5 then 'spam' when 6 then 'no_answer' when 7 then 'erased' end as result,
    (d.value_units + d.value_nanos / 1000000000.0)::numeric(28, 9) as value,
    nullif(d.value_currency, '') as currency
from demand d
where d.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user);
comment on view bi.demands is 'Demands as they are now.';
comment on column bi.demands.demand_id is 'The demand.';
comment on column bi.demands.customer_id is 'The customer; null once it was erased. A merged one keeps its old id: see `customer_redirects`.';
comment on column bi.demands.kind is 'What kind of need.';
comment on column bi.demands.policy is 'The routing policy.';
comment on column bi.demands.state is '`queued`, `offered`, `accepted`, `in_progress` or `closed`.';
comment on column bi.demands.priority is 'Higher goes first, −100 to 100.';
comment on column bi.demands.team is 'Of the agent; null if none.';
comment on column bi.demands.agent is 'Whom it is offered or assigned to, or who closed it; null if nobody.';
comment on column bi.demands.arose_at is 'When the need arose.';
comment on column bi.demands.created_at is 'When the demand was created.';
comment on column bi.demands.due_at is 'When work must have started; null without SLA.';
comment on column bi.demands.breached is 'Whether the SLA was missed.';
comment on column bi.demands.offers is 'How often it was offered.';
comment on column bi.demands.result is '`won`, `lost`, `solved`, `unsolved`, `spam`, `no_answer` or `erased`; null while open.';
comment on column bi.demands.value is 'Of a won demand.';
comment on column bi.demands.currency is 'Of the value, ISO 4217.';

create view bi.offers with (security_barrier) as
select o.offer_id, o.demand_id, o.agent,
    case o.state when 1 then 'pending' when 2 then 'accepted' when 3 then 'declined'
        when 4 then 'timed_out' end as state,
    bi.instant(o.created_us) as created_at,
    bi.instant(o.expire_us) as expires_at,
    bi.instant(o.ended_us) as ended_at
from offer o
where o.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user);
comment on view bi.offers is 'Offers of demands to agents.';
comment on column bi.offers.offer_id is 'The offer.';
comment on column bi.offers.demand_id is 'The demand.';
comment on column bi.offers.agent is 'The agent.';
comment on column bi.offers.state is '`pending`, `accepted`, `declined` or `timed_out`.';
comment on column bi.offers.created_at is 'When it was made.';
comment on column bi.offers.expires_at is 'Until when the agent could answer.';
comment on column bi.offers.ended_at is 'When it was answered or ran out; null while pending.';

create view bi.assignments with (security_barrier) as
select a.demand_id, a.offer_id, a.agent, a.active,
    bi.instant(a.begun_us) as begun_at,
    bi.instant(a.ended_us) as ended_at
from assignment a
where a.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user);
comment on view bi.assignments is 'Which agent had which demand when.';
comment on column bi.assignments.demand_id is 'The demand.';
comment on column bi.assignments.offer_id is 'The offer that was accepted.';
comment on column bi.assignments.agent is 'The agent.';
comment on column bi.assignments.active is 'Whether the agent has it now.';
comment on column bi.assignments.begun_at is 'When the agent took it.';
comment on column bi.assignments.ended_at is 'When that ended; null while active.';

create view bi.demand_changes with (security_barrier) as
select t.demand_id, t.version,
    case t.state when 1 then 'queued' when 2 then 'offered' when 3 then 'accepted'
        when 4 then 'in_progress' when 5 then 'closed' end as state,
    nullif(t.agent, '') as agent,
    t.cause,
    bi.instant(t.event_us) as changed_at
from transition t
where t.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user);
comment on view bi.demand_changes is 'Every change of a demand.';
comment on column bi.demand_changes.demand_id is 'The demand.';
comment on column bi.demand_changes.version is 'Counts the changes of the demand from 1.';
comment on column bi.demand_changes.state is 'The state after it, as in `demands`.';
comment on column bi.demand_changes.agent is 'The agent after it; null if none.';
comment on column bi.demand_changes.cause is 'What brought it about.';
comment on column bi.demand_changes.changed_at is 'When.';

create view bi.agents with (security_barrier) as
select a.agent,
    case a.presence when 1 then 'online' when 2 then 'away' when 3 then 'offline' end as presence,
    a.load, a.capacity,
    bi.instant(a.last_offer_us) as last_offer_at
from agent_state a
where a.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user);
comment on view bi.agents is 'Agents as they are now.';
comment on column bi.agents.agent is 'The agent''s name in the configuration.';
comment on column bi.agents.presence is '`online`, `away` or `offline`.';
comment on column bi.agents.load is 'Pending offers and active assignments.';
comment on column bi.agents.capacity is 'How many at once.';
comment on column bi.agents.last_offer_at is 'When the last offer was made; null if none.';
