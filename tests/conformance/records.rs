//! Hostile records of every format: the server stays, and each record is a row, late, filtered or a dead letter.

use ebap_tests::{
    Stack,
    record_feed::{Feed, OF_FILES, OF_REGISTRY, Registry},
};

use super::{
    Run,
    findings::print,
    servers::{PATIENCE, Servers},
};

/// Records of one stream; more are of several streams.
const OF_STREAM: usize = 20_000;

pub(crate) fn hostile(servers: &Servers, run: Run) -> anyhow::Result<()> {
    let mut stack = Stack::new()?;
    let registry = Registry::start(&mut stack)?;
    let feed = Feed {
        address: &servers.ebap_address,
        folder: servers.folder(),
        registry: Some(&registry),
        patience: PATIENCE * 2,
    };
    for format in OF_FILES.iter().chain(&OF_REGISTRY) {
        let (mut left, mut at) = (run.statements, 0);
        while left > 0 {
            let count = left.min(OF_STREAM);
            let records = feed.records(format, run.seed.wrapping_mul(1_299_709).wrapping_add(at), count);
            let name = format!("r_{}_{at}", format.replace('-', "_"));
            let counted = feed.run(format, &name, &records)?;
            print(&format!("{format}: {counted:?}"));
            left -= count;
            at += 1;
        }
    }
    Ok(())
}
