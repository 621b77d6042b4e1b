//! An engine over a source and a sink that a test holds in its hands.

mod aggregate_tests;
mod alert_tests;
mod alter_tests;
mod as_of_tests;
mod catch_up_tests;
mod connectors;
mod delete_tests;
mod failed_rows_tests;
mod failure_tests;
mod float_sum_tests;
mod flow_tests;
mod format_tests;
mod loop_tests;
mod many_per_key_tests;
mod no_rows_tests;
mod number_tests;
mod oracle_tests;
mod query;
mod range_join_tests;
mod resume_from_tests;
mod rig;
mod sim;
mod sink_tests;
mod top_tests;
mod two_process_tests;
