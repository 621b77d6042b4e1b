//! Text to plan: the grammar of EBAP on top of PostgreSQL's, and from a statement to what the
//! engine runs. Knows the catalog; knows no connector, no clock, no socket.

mod plan;

pub use plan::{GROUPS_TABLE, Plans, STEP_TABLE, AggregatePlan, CheckPlan, Emit, PartitionPlan, SinkPlan, SourceKind, SourcePlan, ViewPlan, WatermarkPlan, WindowPlan, WindowSize};
