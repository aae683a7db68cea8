//! Jobs that are processes, through the real binary.

use crate::bench::On;
use crate::{restarts, scenarios};

macro_rules! on_processes {
    ($($module:ident::$scenario:ident,)*) => {
        $(#[tokio::test]
        async fn $scenario() {
            $module::$scenario(On::Process).await;
        })*
    };
}

on_processes! {
    scenarios::a_callback_completes_the_job,
    scenarios::an_exit_completes_the_job,
    scenarios::a_failed_callback_fails_the_job,
    scenarios::a_crash_is_tried_again_and_then_succeeds,
    scenarios::retry_rules_and_policies_decide,
    scenarios::a_job_that_eats_its_memory_is_called_so,
    scenarios::time_limits_hold,
    scenarios::a_cancel_stops_what_runs_and_what_waits,
    scenarios::a_job_is_suspended_resumed_restarted_and_retried,
    scenarios::a_bad_command_says_so_and_is_not_tried_again,
    scenarios::a_follower_gets_every_line_as_it_comes_and_the_last_one,
    scenarios::secrets_reach_the_job_and_nobody_else,
    restarts::twenty_survive_a_graceful_stop,
    restarts::twenty_survive_a_kill,
    restarts::what_ends_while_nobody_watches_is_found_out,
    restarts::a_kill_amid_submissions_loses_nothing_that_was_answered,
}
