//! What to open, given what the store holds: a decision without I/O, so that every case is a line of
//! a table. `CheckpointStore::recover` looks, asks here, and looks further where that is the answer.
//!
//! A put is whole or absent on S3 and after a rename; a disk that loses power may still leave a
//! manifest torn. Nobody ever heard that such an epoch exists, as the answer to its put never came:
//! no sink has committed for it and the files of the epoch before it are still there.

use super::Manifest;

/// What was found where a manifest should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// `complete`: every file it names exists.
    Whole { manifest: Box<Manifest>, complete: bool },
    /// Cannot be parsed.
    Torn { message: String },
    /// Written by a later version.
    TooNew { format: u32 },
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing has been durable yet: begin; the next epoch is the one behind `after`.
    Begin { after: u64 },
    /// Open this epoch; the next one is the one behind `after`, which a torn manifest may have taken.
    Open { manifest: Box<Manifest>, after: u64 },
    /// Look at the epoch before those looked at.
    LookFurther,
    /// The state cannot be opened, and beginning anew would lose what was durable.
    Refuse { epoch: u64, message: String },
}

/// `looked`: epochs looked at, newest first. `older`: there are manifests below those.
pub(crate) fn decide(looked: &[(u64, Found)], older: bool) -> Decision {
    let Some((newest, _)) = looked.first() else {
        return if older { Decision::LookFurther } else { Decision::Begin { after: 0 } };
    };
    let Some((epoch, found)) = looked.last() else { return Decision::Begin { after: 0 } };
    match found {
        Found::TooNew { format } => {
            let message = format!("its format is {format}, this version reads up to {}", super::manifest::FORMAT);
            Decision::Refuse { epoch: *epoch, message }
        }
        // The newest is opened as it is: a file that does not answer now may answer later.
        Found::Whole { manifest, complete } if *complete || looked.len() == 1 => {
            Decision::Open { manifest: manifest.clone(), after: *newest }
        }
        Found::Whole { .. } => {
            let message = "newer manifests are damaged, and files of this one are gone".to_owned();
            Decision::Refuse { epoch: *epoch, message }
        }
        Found::Torn { .. } if older => Decision::LookFurther,
        // All there ever were: manifests are only deleted long after, so the first was torn.
        Found::Torn { .. } if *epoch == 1 => Decision::Begin { after: *newest },
        Found::Torn { message } => Decision::Refuse { epoch: *epoch, message: message.clone() },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ebap_connector::{Epoch, Position};

    use super::*;
    use crate::{accounting::Accounting, checkpoint::manifest::FORMAT, watermark::SavedWatermarks};

    fn manifest(epoch: u64) -> Box<Manifest> {
        Box::new(Manifest {
            format: FORMAT,
            epoch: Epoch(epoch),
            incarnation: 1,
            writer: 0,
            start: Position::default(),
            resumed: 0,
            gaps: BTreeMap::new(),
            position: Position::default(),
            watermarks: SavedWatermarks::default(),
            late_log: Vec::new(),
            dead_letters: None,
            alerts: None,
            dead_letter_token: None,
            accounting: Accounting::default(),
            jobs: Default::default(),
            sinks: Default::default(),
            sink_positions: Default::default(),
        })
    }

    fn whole(epoch: u64, complete: bool) -> (u64, Found) {
        (epoch, Found::Whole { manifest: manifest(epoch), complete })
    }

    fn torn(epoch: u64) -> (u64, Found) {
        (epoch, Found::Torn { message: "half of it".to_owned() })
    }

    fn open(epoch: u64, after: u64) -> Decision {
        Decision::Open { manifest: manifest(epoch), after }
    }

    #[test]
    fn what_is_opened_for_what_is_found() {
        let too_new = (9, Found::TooNew { format: FORMAT + 1 });
        let refuse = |epoch, message: &str| Decision::Refuse { epoch, message: message.to_owned() };
        let table = [
            ("nothing there", vec![], false, Decision::Begin { after: 0 }),
            ("not looked yet", vec![], true, Decision::LookFurther),
            ("the newest", vec![whole(7, true)], true, open(7, 7)),
            ("the newest, a file of it not found now", vec![whole(7, false)], true, open(7, 7)),
            ("the first", vec![whole(1, true)], false, open(1, 1)),
            ("the newest is torn", vec![torn(7)], true, Decision::LookFurther),
            ("the one before it", vec![torn(7), whole(6, true)], true, open(6, 7)),
            ("two deaths in a row", vec![torn(7), torn(6), whole(5, true)], false, open(5, 7)),
            ("the first is torn", vec![torn(1)], false, Decision::Begin { after: 1 }),
            ("the first two are torn", vec![torn(2), torn(1)], false, Decision::Begin { after: 2 }),
            ("all that is left is torn", vec![torn(300)], false, refuse(300, "half of it")),
            (
                "it was not the death of a writer",
                vec![torn(7), whole(6, false)],
                true,
                refuse(6, "newer manifests are damaged, and files of this one are gone"),
            ),
            (
                "a later version was here",
                vec![too_new],
                true,
                refuse(9, &format!("its format is {}, this version reads up to {FORMAT}", FORMAT + 1)),
            ),
        ];
        for (case, looked, older, wanted) in table {
            assert_eq!(decide(&looked, older), wanted, "{case}");
        }
    }
}
