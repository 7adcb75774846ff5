-- The views of schema `bi` (docs/bi.md is written from the comments here). Each filters by the
-- reader's tenant and is a security barrier: no function of the reader's sees other rows.

create view bi.scores with (security_barrier) as
select s.customer_id, x.scorer, x.kind, x.value, x.probability, x.grade,
    x.version as scorer_version, s.profile_version, bi.instant(s.scored_us) as scored_at
from subject s
cross join lateral json_to_recordset(s.shown) as x(scorer text, kind text,
    value double precision, probability double precision, grade text, version bigint)
where s.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user)
    and s.redirect_into is null and not s.erased;
comment on view bi.scores is 'The scores of customers as last computed, one row for each customer and scorer. Merged and erased customers are not here.';
comment on column bi.scores.customer_id is 'The customer.';
comment on column bi.scores.scorer is 'The scorecard or model.';
comment on column bi.scores.kind is '`scorecard` or `model`.';
comment on column bi.scores.value is 'Points of a scorecard; 100 × probability of a model.';
comment on column bi.scores.probability is 'Of a model: of a positive outcome.';
comment on column bi.scores.grade is 'The highest threshold that the value reaches; null if none.';
comment on column bi.scores.scorer_version is 'Of a scorecard: its version. Of a model: the labels it had learned.';
comment on column bi.scores.profile_version is 'The version of the profile it was computed from.';
comment on column bi.scores.scored_at is 'When it was computed.';

create view bi.models with (security_barrier) as
select m.model, m.learning, m.labels, m.positives
from model_state m
where m.tenant_id = (select r.tenant_id from bi_reader r where r.role = session_user);
comment on view bi.models is 'Models that learn online.';
comment on column bi.models.model is 'The model.';
comment on column bi.models.learning is 'Whether it is learning.';
comment on column bi.models.labels is 'How many labels it has learned.';
comment on column bi.models.positives is 'How many of them were positive.';
