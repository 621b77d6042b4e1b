//! Sends what a hostile client sends: the limits of every type through every operation, as literals and as parameters. Each
//! answer is PostgreSQL's or a right refusal, and the server stays.

use super::{
    Run, differ, expressions,
    findings::Findings,
    generate::{Generator, Operations},
    operations,
    parameters::{self, Binary},
    servers::Servers,
};

pub(crate) fn statements(servers: &Servers, run: Run) -> anyhow::Result<()> {
    let operations = Operations::new(operations::all());
    expressions::in_each_zone("hostile statements", |zone, at| {
        let mut pair = servers.pair(zone)?;
        let mut findings = Findings::default();
        let mut binary = Binary::default();
        for number in (at..run.statements).step_by(expressions::ZONES.len()) {
            let seed = run.seed.wrapping_mul(86_028_121).wrapping_add(number as u64);
            let mut generator = Generator::new(seed, &operations);
            generator.columns = generator.random.one_in(4);
            let operation = operations.all[(number / 2) % operations.all.len()].clone();
            let seed = format!("{} of {zone}", run.seed);
            if generator.random.one_in(2) || operation.args.is_empty() {
                let tree = generator.call(&operation, 2);
                differ::expression(&mut pair, &tree, &seed, &mut findings);
            } else {
                let ask = parameters::call(&mut generator.random, &operation, &mut pair, &mut binary);
                parameters::compare(&mut pair, &ask, &seed, &mut findings);
            }
        }
        Ok(findings)
    })
}
