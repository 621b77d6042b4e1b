//! Records of wrong clocks make no other row late and close no window: no watermark is beyond the newest time of the
//! records whose clocks are right. All else holds as ever.

use super::super::{
    random::Random,
    run::{Mode, Run},
    script::Script,
    seeds,
};

fn play(seed: u64) -> Run {
    let mode = Mode::ALL[(seed % 4) as usize];
    let mut random = Random::new(seed);
    let script = Script::draw_wrong_clocks(&mut random);
    Run::play(script, mode, seed / 4, &mut random)
}

/// Counts the rows with a wrong clock, if nothing is wrong with the others.
fn check(run: &Run) -> Result<usize, String> {
    let rows =
        || run.world.script.events.iter().flat_map(|split| &split.records).filter_map(|record| record.row.as_ref());
    let newest_us = rows().filter(|row| row.is_sane()).map(|row| row.time_us).max().ok_or("no row is sane")?;
    let highest = run.epochs("events", |seen| {
        let logged = seen.late.values().flatten().map(|run| run.watermark);
        logged.chain([seen.manifest.watermarks.current.0]).max().unwrap_or(i64::MIN)
    });
    if let Some(beyond) = highest.into_iter().find(|watermark| *watermark > newest_us) {
        return Err(format!("the watermark comes to {beyond}, the newest sane time is {newest_us}"));
    }
    super::ALL.iter().try_for_each(|(name, check)| check(run).map_err(|message| format!("{name}: {message}")))?;
    Ok(rows().filter(|row| !row.is_sane()).count())
}

#[test]
fn wrong_clocks_change_nothing() {
    let played = seeds::for_each_seed(&seeds::every(3), |seed| check(&play(seed)));
    let mut wrong = 0;
    for (seed, outcome) in played {
        match outcome {
            Ok(Ok(rows)) => wrong += rows,
            Ok(Err(message)) | Err(message) => panic!("EBAP_SIM_SEED={seed}: {message}"),
        }
    }
    assert!(wrong > 0, "no record of a wrong clock was read");
}
