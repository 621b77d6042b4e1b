//! From epoch to epoch, over all deaths: epochs rise by one and exist once, offsets, watermarks and
//! incarnations never go back, and where a split was read from first never changes.

use ebap_connector::{EventTime, Position};

use super::super::{run::Run, seeds};

pub(super) fn check(run: &Run) -> Result<(), String> {
    for source in ["events", "users"] {
        let (mut epoch, mut incarnation) = (0, 0);
        let (mut position, mut start, mut watermark) = (Position::default(), Position::default(), EventTime::MIN);
        let epochs = run.epochs(source, |seen| (seen.manifest.clone(), seen.missing.clone()));
        for (manifest, missing) in epochs {
            let at = manifest.epoch.0;
            let fail = |what: &str| Err(format!("{source}, epoch {at}: {what}"));
            // A number whose manifest was torn by a death is never used again.
            if at <= epoch {
                return fail("its number is not new");
            }
            if manifest.incarnation < incarnation {
                return fail("the incarnation goes back");
            }
            if !manifest.position.covers(&position) {
                return fail(&format!("{:?} does not cover {position:?}", manifest.position));
            }
            if start.0.iter().any(|(split, offset)| manifest.start.get(split) != Some(*offset)) {
                return fail("a split starts elsewhere");
            }
            if manifest.watermarks.current < watermark {
                return fail(&format!("the watermark goes back from {watermark:?}"));
            }
            if !missing.is_empty() {
                return fail(&format!("it names files that do not exist: {missing:?}"));
            }
            (epoch, incarnation) = (at, manifest.incarnation);
            (position, start, watermark) = (manifest.position, manifest.start, manifest.watermarks.current);
        }
    }
    Ok(())
}

#[test]
fn nothing_goes_back() {
    seeds::assert_holds("nothing_goes_back");
}
