//! The one DataFusion setup, for planning and for serving.

use std::sync::Arc;

use datafusion::{
    execution::{SessionState, SessionStateBuilder, runtime_env::RuntimeEnv},
    optimizer::Optimizer,
    physical_optimizer::optimizer::PhysicalOptimizer,
    prelude::SessionConfig,
};

use crate::{laterals::ApplyLaterals, semantics};

/// Settings that must be as they are, each for its reason.
pub fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema("ebap", "public")
        .with_create_default_catalog_and_schema(true)
        .with_information_schema(false)
        .with_target_partitions(1)
        .with_collect_statistics(false);
    let options = config.options_mut();
    options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
    options.sql_parser.enable_ident_normalization = true;
    // Errors name the character they are about.
    options.sql_parser.collect_spans = true;
    // Text is `Utf8` everywhere, so that declared columns and casts meet without conversion.
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some("+00:00".to_owned());
    // Views know a sub-query of one value as a join.
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    // Else Partial degrades to one state row per input row when keys are many.
    options.execution.skip_partial_aggregation_probe_ratio_threshold = 1.0;
    config
}

pub fn session_state(config: SessionConfig, runtime: Arc<RuntimeEnv>) -> SessionState {
    // This rule finds columns by name: a filter on one side of a join is put on the other, where that has a column of
    // the same name, and rows are lost (apache/datafusion issues 25263, 25264, 25296). Filters have been moved down
    // in the logical plan before.
    let mut rules = PhysicalOptimizer::new().rules;
    rules.retain(|rule| !rule.name().starts_with("FilterPushdown"));
    // This one computes the select list before WHERE, and fails on rows that WHERE leaves out.
    rules.retain(|rule| rule.name() != "ProjectionPushdown");
    // A query that is grouped by constants has no row where its input has none.
    let mut logical = Optimizer::new().rules;
    logical.retain(|rule| rule.name() != "eliminate_group_by_constant");
    // Filters were moved onto one another.
    logical.push(Arc::new(semantics::GuardMergedFilters));
    let mut builder = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_optimizer_rules(logical)
        .with_physical_optimizer_rules(rules);
    // Before DataFusion's own, which gives some operators of arrays another meaning.
    builder.expr_planners().get_or_insert_default().insert(0, semantics::operator_planner());
    let mut state = builder.with_analyzer_rule(Arc::new(ApplyLaterals)).build();
    if let Err(error) = semantics::install(&mut state) {
        tracing::error!(%error, "operators of PostgreSQL are missing");
    }
    if let Err(error) = datafusion_functions_json::register_all(&mut state) {
        tracing::error!(%error, "JSON functions are missing");
    }
    state
}
