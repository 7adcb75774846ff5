//! The whole stack around a probe service: what a caller sees, and what it cannot do.
//!
//! What bare tonic, hyper and Redis do wrong or leave open (all of it measured), and the test
//! that guards it here:
//!
//! 1. An expired deadline answers CANCELLED:
//!    `calls::an_expired_deadline_says_so_and_the_work_completes`,
//!    `calls::a_deadline_of_the_server_holds_when_the_caller_names_a_longer_one_or_none`.
//! 2. A deadline or a caller that leaves drops the handler half-way:
//!    `calls::work_outlives_a_caller_that_leaves`,
//!    `calls::work_ends_at_its_cap_when_its_caller_has_gone_and_frees_its_place`.
//! 3. A shut-down waits for ever for an open stream:
//!    `process::sigterm_ends_a_process_in_time_although_streams_are_open`,
//!    `connections::a_stream_that_ignores_the_drain_does_not_hold_the_exit`,
//!    `connections::a_watch_beats_and_ends_with_the_position_to_resume_from`.
//! 4. No limit on streams or connections, none on the time to the preface, silent peers stay:
//!    `connections::the_limits_of_a_connection_are_advertised`,
//!    `connections::connections_are_limited_together_and_a_closed_one_makes_room`,
//!    `connections::one_peer_does_not_get_all_connections`,
//!    `connections::a_socket_that_sends_no_preface_is_closed`,
//!    `connections::a_peer_that_falls_silent_is_closed`.
//! 5. A panic is CANCELLED to the caller and its message goes to standard error:
//!    `calls::a_panic_is_internal_with_a_fixed_text_and_the_process_lives`,
//!    `calls::a_panic_in_the_middle_of_a_stream_is_internal_after_what_came_before`,
//!    `connections::a_watch_whose_source_panics_does_not_look_like_one_at_its_end`,
//!    `logs::lines_carry_trace_ids_and_a_panic_logs_its_place_only`.
//! 6. Client garbage is INTERNAL, too large is OUT_OF_RANGE, answers have no limit:
//!    `calls::client_garbage_is_never_internal`,
//!    `calls::an_answer_over_the_limit_is_refused_and_not_sent`,
//!    `connections::a_header_of_20_kib_is_refused`.
//! 7. (Not given to anything.)
//! 8. Redis forgets: it is a cache and a bell, Postgres the truth. Guarded where it is used,
//!    in `libs/store`: `cache::without_redis_the_bell_rings_at_home`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests, their helpers too"
)]

mod calls;
mod child;
mod connections;
mod export;
mod logs;
mod peers;
mod probe;
mod process;
mod tokens;
mod wire;
