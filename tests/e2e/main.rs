//! The whole path: the real binary between real Kafka, Redis, Iceberg and Trino, seen by real clients.
//!
//! Scenarios run one after the other and share services, which are stopped when `main` ends, also
//! after a failure.

mod alerts;
mod cdc;
mod cdc_under_load;
mod clients;
mod command_line;
mod demo;
mod kafka_sink;
mod migrations;
mod object_store;
mod pipeline;
mod platform;
mod prometheus;
mod redis_sink;
mod retention;
mod schema_registry;
mod splits;

use std::{process::ExitCode, sync::Arc};

use ebap_tests::trials;
use pipeline::Shared;

fn main() -> ExitCode {
    let shared = match Shared::new() {
        Ok(shared) => Arc::new(shared),
        Err(error) => {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{error:?}\n").as_bytes());
            return ExitCode::FAILURE;
        }
    };
    let outcome = trials::run(vec![
        trials::trial("check_names_file_line_and_column", &shared, |_| command_line::check_names_the_place()),
        trials::trial("print_config_shows_each_origin", &shared, |_| command_line::print_config_shows_each_origin()),
        trials::trial("migrations_are_applied_once_and_whole", &shared, |_| {
            command_line::migrations_are_applied_once()
        }),
        trials::trial("a_fresh_demo_shows_live_rows", &shared, |_| demo::a_fresh_demo_shows_live_rows()),
        trials::trial("psql_lists_what_exists", &shared, |_| clients::psql_lists_what_exists()),
        trials::trial("two_hundred_connections_while_ingesting", &shared, |_| clients::two_hundred_connections()),
        trials::trial("a_broken_client_harms_nobody", &shared, |_| clients::a_broken_client_harms_nobody()),
        trials::trial("sigterm_says_57p01_and_exits_zero", &shared, |_| clients::sigterm_says_57p01()),
        trials::trial("a_partition_added_while_running_is_read", &shared, splits::an_added_partition_is_read),
        trials::trial(
            "a_stream_that_retention_has_passed_goes_on",
            &shared,
            retention::a_stream_that_retention_has_passed_goes_on,
        ),
        trials::trial("an_idle_partition_does_not_hold_windows_open", &shared, splits::an_idle_partition_holds_nothing),
        trials::trial("a_view_created_later_equals_one_created_before", &shared, splits::a_later_view_is_equal),
        trials::trial(
            "state_in_a_bucket_outlives_the_machine",
            &shared,
            object_store::state_in_a_bucket_outlives_the_machine,
        ),
        trials::trial("two_servers_share_a_bucket", &shared, object_store::two_servers_share_a_bucket),
        trials::trial("an_alert_pages_once_whatever_dies", &shared, alerts::an_alert_pages_once_whatever_dies),
        trials::trial(
            "alerts_of_the_migrations_reach_a_webhook",
            &shared,
            migrations::alerts_of_the_migrations_reach_a_webhook,
        ),
        trials::trial(
            "hot_state_of_the_migrations_is_in_redis",
            &shared,
            migrations::hot_state_of_the_migrations_is_in_redis,
        ),
        trials::trial(
            "samples_are_taken_whole_and_make_the_map",
            &shared,
            platform::samples_are_taken_whole_and_make_the_map,
        ),
        trials::trial("an_older_platform_is_replaced_by_one_more_file", &shared, |_| {
            platform::an_older_platform_is_replaced_by_one_more_file()
        }),
        trials::trial("every_sample_is_in_prometheus_after_a_kill", &shared, prometheus::every_sample_outlives_a_kill),
        trials::trial("what_redis_lost_is_written_again", &shared, redis_sink::what_redis_lost_is_written_again),
        trials::trial(
            "three_schemas_and_garbage_between_are_all_accounted_for",
            &shared,
            schema_registry::three_schemas_and_garbage,
        ),
        trials::trial("a_stream_waits_for_its_registry", &shared, schema_registry::a_stream_waits_for_its_registry),
        trials::trial("json_schema_and_protobuf_have_columns_too", &shared, schema_registry::json_schema_and_protobuf),
        trials::trial(
            "what_is_written_is_read_again_as_it_was",
            &shared,
            kafka_sink::what_is_written_is_read_again_as_it_was,
        ),
        trials::trial(
            "a_topic_follows_its_view_whatever_alter_says",
            &shared,
            kafka_sink::a_topic_follows_its_view_whatever_alter_says,
        ),
        trials::trial("deletes_in_postgres_are_deletes_here", &shared, cdc::deletes_in_postgres_are_deletes_here),
        trials::trial(
            "each_event_meets_a_row_of_its_time",
            &shared,
            cdc_under_load::each_event_meets_a_row_of_its_time,
        ),
        trials::trial("pipeline_over_real_kafka_equals_the_batch_answer", &shared, pipeline::equals_the_batch_answer),
        trials::trial(
            "killed_twice_and_kafka_away_gives_the_same_answer",
            &shared,
            pipeline::survives_kills_and_outage,
        ),
    ]);
    // The last holder: ends the services.
    drop(shared);
    outcome
}
