//! Text to plan: the grammar of EBAP on top of PostgreSQL's, and from a statement to what the
//! engine runs. Knows the catalog; knows no connector, no clock, no socket.

mod alter;
mod apply;
mod check;
mod column_names;
mod columns;
mod error;
mod flow;
mod grants;
mod guarded;
mod laterals;
mod macros;
mod moved_time;
mod names;
mod parser;
mod pii;
mod plan;
mod planner;
mod policies;
mod reads;
mod rights;
mod roles;
mod semantics;
mod session;
#[cfg(test)]
mod tests;
mod variables;
mod wildcard;

pub use apply::{Applied, SecretSource, apply, apply_by, printable_sql, secret_source};
pub use check::{CheckError, check};
pub use column_names::{distinct_columns, named_columns};
pub use columns::{ColumnsWanted, columns_wanted, with_columns};
pub use error::{Error, Result, from_datafusion};
pub use flow::{
    Aggregation, Expiry, Flow, Frame, GroupingSet, Join, Late, Node, Numbering, Panes, RowOp, Session, Time, TopN,
    VERSION_COLUMNS,
};
pub use guarded::{Guard, condition_of, guarded};
pub use macros::expand_functions;
pub use moved_time::moved_time;
pub use names::quoted;
pub use parser::{
    AlterAction, Copy, CopyFormat, CopyOptions, Declare, Direction, ForceQuote, NewPassword, Parsed, Password, Prepare,
    RoleName, RoleStatement, ShowKind, Statement, parse, select_of_types,
};
pub use pii::{Personal, PersonalColumns};
pub use plan::{
    AggregatePlan, AlertPlan, AlertWindow, CheckPlan, Emit, FutureLimit, FutureRows, GROUPS_TABLE, OnError,
    PartitionPlan, Plans, Run, STEP_TABLE, SinkPlan, SourceKind, SourcePlan, StepsPlan, TemplatePart, ViewPlan,
    ViewQuery, WatermarkPlan, WindowPlan, WindowSize,
};
pub use planner::{built_in_function, explain_view_plan, plan_catalog, plan_query};
pub use reads::{Scan, scans};
pub use rights::{Reads, check_definition, check_read, check_write};
pub use roles::Actor;
pub use semantics::{desugar, install_functions, plan_statement, resolve};
pub use session::{session_config, session_state};
pub use variables::substitute_variables;
pub use wildcard::{StreamColumns, hide_virtual_columns};
