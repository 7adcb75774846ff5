-- Demands and how they come to their agents.
-- Times are microseconds since 1970 (`*_us`, bigint) because these tables are hot.
-- Rows are locked in one order: demands (tenant, shard, id), agents (tenant, name), feed.

create table demand (
    tenant_id       uuid     not null,
    shard           smallint not null,
    demand_id       uuid     not null,
    -- The nil UUID once the customer was erased.
    customer_id     uuid     not null,
    kind            text     not null,
    policy          text     not null,
    policy_version  bigint   not null,
    -- 1 queued, 2 offered, 3 accepted, 4 in progress, 5 closed
    state           smallint not null check (state between 1 and 5),
    version         bigint   not null check (version > 0),
    required_skills text[]   not null,
    priority        smallint not null check (priority between -100 and 100),
    agent           text     not null default '',
    team            text     not null default '',
    offer_id        uuid,
    event_us        bigint   not null,
    created_us      bigint   not null,
    due_us          bigint,
    breached        boolean  not null default false,
    -- The timer of the state itself: next attempt, offer time-out, reminder.
    wake_us         bigint   not null,
    -- The earlier of that and the SLA. A demand that is not closed is never forgotten.
    next_action_us  bigint,
    offers          integer  not null default 0,
    attempts        integer  not null default 0,
    score_due_us    bigint,
    scores          bytea    not null,
    result          smallint,
    value_currency  text,
    value_units     bigint,
    value_nanos     integer,
    result_reason   text     not null default '',
    -- W3C trace context of what created it: what happens by itself belongs to that trace.
    traceparent     text,
    primary key (tenant_id, shard, demand_id),
    constraint demand_never_forgotten check ((state = 5) = (next_action_us is null)),
    constraint demand_held_by_somebody
        check (case state when 1 then agent = '' and offer_id is null
                          when 5 then (agent = '') = (offer_id is null)
                          else agent <> '' and offer_id is not null end),
    constraint demand_result_when_closed check ((state = 5) = (result is not null))
) with (fillfactor = 80);
create index demand_newest on demand (tenant_id, created_us desc, demand_id desc);
create index demand_of_customer on demand (tenant_id, customer_id, created_us desc, demand_id desc);
create index demand_of_agent on demand (tenant_id, agent, created_us desc, demand_id desc)
    where agent <> '';
-- Who is served next: higher priority, then older.
create index demand_queue on demand (tenant_id, priority desc, created_us, demand_id)
    where state = 1;
create index demand_next on demand (next_action_us) where next_action_us is not null;
create index demand_unscored on demand (score_due_us) where score_due_us is not null;
create index demand_follows on demand (tenant_id, policy) where next_action_us is not null;

create table offer (
    tenant_id   uuid     not null,
    shard       smallint not null, -- of the offer's id
    offer_id    uuid     not null,
    demand_id   uuid     not null,
    agent       text     not null,
    -- 1 pending, 2 accepted, 3 declined, 4 timed out
    state       smallint not null check (state between 1 and 4),
    created_us  bigint   not null,
    expire_us   bigint   not null,
    ended_us    bigint,
    reason      text     not null default '',
    primary key (tenant_id, shard, offer_id),
    check ((state = 1) = (ended_us is null))
) with (fillfactor = 80);
create unique index offer_one_pending on offer (tenant_id, demand_id) where state = 1;
create index offer_of_demand on offer (tenant_id, demand_id);
create index offer_pending on offer (tenant_id, created_us, offer_id) where state = 1;

create table assignment (
    tenant_id   uuid     not null,
    shard       smallint not null,
    demand_id   uuid     not null,
    offer_id    uuid     not null,
    agent       text     not null,
    active      boolean  not null,
    begun_us    bigint   not null,
    ended_us    bigint,
    primary key (tenant_id, shard, demand_id, offer_id),
    check (active = (ended_us is null))
);
create unique index assignment_one_active on assignment (tenant_id, demand_id) where active;
create index assignment_of_agent on assignment (tenant_id, agent) where active;

-- Beside the agent resource, written in the same transaction. `load` counts pending offers and
-- active assignments; whoever adds asks `load < capacity`. `load_limit` is the capacity, or,
-- after it was lowered, the load that is running down towards it.
create table agent_state (
    tenant_id     uuid     not null,
    agent         text     not null,
    presence      smallint not null check (presence between 1 and 3),
    load          integer  not null default 0,
    capacity      integer  not null check (capacity between 1 and 1000),
    load_limit    integer  not null check (load_limit >= capacity),
    last_offer_us bigint,
    primary key (tenant_id, agent),
    constraint agent_within_capacity check (load between 0 and load_limit)
) with (fillfactor = 50);

-- One row per change of a demand: its state is the fold of these.
create table transition (
    tenant_id  uuid     not null,
    shard      smallint not null,
    demand_id  uuid     not null,
    version    bigint   not null,
    state      smallint not null,
    agent      text     not null,
    offer_id   uuid,
    cause      text     not null,
    event_us   bigint   not null,
    primary key (tenant_id, shard, demand_id, version)
);

-- What an offer was decided on, with all candidates.
create table decision (
    tenant_id      uuid     not null,
    shard          smallint not null,
    demand_id      uuid     not null,
    offer_id       uuid     not null,
    agent          text     not null,
    policy_version bigint   not null,
    candidates     bytea    not null,
    at_us          bigint   not null,
    primary key (tenant_id, shard, demand_id, offer_id)
);

-- Tenants whose waiting demands deserve another look because somebody became free. Appended to
-- in the transaction that frees, emptied by the router: no row is contended, none is lost.
create table stir (
    id        bigint primary key generated always as identity,
    tenant_id uuid not null
);

-- The one router at work. `epoch` counts its holders and fences a presumed dead one.
create table router_lease (
    one      boolean primary key default true check (one),
    holder   uuid    not null,
    epoch    bigint  not null,
    until_us bigint  not null
);
