-- The views of schema `bi` (docs/bi.md is written from the comments here). Each filters by the
-- reader's tenant and is a security barrier: no function of the reader's sees other rows.
-- Reasons are left out: they are free words, and may name somebody.

create view bi.demand_times with (security_barrier) as
select d.demand_id,
    nullif(d.customer_id, '00000000-0000-0000-0000-000000000000') as customer_id,
    d.kind,
    nullif(d.team, '') as team,
    nullif(d.agent, '') as agent,
    case d.reached when 0 then 'created' when 1 then 'offered' when 2 then 'accepted'
        when 3 then 'started' when 4 then 'closed' end as reached,
    bi.instant(d.event_us) as changed_at,
    bi.instant(d.created_us) as created_at,
    bi.instant(d.offered_us) as offered_at,
    bi.instant(d.accepted_us) as accepted_at,
    bi.instant(d.started_us) as started_at,
    bi.instant(d.closed_us) as closed_at
from demand_fact d
where d.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user);
comment on view bi.demand_times is 'How far demands came and when: the rows of the funnel.';
comment on column bi.demand_times.demand_id is 'The demand.';
comment on column bi.demand_times.customer_id is 'The customer; null once it was erased. A merged one keeps its old id: see `customer_redirects`.';
comment on column bi.demand_times.kind is 'What kind of need.';
comment on column bi.demand_times.team is 'The team; null if none.';
comment on column bi.demand_times.agent is 'The agent; null if none.';
comment on column bi.demand_times.reached is 'The furthest stage: `created`, `offered`, `accepted`, `started` or `closed`.';
comment on column bi.demand_times.changed_at is 'When it last changed.';
comment on column bi.demand_times.created_at is 'When it was created.';
comment on column bi.demand_times.offered_at is 'When it was first offered; null if never, or only seen later.';
comment on column bi.demand_times.accepted_at is 'When it was first accepted.';
comment on column bi.demand_times.started_at is 'When work first started.';
comment on column bi.demand_times.closed_at is 'When it was closed.';

create view bi.outcomes with (security_barrier) as
select o.demand_id,
    nullif(d.customer_id, '00000000-0000-0000-0000-000000000000') as customer_id,
    d.kind,
    case o.result when 1 then 'won' when 2 then 'lost' when 3 then 'solved' when 4 then 'unsolved'
        when 5 then 'spam' when 6 then 'no_answer' end as result,
    o.polarity as positive,
    (case when o.currency <> '' then o.value_micros / 1000000.0 end)::numeric(26, 6) as value,
    nullif(o.currency, '') as currency,
    bi.instant(o.event_us) as occurred_at,
    bi.instant(o.recorded_us) as recorded_at
from outcome o
join demand_fact d on d.tenant_id = o.tenant_id and d.shard = o.shard
    and d.demand_id = o.demand_id
where o.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user);
comment on view bi.outcomes is 'What came of demands: the outcome in force, one row for each demand that has one.';
comment on column bi.outcomes.demand_id is 'The demand.';
comment on column bi.outcomes.customer_id is 'The customer; null once it was erased.';
comment on column bi.outcomes.kind is 'What kind of need.';
comment on column bi.outcomes.result is '`won`, `lost`, `solved`, `unsolved`, `spam` or `no_answer`.';
comment on column bi.outcomes.positive is 'Whether it counts as a success; null if it says nothing.';
comment on column bi.outcomes.value is 'The value; null if none was given.';
comment on column bi.outcomes.currency is 'Of the value, ISO 4217.';
comment on column bi.outcomes.occurred_at is 'When it happened.';
comment on column bi.outcomes.recorded_at is 'When it was recorded.';

create view bi.surveys with (security_barrier) as
select s.survey_id, s.demand_id,
    case s.kind when 1 then 'nps' when 2 then 'csat' end as kind,
    s.score::integer as score,
    bi.instant(s.event_us) as answered_at
from survey s
where s.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user);
comment on view bi.surveys is 'Answers to surveys.';
comment on column bi.surveys.survey_id is 'The answer''s id in its own system.';
comment on column bi.surveys.demand_id is 'The demand.';
comment on column bi.surveys.kind is '`nps` (0 to 10) or `csat` (1 to 5).';
comment on column bi.surveys.score is 'The answer.';
comment on column bi.surveys.answered_at is 'When it was given.';

create view bi.used_scores with (security_barrier) as
select u.demand_id, u.scorer, u.scorer_version, u.value, u.probability,
    u.kind, bi.instant(u.event_us) as used_at
from used_score u
where u.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user);
comment on view bi.used_scores is 'The scores that demands were routed with.';
comment on column bi.used_scores.demand_id is 'The demand.';
comment on column bi.used_scores.scorer is 'The scorecard or model.';
comment on column bi.used_scores.scorer_version is 'As in `scores`.';
comment on column bi.used_scores.value is 'The value that was used.';
comment on column bi.used_scores.probability is 'Of a model: of a positive outcome.';
comment on column bi.used_scores.kind is 'The demand''s kind.';
comment on column bi.used_scores.used_at is 'When.';
