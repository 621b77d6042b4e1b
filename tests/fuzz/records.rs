//! Records of each format, in turn.

use anyhow::Context;
use ebap_tests::{
    Stack,
    record_feed::{Feed, OF_FILES, OF_REGISTRY, Registry},
    wire::hex,
};

use crate::{PATIENCE, Target, corpus, print};

/// Records of `make test`, at the most.
const USUAL: u64 = 50_000;
/// Records of one stream.
const LOT: usize = 2_000;

pub(crate) async fn run() -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    // Its client blocks, and has a runtime of its own.
    let registry = tokio::task::block_in_place(|| Registry::start(&mut stack))?;
    let target = std::cell::RefCell::new(Target::start().await?);
    let folder = tempfile::tempdir().context("a folder for records")?;
    let address = target.borrow().address.clone();
    let feed = Feed { address: &address, folder: folder.path(), registry: Some(&registry), patience: PATIENCE };
    let again = || {
        let mut target = target.borrow_mut();
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(target.again()))
    };
    let outcome = tokio::task::block_in_place(|| fuzzed(&feed, &target, &again));
    drop(stack);
    outcome
}

fn fuzzed(
    feed: &Feed<'_>,
    target: &std::cell::RefCell<Target>,
    again: &dyn Fn() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for (name, input) in corpus::kept("records")? {
        let format = OF_FILES.iter().chain(&OF_REGISTRY).find(|format| name.starts_with(**format));
        let format = format.with_context(|| format!("corpus/records/{name} names no format"))?;
        let outcome = feed.run(format, "kept", &[input]).and_then(|_| target.borrow().stands());
        outcome.with_context(|| format!("corpus/records/{name}"))?;
    }
    let (mut count, seed) = (0, target.borrow().seed);
    while target.borrow().goes_on(count as u64, USUAL) {
        for format in OF_FILES.iter().chain(&OF_REGISTRY) {
            let records = feed.records(format, seed.wrapping_mul(141_650_939).wrapping_add(count as u64), LOT);
            let name = format!("f{count}_{}", format.replace('-', "_"));
            count += records.len();
            let outcome = feed.run(format, &name, &records).and_then(|_| target.borrow().stands());
            let Err(why) = outcome else { continue };
            let smallest = feed.smallest(format, &records, &why, again)?;
            let shown: Vec<String> = smallest.iter().map(|record| hex(record)).collect();
            print(&format!("{format}: {} records with which it happens:\n{}", smallest.len(), shown.join("\n")));
            let first = smallest.into_iter().next().unwrap_or_default();
            return corpus::find("records", &format!("{format}-seed-{seed}-{count}"), &first, &why);
        }
    }
    target.borrow().stands()?;
    print(&format!("records: {count}"));
    Ok(())
}
