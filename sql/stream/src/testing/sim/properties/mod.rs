//! One file per property of the engine: what must hold after every simulation, whatever went wrong.

use super::run::Run;

type Check = fn(&Run) -> Result<(), String>;

/// The properties that one simulation is judged by.
pub(super) const ALL: [(&str, Check); 8] = [
    ("accounting_adds_up", accounting_adds_up::check),
    ("alerts_follow_the_data", alerts_follow_the_data::check),
    ("answer_equals_batch", answer_equals_batch::check),
    ("each_result_once", each_result_once::check),
    ("late_is_decided_once", late_is_decided_once::check),
    ("no_duplicate", no_duplicate::check),
    ("no_loss", no_loss::check),
    ("nothing_goes_back", nothing_goes_back::check),
];

mod a_conflict_stops_nobody;
mod accounting_adds_up;
mod alerts_follow_the_data;
mod answer_equals_batch;
mod each_result_once;
mod key_types;
mod killed_at_every_point;
mod late_is_decided_once;
mod many_keys;
mod no_duplicate;
mod no_loss;
mod nothing_goes_back;
mod same_answer_on_every_path;
mod same_seed_same_run;
mod state_stays_flat;
mod two_instances_are_fenced;
mod wrong_clocks_change_nothing;
